"""Softmax and LayerNorm against high-precision truths, and their twins."""

import math
from decimal import Decimal, getcontext

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from codesign.numerics.fixed_point import ACCUMULATOR_LIMIT, Format
from codesign.numerics.layer_norm import integer_sqrt, layer_norm, layer_norm_constants
from codesign.numerics.softmax import exponential_table, probability_format, softmax

getcontext().prec = 40


@pytest.mark.parametrize("scale", [1e-4, 0.037, 0.5])
def test_exponential_table_against_forty_digits(scale):
    table = exponential_table(Format(8, scale)).tolist()
    for distance, entry in enumerate(table):
        exact = Decimal(2**15 - 1) * (-Decimal(scale) * distance).exp()
        assert abs(Decimal(entry) - exact) <= Decimal("0.5000001")
    assert table[0] == 2**15 - 1


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_softmax_is_within_one_code_of_the_real_one(bits):
    source, target = Format(8, 0.05, 128), probability_format(bits)
    codes = torch.randint(0, 256, (50, 17), generator=torch.Generator().manual_seed(0))
    got = softmax(codes, exponential_table(source).double(), target.high)
    real = torch.softmax(source.dequantize(codes), dim=-1)
    assert (target.dequantize(got) - real).abs().max() <= target.scale
    twin = target.fake_quantize(real)
    assert (target.dequantize(got) - twin).abs().max() <= target.scale * (1 + 1e-9)
    assert (got >= 0).all()
    assert (got <= target.high).all()


def test_softmax_of_one_element_is_one():
    table = exponential_table(Format(8, 0.1)).double()
    assert softmax(torch.tensor([[7]]), table, 255).item() == 255


def test_softmax_of_65536_equal_codes_is_exact():
    table = exponential_table(Format(8, 0.1)).double()
    assert (softmax(torch.zeros(1, 2**16), table, 255) == 0).all()
    assert (softmax(torch.zeros(1, 255), table, 255) == 1).all()


@given(st.one_of(st.integers(0, 2**52 - 1), st.integers(0, 2**26 - 1).map(lambda n: n * n)))
def test_integer_sqrt(x):
    for value in (x, max(x - 1, 0)):
        assert int(integer_sqrt(torch.tensor([float(value)], dtype=torch.float64))) == math.isqrt(
            value
        )


def norm(channels, bits=8, seed=0):
    rng = np.random.default_rng(seed)
    gamma, beta = rng.normal(1, 0.5, channels), rng.normal(0, 0.5, channels)
    source = Format(bits, 0.04, 2**bits // 3)
    codes = torch.from_numpy(rng.integers(0, 2**bits, (40, channels)))
    real = F.layer_norm(
        source.dequantize(codes), (channels,), torch.tensor(gamma), torch.tensor(beta), 1e-5
    )
    target = Format.from_range(float(real.min()), float(real.max()), 8)
    return gamma, beta, source, target, codes, real


@pytest.mark.parametrize("channels", [16, 64, 333, 1024])
@pytest.mark.parametrize("bits", [4, 8])
def test_layer_norm_is_within_one_code_of_the_real_one(channels, bits):
    gamma, beta, source, target, codes, real = norm(channels, bits)
    constants = layer_norm_constants(gamma, beta, 1e-5, source, target)
    got = target.dequantize(layer_norm(codes, constants, source, target))
    assert (got - real).abs().max() <= target.scale
    assert (got - target.fake_quantize(real)).abs().max() <= target.scale * (1 + 1e-9)


def test_a_row_without_variance_gives_beta():
    gamma, beta, source, target, _, _ = norm(32)
    constants = layer_norm_constants(gamma, beta, 1e-5, source, target)
    got = target.dequantize(layer_norm(torch.full((1, 32), 200), constants, source, target))
    wanted = torch.tensor(beta).clamp(
        float(target.dequantize(torch.tensor(0))), float(target.dequantize(torch.tensor(255)))
    )
    assert (got - wanted).abs().max() <= target.scale


@pytest.mark.parametrize("gamma", [1e-3, 1.0, 60.0])
def test_layer_norm_accumulators_stay_below_32_bits_for_the_worst_row(gamma):
    channels = 256
    source, target = Format(8, 0.04, 0), Format(8, 0.05, 128)
    constants = layer_norm_constants(
        np.full(channels, gamma), np.zeros(channels), 0.0, source, target
    )
    row = [0] * channels
    row[0] = 255  # the largest normalised value there is: sqrt(C - 1)
    total = sum(row)
    variance = channels * sum(x * x for x in row) - total**2 + constants.epsilon
    reciprocal = 2**40 // math.isqrt(variance * 2**12)
    normal = ((channels * row[0] - total) * reciprocal + 2**23) >> 24
    assert normal == pytest.approx(2**10 * math.sqrt(channels - 1), rel=1e-3)
    peak = normal * int(constants.scale[0]) + int(constants.offset[0])
    assert abs(peak) + 2 ** (constants.shift - 1) <= ACCUMULATOR_LIMIT
    assert abs(int(constants.scale[0])) < 2**15


def test_layer_norm_that_cannot_be_is_refused():
    source, target = Format(8, 0.04, 0), Format(8, 1e-6, 128)
    with pytest.raises(ValueError, match="too large"):
        layer_norm_constants(np.array([1e4] * 4), np.zeros(4), 1e-5, source, target)
    with pytest.raises(ValueError, match="5000 channels"):
        layer_norm_constants(np.ones(5000), np.zeros(5000), 1e-5, source, Format(8, 0.1))
