"""Run a graph in floating point: the definition of what each operation computes."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from codesign.graph.ir import SHAPE_OPERATIONS, Graph, Node, resolve
from codesign.numerics.activation import ACTIVATIONS

Parameters = Mapping[str, Tensor]
Hook = Callable[[Node, Tensor], Tensor | None]


def run(graph: Graph, images: Tensor, *, hook: Hook | None = None) -> Tensor:
    """Return the logits of a batch in float.

    Args:
        graph: The network.
        images: (batch, channels, height, width) float32.
        hook: Called with each node and its result; what it returns, if not None, replaces it.
    """
    values: dict[str, Tensor] = {}
    last_use = last_uses(graph.nodes)
    for node in graph.nodes:
        arguments = [values[name] for name in node.inputs]
        if node.op == "input":
            result = images
        elif node.op in SHAPE_OPERATIONS:
            result = move(node, arguments[0], images.shape[0])
        else:
            parameters = {role: graph.tensors[name] for role, name in node.parameters.items()}
            result = compute(node, arguments, parameters)
        replaced = hook(node, result) if hook else None
        values[node.name] = result if replaced is None else replaced
        for name in last_use[node.name]:
            del values[name]
    return values[graph.output.name]


def last_uses(nodes: Sequence[Node]) -> dict[str, list[str]]:
    """Return, for every node, the values nobody reads after it."""
    last = {name: node.name for node in nodes for name in node.inputs}
    done: dict[str, list[str]] = {node.name: [] for node in nodes}
    for name, reader in last.items():
        done[reader].append(name)
    return done


def compute(node: Node, x: Sequence[Tensor], p: Parameters) -> Tensor:
    """Return the float result of a node that computes, for its operands and parameters."""
    return _COMPUTE[node.op](node, x, p)


def move(node: Node, x: Tensor, batch: int) -> Tensor:
    """Return the result of a shape operation (`SHAPE_OPERATIONS`), on values of any type."""
    a = node.attributes
    if node.op == "permute":
        return x.permute(a["order"])
    if node.op == "select":
        return x.select(a["dim"], a["index"])
    if node.op == "slice":
        indices = (slice(None),) * a["dim"] + (slice(a["start"], a["stop"], a["step"]),)
        return x[indices]
    if node.op == "gather":
        return x.index_select(a["dim"], torch.tensor(a["indices"], device=x.device))
    if node.op == "pad":
        flat = [width for pair in reversed(a["pads"]) for width in pair]
        return F.pad(x, flat, value=a["value"])
    sizes = resolve(node.shape, batch)
    return x.reshape(sizes) if node.op == "reshape" else x.expand(sizes)


def _conv2d(node: Node, x: Sequence[Tensor], p: Parameters) -> Tensor:
    a = node.attributes
    geometry = (a["stride"], a["padding"], a["dilation"], a["groups"])
    return F.conv2d(x[0], p["weight"], p.get("bias"), *geometry)


def _batch_norm(node: Node, x: Sequence[Tensor], p: Parameters) -> Tensor:
    return F.batch_norm(
        x[0],
        p["running_mean"],
        p["running_var"],
        p.get("weight"),
        p.get("bias"),
        eps=node.attributes["epsilon"],
    )


def _layer_norm(node: Node, x: Sequence[Tensor], p: Parameters) -> Tensor:
    shape = (x[0].shape[-1],)
    return F.layer_norm(x[0], shape, p.get("weight"), p.get("bias"), node.attributes["epsilon"])


def _affine(node: Node, x: Tensor, p: Parameters) -> Tensor:
    ones = [1] * (-1 - node.attributes["axis"])
    return x * p["scale"].reshape(-1, *ones) + p["offset"].reshape(-1, *ones)


def _group_norm(node: Node, x: Tensor, p: Parameters) -> Tensor:
    a = node.attributes
    return F.group_norm(x, a["groups"], p.get("weight"), p.get("bias"), a["epsilon"])


def _rms_norm(node: Node, x: Tensor, p: Parameters) -> Tensor:
    a = node.attributes
    root = torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + a["epsilon"])
    return x * root * a["factor"] * p.get("weight", torch.ones((), device=x.device))


def _divide(node: Node, x: Sequence[Tensor], p: Parameters) -> Tensor:
    return x[0] / (x[1] + node.attributes["epsilon"])


def _max_pool2d(node: Node, x: Tensor, p: Parameters) -> Tensor:
    a = node.attributes
    geometry = (a["kernel"], a["stride"], a["padding"], a["dilation"], a["ceil"])
    x = F.pad(x, (*a["border"][1], *a["border"][0]), value=-math.inf)
    return F.max_pool2d(x, *geometry)


def _avg_pool2d(node: Node, x: Tensor, p: Parameters) -> Tensor:
    a = node.attributes
    geometry = (a["kernel"], a["stride"], a["padding"], a["ceil"], a["count_padding"])
    return F.avg_pool2d(x, *geometry)


def _mean(node: Node, x: Tensor, p: Parameters) -> Tensor:
    a = node.attributes
    return x.mean(a["dims"], keepdim=a["keep"]) * a.get("factor", 1.0)


def _matmul(node: Node, x: Sequence[Tensor], p: Parameters) -> Tensor:
    return torch.matmul(x[0], x[1]) * node.attributes["factor"]


_COMPUTE: dict[str, Callable[[Node, Sequence[Tensor], Parameters], Tensor]] = {
    "conv2d": _conv2d,
    "linear": lambda node, x, p: F.linear(x[0], p["weight"], p.get("bias")),
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "matmul": _matmul,
    "softmax": lambda node, x, p: torch.softmax(x[0], dim=-1),
    "activation": lambda node, x, p: ACTIVATIONS.get(node.attributes["function"]).float(x[0]),
    "function": lambda node, x, p: ACTIVATIONS.get(node.attributes["function"]).float(x[0]),
    "affine": lambda node, x, p: _affine(node, x[0], p),
    "add": lambda node, x, p: x[0] + x[1],
    "mul": lambda node, x, p: x[0] * x[1],
    "concat": lambda node, x, p: torch.cat(list(x), dim=node.attributes["dim"]),
    "group_norm": lambda node, x, p: _group_norm(node, x[0], p),
    "rms_norm": lambda node, x, p: _rms_norm(node, x[0], p),
    "divide": _divide,
    "max_pool2d": lambda node, x, p: _max_pool2d(node, x[0], p),
    "avg_pool2d": lambda node, x, p: _avg_pool2d(node, x[0], p),
    "max": lambda node, x, p: x[0].amax(node.attributes["dims"], keepdim=node.attributes["keep"]),
    "mean": lambda node, x, p: _mean(node, x[0], p),
    "constant": lambda node, x, p: p["value"],
}
