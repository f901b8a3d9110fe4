"""Lowering of normalisations by group and by root mean square."""

import numpy as np

from codesign.graph.ir import Node, resolve
from codesign.numerics.group_norm import RowConstants, row_constants
from codesign.quantize.lowerings.base import Integers, Lowering, lowers


@lowers("group_norm")
def _group_norm(b: Lowering, node: Node) -> None:
    shape, groups = resolve(node.shape, 1), node.attributes["groups"]
    count = int(np.prod(shape[1:])) // groups
    c = _constants(b, node, count, shape[1])
    attributes = {"groups": groups, "epsilon": c.epsilon}
    _add(b, node, c, attributes)


@lowers("rms_norm")
def _rms_norm(b: Lowering, node: Node) -> None:
    count = resolve(node.shape, 1)[-1]
    c = _constants(b, node, count, count if "weight" in node.parameters else 1)
    _add(b, node, c, {"epsilon": c.epsilon})


def _constants(b: Lowering, node: Node, count: int, channels: int) -> RowConstants:
    values = {
        role: b.network.tensors[name].detach().cpu().double().numpy()
        for role, name in node.parameters.items()
    }
    gamma = values.get("weight", np.ones(channels)) * node.attributes.get("factor", 1.0)
    beta = values.get("bias", np.zeros(len(gamma)))
    source, target = b.format(node.inputs[0]), b.target(node)
    return row_constants(count, gamma, beta, node.attributes["epsilon"], source, target)


def _add(b: Lowering, node: Node, c: RowConstants, attributes: dict[str, int]) -> None:
    tensors: Integers = {"scale": c.scale.astype(np.int16), "offset": c.offset.astype(np.int32)}
    extra = {"row_shift": c.row_shift, "shift": c.shift}
    b.add(node, b.target(node), {**attributes, **extra}, tensors)
