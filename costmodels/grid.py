"""Grid: accelerators of one kind, which differ in sizes and clock alone, as arrays."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from costmodels.accelerator import Accelerator
from costmodels.systolic import Integers

ARRAYS = ("mac_rows", "mac_cols", "shift_rows", "shift_cols")
BUFFERS = ("input_buffer_kb", "weight_buffer_kb", "output_buffer_kb")
SIZES = (*ARRAYS, *BUFFERS, "depthwise_lanes", "vector_lanes")

_sizes = attrgetter(*SIZES)
_kind = attrgetter("board", "dataflow", "precision", "mac_pe", "fused_chains")


@dataclass(frozen=True)
class Grid:
    """Accelerators with the same board, dataflow, precision, multipliers, engines and chains.

    Which layer runs on which engine, and what the engines' PEs are built for, is the same for all
    of them, so that the cost models work this out once.

    Attributes:
        kind: One of the accelerators.
        sizes: The columns SIZES of `Accelerator`, shape (accelerators, 9).
        clock_mhz: Their clocks in MHz, shape (accelerators,).
    """

    kind: Accelerator
    sizes: Integers
    clock_mhz: NDArray[np.float64]

    @classmethod
    def of(cls, accelerator: Accelerator) -> "Grid":
        """Return the grid of one accelerator."""
        sizes = np.array([_sizes(accelerator)], dtype=np.int64)
        return cls(accelerator, sizes, np.array([accelerator.clock_mhz], dtype=np.float64))

    def __len__(self) -> int:
        """Return how many accelerators there are."""
        return len(self.sizes)

    def column(self, name: str) -> Integers:
        """Return one of SIZES, shape (accelerators,)."""
        return self.sizes[:, SIZES.index(name)]

    def columns(self, names: Sequence[str]) -> Integers:
        """Return several of SIZES, shape (accelerators, names)."""
        return self.sizes[:, [SIZES.index(name) for name in names]]

    def chunks(self, length: int) -> Iterator[tuple[slice, "Grid"]]:
        """Yield the grid in parts of at most `length` accelerators, and where each part lies."""
        for start in range(0, len(self), length):
            part = slice(start, start + length)
            yield part, Grid(self.kind, self.sizes[part], self.clock_mhz[part])

    def distinct(self, names: Sequence[str]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return `distinct` of the named sizes: one accelerator for each combination."""
        return distinct([self.column(name) for name in names])


def distinct(columns: Sequence[Integers]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return an index for each distinct row of the columns, and for each row which of them it is.

    What depends on these columns alone is worked out at the first and gathered by the second.
    """
    if len(columns[0]) == 1:
        only = np.zeros(1, dtype=np.intp)
        return only, only
    order = np.lexsort(columns)
    changes = np.zeros(len(order), dtype=bool)
    for column in columns:
        ordered = column[order]
        changes[1:] |= ordered[1:] != ordered[:-1]
    which = np.empty(len(order), dtype=np.intp)
    which[order] = np.cumsum(changes)
    changes[0] = True
    return order[changes], which


def once_each(function: Callable[..., int], *columns: Integers) -> Integers:
    """Return the function of every row of the columns, worked out once for each distinct row."""
    some, which = distinct(columns)
    values = [function(*row) for row in zip(*(c[some].tolist() for c in columns), strict=True)]
    return np.array(values, dtype=np.int64)[which]


def split(accelerators: Sequence[Accelerator]) -> list[tuple[NDArray[np.intp], Grid]]:
    """Return the accelerators as grids, and where those of each grid are in the sequence.

    Within a grid, accelerators with equal arrays and buffers are neighbours.
    """
    sizes = np.array([_sizes(a) for a in accelerators], dtype=np.int64)
    clocks = np.array([a.clock_mhz for a in accelerators], dtype=np.float64)
    engines = sizes[:, [SIZES.index(n) for n in ("mac_rows", "shift_rows", "depthwise_lanes")]] > 0
    members: dict[object, list[int]] = {}
    keys = zip(map(_kind, accelerators), map(tuple, engines.tolist()), strict=True)
    for i, key in enumerate(keys):
        members.setdefault(key, []).append(i)
    grids = []
    for found in members.values():
        at = np.array(found)
        at = at[np.lexsort(sizes[at].T[::-1])]
        grids.append((at, Grid(accelerators[at[0]], sizes[at], clocks[at])))
    return grids
