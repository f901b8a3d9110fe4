"""The inputs of the agreement benchmark, as codes of a model's input."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codesign.data import DataSet
from codesign.data.memory import Jitter, jitter
from codesign.graph.ir import resolve
from codesign.integer.model import IntegerModel

MOVES = Jitter(shift=0.2, scale=0.2, rotation_degrees=30.0)
"""Several times what training augments by."""
PERIODS = (1, 2, 4, 8)

Codes = NDArray[np.int64]


def design_inputs(
    model: IntegerModel, data: DataSet, index: int, designs: int, count: int
) -> dict[str, Codes]:
    """Return kind to input codes, `count` in all.

    The real digits, of validation and test, are dealt out to the designs, at most a third of the
    inputs; the others take a share each: digits that are moved and turned, noisy, of other contrast
    and brightness, and codes that are all equally likely. Patterns of the two extreme codes come to
    every design.

    Args:
        model: The design's model.
        data: The data set.
        index: Which design this is.
        designs: How many there are.
        count: Inputs wanted; some dozens at least.
    """
    real = torch.cat([_images(data, name) for name in ("validation", "test")])
    own = real[index::designs][: max(count // 3, 1)]
    found = {"patterns": patterns(model), "digits": model.quantize_input(own.numpy())}
    left = max(count - sum(map(len, found.values())), 4)
    shares = [left // 4 + (i < left % 4) for i in range(4)]
    generator = torch.Generator().manual_seed(index)
    chosen = torch.randint(len(real), (sum(shares[:3]),), generator=generator)
    changed = zip(("moved", "noisy", "contrast"), real[chosen].split(shares[:3]), strict=True)
    for name, images in changed:
        shifted = _CHANGES[name](images, index, generator)
        found[name] = model.quantize_input(shifted.numpy())
    f, rng = model.input_format, np.random.default_rng(index)
    found["uniform"] = rng.integers(f.low, f.high + 1, size=(shares[3], *found["digits"].shape[1:]))
    return found


def _images(data: DataSet, name: str) -> Tensor:
    split = data.split(name)
    return split.load(range(len(split)))[0]


def _moved(images: Tensor, seed: int, generator: torch.Generator) -> Tensor:
    return jitter(images, MOVES, seed)


def _noisy(images: Tensor, seed: int, generator: torch.Generator) -> Tensor:
    deviation = 0.02 + 0.5 * torch.rand(len(images), 1, 1, 1, generator=generator)
    return images + deviation * torch.randn(images.shape, generator=generator)


def _contrast(images: Tensor, seed: int, generator: torch.Generator) -> Tensor:
    factor, addend = torch.rand(2, len(images), 1, 1, 1, generator=generator)
    return (images - 0.5) * (0.1 + 1.9 * factor) + addend


_CHANGES = {"moved": _moved, "noisy": _noisy, "contrast": _contrast}


def patterns(model: IntegerModel) -> Codes:
    """Return all smallest, all largest, zero, checkerboards, stripes and single channels."""
    shape = tuple(resolve(model.nodes[0].shape, 1)[1:])
    f = model.input_format
    flat = [np.full(shape, code) for code in (f.low, f.high, f.zero_point)]
    marks = [np.broadcast_to(mark, shape) for mark in _marks(shape)]
    return np.stack([*flat, *(np.where(mark, f.high, f.low) for mark in marks)]).astype(np.int64)


def _marks(shape: tuple[int, ...]) -> Iterator[NDArray[np.bool_]]:
    channel, row, column = np.indices(shape)
    for period in PERIODS:
        for places in (row // period + column // period, row // period, column // period):
            yield places % 2 == 0
            yield places % 2 == 1
    for c in range(shape[0] if shape[0] > 1 else 0):
        yield channel == c
