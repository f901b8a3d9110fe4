"""Weight scales: free ones by the scheme's search, powers of two by the layer's output."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from random_networks import captured, random_images, small_vit, uniform_design

from codesign.design import LayerFormat
from codesign.integer import replay
from codesign.integer.torch_executor import TorchExecutor
from codesign.numerics.weights import SCHEMES
from codesign.quantize.lower import lower
from codesign.quantize.methods import METHODS
from codesign.quantize.network import QuantizedNetwork
from codesign.quantize.quantize import quantize
from codesign.quantize.recipe import Recipe
from codesign.quantize.weight_scales import choose

POWER = Recipe(scales="power_of_two")
LARGEST = {"uniform_8": 127, "uniform_4": 7, "log2_4": 64, "apot_4": 10}


@pytest.fixture(scope="module")
def vit():
    return small_vit()


def with_weights(graph, weight, activation_bits=8):
    layers = tuple((n.name, LayerFormat.parse(weight, activation_bits)) for n in graph.layers)
    return replace(uniform_design(graph, 8), layers=layers)


def network_of(graph, weight, recipe=None):
    return QuantizedNetwork.build(graph, with_weights(graph, weight), recipe=recipe)


def inputs_of(size, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(4, 3, size, generator=generator) for _ in range(2)]


@pytest.mark.parametrize("weight", ["uniform_4", "log2_3", "apot_5"])
def test_free_scales_are_the_schemes_own_search(vit, weight):
    network = network_of(vit, weight)
    node = vit["blocks.0.mlp.fc1"]
    found = choose(network, node, [])
    tensor = vit.tensors[node.parameters["weight"]]
    name, bits = weight.split("_")
    assert torch.equal(found, SCHEMES.get(name).search_scale(tensor, int(bits)))
    assert torch.equal(network.weight_scale(node.name), found)
    assert node.name not in network.alphas


def test_a_learned_interval_is_one_trainable_number_a_layer(vit):
    network = network_of(vit, "log2std_4@0.3")
    node = vit["blocks.0.mlp.fc1"]
    found = choose(network, node, [])
    alpha = network.alphas[node.name]
    assert alpha.shape == () and alpha.requires_grad
    assert len(set(found.tolist())) == 1
    torch.testing.assert_close(network.weight_scale(node.name), found)
    alpha.data.mul_(2)
    torch.testing.assert_close(network.weight_scale(node.name), 2 * found)


def candidates(weight, largest):
    """2**(f - 1) to 2**(f + 2) around the exact scale of some weights, as P2-ViT has them."""
    floor = math.floor(math.log2(float(weight.abs().max()) / largest))
    return [2.0 ** (floor + i) for i in (-1, 0, 1, 2)]


def output_error(weight, scale, scheme, bits, batches):
    values = scheme.integer(weight, torch.full((len(weight),), scale), bits) * scale
    return sum(float(F.linear(x, values - weight).square().sum()) for x in batches)


@pytest.mark.parametrize("weight", LARGEST)
def test_a_power_of_two_is_the_best_of_four_for_the_output(vit, weight):
    network = network_of(vit, weight, POWER)
    node = vit["blocks.0.mlp.fc1"]
    tensor = vit.tensors[node.parameters["weight"]]
    batches = inputs_of(tensor.shape[1])
    found = choose(network, node, batches)
    assert torch.equal(torch.exp2(torch.round(torch.log2(found))), found)
    name, bits = weight.split("_")
    scheme, largest = SCHEMES.get(name), LARGEST[weight]
    rows = [tensor] if bits == "8" else [tensor[i : i + 1] for i in range(len(tensor))]
    chosen = found[:1].tolist() if bits == "8" else found.tolist()
    assert bits != "8" or len(set(found.tolist())) == 1
    for row, scale in zip(rows, chosen, strict=True):
        errors = {
            c: output_error(row, c, scheme, int(bits), batches) for c in candidates(row, largest)
        }
        assert errors[scale] == pytest.approx(min(errors.values()), rel=1e-3)


def test_the_output_decides_and_not_the_weights(vit):
    """A channel's large weight that meets inputs of zero may be clipped."""
    network = network_of(vit, "uniform_4", POWER)
    node = vit["blocks.0.mlp.fc1"]
    tensor = network.tensors[node.parameters["weight"]].data
    tensor[:, 0] = 4 * tensor[:, 1:].abs().max()
    batches = inputs_of(tensor.shape[1])
    seen = choose(network, node, batches).clone()
    for x in batches:
        x[..., 0] = 0
    assert float(choose(network, node, batches).mean()) < 0.5 * float(seen.mean())


def test_learned_intervals_stay_powers_of_two(vit):
    network = network_of(vit, "uniformstd_4", POWER)
    node = vit["blocks.0.mlp.fc1"]
    tensor = vit.tensors[node.parameters["weight"]]
    found = choose(network, node, inputs_of(tensor.shape[1]))
    assert len(set(found.tolist())) == 1 and not network.alphas
    assert float(torch.log2(found[0])) % 1 == 0


@pytest.mark.parametrize(
    ("name", "size", "kwargs", "weight"),
    [
        ("deit_tiny_patch16_224", 32, {"img_size": 32, "depth": 1, "embed_dim": 48}, "uniform_8"),
        ("deit_tiny_patch16_224", 32, {"img_size": 32, "depth": 1, "embed_dim": 48}, "uniform_4"),
        ("mobilenetv3_small_050", 32, {}, "uniform_4"),
    ],
)
def test_every_layer_of_a_power_of_two_model_requantises_by_a_shift(name, size, kwargs, weight):
    graph, x = captured(name, size, **kwargs), random_images(8, size)
    recipe = METHODS.get("p2vit") if "deit" in name else POWER
    assert recipe.scales == "power_of_two"
    model = lower(quantize(graph, with_weights(graph, weight), recipe, x))
    layers = [node for node in model.nodes if "weight" in node.tensors]
    assert len(layers) == len(graph.layers)
    for node in layers:
        multipliers = model.tensors[node.tensors["multiplier"]].astype(np.int64)
        shifts = model.tensors[node.tensors["shift"]].astype(np.int64)
        assert np.all((multipliers & (multipliers - 1) == 0) & (multipliers > 0)), node.name
        below_one = multipliers < (1 << shifts)
        assert np.all(multipliers[below_one] == 1), node.name
    codes = model.quantize_input(x[:2].numpy())
    slow = replay.run(model.graph_json(), model.tensors, codes)
    fast = TorchExecutor(model, "cpu").run(torch.from_numpy(codes)).numpy()
    np.testing.assert_array_equal(fast.astype(np.int64), slow)


@pytest.mark.parametrize("weight", ["log2std_4@0.5", "uniformstd_5", "apot_6", "mixed_4@0.25"])
def test_executors_agree_on_every_scheme(vit, weight):
    x = random_images(8, 32)
    model = lower(quantize(vit, with_weights(vit, weight), Recipe(), x))
    codes = model.quantize_input(x.numpy())
    slow, fast = {}, {}
    replay.run(model.graph_json(), model.tensors, codes, keep=slow)
    TorchExecutor(model, "cpu").run(torch.from_numpy(codes), keep=fast)
    for name, expected in slow.items():
        np.testing.assert_array_equal(fast[name].numpy().astype(np.int64), expected)


def test_lowering_says_which_channels_and_how_sparse(vit):
    x = random_images(8, 32)
    for weight, key in (("mixed_4@0.25", "log2_channels"), ("log2std_4@0.5", "weight_sparsity")):
        model = lower(quantize(vit, with_weights(vit, weight), Recipe(), x))
        for node in model.nodes:
            if "weight" not in node.tensors:
                continue
            codes = model.tensors[node.tensors["weight"]]
            if key == "weight_sparsity":
                assert node.attributes[key] == pytest.approx(float((codes == 0).mean()), abs=1e-5)
                assert node.attributes[key] == pytest.approx(0.5, abs=1 / codes.size)
                continue
            assert len(node.attributes[key]) == math.floor(0.25 * len(codes) + 0.5)
            for i in range(len(codes)):
                log2 = i in node.attributes[key]
                allowed = {0, *(2**e for e in range(7))} if log2 else set(range(8))
                assert set(np.abs(codes[i].astype(int)).ravel().tolist()) <= allowed
