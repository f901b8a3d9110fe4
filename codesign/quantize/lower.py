"""Lowering: from a calibrated network to the IntegerModel, with every bound proved."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from codesign.errors import RunError
from codesign.graph.ir import SHAPE_OPERATIONS, Node, resolve
from codesign.integer.model import IntegerModel, IntegerNode
from codesign.numerics.activation import ACTIVATIONS
from codesign.numerics.fixed_point import ACCUMULATOR_LIMIT, Format, dyadic
from codesign.numerics.layer_norm import layer_norm_constants
from codesign.numerics.softmax import MAX_ROW, exponential_table
from codesign.numerics.weights import SCHEMES
from codesign.quantize.network import QuantizedNetwork

Integers = dict[str, NDArray[np.integer[Any]]]

MAX_BIAS = 2**29
"""Biases are kept below this; a channel whose weights are almost zero gets a coarser scale."""


def lower(network: QuantizedNetwork) -> IntegerModel:
    """Return the integer model of a calibrated (and perhaps distilled) network.

    Raises:
        RunError: An accumulator could exceed 32 bits, or no requantisation fits; the message names
            the layer and the bound.
    """
    lowering = Lowering(network)
    for node in network.graph.nodes:
        lowering.convert(node)
    return IntegerModel(network.graph.name, tuple(lowering.nodes.values()), lowering.tensors)


class Lowering:
    """Builds integer nodes one by one."""

    def __init__(self, network: QuantizedNetwork) -> None:
        self.network = network
        self.nodes: dict[str, IntegerNode] = {}
        self.tensors: Integers = {}
        self.alias: dict[str, str] = {}

    def convert(self, node: Node) -> None:
        """Add the integer node (or nodes) of one node of the planned graph."""
        if node.op in SHAPE_OPERATIONS:
            self.add(node, self.format(node.inputs[0]), node.attributes, {}, op=node.op)
            return
        try:
            _LOWER[node.op](self, node)
        except ValueError as error:
            raise RunError(f"layer {node.name}: {error}") from error

    def name(self, source: str) -> str:
        """Return the integer node that holds a node's codes."""
        return self.alias.get(source, source)

    def format(self, source: str) -> Format:
        """Return the format of the codes of a node."""
        return self.nodes[self.name(source)].format

    def target(self, node: Node) -> Format:
        """Return the format a node rounds to: its own, or its fused activation's."""
        return self.network.formats[node.attributes.get("fused", node.name)]

    def add(
        self,
        node: Node,
        target: Format,
        attributes: Mapping[str, Any],
        tensors: Mapping[str, NDArray[np.integer[Any]]],
        *,
        op: str = "",
        inputs: tuple[str, ...] | None = None,
    ) -> None:
        """File an integer node and its tensors."""
        keys = {role: f"{node.name}/{role}" for role in tensors}
        self.tensors.update({keys[role]: value for role, value in tensors.items()})
        sources = tuple(self.name(name) for name in (inputs or node.inputs))
        self.nodes[node.name] = IntegerNode(
            node.name, op or node.op, sources, target, node.shape, dict(attributes), keys
        )

    def prove(self, node: Node, bound: float) -> None:
        """Check that an accumulator's bound fits 32 bits.

        Raises:
            RunError: It does not.
        """
        if bound > ACCUMULATOR_LIMIT:
            raise RunError(
                f"layer {node.name}: its accumulator can reach {bound:.0f}, above 2**31 - 1;"
                " use fewer weight or activation bits there."
            )


def _scalar(ratio: float) -> dict[str, int]:
    multiplier, shift = dyadic(ratio)
    return {"multiplier": int(multiplier[0]), "shift": int(shift[0])}


def _narrowest(values: NDArray[np.int64]) -> NDArray[np.integer[Any]]:
    peak = int(np.abs(values).max(initial=0))
    return values.astype(np.int8 if peak < 2**7 else np.int16 if peak < 2**15 else np.int32)


def _input(b: Lowering, node: Node) -> None:
    b.add(node, b.target(node), {}, {})


def _layer(b: Lowering, node: Node) -> None:
    network, source, target = b.network, b.format(node.inputs[0]), b.target(node)
    layer = network.layers[node.name]
    weight = network.tensors[node.parameters["weight"]].detach().cpu()
    scale = network.weight_scales[node.name].cpu().double()
    bias = torch.zeros(len(weight), dtype=torch.float64)
    if "bias" in node.parameters:
        bias = network.tensors[node.parameters["bias"]].detach().cpu().double()
    scale = torch.maximum(scale, bias.abs() / (source.scale * MAX_BIAS)).float()
    scheme = SCHEMES.get(layer.weight_scheme)
    # In float32, as the twin divides: scales are such that the largest weight is often a tie.
    codes = scheme.integer(weight, scale, layer.weight_bits).numpy().astype(np.int64)
    accumulator_scale = source.scale * scale.double().numpy()
    offset = np.floor(bias.numpy() / accumulator_scale + 0.5).astype(np.int64)
    magnitudes = np.abs(codes).reshape(len(codes), -1).sum(axis=1)
    bound = int((magnitudes * source.magnitude + np.abs(offset)).max())
    b.prove(node, bound)
    multiplier, shift = dyadic(accumulator_scale / target.scale)
    attributes = {
        **{k: v for k, v in node.attributes.items() if k in _GEOMETRY},
        "weight_bits": layer.weight_bits,
        "weight_scheme": layer.weight_scheme,
        "accumulator_bound": bound,
    }
    tensors = {
        "weight": _narrowest(codes),
        "bias": offset.astype(np.int32),
        "multiplier": multiplier.astype(np.int32),
        "shift": shift.astype(np.int8),
    }
    b.add(node, target, attributes, tensors)


_GEOMETRY = ("stride", "padding", "dilation", "groups")


def _matmul(b: Lowering, node: Node) -> None:
    left, right = (b.format(name) for name in node.inputs)
    target = b.target(node)
    length = resolve(b.network.graph[node.inputs[0]].shape, 1)[-1]
    bound = length * left.magnitude * right.magnitude
    b.prove(node, bound)
    ratio = left.scale * right.scale * node.attributes["factor"] / target.scale
    b.add(node, target, {**_scalar(ratio), "accumulator_bound": bound}, {})


def _add(b: Lowering, node: Node) -> None:
    target = b.target(node)
    ratios = np.array([b.format(name).scale / target.scale for name in node.inputs])
    shift = int(dyadic(ratios.max())[1][0])
    multipliers = [int(m) for m in np.floor(np.ldexp(ratios, shift) + 0.5)]
    b.add(node, target, {"multipliers": multipliers, "shift": shift}, {})


def _mul(b: Lowering, node: Node) -> None:
    left, right = (b.format(name) for name in node.inputs)
    target = b.target(node)
    b.add(node, target, _scalar(left.scale * right.scale / target.scale), {})


def _requantize(b: Lowering, node: Node) -> None:
    source, target = b.format(node.inputs[0]), b.target(node)
    b.add(node, target, _scalar(source.scale / target.scale), {})


def _activation(b: Lowering, node: Node) -> None:
    producer = b.network.graph[node.inputs[0]]
    if producer.attributes.get("fused") == node.name:
        b.alias[node.name] = producer.name
        return
    source, target = b.format(node.inputs[0]), b.target(node)
    function = ACTIVATIONS.get(node.attributes["function"])
    tensors = {}
    if function.operation == "lookup":
        tensors["table"] = _narrowest(function.table(source, target).numpy())
    b.add(node, target, function.constants(source, target), tensors, op=function.operation)


def _softmax(b: Lowering, node: Node) -> None:
    source, target = b.format(node.inputs[0]), b.target(node)
    if resolve(node.shape, 1)[-1] > MAX_ROW:
        raise RunError(f"{node.name}: softmax over more than {MAX_ROW} elements")
    table = exponential_table(source).numpy().astype(np.int32)
    b.add(node, target, {"levels": target.high}, {"table": table})


def _layer_norm(b: Lowering, node: Node) -> None:
    source, target = b.format(node.inputs[0]), b.target(node)
    channels = resolve(node.shape, 1)[-1]
    values = {
        role: b.network.tensors[name].detach().cpu().double().numpy()
        for role, name in node.parameters.items()
    }
    gamma = values.get("weight", np.ones(channels))
    beta = values.get("bias", np.zeros(channels))
    c = layer_norm_constants(gamma, beta, node.attributes["epsilon"], source, target)
    tensors: Integers = {
        "scale": c.scale.astype(np.int16),
        "offset": c.offset.astype(np.int32),
    }
    b.add(node, target, {"epsilon": c.epsilon, "shift": c.shift}, tensors)


def _mean(b: Lowering, node: Node) -> None:
    source, target = b.format(node.inputs[0]), b.target(node)
    dims = node.attributes["dims"]
    shape = resolve(b.network.graph[node.inputs[0]].shape, 1)
    count = math.prod(shape[d] for d in dims)
    b.prove(node, count * source.magnitude)
    attributes = {"dims": dims, "keep": bool(node.attributes["keep"])}
    b.add(node, target, {**attributes, **_scalar(source.scale / count / target.scale)}, {})


def _concat(b: Lowering, node: Node) -> None:
    """Bring each operand to the result's format, then join."""
    target = b.target(node)
    joined = []
    for index, name in enumerate(node.inputs):
        source = b.format(name)
        if source != target:
            part = Node(f"{node.name}.{index}", "requantize", (name,), b.network.graph[name].shape)
            b.add(part, target, _scalar(source.scale / target.scale), {})
            name = part.name
        joined.append(name)
    b.add(node, target, {"dim": node.attributes["dim"]}, {}, inputs=tuple(joined))


def _constant(b: Lowering, node: Node) -> None:
    target = b.target(node)
    value = b.network.tensors[node.parameters["value"]].detach().cpu()
    b.add(node, target, {}, {"value": target.quantize(value).numpy().astype(np.int16)})


_LOWER: dict[str, Callable[[Lowering, Node], None]] = {
    "input": _input,
    "conv2d": _layer,
    "linear": _layer,
    "matmul": _matmul,
    "add": _add,
    "mul": _mul,
    "requantize": _requantize,
    "activation": _activation,
    "softmax": _softmax,
    "layer_norm": _layer_norm,
    "mean": _mean,
    "concat": _concat,
    "constant": _constant,
}
