"""The arithmetic of the integer ONNX graph in ONNX Runtime against Python's own integers."""

import math

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from codesign.errors import RunError
from codesign.export.onnx_integer import arithmetic, planes
from codesign.export.onnx_integer.builder import Builder
from codesign.export.onnx_integer.values import Value, narrowest

EDGES = sorted(
    {sign * 2**e + d for e in (0, 1, 8, 16, 31, 32, 33, 40, 61) for d in (-1, 0, 1)
     for sign in (1, -1)}
)  # fmt: skip


def evaluate(build, *inputs, low=None, high=None):
    """Return what a graph makes of int64 columns: build gets a Builder and the inputs' Values.

    Bounds of the inputs are those of the numbers given, unless wider ones are.
    """
    b = Builder("x0", [f"x{i}" for i in range(len(inputs))])
    b.enter("test")
    columns = [np.array(values, dtype=np.int64).reshape(-1, 1) for values in inputs]
    values = [
        Value(f"x{i}", "int64", min(v) if low is None else low, max(v) if high is None else high)
        for i, v in enumerate(inputs)
    ]
    result = build(b, *values)
    wide = b.cast(result, "int64")
    name = b.emit("Identity", [wide.name], "result")
    infos = [
        helper.make_tensor_value_info(v.name, onnx.TensorProto.INT64, ["n", 1]) for v in values
    ]
    out = helper.make_tensor_value_info(name, onnx.TensorProto.INT64, ["n", 1])
    graph = helper.make_graph(b.nodes, "test", infos, [out], b.initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feeds = {value.name: column for value, column in zip(values, columns, strict=True)}
    got = session.run(None, feeds)[0].reshape(-1).tolist()
    assert result.low <= min(got) <= max(got) <= result.high
    return got


@pytest.mark.parametrize("other", EDGES)
def test_extremes_and_comparisons_of_64_bits(other):
    """ONNX Runtime's own Max and Min of int64 are wrong for some of these numbers."""
    numbers = EDGES * 3
    wide = {"low": -(2**62), "high": 2**62}
    larger = evaluate(lambda b, x: b.maximum(x, other), numbers, **wide)
    assert larger == [max(x, other) for x in numbers]
    smaller = evaluate(lambda b, x: b.minimum(x, other), numbers, **wide)
    assert smaller == [min(x, other) for x in numbers]
    row = evaluate(lambda b, x: b.largest(x, [0]), numbers)
    assert row == [max(numbers)]


@pytest.mark.parametrize("bits", [1, 4, 16, 24, 31, 32, 44])
def test_floors_of_negative_numbers(bits):
    numbers = EDGES
    shifted = evaluate(lambda b, x: arithmetic.floor_shift(b, x, bits), numbers)
    assert shifted == [x >> bits for x in numbers]
    moved = evaluate(lambda b, x: arithmetic.floor_shift(b, x, bits, addend=-5), numbers)
    assert moved == [(x - 5) >> bits for x in numbers]
    each = evaluate(lambda b, x, s: arithmetic.floor_shift(b, x, s), numbers, [bits] * len(numbers))
    assert each == [x >> bits for x in numbers]
    divisor = 2**bits - 1
    quotients = evaluate(lambda b, x: arithmetic.floor_quotient(b, x, divisor), numbers)
    assert quotients == [x // divisor for x in numbers]


def test_floor_shift_near_both_ends_of_64_bits():
    numbers = [-(2**63), -(2**63) + 1, 2**63 - 1, 2**62, -1, 0]
    got = evaluate(lambda b, x: arithmetic.floor_shift(b, x, 44), numbers)
    assert got == [x >> 44 for x in numbers]


def root(b, x):
    return arithmetic.integer_sqrt(b, x)


def test_root_of_every_small_number():
    numbers = list(range(1, 70_000))
    assert evaluate(root, numbers) == [math.isqrt(x) for x in numbers]


@pytest.mark.parametrize("start", [2**60, 2**62 - 2**40])
def test_root_near_the_largest_numbers(start):
    numbers = [*range(start, start + 1000), 2**62 - 1]
    assert evaluate(root, numbers) == [math.isqrt(x) for x in numbers]


@pytest.mark.parametrize("bits", range(2, 32))
def test_root_around_squares(bits):
    """Numbers beside squares, and where Newton's start is farthest off, of every length."""
    rng = np.random.default_rng(bits)
    roots = [*rng.integers(2 ** (bits - 1), 2**bits, 300).tolist(), 2 ** (bits - 1), 2**bits - 1]
    numbers = [r * r + d for r in roots for d in (-1, 0, 1, 2 * r)]
    assert evaluate(root, numbers, low=1, high=2**62 - 1) == [math.isqrt(x) for x in numbers]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 2**62 - 1), min_size=1, max_size=300))
def test_roots_and_lengths_of_any_numbers(numbers):
    assert evaluate(root, numbers) == [math.isqrt(x) for x in numbers]
    assert evaluate(arithmetic.bit_length, numbers) == [x.bit_length() for x in numbers]
    assert evaluate(arithmetic.round_log2, numbers) == [
        x.bit_length() - 1 + (2 * x - 2 ** x.bit_length() >= 2 ** (x.bit_length() - 1))
        for x in numbers
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 14, 255])
def test_counting_thresholds(count):
    rng = np.random.default_rng(count)
    thresholds = np.sort(rng.integers(0, 2**15, count)).tolist()
    numbers = [*rng.integers(0, 2**16, 200).tolist(), *thresholds, *(t - 1 for t in thresholds)]
    expected = [sum(t <= x for t in thresholds) for x in numbers]
    found = evaluate(lambda b, x: arithmetic.count_reached(b, x, thresholds, "c"), numbers)
    assert found == expected
    rows = evaluate(lambda b, x: arithmetic.count_reached_in_rows(b, x, thresholds), numbers)
    assert rows == expected


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(-(2**30), 2**30), min_size=1, max_size=30))
def test_bytes_add_up_to_the_number(numbers):
    parts = planes.split(np.array(numbers, dtype=np.int64))
    assert all(0 <= part.min() <= part.max() <= 255 for part, _, _ in parts)
    total = sum((part - zero) * 256**place for part, zero, place in parts)
    assert np.array_equal(np.broadcast_to(total, len(numbers)), numbers)


def test_what_64_bits_do_not_hold_is_an_error_that_names_the_node():
    b = Builder("x", ["x"])
    b.enter("stem.conv")
    x = Value("x", "int64", -(2**40), 2**40)
    with pytest.raises(RunError, match=r"stem\.conv"):
        b.multiply(x, x)
    with pytest.raises(RunError, match=r"stem\.conv: numbers from"):
        b.cast(x, "int32")
    with pytest.raises(OverflowError):
        narrowest(-1, 2**63)
