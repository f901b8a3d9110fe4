"""Counts exact ties and saturations: the NumPy executor with its two rounding steps watched."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.integer import replay
from codesign.integer.model import IntegerModel

Counts = NDArray[np.int64]


@dataclass
class Roundings:
    """What happened to the values that were rounded to codes, a number for each image.

    Attributes:
        rounded: Values rounded.
        ties: Requantised values that lay exactly between two codes.
        low: Values below the smallest code.
        high: Values above the largest code.
    """

    rounded: Counts
    ties: Counts
    low: Counts
    high: Counts

    @classmethod
    def zeros(cls, images: int) -> "Roundings":
        return cls(*(np.zeros(images, dtype=np.int64) for _ in range(4)))

    def add(self, name: str, marked: NDArray[Any]) -> None:
        """Add the marked values of each image to a count; constants belong to no image."""
        count = getattr(self, name)
        if marked.shape and len(marked) % len(count) == 0:
            count += marked.reshape(len(count), -1).sum(axis=1)

    def totals(self) -> dict[str, int]:
        """Return the sums over the images."""
        return {name: int(value.sum()) for name, value in vars(self).items()}


def count_roundings(model: IntegerModel, codes: NDArray[np.int64]) -> Roundings:
    """Return what the requantisations of a model meet on a batch of input codes."""
    counts = Roundings.zeros(len(codes))
    watched = copy_of_replay()
    watched.requantize = _watch_ties(watched.requantize, counts)
    watched.finish = _watch_ends(watched.finish, watched.limits, counts)
    watched.run(model.graph_json(), dict(model.tensors), codes)
    return counts


def copy_of_replay() -> ModuleType:
    """Return the NumPy executor as a module of its own, whose functions may be exchanged."""
    spec = importlib.util.spec_from_file_location("watched_replay", replay.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _watch_ties(requantize: Callable[..., Any], counts: Roundings) -> Callable[..., Any]:
    def watched(accumulator, multiplier, shift, fmt):
        wide = np.asarray(shift, dtype=np.int64)
        if "shifts" in fmt:
            wide = wide + replay.channels(fmt["shifts"], fmt["axis"])
        product = np.asarray(accumulator, dtype=np.int64) * np.asarray(multiplier, dtype=np.int64)
        rest = product & ((np.int64(1) << wide) - 1)
        counts.add("ties", rest == np.int64(1) << (wide - 1))
        return requantize(accumulator, multiplier, shift, fmt)

    return watched


def _watch_ends(
    finish: Callable[..., Any], limits: Callable[..., tuple[int, int]], counts: Roundings
) -> Callable[..., Any]:
    def watched(scaled, fmt):
        (low, high), codes = limits(fmt), scaled + fmt["zero_point"]
        counts.add("rounded", np.ones_like(codes, dtype=bool))
        counts.add("low", codes < low)
        counts.add("high", codes > high)
        return finish(scaled, fmt)

    return watched
