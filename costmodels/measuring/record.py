"""Records of measurements: JSON files, whole or absent, that are profiles too."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from costmodels.board import Gpu
from costmodels.errors import CostModelError
from costmodels.files import json_text, write_atomic
from costmodels.gpu.fitting import FREE
from costmodels.gpu.profile import Profile, read_document
from costmodels.measuring.fit import Timed, backing, predicted_ms


def document(
    profile: Profile,
    gpu: Gpu,
    device: dict[str, Any],
    errors: dict[str, dict[str, float]],
    timed: Sequence[Timed],
) -> dict[str, Any]:
    """Return a fitted profile as JSON-able values."""
    rules = {name: _plain(value) for name, value in vars(profile.fusion).items()}
    return {
        "backing": backing(errors, device),
        "device": device,
        "parameters": {name: getattr(profile, name) for name in FREE},
        "fusion": rules,
        "gpu": {key: value for key, value in asdict(gpu).items() if key != "sources"},
        "errors": errors,
        "measurements": [
            {
                "kind": one.kind,
                "name": one.name,
                "precision": one.precision,
                "batch": one.batch,
                "measured_ms": one.measured_ms,
                "predicted_ms": predicted_ms(one, gpu, profile),
                "held_out": one.held_out,
            }
            for one in timed
        ],
    }


def calibrated_gpu(path: str | Path) -> Gpu:
    """Return the device of a calibration: its data sheet's peaks, or those measured.

    Raises:
        CostModelError: The file is no calibration.
    """
    figures = read_document(Path(path)).get("gpu")
    names = {entry.name for entry in fields(Gpu)} - {"sources"}
    if not isinstance(figures, dict) or set(figures) != names:
        raise CostModelError(f"{path} holds no device: write it with costmodels.calibrate")
    return Gpu(**figures)


def save(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write JSON; a reader sees the old file or the whole new one.

    Raises:
        CostModelError: The file cannot be written, or a value is not finite.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise CostModelError(f"out={path} cannot be written: there is no folder {target.parent}")
    try:
        write_atomic(target, json_text(content))
    except (OSError, ValueError) as error:
        raise CostModelError(f"out={path} cannot be written: {error}") from None


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else value
