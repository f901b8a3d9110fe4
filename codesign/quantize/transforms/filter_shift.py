"""Filter-wise shifting: pointwise inputs with channels centred at zero.

Trio-ViT (Shi et al., arXiv 2405.03882): the outputs of depthwise filters are asymmetric, each
channel in its own way. Each is shifted by z_c = (max_c + min_c) / 2 (the printed equation has a
minus sign, which would not centre anything), and the pointwise layer behind gets the bias
sum_c W_oc z_c. The shift goes into the depthwise layer's bias where no activation is between, else
into an affine operation behind the activation.
"""

from dataclasses import replace

from torch import Tensor

from codesign.design import Design
from codesign.graph.ir import Graph, Node
from codesign.quantize.observers import MinMax
from codesign.quantize.recipe import Recipe
from codesign.quantize.transforms import sites
from codesign.quantize.transforms.base import TRANSFORMS, Transform


class FilterShift(Transform):
    """Centres the channels between depthwise and pointwise layers."""

    name = "filter_shift"

    def rewrite(self, graph: Graph) -> Graph:
        """Give the layers biases, and an affine node where an activation is between."""
        found = _layers(graph)
        behind = [name for name, folded in found.items() if folded is None]
        folded = {node.name: ("bias",) for node in found.values() if node is not None}
        graph = sites.with_parameters(graph, {**dict.fromkeys(found, ("bias",)), **folded})
        return sites.with_affine(graph, behind)

    def fit(self, graph: Graph, images: Tensor, design: Design, recipe: Recipe) -> Graph:
        """Subtract the channels' centres and add their response to the biases."""
        found = _layers(graph)
        observers = {graph[name].inputs[0]: MinMax(-3) for name in found}
        sites.watch(graph, images, {name: o.update for name, o in observers.items()})
        tensors = dict(graph.tensors)
        for name, folded in found.items():
            layer = graph[name]
            low, high = observers[layer.inputs[0]].ranges()
            centre = (low + high) / 2
            weight, bias = (layer.parameters[role] for role in ("weight", "bias"))
            tensors[bias] = tensors[bias] + sites.offset_response(tensors[weight], centre)
            affine = sites.own_affine(graph, layer)
            key = affine.parameters["offset"] if affine else None
            if folded is not None:
                key = folded.parameters["bias"]
            assert key is not None
            tensors[key] = tensors[key] - centre
        return replace(graph, tensors=tensors)


def _layers(graph: Graph) -> dict[str, Node | None]:
    """Return the pointwise layers, each with the depthwise layer its shift folds into, if any."""
    owned, readers = sites.Owners(graph), graph.consumers()
    found: dict[str, Node | None] = {}
    for node in graph.layers:
        if node.op != "conv2d" or not sites.is_pointwise(graph, node) or not owned(node):
            continue
        affine = sites.own_affine(graph, node)
        source = graph[affine.inputs[0] if affine else node.inputs[0]]
        direct = affine is None and sites.is_depthwise(graph, source)
        if source.op == "activation":
            source = graph[source.inputs[0]]
        if sites.is_depthwise(graph, source):
            fold = direct and owned(source) and len(readers[source.name]) == 1
            found[node.name] = source if fold else None
    return found


TRANSFORMS.register(FilterShift.name)(FilterShift())
