"""Models of one operation, of every kind: (op, operands, target, attributes, tensors, shape).

Operands are (shape without the batch, format). Formats have what an operation may meet: zero
points at the ends, signed codes, 12 and 16 bits, channels with shifts of their own, codebooks.
"""

import numpy as np
import torch

from codesign.numerics.division import DIVISIONS
from codesign.numerics.fixed_point import Format
from codesign.numerics.group_norm import row_constants
from codesign.numerics.layer_norm import LAYER_NORMS
from codesign.numerics.softmax import SOFTMAXES

PLAIN, TOP = Format(8, 0.03, 120), Format(8, 0.03, 255)
NARROW, SIGNED = Format(3, 0.2, 2), Format(8, 0.04, 0, signed=True)
TWELVE, WIDE = Format(12, 1e-3, 0, signed=True), Format(16, 1e-3, 0, signed=True)
BOOK = Format(8, 0.01, codebook=(*(q << 6 for q in range(128)), *range(-128, 0)))
POWERS = Format(4, 2.0**-14, codebook=(*(2 ** (14 - q) for q in range(15)), 0))
OPERANDS = [PLAIN, TOP, NARROW, SIGNED, TWELVE, WIDE, BOOK, POWERS]
CASES = {}


def cases(*operations):
    """File a function that yields the cases of some operations."""

    def decorate(function):
        for op in operations:
            CASES[op] = list(function(op, np.random.default_rng(7)))
        return function

    return decorate


def shifted(fmt, channels, axis=-1):
    steps = tuple(c % 4 for c in range(channels))
    return Format(fmt.bits, fmt.scale, fmt.zero_point, fmt.signed, steps, axis)


def scalar(peak, target):
    """A multiplier of 16 bits and a shift that spread sums over the codes, and past both ends."""
    shift = 16 - int(np.frexp(3 * (target.high - target.low) / peak)[1])
    if shift < 1:
        return {"multiplier": 1, "shift": 1}
    return {"multiplier": 40_001, "shift": shift}


def layer(rng, shape, weights, source, target):
    """Constants of a layer: one row of the largest weight, the largest and smallest constants."""
    weight = rng.choice(weights, size=shape)
    weight[0] = max(weights)
    rows = weight.reshape(shape[0], -1)
    terms = (2**31 - 2**29 - 1) // max(source.magnitude * int(np.abs(rows).max()), 1)
    rows[:, terms:] = 0  # accumulators have 32 bits
    peak = max(int(np.abs(rows).sum(axis=1).max()) * source.magnitude, 10)
    bias = rng.integers(-min(peak, 2**29), min(peak, 2**29) + 1, size=shape[0])
    c = scalar(peak, target)
    multiplier = rng.integers(2**15, 2**16, size=shape[0])
    multiplier[-2:] = 2**16 - 1, 0
    shift = c["shift"] + rng.integers(0, 2, size=shape[0])
    return {"weight": weight, "bias": bias, "multiplier": multiplier, "shift": shift}


WEIGHTS = {
    "uniform": range(-127, 128),
    "log2_5": [0, *(s << e for e in range(15) for s in (1, -1))],
    "apot_7": [-448, -256, -3, 0, 1, 448],
    "ones": [1],
    "zeros": [0],
}


@cases("linear")
def _linear(op, rng):
    for source in OPERANDS:
        for weights in WEIGHTS.values():
            t = layer(rng, (6, 33), list(weights), source, PLAIN)
            yield [((2, 33), source)], PLAIN, {}, t, (2, 6)
    t = layer(rng, (6, 9), [-5, 3], shifted(PLAIN, 9), SIGNED)
    yield [((2, 9), shifted(PLAIN, 9))], shifted(SIGNED, 6), {}, t, (2, 6)
    t = layer(rng, (4, 4096), [-127, 127], TOP, WIDE)
    yield [((1, 4096), TOP)], WIDE, {}, t, (1, 4)


@cases("conv2d")
def _conv2d(op, rng):
    names = ("stride", "padding", "dilation", "groups")
    for geometry, channels in [
        (((1, 1), (1, 1), (1, 1), 1), 4),
        (((2, 1), (0, 2), (1, 2), 2), 4),
        (((2, 2), (1, 1), (1, 1), 4), 4),
    ]:
        a = dict(zip(names, geometry, strict=True))
        rows = (6 + 2 * a["padding"][0] - 2 * a["dilation"][0] - 1) // a["stride"][0] + 1
        columns = (7 + 2 * a["padding"][1] - 2 * a["dilation"][1] - 1) // a["stride"][1] + 1
        for source in (PLAIN, TOP, SIGNED, TWELVE, BOOK, shifted(PLAIN, channels, -3)):
            for name in ("uniform", "log2_5"):
                shape = (8, channels // a["groups"], 3, 3)
                t = layer(rng, shape, list(WEIGHTS[name]), source, PLAIN)
                target = shifted(PLAIN, 8, -3) if name == "uniform" else NARROW
                yield [((channels, 6, 7), source)], target, a, t, (8, rows, columns)
    a = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    t = layer(rng, (2, 200, 3, 3), [-127, 127], TOP, WIDE)
    yield [((200, 3, 3), TOP)], WIDE, a, t, (2, 3, 3)


@cases("matmul")
def _matmul(op, rng):
    for left in OPERANDS:
        for right in (PLAIN, SIGNED, NARROW):
            a = scalar(20 * left.magnitude * right.magnitude, PLAIN)
            yield [((3, 20), left), ((20, 5), right)], PLAIN, a, {}, (3, 5)
    a = scalar(500 * 255 * 135, PLAIN)
    yield [((3, 500), TOP), ((500, 2), PLAIN)], PLAIN, a, {}, (3, 2)


@cases("mul", "add")
def _elementwise(op, rng):
    for left in (*OPERANDS, shifted(PLAIN, 64)):
        for right in (PLAIN, NARROW, BOOK):
            a = scalar(left.magnitude * right.magnitude, PLAIN)
            if op == "add":
                shift = max(1, scalar(left.magnitude + right.magnitude, PLAIN)["shift"])
                a = {"multipliers": [40_001, 30_003], "shift": min(shift, 30)}
            yield [((2, 64), left), ((2, 64), right)], shifted(PLAIN, 64), a, {}, (2, 64)


@cases("requantize")
def _requantize(op, rng):
    for source in (*OPERANDS, shifted(PLAIN, 300)):
        for target in (PLAIN, SIGNED, NARROW, WIDE, shifted(PLAIN, 300)):
            a = scalar(source.magnitude, target)
            yield [((300,), source)], target, a, {}, (300,)
        yield [((300,), source)], WIDE, {"multiplier": 1, "shift": 1}, {}, (300,)
        yield [((300,), source)], WIDE, {"multiplier": 2**16 - 1, "shift": 1}, {}, (300,)
        yield [((300,), source)], PLAIN, {"multiplier": 2**16 - 1, "shift": 44}, {}, (300,)


@cases("affine")
def _affine(op, rng):
    for source in (PLAIN, TWELVE, WIDE):
        for axis in (-1, -3):
            channels = 5 if axis == -1 else 4
            t = {
                "multiplier": rng.integers(-(2**15), 2**15, size=channels),
                "offset": rng.integers(-(2**29), 2**29, size=channels),
                "shift": rng.integers(18, 25, size=channels),
            }
            yield [((4, 20, 5), source)], SIGNED, {"axis": axis}, t, (4, 20, 5)
    t = {"multiplier": [-30_000], "offset": [77], "shift": [15]}
    yield [((4, 20), PLAIN)], WIDE, {"axis": -1}, t, (4, 20)


@cases("lookup")
def _lookup(op, rng):
    for source in (PLAIN, SIGNED, NARROW, TWELVE):
        for target in (PLAIN, SIGNED, WIDE):
            table = rng.integers(target.low, target.high + 1, size=2**source.bits)
            yield [((300,), source)], target, {}, {"table": table}, (300,)


@cases("hardswish", "shift_swish", "shift_gelu")
def _functions(op, rng):
    for source in (PLAIN, TOP, SIGNED, NARROW, TWELVE):
        name = "three" if op == "hardswish" else "unit"
        for unit in (1, 7, 100):
            peak = source.magnitude * (2 * unit if op == "hardswish" else 2**8)
            a = {name: unit, **scalar(peak, PLAIN)}
            yield [((600,), source)], PLAIN, a, {}, (600,)


@cases("softmax", "codebook_softmax", "log_int_softmax", "shiftmax")
def _softmax(op, rng):
    spread = np.logspace(-6, 0, 4000).astype(np.float32)
    for name in SOFTMAXES.names():
        kind = SOFTMAXES.get(name)
        if kind.operation != op:
            continue
        for bits in (4, 8):
            for source in (PLAIN, Format(8, 1e-5, 3), Format(8, 0.5, 3), NARROW, SIGNED):
                target = kind.format(bits, torch.from_numpy(spread))
                c = kind.constants(source, target)
                a, t = dict(c.attributes), {k: v.numpy() for k, v in c.tensors.items()}
                for length in (1, 2, 40):
                    yield [((2, length), source)], target, a, t, (2, length)


@cases("layer_norm", "layer_norm_8bit")
def _layer_norm(op, rng):
    for name in LAYER_NORMS.names():
        kind = LAYER_NORMS.get(name)
        for channels in (2, 48) if kind.operation == op else ():
            for source in (PLAIN, TOP, NARROW, SIGNED, shifted(PLAIN, channels)):
                gamma, beta = rng.normal(1, 0.7, channels), rng.normal(0, 0.7, channels)
                gamma[0] = 0.0
                c = kind.constants(gamma, beta, 1e-5, source, PLAIN)
                t = {k: v.numpy() for k, v in c.tensors.items()}
                yield [((3, channels), source)], PLAIN, dict(c.attributes), t, (3, channels)


@cases("group_norm", "rms_norm")
def _group_norm(op, rng):
    for source in (PLAIN, TOP, SIGNED, shifted(PLAIN, 6, -3) if op == "group_norm" else TOP):
        for groups, size in ((1, 1), (3, 5), (6, 40)) if op == "group_norm" else ((1, 7),):
            shape = (6, size, size) if op == "group_norm" else (6, 700)
            count = 6 // groups * size * size if op == "group_norm" else 700
            channels = 6 if op == "group_norm" else 700
            gamma, beta = rng.normal(0, 1, channels), rng.normal(0, 1, channels)
            c = row_constants(count, gamma, beta, 1e-5, source, PLAIN)
            a = {"epsilon": c.epsilon, "row_shift": c.row_shift, "shift": c.shift}
            a |= {"groups": groups} if op == "group_norm" else {}
            yield [(shape, source)], PLAIN, a, {"scale": c.scale, "offset": c.offset}, shape


@cases("divide", "log2_divide")
def _division(op, rng):
    for name in DIVISIONS.names():
        if DIVISIONS.get(name).operation != op:
            continue
        for n, d in ((PLAIN, Format(8, 0.03, 0)), (WIDE, Format(12, 0.1, 0)), (TOP, NARROW)):
            for shift, multiplier in ((1, 2**16 - 1), (9, 33_333), (30, 40_000)):
                a = {"multiplier": multiplier, "shift": shift, "epsilon": 0}
                for denominator in (d, SIGNED, WIDE) if op == "divide" else (d,):
                    yield [((60,), n), ((60,), denominator)], SIGNED, a, {}, (60,)


@cases("max_pool2d", "avg_pool2d")
def _pools(op, rng):
    for kernel, stride, pads, dilation in [
        ([3, 3], [2, 2], [[1, 1], [1, 1]], [1, 1]),
        ([2, 2], [2, 2], [[0, 0], [0, 1]], [1, 1]),
        ([3, 2], [1, 2], [[1, 0], [0, 1]], [2, 1]),
        ([7, 9], [1, 1], [[0, 0], [0, 0]], [1, 1]),
    ]:
        dilation = dilation if op == "max_pool2d" else [1, 1]
        size = [
            (n + sum(p) - d * (k - 1) - 1) // s + 1
            for n, p, d, k, s in zip((7, 9), pads, dilation, kernel, stride, strict=True)
        ]
        for source in (*OPERANDS[:7], shifted(PLAIN, 3, -3)):
            c = scalar(source.magnitude * (1 if op == "max_pool2d" else np.prod(kernel)), PLAIN)
            a = {"kernel": kernel, "stride": stride, "pads": pads, "dilation": dilation}
            m = rng.integers(2**15, 2**16, size=size if op == "avg_pool2d" else (1, 1))
            t = {"multiplier": m, "shift": np.full_like(m, c["shift"])}
            yield [((3, 7, 9), source)], shifted(PLAIN, 3, -3), a, t, (3, *size)


@cases("mean", "max")
def _reductions(op, rng):
    for source in (*OPERANDS, shifted(PLAIN, 5)):
        for dims, keep, shape in (([2, 3], 0, (4,)), ([-1], 1, (4, 6, 1)), ([1], 0, (6, 5))):
            a = {"dims": dims, "keep": keep, **scalar(source.magnitude * 4, PLAIN)}
            yield [((4, 6, 5), source)], PLAIN, a, {}, shape


@cases("concat")
def _concat(op, rng):
    for fmt in (PLAIN, SIGNED, WIDE):
        yield [((4, 3), fmt), ((2, 3), fmt)], fmt, {"dim": 1}, {}, (6, 3)
        yield [((4, 3), fmt), ((4, 2), fmt)], fmt, {"dim": -1}, {}, (4, 5)


@cases("constant")
def _constant(op, rng):
    for fmt in (PLAIN, SIGNED, WIDE):
        value = rng.integers(fmt.low, fmt.high + 1, size=(1, 30))
        yield [((2,), fmt)], fmt, {}, {"value": value}, (30,)


MOVES = {
    "reshape": [({}, (5, 12)), ({}, (60,))],
    "permute": [({"order": [0, 3, 1, 2]}, (5, 4, 3))],
    "slice": [
        ({"dim": 2, "start": 1, "stop": 3, "step": 1}, (4, 2, 5)),
        ({"dim": 3, "start": 0, "stop": 2**62, "step": 2}, (4, 3, 3)),
        ({"dim": 1, "start": -3, "stop": -1, "step": 1}, (2, 3, 5)),
    ],
    "select": [({"dim": 1, "index": 3}, (3, 5)), ({"dim": 3, "index": -1}, (4, 3))],
    "gather": [({"dim": 3, "indices": [4, 0, 0, 2, 1, 3]}, (4, 3, 6))],
    "pad": [({"pads": [[0, 0], [0, 0], [1, 0], [2, 3]], "value": 7}, (4, 4, 10))],
}


@cases(*MOVES)
def _moves(op, rng):
    for fmt in (PLAIN, SIGNED, WIDE):
        for attributes, shape in MOVES[op]:
            yield [((4, 3, 5), fmt)], fmt, attributes, {}, shape


@cases("expand")
def _expand(op, rng):
    for fmt in (PLAIN, SIGNED, WIDE):
        yield [((4, 1, 5), fmt)], fmt, {}, {}, (4, 6, 5)
