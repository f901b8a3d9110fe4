"""Each operation of both executors against the scalar reference, extremes included."""

import numpy as np
import pytest
import scalar_reference as reference
from one_operation import random_codes, run

from codesign.numerics.activation import ACTIVATIONS
from codesign.numerics.fixed_point import Format
from codesign.numerics.softmax import exponential_table

UNSIGNED = Format(8, 0.03, 120)
FORMATS = [UNSIGNED, Format(4, 0.2, 15), Format(6, 0.1, 0), Format(2, 1.0, 1), Format(8, 0.1, 255)]
SIGNED = Format(16, 1e-3, 0, signed=True)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def layer_constants(rng, shape, peak, accumulator):
    """Random weights with one row all-largest, and constants that spread over the codes."""
    weight = rng.integers(-peak, peak + 1, size=shape)
    weight[0] = peak
    outputs = shape[0]
    ratio = 100.0 / accumulator * rng.uniform(0.5, 4, size=outputs)
    shift = np.minimum(16 - np.frexp(ratio)[1], 44)
    multiplier = np.floor(np.ldexp(ratio, shift)).astype(np.int64)
    multiplier[-1] = 2**16 - 1
    bias = rng.integers(-accumulator, accumulator, size=outputs)
    return {"weight": weight, "bias": bias, "multiplier": multiplier, "shift": shift}


GEOMETRIES = [
    # stride, padding, dilation, groups, channels, outputs, kernel
    ((1, 1), (0, 0), (1, 1), 1, 5, 4, (1, 1)),
    ((2, 2), (1, 1), (1, 1), 1, 3, 4, (3, 3)),
    ((2, 1), (0, 2), (1, 2), 2, 4, 6, (2, 3)),
    ((1, 1), (1, 1), (1, 1), 6, 6, 6, (3, 3)),
    ((1, 2), (2, 2), (2, 2), 3, 3, 6, (3, 3)),
]


def test_wide_3x3_convolutions_are_exact(rng):
    """The shapes for which libraries like to use Winograd's transforms, which would round."""
    source, target = UNSIGNED, SIGNED
    x = random_codes(rng, (5, 64, 12, 12), source)
    t = layer_constants(rng, (64, 64, 3, 3), 127, 2**17)
    attributes = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    got = run("conv2d", [(x, source)], target, attributes, t, (64, 12, 12))
    centred = np.pad(x - source.zero_point, ((0, 0), (0, 0), (1, 1), (1, 1)))
    for n, row, column, image in ((0, 0, 0, 1), (5, 7, 11, 3), (63, 11, 4, 4), (17, 3, 3, 4)):
        window = centred[image, :, row : row + 3, column : column + 3]
        total = int((window * t["weight"][n]).sum()) + int(t["bias"][n])
        constants = int(t["multiplier"][n]), int(t["shift"][n])
        assert got[image, n, row, column] == reference.requantize(total, *constants, target)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("source", FORMATS[:3])
@pytest.mark.parametrize("peak", [7, 2**14])
def test_conv2d(rng, geometry, source, peak):
    stride, padding, dilation, groups, channels, outputs, kernel = geometry
    x = random_codes(rng, (5, channels, 6, 7), source)
    shape = (outputs, channels // groups, *kernel)
    t = layer_constants(rng, shape, peak, peak * source.magnitude * 3)
    target = Format(8, 1.0, 31)
    args = [v.tolist() for v in t.values()]
    centred = (x - source.zero_point).tolist()
    spots = (stride, padding, dilation, groups)
    expected = np.array([reference.conv2d(image, *args, spots, target) for image in centred])
    names = ("stride", "padding", "dilation", "groups")
    attributes = dict(zip(names, spots, strict=True))
    got = run("conv2d", [(x, source)], target, attributes, t, expected.shape[1:])
    np.testing.assert_array_equal(got, expected)
    assert len(np.unique(expected)) > 10


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("peak", [1, 127, 2**14])
@pytest.mark.parametrize("target", [Format(8, 1.0, 3), Format(4, 1.0, 0), SIGNED])
def test_linear(rng, source, peak, target):
    x = random_codes(rng, (6, 3, 40), source)
    t = layer_constants(rng, (9, 40), peak, peak * source.magnitude * 10)
    args = [v.tolist() for v in t.values()]
    centred = (x - source.zero_point).tolist()
    expected = [[reference.linear(row, *args, target) for row in image] for image in centred]
    got = run("linear", [(x, source)], target, {}, t, (3, 9))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("left", FORMATS[:3])
@pytest.mark.parametrize("right", FORMATS[1:4])
@pytest.mark.parametrize("length", [3, 600])
def test_matmul(rng, left, right, length):
    a = random_codes(rng, (5, 4, length), left)
    b = random_codes(rng, (5, length, 3), right)
    target = Format(8, 1.0, 77)
    multiplier, shift = 50_001, 27
    expected = [
        reference.matmul(p, q, multiplier, shift, target)
        for p, q in zip(
            (a - left.zero_point).tolist(), (b - right.zero_point).tolist(), strict=True
        )
    ]
    constants = {"multiplier": multiplier, "shift": shift}
    got = run("matmul", [(a, left), (b, right)], target, constants, shape=(4, 3))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("left", FORMATS[:3])
@pytest.mark.parametrize("right", FORMATS[1:])
def test_add_and_mul(rng, left, right):
    a = random_codes(rng, (5, 64), left)
    b = random_codes(rng, (5, 64), right)
    x, y = a - left.zero_point, b - right.zero_point
    target = Format(8, 1.0, 60)
    m1, m2, shift = 65_535, 30_001, 17
    for got, totals, constants in (
        (
            run("add", [(a, left), (b, right)], target,
                {"multipliers": [m1, m2], "shift": shift}, shape=(64,)),
            x * m1 + y * m2,
            (1, shift),
        ),
        (
            run("mul", [(a, left), (b, right)], target,
                {"multiplier": m1, "shift": 20}, shape=(64,)),
            x * y,
            (m1, 20),
        ),
    ):  # fmt: skip
        expected = [
            [reference.requantize(v, *constants, target) for v in r] for r in totals.tolist()
        ]
        np.testing.assert_array_equal(got, expected)


def test_requantize_rounds_ties_up():
    source, target = Format(8, 1.0, 100), Format(8, 2.0, 50)
    codes = np.arange(256).reshape(1, 256)
    got = run("requantize", [(codes, source)], target, {"multiplier": 1, "shift": 1}, shape=(256,))
    # x / 2 with halves up: -99/2 -> -49, -1/2 -> 0, 1/2 -> 1
    expected = [min(max(50 + (q - 100 + 1) // 2, 0), 255) for q in range(256)]
    assert got[0].tolist() == expected
    assert got[0][[1, 99, 101]].tolist() == [1, 50, 51]


def test_mean_divides_within_its_multiplier(rng):
    source, target = UNSIGNED, Format(8, 0.03, 120)
    x = random_codes(rng, (5, 3, 4, 4), source)
    constants = {"multiplier": 2**15, "shift": 19}  # 1 / 16
    got = run(
        "mean", [(x, source)], target, {"dims": [2, 3], "keep": False, **constants}, shape=(3,)
    )
    for image, row in zip((x - source.zero_point).tolist(), got.tolist(), strict=True):
        for plane, code in zip(image, row, strict=True):
            total = sum(sum(line) for line in plane)
            assert code == min(max(120 + (total + 8) // 16, 0), 255)


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", [Format(8, 0.02, 40), Format(4, 0.3, 1)])
@pytest.mark.parametrize("name", ["hardswish", "shift_swish"])
def test_arithmetic_activations(name, source, target):
    codes = np.arange(source.low, source.high + 1).reshape(1, -1)
    constants = ACTIVATIONS.get(name).constants(source, target)
    got = run(name, [(codes, source)], target, constants, shape=codes.shape[1:])
    scalar = getattr(reference, name)
    expected = [scalar(int(q) - source.zero_point, constants, target) for q in codes[0]]
    assert got[0].tolist() == expected


def test_lookup_starts_at_the_smallest_code():
    source = Format(4, 1.0, 0, signed=True)
    table = np.arange(16) * 3
    codes = np.array([[-8, 7, 0, -1]])
    got = run("lookup", [(codes, source)], Format(8, 1.0), {}, {"table": table}, (4,))
    assert got.tolist() == [[0, 45, 24, 21]]


@pytest.mark.parametrize("scale", [0.001, 0.05, 0.4])
@pytest.mark.parametrize("length", [1, 7, 300])
@pytest.mark.parametrize("levels", [15, 255])
def test_softmax(rng, scale, length, levels):
    source, target = Format(8, scale, 100), Format(8, 1 / levels)
    table = exponential_table(source).numpy()
    x = random_codes(rng, (6, 2, length), source)
    expected = [[reference.softmax(r, table.tolist(), levels) for r in p] for p in x.tolist()]
    shape = (2, length)
    got = run("softmax", [(x, source)], target, {"levels": levels}, {"table": table}, shape)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("channels", [2, 33, 512])
@pytest.mark.parametrize("epsilon", [1, 10**6, 2**38])
def test_layer_norm(rng, channels, epsilon):
    source, target = UNSIGNED, Format(8, 0.03, 128)
    x = random_codes(rng, (6, 3, channels), source)
    x[4, 0, 1:] = x[4, 0, 0]
    x[4, 0, -1] ^= 1
    scale = rng.integers(-300, 300, size=channels)
    scale[0] = 2**15 - 1
    offset = rng.integers(-(2**20), 2**20, size=channels)
    shift = 15
    args = (scale.tolist(), offset.tolist(), epsilon, shift, target)
    centred = (x - source.zero_point).tolist()
    expected = [[reference.layer_norm(row, *args) for row in image] for image in centred]
    attributes, t = {"epsilon": epsilon, "shift": shift}, {"scale": scale, "offset": offset}
    got = run("layer_norm", [(x, source)], target, attributes, t, (3, channels))
    np.testing.assert_array_equal(got, expected)


def test_concat_joins_and_moves_only_move(rng):
    source = UNSIGNED
    a, b = (random_codes(rng, (4, n, 3), source) for n in (2, 5))
    got = run("concat", [(a, source), (b, source)], source, {"dim": 1}, shape=(7, 3))
    assert got.tolist() == [p + q for p, q in zip(a.tolist(), b.tolist(), strict=True)]
    moved = run("permute", [(b, source)], source, {"order": [0, 2, 1]}, shape=(3, 5))
    assert moved[3][1][4] == b[3][4][1]
    chosen = run("select", [(b, source)], source, {"dim": 1, "index": 4}, shape=(3,))
    assert chosen.tolist() == [image[4] for image in b.tolist()]
    wide = run("expand", [(b[:, :, :1], source)], source, {}, shape=(5, 3))
    assert wide[2][3].tolist() == [b[2][3][0]] * 3


def test_constants_do_not_depend_on_the_input(rng):
    x = random_codes(rng, (4, 2), UNSIGNED)
    value = np.array([[3, 250]])
    both = run("constant", [(x, UNSIGNED)], UNSIGNED, {}, {"value": value}, (2,))
    assert both.tolist() == [[3, 250]]
