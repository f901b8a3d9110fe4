"""Whole networks: calibrated, lowered, and run by both executors."""

import dataclasses

import numpy as np
import pytest
import torch
from random_networks import (
    DEVICES,
    captured,
    lowered,
    random_design,
    random_images,
    small_vit,
    uniform_design,
)

from codesign.design import Design, LayerFormat
from codesign.errors import RunError
from codesign.integer import replay
from codesign.integer.torch_executor import TorchExecutor
from codesign.numerics.weights import SCHEMES
from codesign.quantize.calibrate import calibrate, mean_outputs
from codesign.quantize.lower import lower
from codesign.quantize.network import QuantizedNetwork


def differing(model, images):
    """Return (node, device) to the number of codes in which the executors differ."""
    slow: dict[str, np.ndarray] = {}
    codes = model.quantize_input(images.numpy())
    replay.run(model.graph_json(), model.tensors, codes, keep=slow)
    found = {}
    for device in DEVICES:
        fast: dict[str, torch.Tensor] = {}
        TorchExecutor(model, device).run(torch.from_numpy(codes), keep=fast)
        assert set(fast) == set(slow) == {node.name for node in model.nodes}
        for name, expected in slow.items():
            if count := int((fast[name].cpu().numpy() != expected).sum()):
                found[name, device] = count
    return found


@pytest.mark.parametrize("seed", range(4))
def test_executors_agree_in_every_node_of_random_designs(mobilevit, images, seed):
    model = lowered(mobilevit, random_design(mobilevit, seed), images)
    assert differing(model, images[:3]) == {}


@pytest.mark.parametrize("function", ["relu", "shift_swish", "hardswish"])
def test_executors_agree_with_one_function_everywhere(mobilevit, images, function):
    model = lowered(mobilevit, uniform_design(mobilevit, 6, function), images)
    assert differing(model, images[:1]) == {}


def test_executors_agree_on_images_outside_the_calibrated_range(mobilevit, images):
    model = lowered(mobilevit, random_design(mobilevit, 9), images[:4])
    wild = torch.stack([images[0] * 9 - 4, torch.zeros(3, 64, 64), torch.ones(3, 64, 64) * 50])
    assert differing(model, wild) == {}


@pytest.mark.parametrize(
    ("name", "size", "kwargs"),
    [
        ("mobilenetv3_small_050", 64, {}),
        ("deit_tiny_patch16_224", 32, {"img_size": 32, "depth": 1}),
    ],
)
def test_other_families(name, size, kwargs):
    graph, x = captured(name, size, **kwargs), random_images(8, size)
    model = lowered(graph, random_design(graph, 1), x)
    assert differing(model, x[:2]) == {}


def test_every_accumulator_stays_within_its_proved_bound(mobilevit, images):
    model = lowered(mobilevit, random_design(mobilevit, 2), images)
    codes: dict[str, torch.Tensor] = {}
    TorchExecutor(model).run(model.input_format.quantize(images[:2]), keep=codes)
    by_name = {node.name: node for node in model.nodes}
    reached = []
    for node in model.nodes:
        if node.op != "linear":
            continue
        x = codes[node.inputs[0]].double() - by_name[node.inputs[0]].format.zero_point
        weight = torch.from_numpy(model.tensors[node.tensors["weight"]].astype(np.float64))
        bias = torch.from_numpy(model.tensors[node.tensors["bias"]].astype(np.float64))
        peak = float((x @ weight.T + bias).abs().max())
        assert peak <= node.attributes["accumulator_bound"] < 2**31
        reached.append(peak)
    assert reached


def test_weights_are_what_their_scheme_allows(mobilevit, images):
    design = random_design(mobilevit, 3)
    model = lowered(mobilevit, design, images)
    for node in model.nodes:
        if "weight" not in node.tensors:
            continue
        layer = design.layer_formats[node.name]
        found = set(np.abs(model.tensors[node.tensors["weight"]]).ravel().tolist())
        if layer.weight_scheme == "log2":
            allowed = {0, *(2**e for e in range(2 ** (layer.weight_bits - 1) - 1))}
            assert found <= allowed
        assert max(found) <= SCHEMES.get(layer.weight_scheme).largest(layer.weight_bits)
        constants = [model.tensors[node.tensors[r]] for r in ("multiplier", "shift", "bias")]
        assert constants[0].min() >= 0
        assert constants[0].max() < 2**16
        assert constants[1].min() >= 1
        assert constants[1].max() <= 44
        assert np.abs(constants[2]).max() <= 2**29


def test_a_layer_that_could_overflow_is_refused(images):
    graph = small_vit(mlp_ratio=16)
    design = uniform_design(graph)
    # 768 inputs of up to 255 with weights of 2**14 reach beyond 2**31
    wide = {"blocks.0.mlp.fc2": LayerFormat(5, "log2", 8)}
    layers = tuple((name, wide.get(name, layer)) for name, layer in design.layers)
    network = QuantizedNetwork.build(graph, dataclasses.replace(design, layers=layers))
    calibrate(network, random_images(4, 32))
    name = graph["blocks.0.mlp.fc2"].parameters["weight"]
    with torch.no_grad():
        network.tensors[name].fill_(1e6)
    with pytest.raises(RunError, match=r"layer blocks\.0\.mlp\.fc2: its accumulator can reach \d+"):
        lower(network)


def test_a_dead_layer_is_lowered_or_named(images):
    graph = small_vit()
    name = graph["blocks.0.mlp.fc1"].parameters
    with torch.no_grad():
        graph.tensors[name["weight"]].zero_()
        graph.tensors[name["bias"]].zero_()
    model = lowered(graph, uniform_design(graph, 8, "relu"), random_images(4, 32))
    assert differing(model, random_images(2, 32, seed=5)) == {}


@pytest.mark.parametrize("seed", [0, 6])
def test_twin_follows_every_integer_node_to_one_code(mobilevit, images, seed):
    """Each node's twin is given the integer model's own inputs."""
    network = QuantizedNetwork.build(mobilevit, random_design(mobilevit, seed))
    calibrate(network, images)
    model = lower(network)
    by_name = {node.name: node for node in model.nodes}
    codes: dict[str, torch.Tensor] = {}
    TorchExecutor(model).run(model.input_format.quantize(images[:4]), keep=codes)
    values = {n: by_name[n].format.dequantize(c).float() for n, c in codes.items()}
    compared = 0
    with torch.no_grad():
        for node in network.graph.nodes:
            if node.op == "input":
                continue
            inputs = [values[name] for name in node.inputs]
            result = network._twin(node, inputs, images[:4])
            fused = node.attributes.get("fused")
            if fused:  # the unrounded sum goes to the activation, which rounds it
                values[fused], values[node.name] = values[node.name], result
                continue
            wanted = by_name.get(node.name) or by_name[node.inputs[0]]
            exact = wanted.format.dequantize(codes[wanted.name])
            assert (result.double() - exact).abs().max() <= wanted.format.scale * 1.01, node.name
            values[node.name] = exact.float()
            compared += 1
    assert compared > 250


@pytest.mark.parametrize("device", DEVICES)
def test_every_parameter_gets_a_finite_gradient(mobilevit, images, device):
    on_device = {name: tensor.to(device) for name, tensor in mobilevit.tensors.items()}
    graph = dataclasses.replace(mobilevit, tensors=on_device)
    network = QuantizedNetwork.build(graph, random_design(graph, 4), device)
    x = images[:8].to(device)
    calibrate(network, x, layer_means=mean_outputs(graph, x))
    network(x).square().sum().backward()
    gradients = {name: tensor.grad for name, tensor in network.tensors.items()}
    assert all(g is not None and torch.isfinite(g).all() for g in gradients.values())
    alive = sum(bool(g.abs().sum() > 0) for g in gradients.values())
    assert alive > 0.95 * len(gradients)
    assert differing(lower(network), images[:1]) == {}


def test_bias_correction_restores_the_means(images):
    graph, x = small_vit(), random_images(32, 32)
    design = uniform_design(graph, 4)
    wanted = mean_outputs(graph, x)
    errors = {}
    for corrected in (False, True):
        network = QuantizedNetwork.build(graph, design)
        calibrate(network, x, layer_means=wanted if corrected else None)
        found: dict[str, torch.Tensor] = {}

        def keep(node, result, found=found):
            if node.op in ("linear", "conv2d"):
                channel = 1 if node.op == "conv2d" else result.dim() - 1
                found[node.name] = result.mean([d for d in range(result.dim()) if d != channel])

        with torch.no_grad():
            network(x, visit=keep)
        errors[corrected] = sum(float((found[n] - wanted[n]).abs().mean()) for n in wanted)
    assert errors[True] < 0.5 * errors[False]


def test_lowering_is_deterministic(mobilevit, images):
    design: Design = random_design(mobilevit, 5)
    assert (
        lowered(mobilevit, design, images).to_bytes()
        == lowered(mobilevit, design, images).to_bytes()
    )
