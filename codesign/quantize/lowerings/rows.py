"""Lowering of softmax, LayerNorm and division, each in the kind of arithmetic that is chosen."""

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from codesign.errors import RunError
from codesign.graph.ir import Node, resolve
from codesign.numerics.division import DIVISIONS
from codesign.numerics.layer_norm import LAYER_NORMS
from codesign.numerics.layer_norm.base import parameters
from codesign.numerics.softmax import SOFTMAXES
from codesign.quantize.lowerings.base import Integers, Lowering, lowers, narrowest


@lowers("softmax")
def _softmax(b: Lowering, node: Node) -> None:
    source, target = b.format(node.inputs[0]), b.target(node)
    kind = SOFTMAXES.get(node.attributes.get("kind", "table"))
    if source.shifts or source.codebook or source.bits > 8:
        raise RunError(f"{node.name}: softmax needs evenly spaced codes of at most 8 bits")
    c = kind.constants(source, target)
    length = resolve(node.shape, 1)[-1]
    if length > kind.longest_row(c):
        raise RunError(f"{node.name}: softmax over more than {kind.longest_row(c)} elements")
    b.add(node, target, c.attributes, _arrays(c.tensors), op=kind.operation)


@lowers("layer_norm")
def _layer_norm(b: Lowering, node: Node) -> None:
    source, target = b.format(node.inputs[0]), b.target(node)
    kind = LAYER_NORMS.get(node.attributes.get("kind", "reciprocal"))
    channels = resolve(node.shape, 1)[-1]
    values = {role: b.network.tensors[name] for role, name in node.parameters.items()}
    gamma, beta = parameters(values.get("weight"), values.get("bias"), channels, target)
    c = kind.constants(gamma, beta, node.attributes["epsilon"], source, target)
    b.add(node, target, c.attributes, _arrays(c.tensors), op=kind.operation)


@lowers("divide")
def _divide(b: Lowering, node: Node) -> None:
    numerator, denominator = (b.format(name) for name in node.inputs)
    target = b.target(node)
    kind = DIVISIONS.get(node.attributes.get("kind", "exact"))
    kind.check(denominator)
    c = kind.constants(node.attributes["epsilon"], numerator, denominator, target)
    b.add(node, target, c.attributes, {}, op=kind.operation)


def _arrays(tensors: Mapping[str, Tensor]) -> Integers:
    return {role: narrowest(t.cpu().numpy().astype(np.int64)) for role, t in tensors.items()}


def row_bound(b: Lowering, name: str, axis: int) -> int | None:
    """Return a bound on the sum of the whole numbers along an axis of a node's codes.

    Where the codes are those of a softmax, moved but otherwise unchanged, and the axis is that of
    its rows, the sum of a row is bounded whatever its length: they are probabilities.

    Args:
        b: The lowering; the node is converted.
        name: A node.
        axis: A dimension of its result.
    """
    node = b.nodes[b.name(name)]
    axis %= len(node.shape)
    while node.op in ("permute", "reshape", "slice", "expand"):
        before = b.nodes[node.inputs[0]]
        if node.op == "permute":
            axis = node.attributes["order"][axis]
        elif node.op in ("reshape", "expand"):
            if axis != len(node.shape) - 1 or before.shape[-1] != node.shape[-1]:
                return None
            axis = len(before.shape) - 1
        node = before
    limit = node.attributes.get("row_limit")
    return int(limit) if limit is not None and axis == len(node.shape) - 1 else None
