"""Each vector operation is priced as what the integer model computes."""

import numpy as np
import pytest
from random_networks import captured, random_images, small_vit, uniform_design

from codesign.graph.workload import workload
from codesign.quantize.lower import lower
from codesign.quantize.methods import METHODS
from codesign.quantize.quantize import quantize
from codesign.quantize.recipe import Recipe


def functions(graph, recipe):
    operations = workload(graph, uniform_design(graph), recipe).vector_operations
    return {op.name: op.function for op in operations}


def multipliers(graph, recipe):
    """Return the multipliers of every product's output stage in the integer model."""
    model = lower(quantize(graph, uniform_design(graph), recipe, random_images(8, 32)))
    found = {}
    for node in model.nodes:
        if node.op in ("conv2d", "linear"):
            found[node.name] = model.tensors[node.tensors["multiplier"]]
        elif node.op == "matmul":
            found[node.name] = np.array([node.attributes["multiplier"]])
    return found


def shift_only(values):
    return bool(np.all(np.bitwise_and(values, values - 1) == 0))


@pytest.mark.parametrize("width", [48, 72])
def test_shifts_are_priced_where_the_multipliers_are_powers_of_two(width):
    """Heads of 16 channels have the factor 1/4, heads of 24 one that is no power of two."""
    size = {"img_size": 32, "depth": 1, "embed_dim": width, "num_heads": 3}
    graph = captured("vit_tiny_patch16_224", 32, **size)
    priced = functions(graph, METHODS.get("p2vit"))
    found = multipliers(graph, METHODS.get("p2vit"))
    assert len(found) > 5
    for name, values in found.items():
        expected = "requantize_shift" if shift_only(values) else "requantize"
        assert priced[f"{name}.requantize"] == expected, name
    with_multiplier = [name for name, values in found.items() if not shift_only(values)]
    assert len(with_multiplier) == (0 if width == 48 else 1)


def test_free_scales_are_priced_with_multipliers():
    priced = functions(small_vit(), Recipe())
    assert "requantize" in priced.values() and "requantize_shift" not in priced.values()


def test_channel_factors_widen_the_layer_norm():
    graph = small_vit()
    assert "layer_norm" in functions(graph, Recipe()).values()
    with_factors = functions(graph, Recipe(norm_inputs="ptf")).values()
    assert "layer_norm_ptf" in with_factors and "layer_norm" not in with_factors


def test_shifts_need_no_stored_multiplier():
    graph = small_vit()
    design = uniform_design(graph)
    free = workload(graph, design, Recipe())
    shifts = workload(graph, design, Recipe(scales="power_of_two"))
    channels = sum(layer.out_channels for layer in free.layers)
    saved = free.parameter_bits - shifts.parameter_bits
    assert saved == 16 * (channels + 1)  # scores too; table softmax leaves values a multiplier
