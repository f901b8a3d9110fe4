import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from codesign.numerics.fixed_point import Format, dyadic, requantize

LARGEST = 2.0**15 - 0.25
ratios = st.floats(2.0**-44, LARGEST, exclude_max=True)


@given(ratios)
def test_dyadic_is_the_nearest_number_of_its_kind(ratio):
    multiplier, shift = (int(value[0]) for value in dyadic(ratio))
    assert 0 <= multiplier < 2**16
    assert 1 <= shift <= 44
    step = Fraction(1, 2**shift)
    assert abs(multiplier * step - Fraction(ratio)) <= step / 2
    pure_shift = multiplier == 1 and Fraction(ratio) == step
    # no bit of the multiplier is wasted
    assert shift == 44 or multiplier >= 2**15 or shift == 1 or pure_shift


def test_powers_of_two_up_to_a_half_are_pure_shifts():
    for exponent in range(1, 45):
        multiplier, shift = (int(value[0]) for value in dyadic(2.0**-exponent))
        assert (multiplier, shift) == (1, exponent)
    for exponent in range(15):  # larger ratios: still a power of two
        multiplier, shift = (int(value[0]) for value in dyadic(2.0**exponent))
        assert multiplier == 2 ** (exponent + shift)


@given(st.floats(2.0**-28, LARGEST, exclude_max=True))
def test_dyadic_errs_by_at_most_two_to_the_minus_sixteen(ratio):
    multiplier, shift = (int(value[0]) for value in dyadic(ratio))
    assert abs(Fraction(multiplier, 2**shift) / Fraction(ratio) - 1) <= Fraction(1, 2**16)


def test_dyadic_of_zero_and_of_what_cannot_be():
    assert int(dyadic(0.0)[0][0]) == 0
    for ratio in (-1e-9, LARGEST, math.inf, math.nan):
        with pytest.raises(ValueError, match="out of range"):
            dyadic(ratio)


@given(
    st.integers(-(2**31) + 1, 2**31 - 1),
    st.integers(0, 2**16 - 1),
    st.integers(1, 44),
    st.integers(0, 255),
)
def test_requantize_equals_integer_arithmetic(accumulator, multiplier, shift, zero_point):
    got = requantize(
        torch.tensor(float(accumulator), dtype=torch.float64),
        torch.tensor(multiplier),
        torch.tensor(shift),
        zero_point,
        0,
        255,
    )
    scaled = (accumulator * multiplier + 2 ** (shift - 1)) >> shift
    assert int(got) == min(max(zero_point + scaled, 0), 255)


@pytest.mark.parametrize("value", [2**31 - 1, -(2**31) + 1])
@pytest.mark.parametrize("shift", [1, 16, 30, 31, 44])
def test_requantize_at_the_largest_accumulators(value, shift):
    got = requantize(
        torch.tensor(float(value), dtype=torch.float64),
        torch.tensor(2**16 - 1),
        torch.tensor(shift),
        0,
        -(2**15),
        2**15 - 1,
    )
    scaled = (value * (2**16 - 1) + 2 ** (shift - 1)) >> shift
    assert int(got) == min(max(scaled, -(2**15)), 2**15 - 1)


@given(st.floats(-100, 100), st.floats(-100, 100), st.integers(2, 8))
def test_a_range_becomes_a_format_that_holds_zero_and_both_ends(a, b, bits):
    low, high = min(a, b), max(a, b)
    f = Format.from_range(low, high, bits)
    assert f.low <= f.zero_point <= f.high
    assert float(f.dequantize(torch.tensor(f.zero_point))) == 0.0
    for end in (low, high):
        x = torch.tensor(end, dtype=torch.float64)
        assert abs(float(f.dequantize(f.quantize(x)) - x)) <= f.scale * 1.000001


@given(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=20), st.integers(2, 8))
def test_quantize_takes_the_nearest_code_ties_up(values, bits):
    f = Format.from_range(-1.0, 2.0, bits)
    codes = f.quantize(torch.tensor(values)).tolist()
    for x, q in zip(values, codes, strict=True):
        real = min(max(Fraction(float(torch.tensor(x).double() / f.scale)), -1000), 1000)
        nearest = math.floor(real + Fraction(1, 2)) + f.zero_point
        assert abs(q - min(max(nearest, f.low), f.high)) <= (abs(real) > 999)


def test_a_tie_goes_up():
    f = Format(8, 0.5, 10)
    assert f.quantize(torch.tensor([0.25, -0.25, 0.75])).tolist() == [11, 10, 12]


def test_signed_formats_have_twos_complement_limits():
    f = Format(16, 1.0, 0, signed=True)
    assert (f.low, f.high, f.magnitude) == (-32768, 32767, 32768)
    assert Format(8, 1.0, 200).magnitude == 200


def test_fake_quantize_is_within_a_code_and_passes_gradients_inside():
    f = Format.from_range(-1.0, 2.0, 6)
    x = torch.linspace(-2, 3, 1001, requires_grad=True)
    y = f.fake_quantize(x)
    assert (y - f.dequantize(f.quantize(x))).abs().max() <= f.scale * 1.0001
    y.sum().backward()
    inside = (x > -1.0) & (x < 2.0)
    assert (x.grad[inside] == 1).all()
    assert (x.grad[(x < -1.1) | (x > 2.1)] == 0).all()


def test_a_tensor_of_zeros_gets_a_usable_format():
    f = Format.from_range(0.0, 0.0, 8)
    assert f.zero_point == 0
    assert dyadic(0.01 / f.scale)[0][0] > 0
