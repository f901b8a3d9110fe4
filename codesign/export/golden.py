"""Golden vectors: every node's codes for some validation images, for checking hardware against."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.data import Split
from codesign.integer.model import IntegerModel
from codesign.integer.torch_executor import TorchExecutor
from codesign.numerics.fixed_point import Format


@dataclass(frozen=True)
class Golden:
    """The golden vectors of a model.

    Attributes:
        codes: Node name to its codes, in the smallest integer type; the first axis is the image
            (or image x windows, as the node's shape says).
        images: float32 (N, C, H, W), as the model's input quantiser receives them.
        labels: True classes, int64 (N).
        expected_classes: What the integer model answers, int64 (N).
        indices: Positions of the images in the validation split, int64 (N).
    """

    codes: Mapping[str, NDArray[np.integer[Any]]]
    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    expected_classes: NDArray[np.int64]
    indices: NDArray[np.int64]

    def image_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of images.npz."""
        return {
            "images": self.images,
            "labels": self.labels,
            "expected_classes": self.expected_classes,
            "indices": self.indices,
        }


def golden_vectors(model: IntegerModel, split: Split, count: int) -> Golden:
    """Return the codes of every node for `count` images spread evenly over a split.

    The torch executor computes them, so that the bundle's replay is a second opinion.

    Args:
        model: The integer model.
        split: The validation images.
        count: Images wanted; no more than there are are taken.
    """
    count = min(count, len(split))
    indices = [i * len(split) // count for i in range(count)]
    images, labels = split.load(indices)
    kept: dict[str, Any] = {}
    logits = TorchExecutor(model).run(model.input_format.quantize(images), keep=kept)
    types = {node.name: _smallest_type(node.format) for node in model.nodes}
    return Golden(
        codes={name: value.numpy().astype(types[name]) for name, value in kept.items()},
        images=images.numpy().astype(np.float32),
        labels=labels.numpy(),
        expected_classes=logits.argmax(dim=1).numpy(),
        indices=np.array(indices, dtype=np.int64),
    )


def _smallest_type(fmt: Format) -> type[np.integer[Any]]:
    if fmt.bits <= 8:
        return np.int8 if fmt.signed else np.uint8
    return np.int16 if fmt.signed else np.uint16
