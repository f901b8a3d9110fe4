"""Every kind of softmax: integers, published figures, bounds, twins."""

import math
from decimal import Decimal, getcontext

import pytest
import scalar_rows
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.errors import UserError
from codesign.numerics.fixed_point import Format
from codesign.numerics.softmax import SOFTMAXES, exponential_table
from codesign.numerics.softmax.log_int import LogIntSoftmax

getcontext().prec = 50
KINDS = [(name, bits) for name in SOFTMAXES.names() for bits in (4, 8)]
SCALES = [1e-5, 0.004, 16 / 255, 0.12, 0.5]
SPREAD = torch.logspace(-6, 0, 4000)


def formats(name, bits, scale, source_bits=8):
    source = Format(source_bits, scale, 100 >> (8 - source_bits))
    return SOFTMAXES.get(name), source, SOFTMAXES.get(name).format(bits, SPREAD)


def random_rows(rows, length, bits=8, seed=0):
    codes = torch.randint(0, 2**bits, (rows, length), generator=torch.Generator().manual_seed(seed))
    codes[0], codes[1] = 0, 2**bits - 1
    codes[2, 1:], codes[2, 0] = 0, 2**bits - 1
    return codes


@pytest.mark.parametrize(("name", "bits"), KINDS)
@pytest.mark.parametrize("scale", SCALES)
def test_integer_form_is_the_scalar_reference(name, bits, scale):
    kind, source, target = formats(name, bits, scale)
    c = kind.constants(source, target)
    codes = random_rows(60, 33)
    got = kind.integer(codes, source, target, c)
    assert got.tolist() == [
        scalar_rows.softmax_kind(name, row, c, target) for row in codes.tolist()
    ]
    assert kind.integer(codes[:, :1], source, target, c).unique().numel() == 1


rows_of_codes = st.one_of(
    st.lists(st.integers(0, 255), min_size=1, max_size=40),
    st.tuples(st.integers(0, 255), st.integers(1, 300)).map(lambda p: [p[0]] * p[1]),
    st.tuples(st.integers(0, 299), st.integers(1, 300)).map(
        lambda p: [255 if i == p[0] % p[1] else 0 for i in range(p[1])]
    ),
)


@settings(max_examples=60, deadline=None)
@given(rows_of_codes, st.sampled_from(KINDS), st.floats(1e-8, 2.0), st.sampled_from([0, 3, 255]))
def test_any_row_stays_within_its_proved_sum(row, kind_bits, scale, zero_point):
    name, bits = kind_bits
    kind, source = SOFTMAXES.get(name), Format(8, scale, zero_point)
    target = kind.format(bits, SPREAD)
    c = kind.constants(source, target)
    got = kind.integer(torch.tensor([row]), source, target, c)
    assert got[0].tolist() == scalar_rows.softmax_kind(name, row, c, target)
    assert ((got >= target.low) & (got <= target.high)).all()
    decoded = target.integers(got.double())
    assert float(decoded.sum()) <= c.attributes["row_limit"]
    assert float(decoded.max()) <= target.magnitude
    values = [v for _, v in sorted(zip(row, decoded[0].tolist(), strict=True))]
    assert values == sorted(values)  # a larger score never has the smaller probability


@pytest.mark.parametrize(("name", "bits"), KINDS)
def test_the_only_element_has_all_the_probability(name, bits):
    kind, source, target = formats(name, bits, 0.1)
    got = kind.integer(torch.tensor([[7]]), source, target, kind.constants(source, target))
    floors = {"shiftmax": 2.0 ** -(bits - 1), "log_sqrt2": 0.02}.get(name, 1e-9)
    assert 1.0 - floors <= float(target.dequantize(got)) <= 1.0 + 1e-9


@pytest.mark.parametrize(
    ("name", "bits", "allowed"),
    [
        ("table", 4, 1 / 15), ("table", 8, 1 / 255), ("shiftmax", 4, 0.17), ("shiftmax", 8, 0.06),
        ("log_int", 4, 0.37), ("log_sqrt2", 4, 0.17), ("two_scale", 4, 0.08),
        ("two_scale", 8, 0.005),
    ],
)  # fmt: skip
@pytest.mark.parametrize("scale", [0.01, 0.05, 0.1])
def test_probabilities_are_near_the_real_ones(name, bits, allowed, scale):
    kind, source, _ = formats(name, bits, scale)
    codes = random_rows(200, 17)
    real = torch.softmax(source.dequantize(codes), dim=-1)
    target = kind.format(bits, real)
    got = kind.integer(codes, source, target, kind.constants(source, target))
    assert (target.dequantize(got) - real).abs().max() <= allowed


@pytest.mark.parametrize("scale", [16 / 255, 8 / 255, 0.02, 0.11])
def test_log_int_softmax_has_the_published_integers(scale):
    """FQ-ViT 8/8/4: uint8 logits, n = 30, b = 4. Exponent 15 and zero share a code here."""
    kind, source = LogIntSoftmax(limit=30), Format(8, scale, 128)
    target = kind.format(4, SPREAD)
    codes = random_rows(140, 197)
    got = kind.integer(codes, source, target, kind.constants(source, target)).tolist()
    for row, exponents in zip(codes.tolist(), got, strict=True):
        published = scalar_rows.published_log_int_softmax(row, scale)
        assert exponents == [15 if k is None else min(k, 15) for k in published]
    assert target.codebook == (*(2**k for k in range(14, -1, -1)), 0)


def test_sixteen_in_place_of_thirty_shifts_changes_next_to_nothing():
    source = Format(8, 0.11, 128)
    default, published = SOFTMAXES.get("log_int"), LogIntSoftmax(limit=30)
    target, codes = default.format(4, SPREAD), random_rows(500, 197)
    a, b = (k.integer(codes, source, target, k.constants(source, target)) for k in
            (default, published))  # fmt: skip
    assert (a != b).double().mean() < 1e-3
    assert (a - b).abs().max() <= 1
    bits = (default.constants(source, target).attributes["constant"] << 16).bit_length()
    assert bits <= 26


def test_log_sqrt2_thresholds_round_minus_two_log2():
    kind = SOFTMAXES.get("log_sqrt2")
    for delta in (1.0, 0.3, 0.02):
        target = kind.format(4, torch.full((10,), delta))
        thresholds, codes = kind.levels(target)
        one = round(delta * 2**15)
        for p in range(1, 2**15 + 1, 7):
            exact = -2 * (Decimal(p) / one).ln() / Decimal(2).ln()
            q = max(math.floor(exact + Decimal("0.5")), 0)
            assert codes[sum(t <= p for t in thresholds)] == (q if q <= 14 else 15)
        for q in range(15):
            worth = target.codebook[q] * target.scale
            assert worth == pytest.approx(one / 2**15 * 2 ** (-q / 2), rel=2e-4)


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_two_scale_thresholds_find_the_nearest_value(bits):
    kind = SOFTMAXES.get("two_scale")
    target = kind.format(bits, SPREAD)
    thresholds, codes = kind.levels(target)
    top = max(target.codebook)
    reach = round(target.scale * top * 2**15)
    for p in range(0, 2**15 + 1, 37 if bits > 4 else 5):
        chosen = target.codebook[codes[sum(t <= p for t in thresholds)]]
        error = min(abs(2 * p * top - 2 * v * reach) for v in target.codebook)
        assert abs(2 * p * top - 2 * chosen * reach) == error or (p == 0 and chosen == 0)


def test_two_scales_resolve_small_probabilities():
    """Its reason: less error than one scale where most probabilities are small."""
    p = torch.softmax(2 * torch.randn(500, 64, generator=torch.Generator().manual_seed(0)), dim=-1)
    one, two = (SOFTMAXES.get(name).format(4, p) for name in ("table", "two_scale"))
    errors = [float((f.fake_quantize(p) - p).square().mean()) for f in (one, two)]
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize(("name", "bits"), KINDS)
@pytest.mark.parametrize("scale", [0.02, 0.09])
def test_twin_is_within_one_code_and_differentiable(name, bits, scale):
    kind, source, target = formats(name, bits, scale)
    codes = random_rows(50, 40)
    x = source.dequantize(codes).float().requires_grad_(True)
    y = kind.twin(x, source, target)
    got = kind.integer(codes, source, target, kind.constants(source, target))
    levels = sorted(set(target.codebook or range(2**bits)))
    place = torch.bucketize(target.integers(got.double()), torch.tensor(levels).double())
    twin_place = torch.bucketize(
        torch.round(y.double() / target.scale), torch.tensor(levels).double()
    )
    assert (place - twin_place).abs().max() <= 1
    (y * torch.arange(40)).sum().backward()
    assert torch.isfinite(x.grad).all()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("name", SOFTMAXES.names())
def test_a_width_without_codes_is_refused_by_name(name):
    with pytest.raises(UserError, match=rf"quantize\.softmax={name}.*quantize\.attention_bits"):
        SOFTMAXES.get(name).check(9)
    for bits in (4, 8):
        SOFTMAXES.get(name).check(bits)


def test_powers_of_two_say_their_width_as_weights():
    kind = SOFTMAXES.get("log_int")
    assert [kind.log2_width(b) for b in (3, 4, 8)] == [4, 5, 5]  # a sign and 3, 4, 4 bits
    assert SOFTMAXES.get("log_sqrt2").log2_width(4) is None


@pytest.mark.parametrize("scale", [1e-4, 0.037, 0.5])
def test_exponential_table_against_forty_digits(scale):
    table = exponential_table(Format(8, scale)).tolist()
    for distance, entry in enumerate(table):
        exact = Decimal(2**15 - 1) * (-Decimal(scale) * distance).exp()
        assert abs(Decimal(entry) - exact) <= Decimal("0.5000001")
    assert table[0] == 2**15 - 1


def test_softmax_of_65536_equal_codes_is_exact():
    kind, source, target = formats("table", 8, 0.1)
    c = kind.constants(source, target)
    assert (kind.integer(torch.zeros(1, 2**16), source, target, c) == 0).all()
    assert (kind.integer(torch.zeros(1, 255), source, target, c) == 1).all()
