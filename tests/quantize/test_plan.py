import dataclasses

import pytest
from random_networks import random_design, uniform_design
from torch import nn

from codesign.design import LayerFormat
from codesign.errors import UserError
from codesign.graph.capture import capture
from codesign.graph.ir import LAYER_OPERATIONS, SHAPE_OPERATIONS
from codesign.quantize.plan import LOGITS_BITS, STORED_BITS, arrange, plan
from codesign.quantize.recipe import Recipe


def planned_graph(graph, design, recipe=None):
    recipe = recipe or Recipe()
    return plan(arrange(graph, design, recipe), design, recipe)


def arriving_bits(graph, name):
    """Width of the codes behind a name: shape operations skipped, fused activations followed."""
    node = graph[name]
    while node.op in SHAPE_OPERATIONS:
        node = graph[node.inputs[0]]
    return node.attributes["bits"]


@pytest.mark.parametrize("seed", range(5))
def test_every_layer_reads_its_own_width(mobilevit, seed):
    design = random_design(mobilevit, seed)
    planned = planned_graph(mobilevit, design)
    for node in planned.nodes:
        if node.op in LAYER_OPERATIONS:
            wanted = design.layer_formats[node.name].activation_bits
            assert arriving_bits(planned, node.inputs[0]) == wanted
        elif node.op not in SHAPE_OPERATIONS:
            for name in node.inputs:
                fused = planned[name].attributes.get("fused") == node.name
                assert fused or arriving_bits(planned, name) == STORED_BITS


@pytest.mark.parametrize("seed", range(5))
def test_narrowing_stands_only_where_widths_differ(mobilevit, seed):
    planned = planned_graph(mobilevit, random_design(mobilevit, seed))
    narrowing = [n for n in planned.nodes if n.op == "requantize"]
    assert narrowing
    for node in narrowing:
        assert node.attributes["bits"] < arriving_bits(planned, node.inputs[0])
        (reader,) = planned.consumers()[node.name]
        assert node.name == f"{reader.name}.input"
    others = [n.name for n in planned.nodes if n.op != "requantize"]
    assert others == [n.name for n in mobilevit.nodes]


def test_eight_bits_everywhere_needs_no_narrowing(mobilevit):
    planned = planned_graph(mobilevit, uniform_design(mobilevit, 8))
    assert not [n for n in planned.nodes if n.op == "requantize"]
    assert planned.output.attributes["bits"] == LOGITS_BITS


def test_relu_is_fused_into_the_layer_it_alone_reads(mobilevit):
    planned = planned_graph(mobilevit, uniform_design(mobilevit, 4, "relu"))
    readers = planned.consumers()
    fused = {n.attributes["fused"]: n for n in planned.nodes if "fused" in n.attributes}
    for node in planned.nodes:
        if node.op == "activation":
            assert node.attributes["function"] == "relu"
            assert fused[node.name].name == node.inputs[0]
            assert len(readers[node.inputs[0]]) == 1
    silu = planned_graph(mobilevit, uniform_design(mobilevit, 4, "silu"))
    assert not [n for n in silu.nodes if "fused" in n.attributes]


def test_a_design_of_another_network_is_refused(mobilevit):
    design = uniform_design(mobilevit)
    short = dataclasses.replace(design, layers=design.layers[1:])
    with pytest.raises(
        UserError, match=r"layers are not those of model 'mobilevit_xxs': stem\.conv"
    ):
        planned_graph(mobilevit, short)
    odd = dataclasses.replace(design, activations=(*design.activations, ("extra", "relu")))
    with pytest.raises(UserError, match=r"activations are not those .*: extra"):
        planned_graph(mobilevit, odd)
    function = dataclasses.replace(
        design, activations=tuple((n, "silo") for n, _ in design.activations)
    )
    with pytest.raises(UserError, match=r"unknown activation function 'silo'\. Did you mean"):
        planned_graph(mobilevit, function)
    other = ("layer", LayerFormat(8, "uniform", 8))
    with pytest.raises(UserError, match="layers are not those"):
        planned_graph(mobilevit, dataclasses.replace(design, layers=(*design.layers, other)))


def test_logits_that_are_only_moved_have_sixteen_bits():
    head = (nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 5, 1), nn.Flatten())
    net = nn.Sequential(nn.Conv2d(3, 4, 3), *head)
    graph = capture(net, (3, 8, 8), "net")
    assert graph.output.op == "reshape"
    planned = plan(graph, uniform_design(graph, 4), Recipe())
    assert planned["2"].attributes["bits"] == 16
    assert planned["0"].attributes["bits"] == 8
