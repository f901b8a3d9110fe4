"""Every registered activation function: its values, its integer form and its twin."""

import math

import pytest
import torch

from codesign.errors import UserError
from codesign.numerics.activation import ACTIVATIONS
from codesign.numerics.fixed_point import Format

PI = math.pi
TRUTH = {
    "silu": lambda x: x / (1 + math.exp(-x)),
    "relu": lambda x: max(x, 0.0),
    "hardswish": lambda x: x * min(max(x + 3, 0), 6) / 6,
    "shift_swish": lambda x: x / (1 + math.exp(-x)),
    "shift_gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / PI) * (x + 0.044715 * x**3))),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "hardsigmoid": lambda x: min(max(x / 6 + 0.5, 0), 1),
    "tanh": math.tanh,
    "relu6": lambda x: min(max(x, 0.0), 6.0),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "selu": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    "softplus": lambda x: math.log1p(math.exp(x)),
    "mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
}
# Real error beyond the rounding of a code: shift_swish approximates, hardswish rounds 3 to a code.
APPROXIMATION = {"shift_swish": 0.08, "shift_gelu": 0.08, "hardswish": 0.5}
RANGES = [(-30.0, 30.0), (-6.0, 6.0), (-1.0, 3.0), (-8.0, 0.5), (-0.3, 12.0)]


def formats(name, low, high, bits, target_bits=8):
    source = Format.from_range(low, high, bits)
    codes = torch.arange(source.low, source.high + 1)
    values = [TRUTH[name](x) for x in source.dequantize(codes).tolist()]
    return source, Format.from_range(min(values), max(values), target_bits)


def test_every_function_has_a_truth_here():
    assert set(ACTIVATIONS.names()) == set(TRUTH)


@pytest.mark.parametrize("name", sorted(TRUTH))
def test_float_form(name):
    x = torch.linspace(-8, 8, 301, dtype=torch.float64)
    expected = torch.tensor([TRUTH[name](float(v)) for v in x], dtype=torch.float64)
    torch.testing.assert_close(ACTIVATIONS.get(name).float(x), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(TRUTH))
@pytest.mark.parametrize("span", RANGES)
@pytest.mark.parametrize("bits", [4, 6, 8])
def test_integer_form_is_close_to_the_function(name, span, bits):
    bits = 8 if name.startswith("shift_") else bits  # its exponent needs several codes to 1.0
    source, target = formats(name, *span, bits)
    function = ACTIVATIONS.get(name)
    table = function.table(source, target)
    worst = 0.0
    for code, result in zip(range(source.low, source.high + 1), table.tolist(), strict=True):
        assert target.low <= result <= target.high
        x = (code - source.zero_point) * source.scale
        low, high = (float(target.dequantize(torch.tensor(c))) for c in (target.low, target.high))
        exact = min(max(TRUTH[name](x), low), high)
        worst = max(worst, abs((result - target.zero_point) * target.scale - exact))
    allowed = 0.5 * target.scale + 1e-6
    if function.operation != "lookup":
        allowed = target.scale + APPROXIMATION.get(name, 0.0) * max(1.0, source.scale)
    if name == "hardswish":  # 3 is off by half an input code at most: p changes by |x| / 6 of it
        allowed = target.scale + source.scale * 0.5 * max(map(abs, span)) / 3
    assert worst <= allowed


@pytest.mark.parametrize("name", sorted(TRUTH))
@pytest.mark.parametrize("span", RANGES)
@pytest.mark.parametrize("bits", [4, 8])
def test_twin_is_within_one_code_and_differentiable(name, span, bits):
    source, target = formats(name, *span, bits, target_bits=bits)
    function = ACTIVATIONS.get(name)
    codes = torch.arange(source.low, source.high + 1)
    y = function.twin(source.dequantize(codes).float(), source, target)
    constants = function.constants(source, target)
    integer = target.dequantize(function.integer(codes, source, target, constants))
    assert (y.double() - integer).abs().max() <= target.scale * (1 + 1e-4)
    x = torch.linspace(*span, 200).requires_grad_(True)
    function.twin(x, source, target).sum().backward()
    assert torch.isfinite(x.grad).all()
    assert x.grad.abs().sum() > 0


def test_relu_of_integers_is_exact_where_the_scales_agree():
    source, target = Format(8, 0.1, 100), Format(8, 0.1)
    table = ACTIVATIONS.get("relu").table(source, target)
    assert table.tolist() == [max(q - 100, 0) for q in range(256)]


def test_hardswish_is_the_identity_above_three():
    source, target = Format(8, 0.05, 100), Format(8, 0.05, 10)
    table = ACTIVATIONS.get("hardswish").table(source, target).tolist()
    above = range(100 + 60, 256)
    assert [table[q] for q in above] == [q - 90 for q in above]
    assert {table[q] for q in range(40)} == {10}  # zero below -3


def test_families_of_functions_are_made_from_their_name():
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)
    for name, truth in {
        "leaky_relu(0.25)": lambda v: v if v > 0 else v / 4,
        "elu(2)": lambda v: v if v > 0 else 2 * math.expm1(v),
        "clamp(-1,0.5)": lambda v: min(max(v, -1.0), 0.5),
        "clamp(-inf,0.5)": lambda v: min(v, 0.5),
        "power(3)": lambda v: v**3,
        "exp": math.exp,
        "reciprocal": lambda v: 1 / v if v else 1e6,
    }.items():
        expected = torch.tensor([truth(float(v)) for v in x], dtype=torch.float64)
        torch.testing.assert_close(ACTIVATIONS.get(name).float(x), expected)
        assert name not in ACTIVATIONS.names()
    assert ACTIVATIONS.get("elu(2)").name == "elu(2)"


@pytest.mark.parametrize("name", ["leaky_relu(steep)", "elu(1,2)", "clamp(1)", "gelu(3)", "sine"])
def test_names_that_say_nothing_are_user_errors(name):
    with pytest.raises(UserError, match="activation function"):
        ACTIVATIONS.get(name)
