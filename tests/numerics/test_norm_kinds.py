"""Every kind of LayerNorm: integers, published figures, widths, twins."""

import math
from fractions import Fraction

import numpy as np
import pytest
import scalar_rows
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.numerics.fixed_point import ACCUMULATOR_LIMIT, Format
from codesign.numerics.integer_functions import bit_length, integer_sqrt, round_log2
from codesign.numerics.layer_norm import LAYER_NORMS

KINDS = LAYER_NORMS.names()
SHIFTS = tuple(c % 4 for c in range(1024))


@given(st.one_of(st.integers(0, 2**62), st.integers(0, 2**31).map(lambda n: n * n)))
def test_integer_sqrt(x):
    for value in (x, max(x - 1, 0)):
        assert int(integer_sqrt(torch.tensor([value]))) == math.isqrt(value)


@given(st.integers(1, 2**53 - 1))
def test_round_log2_and_bit_length(x):
    assert int(bit_length(torch.tensor(x))) == x.bit_length()
    assert int(round_log2(torch.tensor(x))) == scalar_rows.rounded_log2(x)


def norm(kind, channels, bits=8, seed=0, shifts=False):
    rng = np.random.default_rng(seed)
    gamma, beta = rng.normal(1, 0.5, channels), rng.normal(0, 0.5, channels)
    factors = SHIFTS[:channels] if shifts else ()
    source = Format(bits, 0.04, 2**bits // 3, shifts=factors)
    codes = torch.from_numpy(rng.integers(0, 2**bits, (40, channels)))
    real = F.layer_norm(
        source.dequantize(codes), (channels,), torch.tensor(gamma), torch.tensor(beta), 1e-5
    )
    target = Format.from_range(float(real.min()), float(real.max()), 8)
    c = LAYER_NORMS.get(kind).constants(gamma, beta, 1e-5, source, target)
    return gamma, beta, source, target, codes, real, c


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [3, 192, 1024])
@pytest.mark.parametrize("shifts", [False, True])
def test_integer_form_is_the_scalar_reference(kind, channels, shifts):
    *_, source, target, codes, _, c = norm(kind, channels, shifts=shifts)
    codes[0], codes[1], codes[2], codes[2, 0] = 0, 255, 0, 255
    got = LAYER_NORMS.get(kind).integer(codes.float(), source, target, c)
    whole = source.integers(codes.double()).long().tolist()
    assert got.tolist() == [scalar_rows.layer_norm_kind(kind, row, c, target) for row in whole]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.one_of(
        st.lists(st.integers(0, 255), min_size=1, max_size=30),
        st.tuples(st.integers(0, 255), st.integers(1, 200)).map(lambda p: [p[0]] * p[1]),
        st.tuples(st.integers(0, 255), st.integers(2, 200)).map(
            lambda p: [p[0]] + [p[0] ^ 1] * (p[1] - 1)
        ),
    ),
    st.sampled_from([0, 100, 255]),
    st.floats(0.01, 4.0),
    st.floats(0.0, 1.0),
)
def test_any_row(kind, row, zero_point, gamma, epsilon):
    source, target = Format(8, 0.05, zero_point), Format(8, 0.04, 90)
    factors = np.full(len(row), gamma) * np.where(np.arange(len(row)) % 3, 1.0, -1.0)
    factors[-1] = 0.0
    args = (factors, np.full(len(row), 0.3), epsilon, source, target)
    c = LAYER_NORMS.get(kind).constants(*args)
    got = LAYER_NORMS.get(kind).integer(torch.tensor([row]).float(), source, target, c)
    assert got[0].tolist() == scalar_rows.layer_norm_kind(
        kind, [q - zero_point for q in row], c, target
    )


@pytest.mark.parametrize("channels", [16, 64, 333, 1024])
@pytest.mark.parametrize("bits", [4, 8])
def test_reciprocal_is_within_one_code_of_the_real_one(channels, bits):
    _, _, source, target, codes, real, c = norm("reciprocal", channels, bits)
    got = LAYER_NORMS.get("reciprocal").integer(codes, source, target, c)
    assert (target.dequantize(got) - real).abs().max() <= target.scale


@pytest.mark.parametrize("channels", [16, 333])
@pytest.mark.parametrize("shifts", [False, True])
def test_fq_vit_is_near_the_real_one(channels, shifts):
    """Eight bits of A: an error of at most 2**-7 of A * X, and the rounding of a code."""
    gamma, _, source, target, codes, real, c = norm("fq_vit", channels, shifts=shifts)
    got = LAYER_NORMS.get("fq_vit").integer(codes, source, target, c)
    x = source.dequantize(codes)
    share = x.abs() / x.std(dim=-1, unbiased=False, keepdim=True) * torch.tensor(gamma).abs()
    assert ((target.dequantize(got) - real).abs() <= 0.51 * target.scale + share / 128 + 1e-3).all()


def test_fq_vit_has_the_published_integers():
    """FQ-ViT's uint8 inputs with power-of-two factors, 102,400 of them; gamma of 16 bits."""
    channels, rows = 64, 1600
    rng = np.random.default_rng(1)
    source = Format(8, 0.03, 117, shifts=SHIFTS[:channels])
    step = Fraction(1, 32)
    gamma = [Fraction(int(g), 2**12) for g in rng.integers(-8000, 8000, channels)]
    beta = [Fraction(int(b), 2**12) for b in rng.integers(-8000, 8000, channels)]
    target = Format(16, float(step), 0, signed=True)
    kind = LAYER_NORMS.get("fq_vit")
    floats = (np.array([float(v) for v in values]) for values in (gamma, beta))
    c = kind.constants(*floats, 0.0, source, Format(8, float(step), 0))
    centre = rng.integers(0, 256, (rows, 1))
    noise = rng.normal(0, 1, (rows, channels)) * rng.uniform(2, 90, (rows, 1))
    codes = torch.from_numpy(np.clip(np.round(centre + noise), 0, 255))
    codes[0], codes[1] = 0, 255
    codes[0, 0], codes[1, 0] = 1, 254
    got = kind.integer(codes, source, target, c).tolist()
    for row, result in zip(source.integers(codes.double()).long().tolist(), got, strict=True):
        exact = scalar_rows.published_layer_norm(row, gamma, beta, step, 1)
        assert result == [min(max(y, target.low), target.high) for y in exact]


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_without_variance_gives_beta_in_the_reciprocal_kind(kind):
    _, beta, source, target, _, _, c = norm(kind, 32)
    code = 200 if kind == "reciprocal" else source.zero_point  # fq_vit multiplies X, not X - mean
    got = LAYER_NORMS.get(kind).integer(torch.full((1, 32), code), source, target, c)
    ends = target.dequantize(torch.tensor([0, 255])).tolist()
    assert (target.dequantize(got) - torch.tensor(beta).clamp(*ends)).abs().max() <= target.scale


@pytest.mark.parametrize("gamma", [1e-3, 1.0, 60.0])
def test_accumulators_stay_below_32_bits_for_the_worst_row(gamma):
    channels = 256
    source, target = Format(8, 0.04, 0), Format(8, 0.05, 128)
    kind = LAYER_NORMS.get("reciprocal")
    c = kind.constants(np.full(channels, gamma), np.zeros(channels), 0.0, source, target)
    row = [0] * channels
    row[0] = 255  # the largest normalised value there is: sqrt(C - 1)
    total = sum(row)
    variance = channels * sum(x * x for x in row) - total**2 + c.attributes["epsilon"]
    reciprocal = 2**40 // math.isqrt(variance * 2**12)
    normal = ((channels * row[0] - total) * reciprocal + 2**23) >> 24
    assert normal == pytest.approx(2**10 * math.sqrt(channels - 1), rel=1e-3)
    peak = normal * int(c.tensors["scale"][0]) + int(c.tensors["offset"][0])
    assert abs(peak) + 2 ** (c.attributes["shift"] - 1) <= ACCUMULATOR_LIMIT
    assert abs(int(c.tensors["scale"][0])) < 2**15


@pytest.mark.parametrize("kind", KINDS)
def test_the_widest_rows_are_exact(kind):
    """4096 channels with factors of 8, half at each end: V passes 2**43, V << 12 passes 2**53."""
    channels = 4096
    source, target = Format(8, 0.04, 128, shifts=(3,) * channels), Format(8, 0.05, 128)
    gamma = np.linspace(-2, 2, channels)
    c = LAYER_NORMS.get(kind).constants(gamma, gamma / 3, 1e-5, source, target)
    codes = torch.zeros(2, channels)
    codes[0, ::2], codes[1, : channels // 2 + 7] = 255, 255
    got = LAYER_NORMS.get(kind).integer(codes, source, target, c)
    whole = source.integers(codes.double()).long().tolist()
    assert got.tolist() == [scalar_rows.layer_norm_kind(kind, row, c, target) for row in whole]


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_is_refused(kind):
    source, target = Format(8, 0.04, 0), Format(8, 1e-9, 128)
    constants = LAYER_NORMS.get(kind).constants
    with pytest.raises(ValueError, match=r"too large|out of range"):
        constants(np.array([1e4] * 4), np.array([1e4] * 4), 1e-5, source, target)
    with pytest.raises(ValueError, match="5000 channels"):
        constants(np.ones(5000), np.zeros(5000), 1e-5, source, Format(8, 0.1))
    with pytest.raises(ValueError, match="up to 4080"):
        wide = Format(8, 0.1, 0, shifts=(4, 0))
        constants(np.ones(2), np.zeros(2), 1e-5, wide, Format(8, 0.1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shifts", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_twin_is_within_one_code_and_differentiable(kind, shifts, affine):
    gamma, beta, source, target, codes, _, c = norm(kind, 48, shifts=shifts)
    if not affine:
        gamma, beta = np.ones(48), np.zeros(48)
        c = LAYER_NORMS.get(kind).constants(gamma, beta, 1e-5, source, target)
    x = source.dequantize(codes).float().requires_grad_(True)
    g, b = (torch.tensor(v, dtype=torch.float32).requires_grad_(True) for v in (gamma, beta))
    pair = (g, b) if affine else (None, None)
    y = LAYER_NORMS.get(kind).twin(x, *pair, 1e-5, source, target)
    got = target.dequantize(LAYER_NORMS.get(kind).integer(codes, source, target, c))
    assert (y.double() - got).abs().max() <= target.scale * (1 + 1e-3)
    (y * torch.linspace(-1, 1, 48)).sum().backward()
    for tensor in (x, g, b) if affine else (x,):
        assert torch.isfinite(tensor.grad).all()
        assert tensor.grad.abs().sum() > 0
