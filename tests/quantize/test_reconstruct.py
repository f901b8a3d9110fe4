"""Reconstruction: blocks are the network, errors fall, and lowering writes what was chosen."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from random_networks import captured, random_images, small_vit, uniform_design
from torch import nn

from codesign.design import LayerFormat
from codesign.graph.capture import capture
from codesign.graph.execute import compute, move, run
from codesign.graph.ir import SHAPE_OPERATIONS
from codesign.integer import replay
from codesign.integer.torch_executor import TorchExecutor
from codesign.numerics.fixed_point import Format
from codesign.numerics.weights import SCHEMES
from codesign.quantize.blocks import MOST_LAYERS, blocks, run_block
from codesign.quantize.calibrate import calibrate
from codesign.quantize.lower import lower
from codesign.quantize.network import QuantizedNetwork
from codesign.quantize.plan import arrange, plan
from codesign.quantize.quantize import quantize
from codesign.quantize.recipe import Recipe
from codesign.quantize.reconstruct import Schedule, float_tensors, reconstruct
from codesign.quantize.rounding import LearnedFormat, LearnedRounding

QUICK = Schedule(steps=40, batch_size=16)


@pytest.fixture(scope="module")
def vit():
    return small_vit()


@pytest.fixture(scope="module")
def x():
    return random_images(32, 32)


def with_weights(graph, weight, activation_bits=8):
    design = uniform_design(graph, 8)
    layers = tuple((n.name, LayerFormat.parse(weight, activation_bits)) for n in graph.layers)
    return replace(design, layers=layers)


def calibrated(graph, images, weight, recipe=None):
    network = QuantizedNetwork.build(graph, with_weights(graph, weight), recipe=recipe)
    reference = float_tensors(network)
    calibrate(network, images)
    return network, reference


def planned(graph):
    design = uniform_design(graph, 4)
    return plan(arrange(graph, design, Recipe()), design, Recipe())


@pytest.mark.parametrize(
    ("name", "size", "kwargs"),
    [
        ("mobilenetv3_small_050", 64, {}),
        ("vit_tiny_patch16_224", 32, {"img_size": 32, "depth": 2, "embed_dim": 48, "num_heads": 3}),
    ],
)
def test_blocks_one_after_another_are_the_network(name, size, kwargs):
    graph, images = captured(name, size, **kwargs), random_images(3, size)
    found = blocks(planned(graph))
    assert len(found) > 2
    assert sorted(n.name for b in found for n in b.layers) == sorted(n.name for n in graph.layers)

    def real(node, inputs):
        if node.op == "requantize":
            return inputs[0]
        if node.op in SHAPE_OPERATIONS:
            return move(node, inputs[0], 3)
        tensors = {role: graph.tensors[key] for role, key in node.parameters.items()}
        return compute(node, inputs, tensors)

    value = images
    for block in found:
        value = run_block(block, value, real)
    torch.testing.assert_close(value, run(graph, images))


def test_a_residual_block_is_one_and_chains_are_merged(vit):
    assert [len(block.layers) for block in blocks(planned(vit))] == [1 + 2, 2 + 1]
    layers = [m for _ in range(9) for m in (nn.Conv2d(3, 3, 3, padding=1), nn.SiLU())]
    chain = capture(nn.Sequential(*layers).eval(), (3, 8, 8), "chain")
    assert [len(block.layers) for block in blocks(planned(chain))] == [4, 4, 1]
    assert MOST_LAYERS == 4


def test_errors_of_blocks_and_logits_fall(vit, x):
    network, reference = calibrated(vit, x, "uniform_4")
    wanted = run(vit, x)
    before = float((network(x) - wanted).detach().square().mean())
    seen = []
    results = reconstruct(network, reference, x, QUICK, progress=lambda *found: seen.append(found))
    assert [(i, n) for i, n, _ in seen] == [(i + 1, len(results)) for i in range(len(results))]
    assert all(r.error_after <= r.error_before for r in results)
    assert sum(len(r.rounded) for r in results) >= len(vit.layers) / 2
    assert any(r.error_after < 0.95 * r.error_before for r in results)
    assert float((network(x) - wanted).detach().square().mean()) < 0.8 * before


@pytest.mark.parametrize(
    "weight", ["uniform_4", "log2_4", "apot_4", "mixed_4@0.5", "log2std_4@0.4", "uniformstd_3"]
)
def test_the_rounding_chosen_is_what_lowering_writes(vit, x, weight):
    network, reference = calibrated(vit, x, weight)
    plain = {n: t.detach().clone() for n, t in network.tensors.items()}
    results = reconstruct(network, reference, x, QUICK)
    rounded = {name for r in results for name in r.rounded}
    assert rounded
    model = lower(network)
    integers = {
        n.name: model.tensors[n.tensors["weight"]] for n in model.nodes if "weight" in n.tensors
    }
    for name in rounded:
        key = network.graph[name].parameters["weight"]
        scale = network.weight_scale(name).detach()
        on_levels = network.tensors[key].detach()
        codes = torch.from_numpy(integers[name].astype(np.float32))
        torch.testing.assert_close(on_levels, codes * scale.reshape(-1, *[1] * (codes.dim() - 1)))
        bits = network.layers[name].weight_bits
        down, up = network.scheme(name).neighbours(plain[key], scale, bits)
        apart = torch.minimum((codes - down).abs(), (codes - up).abs())
        assert float(apart.max()) < 1e-3  # a neighbour of the real weight, none further off
    codes = model.quantize_input(x[:2].numpy())
    slow = replay.run(model.graph_json(), model.tensors, codes)
    fast = TorchExecutor(model, "cpu").run(torch.from_numpy(codes)).numpy()
    np.testing.assert_array_equal(fast.astype(np.int64), slow)


def test_the_recipe_reconstructs(vit, x):
    design = with_weights(vit, "uniform_4")
    plain = quantize(vit, design, Recipe(), x)
    learned = quantize(vit, design, Recipe(reconstruction="adaround"), x, reconstruction=QUICK)
    wanted = run(vit, x)
    errors = [float((n(x) - wanted).detach().square().mean()) for n in (plain, learned)]
    assert errors[1] < 0.9 * errors[0]


def test_pruned_weights_stay_pruned_and_no_others_become_zero(vit, x):
    network, reference = calibrated(vit, x, "log2std_4@0.4")
    reconstruct(network, reference, x, QUICK)
    for node in lower(network).nodes:
        if "weight_sparsity" in node.attributes:
            assert node.attributes["weight_sparsity"] == pytest.approx(0.4, abs=1e-3)


def test_a_layer_without_a_choice_is_left_and_named(vit, x):
    network, reference = calibrated(vit, x, "uniform_4")
    name = vit.layers[1].name
    weight = network.tensors[vit[name].parameters["weight"]]
    scheme, scale = network.scheme(name), network.weight_scale(name)
    with torch.no_grad():  # every weight beyond the largest level
        weight.copy_(torch.ones_like(weight) * scale.max() * 100)
    kept = weight.detach().clone()
    results = reconstruct(network, reference, x, replace(QUICK, steps=3))
    assert [name in r.left for r in results].count(True) == 1
    assert torch.equal(weight, kept)
    assert scheme.name == "uniform"


def test_power_of_two_scales_stay(vit, x):
    network, reference = calibrated(vit, x, "uniform_4", Recipe(scales="power_of_two"))
    formats, scales = dict(network.formats), dict(network.weight_scales)
    results = reconstruct(network, reference, x, QUICK)
    assert network.formats == formats
    assert all(torch.equal(network.weight_scale(n), s) for n, s in scales.items())
    assert all(r.scales == 0 for r in results)


def test_scales_are_learned_and_plain_again(vit, x):
    network, reference = calibrated(vit, x, "uniform_8")
    before = dict(network.formats)
    for name, fmt in before.items():  # scales too small by half, which training can see
        if not fmt.signed and fmt.bits == 8 and network.graph[name].op == "add":
            network.formats[name] = replace(fmt, scale=fmt.scale / 2)
    halved = dict(network.formats)
    assert halved != before
    results = reconstruct(network, reference, x, replace(QUICK, scale_rate=0.02))
    assert sum(r.scales for r in results) > 0
    assert all(type(fmt) is Format for fmt in network.formats.values())
    grown = [network.formats[n].scale / halved[n].scale for n in halved if halved[n] != before[n]]
    assert max(grown) > 1.1


def test_dropping_leaves_no_trace(vit, x):
    network, reference = calibrated(vit, x, "uniform_4")
    reconstruct(network, reference, x, replace(QUICK, steps=6, drop=0.5))
    assert all(type(fmt) is Format for fmt in network.formats.values())
    assert not any(isinstance(scheme, LearnedRounding) for scheme in network.schemes.values())
    with torch.no_grad():
        assert torch.equal(network(x), network(x))


def test_the_same_seed_gives_the_same_weights(vit, x):
    found = []
    for _ in range(2):
        network, reference = calibrated(vit, x, "uniform_3")
        reconstruct(network, reference, x, replace(QUICK, steps=8), seed=3)
        found.append(network.tensors)
    assert all(torch.equal(found[0][n], found[1][n]) for n in found[0])


def test_a_learned_format_has_the_gradients_of_a_learned_step():
    start = Format(4, 0.25, 3)
    values = torch.tensor([-2.0, -0.3, 0.1, 1.9, 5.0], requires_grad=True)
    learned = LearnedFormat.of(start, torch.device("cpu"), 0.0)
    result = learned.fake_quantize(values)
    torch.testing.assert_close(result, start.fake_quantize(values))
    result.sum().backward()
    assert values.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]
    codes = [-3, -1, 0, 8, 12]  # clamp(round(x / scale), -3, 12)
    inside = [(-1 + 0.3 / 0.25), (0 - 0.1 / 0.25), (8 - 1.9 / 0.25)]
    slope = codes[0] + sum(inside) + codes[-1]
    assert float(learned.growth.grad) == pytest.approx(0.25 * slope, rel=1e-4)
    with torch.no_grad():
        learned.growth.add_(1.0)
    assert learned.settled() == replace(start, scale=pytest.approx(0.25 * np.e))


def test_dropped_values_stay_real_and_the_others_are_codes():
    torch.manual_seed(0)
    learned = LearnedFormat.of(Format(4, 0.25, 3), torch.device("cpu"), 0.5)
    values = torch.rand(2000) * 2 + 0.01
    result = learned.fake_quantize(values).detach()
    real = result == values
    assert 0.45 < float(real.float().mean()) < 0.55
    assert torch.equal(result[~real], Format(4, 0.25, 3).fake_quantize(values)[~real])


def test_rounding_starts_at_the_real_weight_and_ends_on_a_level():
    weight, scale = torch.tensor([[0.3, -1.6, 2.5, 9.0]]), torch.ones(1)
    rounding = LearnedRounding(SCHEMES.get("uniform"), weight, scale, 3)
    assert rounding.free.tolist() == [[True, True, True, False]]
    soft = rounding.twin(weight, scale, 3).detach()
    torch.testing.assert_close(soft, torch.tensor([[0.3, -1.6, 2.5, 3.0]]))
    with torch.no_grad():
        rounding.variable.copy_(torch.tensor([[9.0, -9.0, 9.0, -9.0]]))
    assert rounding.chosen().tolist() == [[1.0, -2.0, 3.0, 3.0]]
    assert float(rounding.regulariser(2.0).detach()) == 0.0
