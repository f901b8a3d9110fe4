"""Normalisations."""

import math
from typing import TYPE_CHECKING

from torch import fx

from codesign.graph.aten.base import arguments, handles
from codesign.graph.aten.moves import add_reshape

if TYPE_CHECKING:
    from codesign.graph.capture import Converter


def _parameters(c: "Converter", node: fx.Node, *roles: str) -> dict[str, str]:
    a = arguments(node)
    found = {role: c.constant(a[role]) for role in roles}
    return {role: c.parameter(v, node, role) for role, v in found.items() if v is not None}


@handles("batch_norm", "_native_batch_norm_legit_no_training")
def _batch_norm(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    parameters = _parameters(c, node, "weight", "bias", "running_mean", "running_var")
    operand = c.operand(a["input"], node)
    name = f"{c.path(node)}.batch_norm"
    attributes = {"epsilon": a["eps"]}
    return c.add(name, "batch_norm", (operand,), node, attributes=attributes, parameters=parameters)


@handles("layer_norm")
def _layer_norm(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    sizes = a["normalized_shape"]
    operand = c.operand(a["input"], node)
    shape = c.nodes[operand].shape
    flat = (*shape[: len(shape) - len(sizes)], math.prod(sizes))
    operand = add_reshape(c, node, operand, flat)
    parameters = {}
    for role in ("weight", "bias"):
        constant = c.constant(a[role])
        if constant is not None:
            rows = constant.changed(lambda value: value.reshape(-1))
            parameters[role] = c.parameter(rows, node, role)
    attributes = {"epsilon": a["eps"]}
    name = c.path(node) or "layer_norm"
    name = c.add(
        name,
        "layer_norm",
        (operand,),
        node,
        shape=flat,
        attributes=attributes,
        parameters=parameters,
    )
    return add_reshape(c, node, name, shape)


@handles("group_norm")
def _group_norm(c: "Converter", node: fx.Node) -> str:
    return _add_group_norm(c, node, arguments(node)["num_groups"])


@handles("instance_norm")
def _instance_norm(c: "Converter", node: fx.Node) -> str:
    if arguments(node)["running_mean"] is not None:
        raise c.unsupported(node, "instance norm with running statistics")
    return _add_group_norm(c, node, int(node.meta["val"].shape[1]))


def _add_group_norm(c: "Converter", node: fx.Node, groups: int) -> str:
    a = arguments(node)
    attributes = {"epsilon": a["eps"], "groups": groups}
    parameters = _parameters(c, node, "weight", "bias")
    operand = c.operand(a["input"], node)
    name = c.path(node) or "group_norm"
    return c.add(name, "group_norm", (operand,), node, attributes=attributes, parameters=parameters)
