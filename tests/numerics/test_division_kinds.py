"""Every kind of division: integers, the published rule, guards, twins."""

from fractions import Fraction

import numpy as np
import pytest
import scalar_rows
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.errors import UserError
from codesign.numerics.division import DIVISIONS
from codesign.numerics.fixed_point import Format

KINDS = DIVISIONS.names()
TARGET = Format(8, 0.01, 100)
UNSIGNED, WIDE = Format(8, 0.02, 0), Format(16, 1e-4, 0, signed=True)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.integers(-32768, 32767),
    st.integers(-32768, 32767),
    st.floats(1e-6, 1e3),
    st.sampled_from([0.0, 1e-5, 0.3]),
)
def test_integer_form_is_the_exact_fraction(kind, n, d, ratio, epsilon):
    source = Format(16, ratio * WIDE.scale * TARGET.scale, 0, signed=True)
    d = abs(d) if kind == "log2" else d
    division = DIVISIONS.get(kind)
    c = division.constants(epsilon, source, WIDE, TARGET)
    pair = torch.tensor([n, 1.0 * n]), torch.tensor([1.0 * d])
    got = division.integer(*pair, (source, WIDE), TARGET, c)
    assert got.tolist() == [scalar_rows.division_kind(kind, n, d, c.attributes, TARGET)] * 2


def test_log2_has_the_published_exponents():
    """Every 8-bit divisor; 01100011 gives 7 (Trio-ViT)."""
    assert scalar_rows.published_exponent(0b01100011) == 7
    numerator, target = Format(8, 0.02, 90), Format(8, 2.0**-7, 117)
    division = DIVISIONS.get("log2")
    c = division.constants(1e-5, numerator, UNSIGNED, target)
    n = torch.arange(256).reshape(-1, 1).double()
    d = torch.arange(256).double()
    got = division.integer(n, d, (numerator, UNSIGNED), target, c)
    for code in range(256):
        exponent = scalar_rows.published_exponent(code)
        for top in range(0, 256, 5):
            real = Fraction((top - 90) * 2**7, 2**exponent)  # both scales are 0.02
            wanted = min(max(117 + int((real + Fraction(1, 2)) // 1), 0), 255)
            assert got[top, code] == wanted


def test_log2_is_within_a_half_of_the_real_quotient():
    """Rounding at 1.5 errs by up to a half down, a third up."""
    d = torch.arange(1, 256).double()
    division = DIVISIONS.get("log2")
    target = Format(16, 1e-4, 0, signed=True)
    c = division.constants(0.0, UNSIGNED, UNSIGNED, target)
    got = target.dequantize(division.integer(d * 0 + 200, d, (UNSIGNED, UNSIGNED), target, c))
    inside = got < target.scale * 32767
    ratio = (got * d / 200)[inside]
    assert 0.74 < float(ratio.min()) < 0.76
    assert 1.45 < float(ratio.max()) <= 1.5


def test_zero_below_the_line_counts_as_one():
    for kind in KINDS:
        division = DIVISIONS.get(kind)
        c = division.constants(0.0, UNSIGNED, UNSIGNED, TARGET)
        zero, one = (
            division.integer(torch.tensor([60.0]), torch.tensor([d]), (UNSIGNED,) * 2, TARGET, c)
            for d in (0.0, 1.0)
        )
        assert zero == one


def test_exact_keeps_row_sums_of_many_sizes_at_sixteen_bits():
    """Numerators and row sums of one tensor: at 8 bits little is left of the smaller rows."""
    rng = np.random.default_rng(0)
    sums = torch.from_numpy(np.exp(rng.uniform(np.log(20), np.log(2000), 4000)))
    values = torch.from_numpy(rng.uniform(-1, 1, 4000))
    target, errors = Format(8, 2.0 / 255, 128), {}
    for bits in (8, 16):
        fmt = Format(bits, 2000 / (2 ** (bits - 1) - 1), 0, signed=True)
        division = DIVISIONS.get("exact")
        c = division.constants(1e-5, fmt, fmt, target)
        codes = fmt.quantize(values * sums), fmt.quantize(sums)
        got = target.dequantize(division.integer(*codes, (fmt, fmt), target, c))
        errors[bits] = float((got - values).abs().mean())
    assert errors[16] < 0.3 * target.scale
    assert errors[8] > 5 * errors[16]


def test_exact_divides_by_negative_numbers():
    division = DIVISIONS.get("exact")
    c = division.constants(0.0, WIDE, WIDE, TARGET)
    n, d = torch.tensor([1000.0, -1000.0, 1000.0]), torch.tensor([-2000.0, -2000.0, 2000.0])
    got = TARGET.dequantize(division.integer(n, d, (WIDE, WIDE), TARGET, c))
    np.testing.assert_allclose(got, [-0.5, 0.5, 0.5], atol=1e-9)


def test_log2_refuses_negative_denominators_by_name():
    for fmt in (WIDE, Format(8, 0.1, 3)):
        with pytest.raises(UserError, match=r"quantize\.division=log2.*quantize\.division=exact"):
            DIVISIONS.get("log2").check(fmt)
        DIVISIONS.get("exact").check(fmt)
    DIVISIONS.get("log2").check(UNSIGNED)


def test_ratios_beyond_the_widths_are_refused():
    tiny = Format(8, 1e-12, 0)
    with pytest.raises(ValueError, match="ratio"):
        DIVISIONS.get("exact").constants(0.0, UNSIGNED, UNSIGNED, tiny)
    with pytest.raises(ValueError, match="epsilon"):
        DIVISIONS.get("exact").constants(1e9, UNSIGNED, UNSIGNED, TARGET)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("epsilon", [0.0, 1e-5])
def test_twin_is_within_one_code_and_differentiable(kind, epsilon):
    rng = torch.Generator().manual_seed(0)
    n = torch.randint(0, 256, (40, 30), generator=rng).double()
    d = torch.randint(0, 256, (40, 1), generator=rng).double()
    d[0] = 0
    formats, target = (Format(8, 0.02, 120), UNSIGNED), Format(8, 0.02, 128)
    division = DIVISIONS.get(kind)
    x, y = (f.dequantize(q).float().requires_grad_(True) for f, q in zip(formats, (n, d),
            strict=True))  # fmt: skip
    result = division.twin(x, y, epsilon, formats, target)
    c = division.constants(epsilon, *formats, target)
    got = target.dequantize(division.integer(n, d, formats, target, c))
    assert (result.double() - got).abs().max() <= target.scale * (1 + 1e-4)
    result.square().sum().backward()
    for tensor in (x, y):
        assert torch.isfinite(tensor.grad).all()
        assert tensor.grad.abs().sum() > 0
