"""Every arithmetic operation on 102,400 random codes, extremes included.

Both executors (`one_operation.run` compares them) and, where numerics has one, the integer function
give what plain Python numbers give.
"""

import numpy as np
import pytest
import scalar_reference as reference
import scalar_rows
import torch
from one_operation import random_codes, run

from codesign.integer.replay import OPERATIONS
from codesign.numerics.activation import ACTIVATIONS
from codesign.numerics.division import DIVISIONS
from codesign.numerics.fixed_point import Format
from codesign.numerics.layer_norm import LAYER_NORMS
from codesign.numerics.softmax import SOFTMAXES

IMAGES, ROWS, LENGTH = 25, 64, 64
COUNT = IMAGES * ROWS * LENGTH
SHAPE = (ROWS, LENGTH)
SOURCE, TARGET = Format(8, 0.05, 117), Format(8, 0.06, 101)
FACTORS = Format(8, 0.02, 117, shifts=tuple(c % 4 for c in range(LENGTH)))
LEVELS = Format(4, 2.0**-14, codebook=(*(2**k for k in range(14, -1, -1)), 0))
WIDE = Format(16, 1e-4, 0, signed=True)
ROUND = {"multiplier": 40_001, "shift": 17}


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def codes_of(rng, fmt, shape=SHAPE):
    codes = random_codes(rng, (IMAGES, *shape), fmt)
    assert codes.size == COUNT
    return codes


def whole(codes, fmt):
    """The whole numbers of codes, as nested lists; written from the definition of a format."""
    if fmt.codebook:
        return np.array(fmt.codebook)[codes].tolist()
    x = codes - fmt.zero_point
    return (x * 2 ** np.array(fmt.shifts) if fmt.shifts else x).tolist()


def rows_of(nested):
    return [row for image in nested for row in image]


def rounded(values, multiplier, shift, fmt):
    return [reference.requantize(v, multiplier, shift, fmt) for v in values]


def equal(got, expected):
    np.testing.assert_array_equal(got.reshape(-1, got.shape[-1]), expected)


@pytest.mark.parametrize("source", [SOURCE, FACTORS, LEVELS, WIDE])
def test_requantize(rng, source):
    x = codes_of(rng, source)
    got = run("requantize", [(x, source)], TARGET, ROUND, shape=SHAPE)
    equal(got, [rounded(row, *ROUND.values(), TARGET) for row in rows_of(whole(x, source))])


def test_requantize_to_channels_of_their_own_steps(rng):
    x = codes_of(rng, SOURCE)
    got = run("requantize", [(x, SOURCE)], FACTORS, ROUND, shape=SHAPE)
    equal(got, [
        [reference.requantize(v, 40_001, 17 + s, FACTORS)
         for v, s in zip(row, FACTORS.shifts, strict=True)]
        for row in rows_of(whole(x, SOURCE))
    ])  # fmt: skip


@pytest.mark.parametrize("source", [SOURCE, FACTORS, LEVELS])
def test_add_and_mul(rng, source):
    x, y = codes_of(rng, source), codes_of(rng, SOURCE)
    pairs = list(zip(rows_of(whole(x, source)), rows_of(whole(y, SOURCE)), strict=True))
    a = {"multipliers": [65_535, 30_001], "shift": 18}
    got = run("add", [(x, source), (y, SOURCE)], TARGET, a, shape=SHAPE)
    sums = [[p * 65_535 + q * 30_001 for p, q in zip(*pair, strict=True)] for pair in pairs]
    equal(got, [rounded(row, 1, 18, TARGET) for row in sums])
    got = run("mul", [(x, source), (y, SOURCE)], TARGET, ROUND, shape=SHAPE)
    products = [[p * q for p, q in zip(*pair, strict=True)] for pair in pairs]
    equal(got, [rounded(row, *ROUND.values(), TARGET) for row in products])


@pytest.mark.parametrize("source", [SOURCE, FACTORS, WIDE])
def test_affine(rng, source):
    x = codes_of(rng, source)
    m = rng.integers(-(2**15) + 1, 2**15, LENGTH)
    b, s = rng.integers(-(2**24), 2**24, LENGTH), rng.integers(1, 31, LENGTH)
    t = {"multiplier": m, "offset": b, "shift": s}
    got = run("affine", [(x, source)], TARGET, {"axis": -1}, t, SHAPE)
    constants = [v.tolist() for v in (m, b, s)]
    equal(got, [
        [reference.requantize(v * mc + bc, 1, sc, TARGET)
         for v, mc, bc, sc in zip(row, *constants, strict=True)]
        for row in rows_of(whole(x, source))
    ])  # fmt: skip


@pytest.mark.parametrize("name", ["hardswish", "shift_swish", "shift_gelu"])
def test_arithmetic_activations(rng, name):
    x, function = codes_of(rng, SOURCE), ACTIVATIONS.get(name)
    c = function.constants(SOURCE, TARGET)
    got = run(function.operation, [(x, SOURCE)], TARGET, c, shape=SHAPE)
    scalar = reference.hardswish if name == "hardswish" else reference.shift_swish
    expected = [[scalar(v, c, TARGET) for v in row] for row in rows_of(whole(x, SOURCE))]
    equal(got, expected)
    equal(function.integer(torch.from_numpy(x), SOURCE, TARGET, c).numpy(), expected)


def test_lookup_concat_and_constant(rng):
    x = codes_of(rng, SOURCE)
    table = rng.integers(0, 256, 256)
    got = run("lookup", [(x, SOURCE)], TARGET, {}, {"table": table}, SHAPE)
    equal(got, [[int(table[q]) for q in row] for row in rows_of(x.tolist())])
    got = run("concat", [(x, SOURCE), (x[:, :3], SOURCE)], SOURCE, {"dim": 1}, shape=(67, LENGTH))
    assert got.tolist() == [image + image[:3] for image in x.tolist()]
    got = run("constant", [(x, SOURCE)], SOURCE, {}, {"value": x[:1]}, SHAPE)
    assert got.tolist() == x[:1].tolist()


@pytest.mark.parametrize("source", [SOURCE, FACTORS])
def test_mean(rng, source):
    x = codes_of(rng, source)
    a = {"dims": [2], "keep": False, "multiplier": 2**15, "shift": 21}
    got = run("mean", [(x, source)], TARGET, a, shape=(ROWS,))
    sums = [[sum(row) for row in image] for image in whole(x, source)]
    assert got.tolist() == [rounded(row, 2**15, 21, TARGET) for row in sums]


@pytest.mark.parametrize("source", [SOURCE, LEVELS])
def test_linear(rng, source):
    x = codes_of(rng, source)
    weight = rng.integers(-127, 128, (3, LENGTH))
    t = {
        "weight": weight,
        "bias": rng.integers(-(2**20), 2**20, 3),
        "multiplier": np.array([65_535, 40_000, 1]),
        "shift": np.array([27, 30, 9]) + (12 if source is LEVELS else 0),
    }
    got = run("linear", [(x, source)], TARGET, {}, t, (ROWS, 3))
    args = [v.tolist() for v in t.values()]
    equal(got, [reference.linear(row, *args, TARGET) for row in rows_of(whole(x, source))])


def test_conv2d(rng):
    x = codes_of(rng, SOURCE, (4, 32, 32))
    t = {
        "weight": rng.integers(-127, 128, (2, 2, 2, 2)),
        "bias": rng.integers(-(2**16), 2**16, 2),
        "multiplier": np.array([65_535, 40_000]),
        "shift": np.array([25, 27]),
    }
    geometry = ((2, 2), (1, 1), (1, 1), 2)
    a = dict(zip(("stride", "padding", "dilation", "groups"), geometry, strict=True))
    got = run("conv2d", [(x, SOURCE)], TARGET, a, t, (2, 17, 17))
    args = [v.tolist() for v in t.values()]
    expected = [reference.conv2d(i, *args, geometry, TARGET) for i in whole(x, SOURCE)]
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("left", [SOURCE, LEVELS])
def test_matmul(rng, left):
    x = codes_of(rng, left)
    y = random_codes(rng, (IMAGES, LENGTH, 3), SOURCE)
    constants = (50_001, 40 if left is LEVELS else 29)
    a = dict(zip(("multiplier", "shift"), constants, strict=True))
    got = run("matmul", [(x, left), (y, SOURCE)], TARGET, a, shape=(ROWS, 3))
    pairs = zip(whole(x, left), whole(y, SOURCE), strict=True)
    expected = [reference.matmul(p, q, *constants, TARGET) for p, q in pairs]
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("name", SOFTMAXES.names())
def test_softmax(rng, name, bits):
    kind, x = SOFTMAXES.get(name), codes_of(rng, SOURCE)
    target = kind.format(bits, torch.logspace(-5, 0, 999))
    c = kind.constants(SOURCE, target)
    t = {role: value.numpy() for role, value in c.tensors.items()}
    got = run(kind.operation, [(x, SOURCE)], target, c.attributes, t, SHAPE)
    expected = [scalar_rows.softmax_kind(name, row, c, target) for row in rows_of(x.tolist())]
    equal(got, expected)


@pytest.mark.parametrize("source", [SOURCE, FACTORS])
@pytest.mark.parametrize("name", LAYER_NORMS.names())
def test_layer_norm(rng, name, source):
    kind, x = LAYER_NORMS.get(name), codes_of(rng, source)
    gamma, beta = rng.normal(0, 1.5, LENGTH), rng.normal(0, 1, LENGTH)
    gamma[5] = 0.0
    c = kind.constants(gamma, beta, 1e-5, source, TARGET)
    t = {role: value.numpy() for role, value in c.tensors.items()}
    got = run(kind.operation, [(x, source)], TARGET, c.attributes, t, SHAPE)
    expected = [scalar_rows.layer_norm_kind(name, r, c, TARGET) for r in rows_of(whole(x, source))]
    equal(got, expected)


@pytest.mark.parametrize("name", DIVISIONS.names())
def test_division(rng, name):
    kind, below = DIVISIONS.get(name), Format(8, 0.02) if name == "log2" else WIDE
    x = codes_of(rng, WIDE)
    y = random_codes(rng, (IMAGES, ROWS, 1), below)
    c = kind.constants(1e-3, WIDE, below, TARGET)
    got = run(kind.operation, [(x, WIDE), (y, below)], TARGET, c.attributes, shape=SHAPE)
    divisors = [row[0] for row in rows_of(whole(y, below))]
    expected = [
        [scalar_rows.division_kind(name, n, d, c.attributes, TARGET) for n in row]
        for row, d in zip(rows_of(whole(x, WIDE)), divisors, strict=True)
    ]
    equal(got, expected)


def test_no_arithmetic_of_rows_is_left_out():
    kinds = [registry.get(name) for registry in (SOFTMAXES, LAYER_NORMS, DIVISIONS)
             for name in registry.names()]  # fmt: skip
    assert {kind.operation for kind in kinds} <= set(OPERATIONS)
