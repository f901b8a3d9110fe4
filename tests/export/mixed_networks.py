"""Small networks whose layers have every kind of weights."""

from functools import cache

from random_networks import captured, random_images, small_vit

from codesign.design import Design, LayerFormat
from codesign.graph.workload import workload
from codesign.quantize.calibrate import calibrate
from codesign.quantize.lower import lower
from codesign.quantize.network import QuantizedNetwork
from costmodels.accelerator import Accelerator

WEIGHTS = (
    *("uniform_8", "log2_4", "mixed_4@0.5", "apot_5", "log2std_3@0.5", "uniform_3", "mixed_3@0.3"),
    *("apot_4", "uniformstd_5@0.25", "log2_5", "apot_7", "uniform_2", "log2_2", "mixed_5@0.6"),
)


def network(kind, first="uniform_8", accelerator=None, recipe=None):
    """Return (model, workload, accelerator) of a small network.

    Args:
        kind: "vit" or "mobilenet".
        first: Weight format of its first layer; the others take turns through WEIGHTS.
        accelerator: The accelerator, or None for one with every engine.
        recipe: How norms, softmax and the like are computed.
    """
    accelerator = accelerator or Accelerator(mac_rows=16, mac_cols=8, shift_rows=8)
    return (*_built(kind, first, recipe), accelerator)


@cache
def _built(kind, first, recipe):
    graph = small_vit() if kind == "vit" else captured("mobilenetv3_small_050", 32)
    layers = []
    for place, node in enumerate(graph.layers):
        weight = WEIGHTS[place % len(WEIGHTS)] if place else first
        layers.append((node.name, LayerFormat.parse(weight, (8, 6, 4)[place % 3])))
    functions = tuple(
        (n.name, n.attributes["function"]) for n in graph.nodes if n.op == "activation"
    )
    design = Design(tuple(layers), functions, Accelerator())
    built = QuantizedNetwork.build(graph, design, recipe=recipe)
    calibrate(built, random_images(8, 32))
    return lower(built), workload(graph, design, recipe)
