"""Compare integers and say where they first differ."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[Any]


def difference(what: str, expected: Integers, got: Integers) -> str | None:
    """Return the line that says where two arrays first differ, None where they are equal.

    Args:
        what: What is compared: the file and the layer.
        expected: What should be there.
        got: What is there.
    """
    if expected.shape != got.shape:
        return f"{what}: expected shape {expected.shape}, got {got.shape}"
    places = np.argwhere(expected != got)
    if not len(places):
        return None
    at = tuple(int(i) for i in places[0])
    return (
        f"{what} at {at}: expected {expected[at]}, got {got[at]}"
        f" ({len(places)} of {expected.size} differ)"
    )


def first_difference(
    what: str, names: Iterable[str], expected: Mapping[str, Integers], got: Mapping[str, Integers]
) -> str | None:
    """Return the line of the first named array that differs, None where all are equal."""
    for name in names:
        line = difference(f"{what} {name}", expected[name], got[name])
        if line:
            return line
    return None
