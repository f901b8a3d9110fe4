"""Lowering of what works element by element, and of sums over elements."""

import math

import numpy as np
from numpy.typing import NDArray

from codesign.graph.ir import Node, resolve
from codesign.numerics.activation import ACTIVATIONS, Activation
from codesign.numerics.affine import affine_constants
from codesign.numerics.fixed_point import MULTIPLIER_BITS, dyadic
from codesign.quantize.lowerings.base import (
    Integers,
    Lowering,
    largest_shift,
    lowers,
    narrowest,
    scalar,
)


@lowers("input")
def _input(b: Lowering, node: Node) -> None:
    b.add(node, b.target(node), {}, {})


@lowers("constant")
def _constant(b: Lowering, node: Node) -> None:
    target = b.target(node)
    value = b.network.tensors[node.parameters["value"]].detach().cpu()
    b.add(node, target, {}, {"value": target.quantize(value).numpy().astype(np.int16)})


@lowers("add")
def _add(b: Lowering, node: Node) -> None:
    target = b.target(node)
    ratios = np.array([b.format(name).scale / target.scale for name in node.inputs])
    multipliers, shift = _common_shift(ratios, largest_shift(target))
    b.add(node, target, {"multipliers": multipliers, "shift": shift}, {})


def _common_shift(ratios: NDArray[np.float64], largest: int) -> tuple[list[int], int]:
    """Return whole multipliers of 16 bits on one shift; powers of two are reduced to shifts."""
    dyadic(ratios, largest)  # refuses what is out of range
    shift = int(np.clip(MULTIPLIER_BITS - np.frexp(ratios.max())[1], 1, largest))
    if np.floor(np.ldexp(ratios.max(), shift) + 0.5) >= 2**MULTIPLIER_BITS:
        shift -= 1
    multipliers = [int(m) for m in np.floor(np.ldexp(ratios, shift) + 0.5)]
    while shift > 1 and not any(m % 2 for m in multipliers):
        multipliers, shift = [m // 2 for m in multipliers], shift - 1
    return multipliers, shift


@lowers("mul")
def _mul(b: Lowering, node: Node) -> None:
    left, right = (b.format(name) for name in node.inputs)
    target = b.target(node)
    b.prove(node, left.magnitude * right.magnitude)
    b.add(node, target, scalar(left.scale * right.scale / target.scale, target), {})


@lowers("requantize")
def _requantize(b: Lowering, node: Node) -> None:
    source, target = b.format(node.inputs[0]), b.target(node)
    b.add(node, target, scalar(source.scale / target.scale, target), {})


@lowers("activation")
def _activation(b: Lowering, node: Node) -> None:
    producer = b.network.graph[node.inputs[0]]
    if producer.attributes.get("fused") == node.name:
        b.alias[node.name] = producer.name
        return
    source, target = b.format(node.inputs[0]), b.target(node)
    function = ACTIVATIONS.get(node.attributes["function"])
    if function.operation == "lookup":
        _table(b, node, function)
        return
    b.add(node, target, function.constants(source, target), {}, op=function.operation)


@lowers("function")
def _function(b: Lowering, node: Node) -> None:
    _table(b, node, ACTIVATIONS.get(node.attributes["function"]))


def _table(b: Lowering, node: Node, function: Activation) -> None:
    """Add a table and the name of its function, for files that write functions as operators."""
    target = b.target(node)
    table = narrowest(function.table(b.format(node.inputs[0]), target).numpy())
    b.add(node, target, {"function": function.name}, {"table": table}, op="lookup")


@lowers("mean")
def _mean(b: Lowering, node: Node) -> None:
    source, target = b.format(node.inputs[0]), b.target(node)
    dims = node.attributes["dims"]
    shape = resolve(b.network.graph[node.inputs[0]].shape, 1)
    count = math.prod(shape[d] for d in dims)
    b.prove(node, count * source.magnitude)
    attributes = {"dims": dims, "keep": bool(node.attributes["keep"])}
    ratio = source.scale * node.attributes.get("factor", 1.0) / count / target.scale
    b.add(node, target, {**attributes, **scalar(ratio, target)}, {})


@lowers("concat")
def _concat(b: Lowering, node: Node) -> None:
    """Bring each operand to the result's format, then join."""
    target = b.target(node)
    joined = []
    for index, name in enumerate(node.inputs):
        source = b.format(name)
        if source != target:
            part = Node(f"{node.name}.{index}", "requantize", (name,), b.network.graph[name].shape)
            b.add(part, target, scalar(source.scale / target.scale, target), {})
            name = part.name
        joined.append(name)
    b.add(node, target, {"dim": node.attributes["dim"]}, {}, inputs=tuple(joined))


@lowers("affine")
def _affine(b: Lowering, node: Node) -> None:
    source, target = b.format(node.inputs[0]), b.target(node)
    values = {
        role: b.network.tensors[name].detach().cpu().double().numpy()
        for role, name in node.parameters.items()
    }
    c = affine_constants(values["scale"], values["offset"], source, target)
    tensors: Integers = {
        "multiplier": c.multiplier.astype(np.int16),
        "offset": c.offset.astype(np.int32),
        "shift": c.shift.astype(np.int8),
    }
    b.add(node, target, {"axis": node.attributes["axis"]}, tensors)
