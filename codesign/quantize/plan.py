"""Where a design puts quantisers: the graph with every node's code width written on it.

Each layer reads codes of its own `activation_bits`. A value that only such layers read is stored
at their width; a value with other readers too (residual sums, norms, attention) is stored at 8 bits
and narrowed in front of the layer by a "requantize" node. What lies between a layer and its
activation function stays inside the accelerator's output stage and has 8 bits.
"""

from collections.abc import Mapping
from dataclasses import replace

from codesign.design import Design
from codesign.errors import UserError
from codesign.graph.ir import LAYER_OPERATIONS, SHAPE_OPERATIONS, Graph, Node
from codesign.numerics.activation import ACTIVATIONS
from codesign.numerics.division import DIVISIONS
from codesign.numerics.softmax import SOFTMAXES
from codesign.quantize.codes import with_codes
from codesign.quantize.recipe import Recipe
from codesign.quantize.recipe_check import check_recipe
from codesign.quantize.transforms import TRANSFORMS

STORED_BITS = 8
LOGITS_BITS = 16
INNER_BITS = 16
"""Width in front of an affine operation, inside the output stage, and of a division."""
_FUSING = frozenset(
    {"conv2d", "linear", "matmul", "add", "mul", "mean", "layer_norm", "affine", "group_norm"}
    | {"rms_norm", "avg_pool2d", "max_pool2d", "max"}
)


def arrange(graph: Graph, design: Design, recipe: Recipe) -> Graph:
    """Return the float graph with the design's functions and the transforms' neutral nodes.

    Raises:
        UserError: The design's layers or activations are not those of the graph, or the recipe
            names something unknown.
    """
    check_recipe(recipe)
    _check(graph, design)
    nodes = [_with_function(node, design.activation_functions) for node in graph.nodes]
    graph = replace(graph, nodes=tuple(nodes))
    for name in recipe.transforms:
        graph = TRANSFORMS.get(name).rewrite(graph)
    return graph


def plan(arranged: Graph, design: Design, recipe: Recipe) -> Graph:
    """Return an arranged graph with code widths ("bits"), arithmetic ("kind") and narrowing nodes.

    Nodes whose only reader is an activation that clips get the attribute "fused": that
    activation's name. They round straight to its codes.
    """
    nodes = [_with_kind(node, recipe) for node in arranged.nodes]
    graph = replace(arranged, nodes=tuple(nodes))
    readers = graph.consumers()
    planned: list[Node] = []
    for node in nodes:
        layer = design.layer_formats.get(node.name) if node.op in LAYER_OPERATIONS else None
        if layer is not None:
            source = _computing(graph, node.inputs[0])
            if _stored_bits(source, readers, design) != layer.activation_bits:
                narrow = _narrow(node, graph, layer.activation_bits)
                planned.append(narrow)
                node = replace(node, inputs=(narrow.name, *node.inputs[1:]))
        if node.op == "divide" and (bits := DIVISIONS.get(node.attributes["kind"]).operand_bits):
            narrows = [_narrow_operand(node, graph, bits, i) for i in (0, 1)]
            planned += narrows
            node = replace(node, inputs=tuple(narrow.name for narrow in narrows))
        planned.append(_with_bits(node, readers, design, graph))
    return with_codes(replace(graph, nodes=tuple(planned)), recipe)


def _check(graph: Graph, design: Design) -> None:
    for kind, wanted, given in (
        ("layers", [n.name for n in graph.layers], design.layer_formats),
        (
            "activations",
            [n.name for n in graph.nodes if n.op == "activation"],
            design.activation_functions,
        ),
    ):
        if set(wanted) != set(given):
            odd = sorted(set(wanted) ^ set(given))[0]
            raise UserError(f"the design's {kind} are not those of model '{graph.name}': {odd}")


def _with_function(node: Node, functions: Mapping[str, str]) -> Node:
    if node.op != "activation":
        return node
    function = functions[node.name]
    ACTIVATIONS.get(function)
    return replace(node, attributes={**node.attributes, "function": function})


def _with_kind(node: Node, recipe: Recipe) -> Node:
    kinds = {
        "softmax": recipe.softmax,
        "layer_norm": recipe.layer_norm,
        "divide": recipe.division,
    }
    if node.op not in kinds:
        return node
    if node.op == "softmax":
        SOFTMAXES.get(recipe.softmax).check(recipe.attention_bits)
    extra = {"attention_bits": recipe.attention_bits} if node.op == "softmax" else {}
    return replace(node, attributes={**node.attributes, "kind": kinds[node.op], **extra})


def _computing(graph: Graph, name: str) -> Node:
    """Return the node whose codes arrive under `name`, shape operations skipped."""
    node = graph[name]
    while node.op in SHAPE_OPERATIONS:
        node = graph[node.inputs[0]]
    return node


def _widths(node: Node, readers: Mapping[str, list[Node]], design: Design) -> set[int]:
    """Return the code widths that the readers of a node ask for."""
    widths: set[int] = set()
    for reader in readers[node.name]:
        if reader.op in SHAPE_OPERATIONS:
            widths |= _widths(reader, readers, design)
        elif reader.op in LAYER_OPERATIONS:
            widths.add(design.layer_formats[reader.name].activation_bits)
        elif reader.op == "divide":
            widths.add(INNER_BITS)
        else:
            widths.add(STORED_BITS)
    return widths


def _stored_bits(node: Node, readers: Mapping[str, list[Node]], design: Design) -> int:
    widths = _widths(node, readers, design)
    if node.op == "constant":
        return STORED_BITS
    return widths.pop() if len(widths) == 1 else STORED_BITS


def _narrow(layer: Node, graph: Graph, bits: int) -> Node:
    source = layer.inputs[0]
    name = f"{layer.name}.input"
    return Node(name, "requantize", (source,), graph[source].shape, {"bits": bits})


def _narrow_operand(division: Node, graph: Graph, bits: int, index: int) -> Node:
    """Return the node that gives an operand of a division a format of its own."""
    source = division.inputs[index]
    name = f"{division.name}.{('numerator', 'denominator')[index]}"
    return Node(name, "requantize", (source,), graph[source].shape, {"bits": bits})


def _fuses(node: Node) -> bool:
    """Return whether a node can round to another's codes; 8-bit multipliers have 8-bit results."""
    return node.op in _FUSING and node.attributes.get("kind") != "fq_vit"


def _bits_before(activation: Node, readers: Mapping[str, list[Node]]) -> int:
    """Return the width in front of an activation, more than 8 bits only before channels part."""
    behind = readers[activation.name]
    if [node.op for node in behind] != ["affine"]:
        return STORED_BITS
    return ACTIVATIONS.get(activation.attributes["function"]).input_bits


def _with_bits(node: Node, readers: Mapping[str, list[Node]], design: Design, graph: Graph) -> Node:
    if node.op in SHAPE_OPERATIONS:
        return node
    if node.name == graph.logits.name:
        return replace(node, attributes={**node.attributes, "bits": LOGITS_BITS})
    extra: dict[str, int | str] = {"bits": _stored_bits(node, readers, design)}
    reader = readers[node.name][0] if len(readers[node.name]) == 1 else None
    if reader is not None and reader.op == "activation" and _fuses(node):
        if ACTIVATIONS.get(reader.attributes["function"]).clips:
            extra["fused"] = reader.name
        else:
            extra["bits"] = _bits_before(reader, readers)
    elif reader is not None and reader.op == "affine" and (_fuses(node) or node.op == "activation"):
        extra["bits"] = INNER_BITS
    if node.op == "softmax":
        extra["bits"] = node.attributes["attention_bits"]
    return replace(node, attributes={**node.attributes, **extra})
