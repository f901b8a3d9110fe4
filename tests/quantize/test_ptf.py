"""Codes that are not evenly spaced: power-of-two factors, two scales, power-of-two scales."""

import dataclasses
import math

import pytest
import torch
from planted_outliers import in_the_residual_stream
from random_networks import uniform_design
from small_networks import calibration_images, network

from codesign.graph.ir import Node
from codesign.numerics.fixed_point import Format
from codesign.quantize.channels import moved_format
from codesign.quantize.formats import channel_factors, choose_format, power_of_two, two_scale
from codesign.quantize.lower import lower
from codesign.quantize.plan import arrange, plan
from codesign.quantize.quantize import quantize
from codesign.quantize.recipe import Recipe

PTF = Recipe(observer="minmax", norm_inputs="ptf", bias_correction=False)
GENERATOR = torch.Generator().manual_seed(3)


def squared_error(fmt, x):
    return float((fmt.dequantize(fmt.quantize(x)) - x.double()).square().mean())


@pytest.mark.parametrize("axis", [-1, -3])
def test_factors_are_the_published_choice(axis):
    widths = torch.logspace(-2, 1.5, 9)
    x = torch.randn(40, 9, 6, 5, generator=GENERATOR) * widths[:, None, None] + 0.3
    x = x.movedim(1, axis)
    f = channel_factors(x.split(16), 8, PTF, axis)
    low, high = float(x.min()), float(x.max())
    s8 = (high - low) / 255
    zero_point = math.floor(-low / s8 + 0.5)
    assert (f.zero_point, f.axis, f.signed) == (zero_point, axis, False)
    assert f.scale == pytest.approx(s8 / 8, rel=1e-6)
    for c in range(9):
        channel = x.movedim(axis, 0)[c]
        errors = [squared_error(Format(8, s8 / 8 * 2**a, zero_point), channel) for a in range(4)]
        assert errors[f.shifts[c]] <= min(errors) * 1.0001


def test_equal_channels_need_no_factors():
    x = torch.rand(10, 4, 8, generator=GENERATOR) * 2 - 1
    f = channel_factors([x], 8, PTF, -1)
    assert f.shifts == ()
    assert f.scale == pytest.approx((float(x.max()) - float(x.min())) / 255, rel=1e-6)


def test_factors_follow_the_moves():
    f = Format(8, 0.1, 100, shifts=(0, 3, 1, 2), axis=-1)
    node = Node("p", "permute", ("x",), ("1*B", 4, 6), {"order": [0, 2, 1]})
    assert moved_format(node, ("1*B", 6, 4), f).axis == -2
    merged = Node("r", "reshape", ("x",), ("1*B", 3, 8))
    assert moved_format(merged, ("1*B", 6, 4), f).shifts == (0, 3, 1, 2) * 2
    part = Node("s", "slice", ("x",), ("1*B", 6, 2), {"dim": 2, "start": 1, "stop": 3, "step": 1})
    assert moved_format(part, ("1*B", 6, 4), f).shifts == (3, 1)
    split = Node("h", "reshape", ("x",), ("1*B", 6, 2, 2))
    with pytest.raises(ValueError, match="off their axis"):
        moved_format(split, ("1*B", 6, 4), f)


def planned(graph, recipe):
    design = uniform_design(graph)
    return plan(arrange(graph, design, recipe), design, recipe)


@pytest.mark.parametrize("which", ["vit", "swin"])
def test_only_what_norms_and_sums_read_gets_factors(which):
    graph = planned(network(which), PTF)
    readers = graph.consumers()
    marked = [n for n in graph.nodes if "factor_axis" in n.attributes]
    for node in marked:
        assert {r.op for r in readers[node.name]} <= {"layer_norm", "add", "concat", "mean"} | {
            *("reshape", "permute", "slice", "select", "expand", "gather")
        }
    stream = [n.name for n in graph.nodes if n.op == "add" and "attn" not in n.name]
    assert len(stream) >= 4
    assert set(stream) - {n.name for n in marked} <= {graph.output.name}
    assert not [n for n in planned(network(which), Recipe()).nodes if "factor_axis" in n.attributes]


def swin_with_wide_channels():
    """The Swin with a few channels of its first stage thirty times as wide."""
    graph = network("swin")
    factor = torch.ones(24)
    factor[[3, 17]] = 30
    tensors = dict(graph.tensors)
    for key in graph["patch_embed.norm"].parameters.values():
        tensors[key] = tensors[key] * factor
    return dataclasses.replace(graph, tensors=tensors)


def model_with_factors(graph):
    model = lower(quantize(graph, uniform_design(graph), PTF, calibration_images()))
    for node in model.nodes:
        if node.format.shifts and "shift" in node.attributes:
            assert 1 <= node.attributes["shift"] <= 41
    return model, {node.name: node for node in model.nodes}


def test_factors_reach_the_norms_of_a_vision_transformer():
    model, by_name = model_with_factors(in_the_residual_stream(network("vit")))
    norms = [n for n in model.nodes if n.op == "layer_norm"]
    assert len(norms) == 5
    for node in norms:
        source = by_name[node.inputs[0]].format
        assert source.axis == -1
        assert len(source.shifts) == 48
        assert set(source.shifts) <= {0, 1, 2, 3}


def test_factors_of_a_swin_pass_its_patch_merging():
    model, by_name = model_with_factors(swin_with_wide_channels())
    norms = {n.name: by_name[n.inputs[0]].format for n in model.nodes if n.op == "layer_norm"}
    for name in ("layers.0.blocks.0.norm1", "layers.0.blocks.1.norm2"):
        wide = [norms[name].shifts[c] for c in (3, 17)]
        others = [s for c, s in enumerate(norms[name].shifts) if c not in (3, 17)]
        assert min(wide) > max(others)
    stream = norms["layers.0.blocks.1.norm2"].shifts
    merged = norms["layers.1.downsample.norm"].shifts
    assert len(stream) == 24
    assert len(merged) == 96
    assert merged == merged[:24] * 4


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("function", [torch.nn.functional.gelu, torch.nn.functional.silu])
def test_two_scales_beat_one_behind_gelu(bits, function):
    x = function(torch.randn(30_000, generator=GENERATOR) * 2)
    recipe = Recipe(observer="mse")
    node = Node("act", "activation", ("x",), (), {"bits": bits, "function": "gelu"})
    one = choose_format(node, [x], recipe, is_output=False)
    marked = dataclasses.replace(node, attributes={**node.attributes, "codes": "two_scale"})
    two = choose_format(marked, [x], recipe, is_output=False)
    assert two.codebook
    negative = x[x < 0]
    assert squared_error(two, negative) < squared_error(one, negative) / 2


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_two_scale_codes_are_shifted_twos_complement(bits):
    x = torch.nn.functional.gelu(torch.randn(5000, generator=GENERATOR) * 3)
    f = two_scale([x], bits, Recipe())
    half = 2 ** (bits - 1)
    ratio = int(math.log2(f.codebook[1]))
    for code, value in enumerate(f.codebook):
        assert value == (code << ratio if code < half else code - 2 * half)
    assert f.codebook[0] == 0
    assert 0 <= ratio <= 6
    errors = []
    for r in range(7):
        codebook = tuple(c << r if c < half else c - 2 * half for c in range(2 * half))
        errors.append(squared_error(Format(bits, f.scale * 2 ** (ratio - r), codebook=codebook), x))
    assert errors[ratio] <= min(errors) * 1.0001


def test_tensors_without_a_short_negative_side_get_one_scale():
    for x in (torch.rand(100), -torch.rand(100), torch.randn(1000, generator=GENERATOR)):
        assert not two_scale([x], 8, Recipe()).codebook


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("factor", [1.0, 0.013, 77.0])
@pytest.mark.parametrize("positive", [False, True])
def test_power_of_two_scales_are_the_best_of_the_published_candidates(bits, factor, positive):
    x = torch.randn(4000, generator=GENERATOR) * factor
    x = x.abs() if positive else x
    f = power_of_two([x], bits)
    assert f.zero_point == 0
    assert f.signed is not positive
    assert math.log2(f.scale) == int(math.log2(f.scale))
    s = float(x.abs().max()) / ((2**bits - 1) / (1 if positive else 2))
    exponent = math.floor(math.log2(s))
    candidates = [Format(bits, 2.0 ** (exponent + i), 0, not positive) for i in (-1, 0, 1, 2)]
    assert squared_error(f, x) <= min(squared_error(c, x) for c in candidates) * 1.0001


def test_power_of_two_networks_requantise_layers_and_sums_by_shifts():
    graph = network("hardswish")
    recipe = Recipe(scales="power_of_two", bias_correction=False)
    model = lower(quantize(graph, uniform_design(graph), recipe, calibration_images()))
    seen = 0
    for node in model.nodes:
        assert math.log2(node.format.scale) == int(math.log2(node.format.scale))
        if node.op in ("conv2d", "linear"):
            multipliers = model.tensors[node.tensors["multiplier"]].tolist()
        elif node.op == "add":
            multipliers = node.attributes["multipliers"]
        else:
            continue
        assert all(m & (m - 1) == 0 and m > 0 for m in multipliers)
        seen += 1
    assert seen == 10
