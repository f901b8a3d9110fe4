"""Operations that move codes."""

import math
from collections.abc import Callable

from draft import Draft, Sizes, builds, sizes_of

from codesign.integer.model import IntegerNode


@builds("reshape", "permute", "slice", "select", "expand", "gather", "pad")
def _move(d: Draft) -> None:
    x = d.source(shifts=False)
    sizes = sizes_of(x)
    dim = int(d.rng.integers(1, len(sizes) + 1))
    length = sizes[dim - 1]
    _MOVES.get(d.op, _reshape)(d, x, sizes, dim, length)


def _reshape(d: Draft, x: IntegerNode, sizes: Sizes, dim: int, length: int) -> None:
    one = d.add((x,), x.format, (*sizes, 1), op="reshape")
    d.add((one,), x.format, (math.prod(sizes[:-1]), sizes[-1]), op="reshape")


def _permute(d: Draft, x: IntegerNode, sizes: Sizes, dim: int, length: int) -> None:
    order = [0, *(int(i) + 1 for i in d.rng.permutation(len(sizes)))]
    d.add((x,), x.format, tuple(sizes[i - 1] for i in order[1:]), {"order": order})


def _slice(d: Draft, x: IntegerNode, sizes: Sizes, dim: int, length: int) -> None:
    start, step = int(d.rng.integers(length)), int(d.rng.integers(1, 3))
    stop = int(d.rng.integers(start + 1, length + 1))
    count = len(range(start, stop, step))
    attributes = {"dim": dim, "start": start, "stop": stop, "step": step}
    d.add((x,), x.format, (*sizes[: dim - 1], count, *sizes[dim:]), attributes)


def _select(d: Draft, x: IntegerNode, sizes: Sizes, dim: int, length: int) -> None:
    if len(sizes) > 1:
        rest = (*sizes[: dim - 1], *sizes[dim:])
        d.add((x,), x.format, rest, {"dim": dim, "index": int(d.rng.integers(length))})


def _expand(d: Draft, x: IntegerNode, sizes: Sizes, dim: int, length: int) -> None:
    one = d.add((x,), x.format, (1, *sizes), op="reshape")
    wide = d.add((one,), x.format, (2, *sizes))
    d.add((wide,), x.format, (2 * sizes[0], *sizes[1:]), op="reshape")


def _gather(d: Draft, x: IntegerNode, sizes: Sizes, dim: int, length: int) -> None:
    indices = [int(i) for i in d.rng.integers(length, size=min(length + 1, 8))]
    shape = (*sizes[: dim - 1], len(indices), *sizes[dim:])
    d.add((x,), x.format, shape, {"dim": dim, "indices": indices})


def _pad(d: Draft, x: IntegerNode, sizes: Sizes, dim: int, length: int) -> None:
    pads = [[0, 0], *(d.rng.integers(2, size=2).tolist() for _ in sizes)]
    shape = tuple(n + sum(p) for n, p in zip(sizes, pads[1:], strict=True))
    fmt = x.format
    value = fmt.codebook.index(0) if fmt.codebook else fmt.zero_point
    d.add((x,), fmt, shape, {"pads": pads, "value": value})


_MOVES: dict[str, Callable[..., None]] = {
    "permute": _permute,
    "slice": _slice,
    "select": _select,
    "expand": _expand,
    "gather": _gather,
    "pad": _pad,
}
