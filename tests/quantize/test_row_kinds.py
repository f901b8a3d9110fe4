"""Kinds of softmax, LayerNorm and division in whole networks: plan, bounds, integers, workload."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from random_networks import random_images, small_vit, uniform_design
from torch import nn

from codesign.errors import RunError, UserError
from codesign.graph.capture import capture
from codesign.graph.execute import run
from codesign.graph.ir import Node
from codesign.graph.workload import workload
from codesign.integer import replay
from codesign.integer.torch_executor import TorchExecutor
from codesign.numerics.division import DIVISIONS
from codesign.numerics.layer_norm import LAYER_NORMS
from codesign.numerics.softmax import SOFTMAXES
from codesign.quantize.lower import lower
from codesign.quantize.lowerings.base import Lowering
from codesign.quantize.lowerings.rows import row_bound
from codesign.quantize.quantize import quantize
from codesign.quantize.recipe import Recipe

RECIPES = [
    *(Recipe(softmax=name, attention_bits=bits) for name in SOFTMAXES.names() for bits in (4, 8)),
    *(Recipe(layer_norm=name, norm_inputs="ptf") for name in LAYER_NORMS.names()),
]


class LinearAttention(nn.Module):
    """A convolution and EfficientViT's ReLU linear attention: relu(Q) relu(K)^T V, normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 24, 4, 4), nn.Linear(8, 10)

    def forward(self, x):
        """Return the logits of images."""
        q, k, v = self.stem(x).flatten(2).transpose(1, 2).chunk(3, dim=-1)
        q, k = q.relu(), k.relu()
        v = nn.functional.pad(v, (0, 1), value=1.0)
        out = q @ (k.transpose(1, 2) @ v)
        return self.head((out[..., :-1] / (out[..., -1:] + 1e-5)).mean(dim=1))


@pytest.fixture(scope="module")
def vit():
    return small_vit()


@pytest.fixture(scope="module")
def attention():
    torch.manual_seed(0)
    return capture(LinearAttention().eval(), (3, 32, 32), "linear_attention")


def same_integers(network, images):
    """Return the model after comparing every node of both executors, and the twin's gradients."""
    model = lower(network)
    codes = model.quantize_input(images.numpy())
    replayed, fast = {}, {}
    replay.run(model.graph_json(), model.tensors, codes, replayed)
    TorchExecutor(model).run(torch.from_numpy(codes), fast)
    for name, expected in replayed.items():
        np.testing.assert_array_equal(fast[name].numpy(), expected, err_msg=name)
    network(images).square().sum().backward()
    gradients = [t.grad for t in network.tensors.values() if t.grad is not None]
    assert all(torch.isfinite(g).all() for g in gradients)
    assert any(g.abs().sum() > 0 for g in gradients)
    return model


def noise_db(model, graph, images):
    real = run(graph, images).detach()
    codes = TorchExecutor(model).run(model.input_format.quantize(images))
    error = model.logits_format.dequantize(codes) - real
    return float(10 * torch.log10(real.square().sum() / error.square().sum()))


@pytest.mark.parametrize(
    "recipe", RECIPES, ids=lambda r: f"{r.softmax}{r.attention_bits}-{r.layer_norm}"
)
def test_a_transformer_in_every_kind(vit, recipe):
    images = random_images(6, 32)
    network = quantize(vit, uniform_design(vit), recipe, images)
    model = same_integers(network, images)
    floor_db = {("log_int", 4): 20, ("log_int", 8): 20, ("shiftmax", 4): 18}
    wanted = floor_db.get((recipe.softmax, recipe.attention_bits), 28)
    assert noise_db(model, vit, images) > wanted
    operations = {node.op for node in model.nodes}
    assert SOFTMAXES.get(recipe.softmax).operation in operations
    assert LAYER_NORMS.get(recipe.layer_norm).operation in operations


@pytest.mark.parametrize(("kind", "floor_db"), [("exact", 25), ("log2", 8)])
def test_linear_attention(attention, kind, floor_db):
    images = random_images(6, 32)
    network = quantize(attention, uniform_design(attention), Recipe(division=kind), images)
    model = same_integers(network, images)
    assert noise_db(model, attention, images) > floor_db
    division = next(n for n in model.nodes if n.op == DIVISIONS.get(kind).operation)
    widths = {node.name: node.format.bits for node in model.nodes}
    assert [widths[name] for name in division.inputs] == [8 if kind == "log2" else 16] * 2


def test_log2_division_of_what_may_be_negative_names_the_way_out(attention):
    images = random_images(6, 32)
    network = quantize(attention, uniform_design(attention), Recipe(division="log2"), images)
    name = next(name for name in network.formats if name.endswith(".denominator"))
    network.formats[name] = replace(network.formats[name], zero_point=3)
    with pytest.raises(UserError, match=r"quantize\.division=exact"):
        lower(network)


def test_a_width_that_a_kind_lacks_is_refused_before_any_work(vit):
    with pytest.raises(UserError, match=r"quantize\.softmax=log_int.*not 2"):
        workload(vit, uniform_design(vit), Recipe(softmax="log_int", attention_bits=2))


def test_products_with_probabilities_have_the_bound_of_a_row(vit):
    network = quantize(vit, uniform_design(vit), Recipe(attention_bits=4), random_images(4, 32))
    lowering = Lowering(network)
    for node in network.graph.nodes:
        lowering.convert(node)
    soft = next(n for n in lowering.nodes.values() if n.op == "softmax")
    product = next(n for n in lowering.nodes.values() if n.op == "matmul" and soft.name in n.inputs)
    values = lowering.format(product.inputs[1])
    tokens = soft.shape[-1]
    assert product.attributes["accumulator_bound"] == min(2, tokens) * 15 * values.magnitude
    assert row_bound(lowering, soft.name, -1) == 30
    assert row_bound(lowering, soft.name, -2) is None
    turned = Node("turned", "permute", (soft.name,), soft.shape, {"order": [0, 1, 3, 2]})
    lowering.add(turned, soft.format, turned.attributes, {})
    assert row_bound(lowering, "turned", -2) == 30
    assert row_bound(lowering, "turned", -1) is None
    flat = Node("flat", "reshape", (soft.name,), ("3*B", *soft.shape[-2:]), {})
    lowering.add(flat, soft.format, {}, {})
    assert row_bound(lowering, "flat", -1) == 30


def test_the_workload_names_each_kind(vit, attention):
    recipe = Recipe(softmax="log_int", attention_bits=4, layer_norm="fq_vit")
    work = workload(vit, uniform_design(vit), recipe)
    functions = {
        operation.function for operation in work.operations if hasattr(operation, "function")
    }
    assert {"log_int_softmax", "layer_norm_8bit"} <= functions
    assert not functions & {"softmax", "layer_norm"}
    plain = workload(vit, uniform_design(vit))
    shifted = next(layer for layer in work.layers if layer.name.endswith(".av"))
    product = next(layer for layer in plain.layers if layer.name.endswith(".av"))
    assert (shifted.weight_scheme, shifted.weight_bits, shifted.activation_bits) == ("log2", 5, 8)
    assert product.weight_scheme == "uniform"
    assert (shifted.m, shifted.k, shifted.n) == (product.n, product.k, product.m)
    assert shifted.macs == product.macs
    assert shifted.weight_elements == product.input_elements
    for kind, function in (("exact", "divide"), ("log2", "log2_divide")):
        work = workload(attention, uniform_design(attention), Recipe(division=kind))
        assert function in {getattr(operation, "function", "") for operation in work.operations}


def test_a_division_by_nothing_is_named(attention):
    """Keys that are zero everywhere: epsilon is far more than all the codes of the row sums."""
    dead = replace(attention, tensors={k: v.clone() for k, v in attention.tensors.items()})
    layer = dead.layers[0]
    with torch.no_grad():
        dead.tensors[layer.parameters["weight"]][8:16] = 0.0
        dead.tensors[layer.parameters["bias"]][8:16] = -1.0
    name = next(node.name for node in dead.nodes if node.op == "divide")
    said = rf"layer {name}: division with a ratio .* epsilon \d+ codes"
    with pytest.raises(RunError, match=said):
        quantize(dead, uniform_design(dead), Recipe(scales="power_of_two"), random_images(6, 32))
