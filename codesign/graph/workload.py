"""From a graph and a design to the Workload that the cost models price."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codesign.design import Design, LayerFormat
from codesign.graph.ir import LAYER_OPERATIONS, SHAPE_OPERATIONS, Graph, Node, elements, resolve
from codesign.graph.outline import layer_kind
from codesign.numerics.activation import ACTIVATIONS
from codesign.numerics.division import DIVISIONS
from codesign.numerics.layer_norm import LAYER_NORMS
from codesign.numerics.softmax import SOFTMAXES
from codesign.numerics.weights import scheme_of
from codesign.quantize.plan import arrange, plan
from codesign.quantize.recipe import Recipe
from codesign.registry import Registry
from costmodels.workload import MatrixLayer, VectorOperation, Workload

_MULTIPLIER_BITS, _SHIFT_BITS, _BIAS_BITS = 16, 6, 32
_FROM_ARRAY = frozenset({"conv2d", "linear", "matmul"})
_POWER_OF_TWO_PROBABILITIES = frozenset({"log_int", "shiftmax"})
"""Kinds of softmax whose codes have a power of two as their scale."""


def workload(graph: Graph, design: Design, recipe: Recipe | None = None) -> Workload:
    """Return what one image of the design's network asks of hardware.

    Every layer's output passes the requantiser of its output stage; an activation that alone reads
    a layer is fused into that stage too.
    """
    recipe = recipe or Recipe()
    planned = plan(arrange(graph, design, recipe), design, recipe)
    extraction = _Extraction(planned, design.layer_formats, planned.consumers(), recipe)
    operations: list[MatrixLayer | VectorOperation] = []
    for node in planned.nodes:
        if node.op in SHAPE_OPERATIONS or node.op in ("input", "constant"):
            continue
        operations += extraction.operations(node)
    return Workload(graph.name, tuple(operations), extraction.parameter_bits)


@dataclass
class _Extraction:
    graph: Graph
    formats: Mapping[str, LayerFormat]
    readers: Mapping[str, list[Node]]
    recipe: Recipe
    parameter_bits: int = 0

    def __post_init__(self) -> None:
        self.nodes = self.graph.by_name

    def bits(self, name: str) -> int:
        """Return the width of the codes that arrive under a name."""
        return self.written_bits(self.computing(name))

    def written_bits(self, node: Node) -> int:
        """Return the width of the codes a node writes (its fused activation's, if any)."""
        fused = node.attributes.get("fused")
        return int(self.nodes[fused].attributes["bits"] if fused else node.attributes["bits"])

    def stored_bits(self, node: Node) -> int:
        """Return the width of what leaves a layer's output stage for memory."""
        follower = self.follower(node)
        return int(follower.attributes["bits"]) if follower else self.written_bits(node)

    def follower(self, node: Node) -> Node | None:
        """Return the activation that alone reads a node, or None."""
        readers = self.readers[node.name]
        alone = len(readers) == 1 and readers[0].op == "activation"
        return readers[0] if alone else None

    def operations(self, node: Node) -> list[MatrixLayer | VectorOperation]:
        """Return the work of one node."""
        if node.op in LAYER_OPERATIONS:
            return [self.layer(node), self.requantize(node)]
        if node.op == "matmul":
            self.parameter_bits += self.ratio_bits(node)
            return [self.product(node), self.requantize(node)]
        return [self.vector(node)]

    def requantize(self, node: Node) -> VectorOperation:
        """Return the requantisation in a layer's output stage."""
        bits = self.written_bits(node)
        count = elements(node.shape)
        function = self.requantization(node)
        return VectorOperation(
            f"{node.name}.requantize", function, count, 1, 32, bits, node.name, (node.name,)
        )

    def requantization(self, node: Node) -> str:
        """Return "requantize_shift" where every ratio of scales is a power of two."""
        factor = math.frexp(node.attributes.get("factor", 1.0))[0] == 0.5
        sources = [self.computing(name) for name in node.inputs]
        probabilities = {s.attributes["kind"] for s in sources if s.op == "softmax"}
        shifts = factor and probabilities <= _POWER_OF_TWO_PROBABILITIES
        by_shift = self.recipe.scales == "power_of_two" and shifts
        return "requantize_shift" if by_shift else "requantize"

    def ratio_bits(self, node: Node) -> int:
        """Return the bits of a ratio of scales: a shift, and a multiplier where one is needed."""
        by_shift = self.requantization(node) == "requantize_shift"
        return _SHIFT_BITS if by_shift else _MULTIPLIER_BITS + _SHIFT_BITS

    def layer(self, node: Node) -> MatrixLayer:
        """Return the matrix layer of a convolution or linear."""
        layer = self.formats[node.name]
        scheme = scheme_of(layer).hardware
        weight = self.graph.tensors[node.parameters["weight"]]
        outputs = weight.shape[0]
        per_channel = _BIAS_BITS + self.ratio_bits(node)
        per_channel += scheme == "mixed"  # a bit that says which kind the channel is
        self.parameter_bits += weight.numel() * layer.weight_bits + outputs * per_channel
        groups = int(node.attributes.get("groups", 1))
        return MatrixLayer(
            name=node.name,
            kind=layer_kind(self.graph, node),
            m=elements(node.shape) // outputs,
            k=weight[0].numel(),
            n=outputs // groups,
            repeats=groups,
            weight_bits=layer.weight_bits,
            weight_scheme=scheme,
            activation_bits=layer.activation_bits,
            output_bits=self.stored_bits(node),
            input_elements=elements(self.nodes[node.inputs[0]].shape),
            output_elements=elements(node.shape),
            weight_elements=weight.numel(),
            in_channels=weight.shape[1] * groups,
            out_channels=outputs,
            log2_share=(layer.weight_option or 0.0) if scheme == "mixed" else 0.0,
            inputs=self.sources(node.inputs),
            **self.geometry(node),
        )

    def geometry(self, node: Node) -> dict[str, int]:
        """Return the convolution's sizes; the input's have the padding included."""
        if node.op != "conv2d":
            return {}
        a = node.attributes
        height, width = resolve(self.nodes[node.inputs[0]].shape, 1)[-2:]
        kernel = self.graph.tensors[node.parameters["weight"]].shape[2:]
        return {
            "in_height": height + 2 * a["padding"][0],
            "in_width": width + 2 * a["padding"][1],
            "kernel_height": (kernel[0] - 1) * a["dilation"][0] + 1,
            "kernel_width": (kernel[1] - 1) * a["dilation"][1] + 1,
            "stride_height": a["stride"][0],
            "stride_width": a["stride"][1],
        }

    def computing(self, name: str) -> Node:
        """Return the node whose codes arrive under a name."""
        node = self.nodes[name]
        while node.op in SHAPE_OPERATIONS:
            node = self.nodes[node.inputs[0]]
        return node

    def sources(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the nodes whose codes arrive under some names."""
        return tuple(self.computing(name).name for name in names)

    def log2_width(self, name: str) -> int | None:
        """Return the width of the log2 weights that a softmax's codes are, or None."""
        node = self.computing(name)
        if node.op != "softmax":
            return None
        return SOFTMAXES.get(node.attributes["kind"]).log2_width(node.attributes["bits"])

    def product(self, node: Node) -> MatrixLayer:
        """Return the matrix layer of a product of two activations.

        Where one operand is made of powers of two the product is a shift, and that operand takes
        the weights' place: P V is then seen as its transpose, V^T P^T.
        """
        for name, other in (node.inputs[::-1], node.inputs):
            width = self.log2_width(name)
            if width is not None:
                return self._product(node, other, name, width, "log2")
        values, weights = node.inputs
        return self._product(node, values, weights, self.bits(weights), "uniform")

    def _product(
        self, node: Node, values: str, weights: str, width: int, scheme: str
    ) -> MatrixLayer:
        """Return the product in which the operand `weights` takes the weights' place."""
        k = resolve(self.nodes[node.inputs[0]].shape, 1)[-1]
        m, n = resolve(node.shape, 1)[-2:]
        count = elements(node.shape) // (m * n)
        if weights != node.inputs[1]:
            m, n = n, m
        return MatrixLayer(
            name=node.name,
            kind="matmul",
            m=m,
            k=k,
            n=n,
            repeats=count,
            weight_bits=width,
            weight_scheme=scheme,
            activation_bits=self.bits(values),
            output_bits=self.stored_bits(node),
            input_elements=elements(self.nodes[values].shape),
            output_elements=elements(node.shape),
            weight_elements=elements(self.nodes[weights].shape),
            inputs=self.sources((values, weights)),
        )

    def vector(self, node: Node) -> VectorOperation:
        """Return the work of the vector unit for a node that is no matrix layer."""
        source = self.nodes[node.inputs[0]]
        input_bits = max(self.bits(name) for name in node.inputs)
        count, row = elements(node.shape), 1
        if node.op in ("softmax", "layer_norm", "rms_norm"):
            row = resolve(node.shape, 1)[-1]
        elif node.op == "group_norm":
            row = count // node.attributes["groups"] // resolve(node.shape, 1)[0]
        elif node.op in ("max_pool2d", "avg_pool2d"):
            row = math.prod(node.attributes["kernel"])
            count *= row
        elif node.op in ("mean", "max"):
            row = elements(source.shape) // count
            count = elements(source.shape)
        self.parameter_bits += _CONSTANT_BITS[node.op](self, node, input_bits)
        function = _FUNCTIONS.get(node.op, node.op)
        if node.op in _KINDS:
            function = _KINDS[node.op].get(node.attributes["kind"]).hardware_function
        if node.op == "requantize":
            function = self.requantization(node)
        elif function == "layer_norm" and self.recipe.norm_inputs == "ptf":
            function = "layer_norm_ptf"
        fused = None
        if node.op == "activation":
            function = ACTIVATIONS.get(node.attributes["function"]).hardware_function
            alone = len(self.readers[source.name]) == 1
            fused = source.name if source.op in _FROM_ARRAY and alone else None
        bits = int(node.attributes["bits"])
        sources = self.sources(node.inputs)
        return VectorOperation(node.name, function, count, row, input_bits, bits, fused, sources)


def _scalar_bits(e: _Extraction, node: Node, input_bits: int) -> int:
    return len(node.inputs) * _MULTIPLIER_BITS + _SHIFT_BITS


def _activation_bits(e: _Extraction, node: Node, input_bits: int) -> int:
    if ACTIVATIONS.get(node.attributes["function"]).operation == "lookup":
        return int(2**input_bits * node.attributes["bits"])
    return _MULTIPLIER_BITS + _SHIFT_BITS


def _softmax_bits(e: _Extraction, node: Node, input_bits: int) -> int:
    kind = SOFTMAXES.get(node.attributes["kind"])
    return kind.constant_bits(input_bits, node.attributes["bits"])


def _norm_bits(e: _Extraction, node: Node, input_bits: int) -> int:
    return LAYER_NORMS.get(node.attributes["kind"]).constant_bits(resolve(node.shape, 1)[-1])


def _channel_norm_bits(e: _Extraction, node: Node, input_bits: int) -> int:
    channels = [e.graph.tensors[name].numel() for name in node.parameters.values()]
    return max(channels, default=1) * (_MULTIPLIER_BITS + _BIAS_BITS) + _SHIFT_BITS


def _table_bits(e: _Extraction, node: Node, input_bits: int) -> int:
    return int(2**input_bits * node.attributes["bits"])


def _affine_bits(e: _Extraction, node: Node, input_bits: int) -> int:
    channels = e.graph.tensors[node.parameters["scale"]].numel()
    return channels * (_MULTIPLIER_BITS + _BIAS_BITS + _SHIFT_BITS)


_FUNCTIONS = {
    "mean": "pool",
    "avg_pool2d": "pool",
    "max_pool2d": "max_pool",
    "max": "max_pool",
    "function": "table",
}
_KINDS: dict[str, Registry[Any]] = {
    "softmax": SOFTMAXES,
    "layer_norm": LAYER_NORMS,
    "divide": DIVISIONS,
}
_CONSTANT_BITS: dict[str, Callable[[_Extraction, Node, int], int]] = {
    "activation": _activation_bits,
    "softmax": _softmax_bits,
    "layer_norm": _norm_bits,
    "affine": _affine_bits,
    "function": _table_bits,
    **dict.fromkeys(("group_norm", "rms_norm"), _channel_norm_bits),
    **dict.fromkeys(("add", "mul", "concat", "mean", "requantize", "divide"), _scalar_bits),
    **dict.fromkeys(("max_pool2d", "avg_pool2d", "max", "divide"), _scalar_bits),
}
