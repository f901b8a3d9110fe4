"""The workload that the cost models price, against what the float model really does."""

import torch
from random_networks import captured, random_design, uniform_design
from torch.utils.flop_counter import FlopCounterMode

from codesign.graph.execute import run
from codesign.graph.outline import outline, stage
from codesign.graph.workload import workload


def test_multiply_accumulates_equal_torchs_own_count(mobilevit):
    design = uniform_design(mobilevit)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        run(mobilevit, torch.zeros(1, 3, 64, 64))
    found = sum(layer.macs for layer in workload(mobilevit, design).layers)
    assert 2 * found == counter.get_total_flops()


def test_products_have_the_shapes_of_the_operands(mobilevit):
    layers = {layer.name: layer for layer in workload(mobilevit, uniform_design(mobilevit)).layers}
    stem = layers["stem.conv"]
    assert (stem.m, stem.k, stem.n, stem.repeats) == (32 * 32, 27, 16, 1)
    assert (stem.in_height, stem.stride_height) == (66, 2)
    depthwise = layers["stages.0.0.conv2_kxk.conv"]
    assert depthwise.kind == "depthwise"
    assert (depthwise.m, depthwise.k, depthwise.n, depthwise.repeats) == (1024, 9, 1, 32)
    scores = layers["stages.2.1.transformer.0.attn.qk"]
    # four windows of 16 tokens, four heads of 16 channels
    assert (scores.m, scores.k, scores.n, scores.repeats) == (16, 16, 16, 16)


def test_every_layer_has_the_formats_of_the_design(mobilevit):
    design = random_design(mobilevit, seed=3)
    formats = design.layer_formats
    layers = [layer for layer in workload(mobilevit, design).layers if layer.kind != "matmul"]
    assert [layer.name for layer in layers] == list(formats)
    for layer in layers:
        given = formats[layer.name]
        assert (layer.weight_bits, layer.weight_scheme) == (given.weight_bits, given.weight_scheme)
        assert layer.activation_bits == given.activation_bits


def test_activations_are_priced_as_what_they_are(mobilevit):
    for function, expected in (("silu", "table"), ("relu", "relu"), ("hardswish", "hardswish")):
        found = workload(mobilevit, uniform_design(mobilevit, function=function)).vector_operations
        sites = {site.name for site in outline(mobilevit).activations}
        assert {op.function for op in found if op.name in sites} == {expected}


def test_parameter_bits_count_weights_biases_and_constants(mobilevit):
    narrow, wide = (workload(mobilevit, uniform_design(mobilevit, bits)) for bits in (4, 8))
    weights = sum(layer.weight_elements for layer in narrow.layers if layer.kind != "matmul")
    # silu's tables are written at half the width, but for those that wider readers share, and the
    # narrow design has the constants of its narrowing nodes on top
    tables = len(outline(mobilevit).activations) * 256 * 4
    assert 4 * weights < wide.parameter_bits - narrow.parameter_bits <= 4 * weights + tables
    channels = sum(layer.out_channels for layer in wide.layers)
    assert wide.parameter_bits > 8 * weights + channels * (32 + 16)


def test_a_stage_is_the_first_part_of_a_path_with_its_number():
    assert stage("stages.2.1.transformer.0.mlp.act") == "stages.2"
    assert stage("stem.conv") == "stem"
    assert stage("final_conv.bn.act") == "final_conv"


def test_operations_say_who_gives_their_operands(mobilevit):
    work = workload(mobilevit, uniform_design(mobilevit))
    inputs = {op.name: op.inputs for op in work.operations}
    assert inputs["stem.conv"] == ("input",)
    block = "stages.1.1"
    assert inputs[f"{block}.conv2_kxk.conv"] == (f"{block}.conv1_1x1.bn.act",)
    assert inputs[f"{block}.conv2_kxk.conv.requantize"] == (f"{block}.conv2_kxk.conv",)
    assert inputs[f"{block}.add"] == (f"{block}.conv3_1x1.conv", "stages.1.0.conv3_1x1.conv")
    attention = "stages.2.1.transformer.0.attn"  # through the reshapes that make the heads
    assert inputs[f"{attention}.qk"] == (f"{attention}.qkv", f"{attention}.qkv")
    assert inputs[f"{attention}.softmax"] == (f"{attention}.qk",)
    assert inputs[f"{attention}.av"] == (f"{attention}.softmax", f"{attention}.qkv")
    names = {node.name for node in mobilevit.nodes}
    assert all(op.inputs and set(op.inputs) <= names for op in work.operations)


def test_other_families_have_workloads_too():
    for name, size, kwargs in (("mobilenetv3_small_050", 64, {}), ("efficientnet_lite0", 64, {})):
        graph = captured(name, size, **kwargs)
        assert workload(graph, uniform_design(graph)).layers
