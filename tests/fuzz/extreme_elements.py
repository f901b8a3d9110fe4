"""What works element by element, sums and joins, with constants at their extremes."""

import math

import numpy as np
from draft import Draft, builds, sizes_of

from codesign.integer.model import IntegerNode
from codesign.numerics.fixed_point import ACCUMULATOR_LIMIT, Format


def _partner(d: Draft, x: IntegerNode) -> IntegerNode:
    """Return an operand for x: itself in another format, a constant, or one that is broadcast."""
    sizes = sizes_of(x)
    draw = int(d.rng.integers(3))
    if draw == 0:
        return d.constant(tuple(int(d.rng.choice([1, n])) for n in sizes))
    if draw == 1:
        return d.requantized(x, d.codes())
    dims = {"dims": [len(sizes)], "keep": True}
    target = d.codes()
    constants = d.scalar(x.format.magnitude, target)
    return d.add((x,), target, (*sizes[:-1], 1), {**dims, **constants}, op="max")


@builds("add")
def _add(d: Draft) -> None:
    x = d.source()
    other = _partner(d, x)
    pair = (x, other) if d.rng.random() < 0.5 else (other, x)
    target = d.codes(wide=not x.format.shifts, shifts=sizes_of(x)[-1])
    limit = 44 - max(target.shifts, default=0)
    extreme = [([2**16 - 1, 1], 1), ([1, 1], 1), ([2**16 - 1, 2**16 - 1], limit), ([1, 2], 2)]
    most = max(2 ** max(1, 30 - x.format.magnitude.bit_length()), 2)
    fitting = ([int(m) for m in d.rng.integers(1, min(2**16, most), size=2)], 17)
    multipliers, shift = [*extreme, fitting, fitting][d.rng.integers(6)]
    attributes = {"multipliers": multipliers, "shift": shift}
    d.add(pair, target, sizes_of(x), attributes)


@builds("mul")
def _mul(d: Draft) -> None:
    x = d.source(shifts=False)
    other = _partner(d, x)
    bound = x.format.magnitude * other.format.magnitude
    if bound <= ACCUMULATOR_LIMIT:
        target = d.codes(wide=True)
        d.add((x, other), target, sizes_of(x), d.scalar(bound, target))


@builds("requantize")
def _requantize(d: Draft) -> None:
    x = d.source()
    d.requantized(x, d.codes(shifts=sizes_of(x)[-1]))


@builds("mean", "max")
def _reduce(d: Draft) -> None:
    x = d.source()
    sizes = sizes_of(x)
    dims = sorted(d.rng.permutation(len(sizes))[: d.rng.integers(1, len(sizes) + 1)] + 1)
    keep = bool(d.rng.random() < 0.5) or len(dims) == len(sizes)
    kept = [(1 if i + 1 in dims else n) for i, n in enumerate(sizes) if keep or i + 1 not in dims]
    count = math.prod(sizes[i - 1] for i in dims) if d.op == "mean" else 1
    target = d.codes()
    attributes = {"dims": [int(i) for i in dims], "keep": keep}
    scalar = d.scalar(count * x.format.magnitude, target)
    d.add((x,), target, tuple(kept), {**attributes, **scalar})


@builds("affine")
def _affine(d: Draft) -> None:
    x = d.source()
    sizes = sizes_of(x)
    axis = -int(d.rng.integers(1, len(sizes) + 1))
    count = sizes[axis] if d.rng.random() < 0.8 else 1
    shift = d.rng.choice([1, 2, 8, 17, 29], size=count)
    most = np.minimum((2**30 - 2 ** (shift - 1)) // x.format.magnitude, 2**15 - 1)
    multiplier = d.rng.integers(-most, most + 1)
    multiplier[0] = d.rng.choice([-most[0], most[0], 0])
    room = ACCUMULATOR_LIMIT - np.abs(multiplier) * x.format.magnitude - 2 ** (shift - 1)
    offset = d.rng.integers(-room, room + 1)
    offset[-1] = d.rng.choice([-room[-1], room[-1], 0])
    tensors = {
        "multiplier": multiplier.astype(np.int16),
        "offset": offset.astype(np.int32),
        "shift": shift.astype(np.int8),
    }
    target = d.codes(shifts=sizes[-1])
    d.add((x,), target, sizes, {"axis": axis if count > 1 else -1}, tensors)


@builds("lookup")
def _lookup(d: Draft) -> None:
    x, target = d.source(even=True), d.codes(wide=True, codebook=True)
    table = d.rng.integers(target.low, target.high + 1, size=2**x.format.bits)
    table[0], table[-1] = target.high, target.low
    d.add((x,), target, sizes_of(x), {}, {"table": table.astype(np.int32)})


@builds("hardswish")
def _hardswish(d: Draft) -> None:
    x = d.source()
    if x.format.shifts or x.format.codebook or x.format.bits > 8 or d.rng.random() < 0.3:
        x = d.requantized(x, Format(12, d.scale(), 0, signed=True))
    most = ACCUMULATOR_LIMIT // x.format.magnitude // 2
    three = min(int(d.rng.choice([1, 3, 100, 2**17])), most)
    target = d.codes()
    constants = d.scalar(x.format.magnitude * 2 * three, target)
    d.add((x,), target, sizes_of(x), {"three": three, **constants})


@builds("shift_swish", "shift_gelu")
def _shift_swish(d: Draft) -> None:
    x, target = d.source(even=True), d.codes()
    unit = int(d.rng.choice([1, 2, 3, 17, 512, 2**14]))
    constants = d.scalar(x.format.magnitude * 256, target)
    d.add((x,), target, sizes_of(x), {"unit": unit, **constants})


@builds("concat", "constant")
def _concat(d: Draft) -> None:
    x = d.source(shifts=False)
    sizes, dim = sizes_of(x), int(d.rng.integers(1, len(sizes_of(x)) + 1))
    shape = (*sizes[: dim - 1], 2, *sizes[dim:])
    each = d.add((d.constant(shape, x.format),), x.format, shape, {}, op="expand")
    target = (*sizes[: dim - 1], sizes[dim - 1] + 2, *sizes[dim:])
    d.add((each, x), x.format, target, {"dim": dim}, op="concat")
