"""What a bundle is checked for against the trial it comes from, and reading its model back."""

from pathlib import Path

from codesign.bundle.files import read_model
from codesign.bundle.manifest import MANIFEST, manifest
from codesign.data import Split
from codesign.errors import RunError
from codesign.evaluate.accuracy import Score, score
from codesign.integer.model import IntegerModel

__all__ = ["MANIFEST", "load_bundle_model", "manifest", "rescore_bundle"]


def load_bundle_model(folder: Path) -> IntegerModel:
    """Return the integer model that a bundle's graph.json and weights.npz describe.

    Raises:
        UserError: A file is missing or damaged.
    """
    return read_model(folder)


def rescore_bundle(folder: Path, validation: Split, accuracy: float) -> Score:
    """Score the model read back from the bundle's files on the whole validation split.

    Args:
        folder: The bundle.
        validation: The images the trial was scored on.
        accuracy: The trial's accuracy, a fraction.

    Raises:
        RunError: The number of correct images is another than the trial's.
    """
    found = score(load_bundle_model(folder), validation)
    wanted = accuracy * found.images
    if abs(found.correct - wanted) > 1e-6:
        raise RunError(
            f"the bundle classifies {found.correct} of {found.images} validation images correctly,"
            f" the trial {wanted:g}. Nothing was exported."
        )
    return found
