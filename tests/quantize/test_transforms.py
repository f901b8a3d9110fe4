"""Transforms keep the float function, and bring outliers under control."""

import dataclasses
import math

import pytest
import torch
from planted_outliers import before_depthwise, behind_norms
from random_networks import uniform_design
from small_networks import NETWORKS, calibration_images, network, other_images

from codesign.graph.execute import run
from codesign.graph.ir import Graph, Node
from codesign.quantize.channels import arrivals
from codesign.quantize.recipe import Recipe
from codesign.quantize.transforms import TRANSFORMS, sites
from codesign.quantize.transforms.channel_migration import division
from codesign.quantize.transforms.reparameterize import common_scale
from codesign.quantize.transforms.smoothing import smoothing_factor

PLANT = {"vit": behind_norms, "swin": behind_norms}


def fitted(graph, names, bits=8, recipe=None):
    design = uniform_design(graph, bits)
    for name in names:
        graph = TRANSFORMS.get(name).rewrite(graph)
    for name in names:
        graph = TRANSFORMS.get(name).fit(graph, calibration_images(), design, recipe or Recipe())
    return graph


def values_of(graph, name, images=None):
    """A node's float values."""
    found = []
    sites.watch(graph, calibration_images() if images is None else images, {name: found.append})
    return torch.cat(found)


def relative_difference(graph, other):
    a, b = (run(g, other_images()) for g in (graph, other))
    return float((a - b).abs().max() / a.abs().max())


CASES = [(n,) for n in TRANSFORMS.names()]
CASES += [("channel_migration", "filter_shift"), ("smoothing", "reparameterize")]


@pytest.mark.parametrize("names", CASES, ids="+".join)
@pytest.mark.parametrize("which", NETWORKS)
def test_the_float_function_is_kept(names, which):
    graph = PLANT.get(which, before_depthwise)(network(which))
    rewritten = graph
    for name in names:
        rewritten = TRANSFORMS.get(name).rewrite(rewritten)
    assert relative_difference(graph, rewritten) < 1e-6
    assert relative_difference(graph, fitted(graph, names)) < 1e-4


@pytest.mark.parametrize(
    ("name", "which"),
    [
        *(("channel_migration", n) for n in ("hardswish", "relu", "linear")),
        *(("filter_shift", n) for n in ("hardswish", "relu", "linear")),
        *((n, w) for n in ("smoothing", "reparameterize") for w in ("vit", "swin")),
    ],
)
def test_each_transform_changes_what_it_is_for(name, which):
    graph = PLANT.get(which, before_depthwise)(network(which))
    after = fitted(graph, [name])
    changed = [
        key for key, value in graph.tensors.items() if not torch.equal(value, after.tensors[key])
    ]
    assert len(changed) >= 2


def test_affine_nodes_stand_only_behind_activations_that_need_them():
    found = {}
    for which in ("hardswish", "relu", "linear"):
        graph = fitted(network(which), ["channel_migration", "filter_shift"])
        found[which] = [node.name for node in graph.nodes if node.op == "affine"]
    both = [f"blocks.{i}.{name}.affine" for i in (0, 1) for name in ("depthwise", "project")]
    assert found["hardswish"] == both
    assert found["relu"] == [name for name in both if "project" in name]
    assert found["linear"] == []


def test_one_affine_node_serves_two_transforms_of_one_edge():
    graph = sites.with_affine(network("hardswish"), ["blocks.0.project"])
    again = sites.with_affine(graph, ["blocks.0.project"])
    assert [n.name for n in again.nodes] == [n.name for n in graph.nodes]
    shifted = fitted(graph, ["filter_shift"])
    assert len([n for n in shifted.nodes if n.op == "affine"]) == 2
    assert relative_difference(graph, shifted) < 1e-4


def test_division_is_the_published_formula():
    x = torch.randn(6, 20, 5, 5) * torch.logspace(-2, 2.5, 20)[:, None, None]
    x[:, 3] = 0
    got = division([x[:2], x[2:]])
    peaks = [float(x[:, c].abs().max()) for c in range(20)]
    p99 = float(torch.quantile(x.abs().flatten(), 0.99))
    common = max(p99, sum(peaks) / 20)
    for c, peak in enumerate(peaks):
        wanted = 1.0 if peak == 0 else min(max(peak / common, 0.1), 64.0)
        assert float(got[c]) == pytest.approx(wanted, rel=1e-4)


def test_migration_levels_the_channels_in_front_of_depthwise_layers():
    graph = before_depthwise(network("hardswish"))
    after = fitted(graph, ["channel_migration"])
    spread = {}
    for label, g in (("before", graph), ("after", after)):
        peaks = values_of(g, g["blocks.1.depthwise"].inputs[0]).abs().amax(dim=(0, 2, 3))
        spread[label] = float(peaks.max() / peaks.median())
    assert spread["after"] < 0.3 * spread["before"]


def test_shifted_channels_are_centred():
    after = fitted(network("hardswish"), ["filter_shift"])
    x = values_of(after, after["blocks.0.project"].inputs[0])
    low, high = x.amin(dim=(0, 2, 3)), x.amax(dim=(0, 2, 3))
    torch.testing.assert_close(low, -high, rtol=1e-4, atol=1e-4)


def test_smoothing_factors_are_powers_of_two():
    before, after = behind_norms(network("vit")), None
    after = fitted(before, ["smoothing"])
    ratios = []
    for name in sites.norm_sites(before):
        key = before[name].parameters["weight"]
        ratios.append(torch.log2(before.tensors[key] / after.tensors[key]))
    exponents = torch.cat(ratios)
    torch.testing.assert_close(exponents, exponents.round(), rtol=0, atol=1e-4)
    assert exponents.max() >= 2


def test_smoothing_factor_is_the_published_formula():
    graph = network("vit")
    (name, readers), *_ = sites.norm_sites(graph).items()
    x = values_of(graph, name).reshape(-1, 48)

    @dataclasses.dataclass
    class Reader:
        weight: torch.Tensor
        index: torch.Tensor

    weight = graph.tensors[readers[0].reader.parameters["weight"]]
    got = smoothing_factor(x, [Reader(weight, torch.arange(48))], 0.35)
    for c in range(48):
        peak, column = float(x[:, c].abs().max()), float(weight[:, c].abs().max())
        assert float(got[c]) == 2.0 ** round(math.log2(peak**0.35 / column**0.65))


def test_reparameterised_channels_share_scale_and_zero_point():
    low, high = torch.tensor([-1.0, -8.0, 0.0, 0.0, -3.0]), torch.tensor([2.0, 4.0, 0.0, 6.0, 3.0])
    factor, offset = common_scale(low, high, 8)
    new_low, new_high = low / factor - offset, high / factor - offset
    alive = torch.tensor([True, True, False, True, True])
    spans = (new_high - new_low)[alive]
    torch.testing.assert_close(spans, spans[:1].expand(4), rtol=1e-4, atol=1e-4)
    step = float(spans[0]) / 255
    assert float((new_low[alive] - new_low[0]).abs().max()) <= step
    assert (factor[2], offset[2]) == (1, 0)


def shared_norm_graph() -> Graph:
    """Two linears behind LayerNorms that share their parameters, in a chain."""
    torch.manual_seed(0)
    tensors = {"gamma": torch.rand(6) + 0.5, "beta": torch.randn(6)}
    nodes = [Node("input", "input", (), ("1*B", 5, 6))]
    for i in range(3):
        tensors[f"w{i}"], tensors[f"b{i}"] = torch.randn(6, 6), torch.randn(6)
        parameters = {"weight": "gamma", "bias": "beta"} if i < 2 else {}
        source = nodes[-1].name
        nodes.append(
            *[Node(f"n{i}", "layer_norm", (source,), ("1*B", 5, 6), {"epsilon": 1e-5}, parameters)]
        )
        own = {"weight": f"w{i}", "bias": f"b{i}"}
        nodes.append(Node(f"l{i}", "linear", (f"n{i}",), ("1*B", 5, 6), {}, own))
    tensors["w3"], tensors["b3"] = torch.randn(6, 6), torch.randn(6)
    tensors["w1"][5] *= 60  # an outlier channel for n2
    last = {"weight": "w3", "bias": "b3"}
    nodes.append(Node("l3", "linear", ("l2",), ("1*B", 5, 6), {}, last))
    return Graph("shared", tuple(nodes), tensors)


@pytest.mark.parametrize("name", ["smoothing", "reparameterize"])
def test_shared_tensors_are_left_alone_and_missing_ones_added(name):
    graph, images = shared_norm_graph(), torch.randn(16, 5, 6)
    assert list(sites.norm_sites(graph)) == ["n2"]
    transform = TRANSFORMS.get(name)
    rewritten = transform.rewrite(graph)
    assert set(rewritten["n2"].parameters) == {"weight", "bias"}
    after = transform.fit(rewritten, images, uniform_design(graph), Recipe())
    assert torch.equal(after.tensors["gamma"], graph.tensors["gamma"])
    assert not torch.equal(after.tensors["n2.weight"], torch.ones(6))
    torch.testing.assert_close(run(after, images), run(graph, images), rtol=1e-4, atol=1e-4)


def test_channels_are_followed_through_moves():
    graph = network("swin")
    readers = graph.consumers()
    merge = next(n for n in graph.nodes if n.op == "layer_norm" and "downsample" in n.name)
    found = arrivals(merge, readers, -1)
    assert [a.reader.op for a in found] == ["linear"]
    assert found[0].channels.index.tolist() == list(range(merge.shape[-1]))
    heads = Node("heads", "reshape", ("x",), ("1*B", 7, 4, 6))
    x = Node("x", "add", (), ("1*B", 7, 24))
    assert arrivals(x, {"x": [heads], "heads": [x]}, -1) is None
    swapped = Node("t", "permute", ("x",), ("1*B", 24, 7), {"order": [0, 2, 1]})
    (arrival,) = arrivals(x, {"x": [swapped], "t": [graph.output]}, -1)
    assert arrival.channels.axis == -2
