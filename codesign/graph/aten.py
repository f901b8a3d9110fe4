"""ATen operations as torch.export gives them, turned into ours. One function an operation."""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

if TYPE_CHECKING:
    from codesign.graph.capture import Converter


@dataclass(frozen=True)
class Parameter:
    """A value that is a parameter or buffer of the model."""

    name: str


Handler = Callable[["Converter", fx.Node], Any]
_HANDLERS: dict[str, Handler] = {}


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Return a decorator that files a handler under the names of ATen operations."""

    def decorate(handler: Handler) -> Handler:
        _HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return decorate


def convert(c: "Converter", node: fx.Node) -> Any:
    """Add the nodes an exported node stands for; return the name of its result.

    Raises:
        UserError: The operation is not known.
    """
    name = "getitem" if node.target is operator.getitem else str(node.target)
    handler = _HANDLERS.get(name) or _HANDLERS.get(name.split(".")[1] if "." in name else name)
    if handler is None:
        raise c.unsupported(node, f"operation {name}")
    return handler(c, node)


def _arguments(node: fx.Node) -> dict[str, Any]:
    """Return the arguments of an ATen call by name, defaults filled in."""
    schema = node.target._schema  # type: ignore[union-attr]
    named = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    named.update(zip((a.name for a in schema.arguments), node.args, strict=False))
    return {**named, **node.kwargs}


def _layer(c: "Converter", node: fx.Node, op: str, attributes: dict[str, Any]) -> str:
    a = _arguments(node)
    weight = c.value[a["weight"]]
    if not isinstance(weight, Parameter):
        raise c.unsupported(node, f"{op} with a computed weight")
    parameters = {"weight": weight.name}
    if a["bias"] is not None:
        parameters["bias"] = c.value[a["bias"]].name
    source = c.operand(a["input"], node)
    path = weight.name.removesuffix(".weight")
    return c.add(path, op, (source,), node, attributes=attributes, parameters=parameters)


@handles("conv2d")
def _conv2d(c: "Converter", node: fx.Node) -> str:
    a = _arguments(node)
    if isinstance(a["padding"], str):
        raise c.unsupported(node, f"convolution with padding '{a['padding']}'")
    attributes = {key: _pair(a[key]) for key in ("stride", "padding", "dilation")}
    return _layer(c, node, "conv2d", {**attributes, "groups": a["groups"]})


@handles("linear")
def _linear(c: "Converter", node: fx.Node) -> str:
    return _layer(c, node, "linear", {})


@handles("batch_norm", "_native_batch_norm_legit_no_training")
def _batch_norm(c: "Converter", node: fx.Node) -> str:
    a = _arguments(node)
    roles = ("weight", "bias", "running_mean", "running_var")
    parameters = {role: c.value[a[role]].name for role in roles if a[role] is not None}
    source = c.operand(a["input"], node)
    name = f"{c.path(node)}.batch_norm"
    attributes = {"epsilon": a["eps"]}
    return c.add(name, "batch_norm", (source,), node, attributes=attributes, parameters=parameters)


@handles("layer_norm")
def _layer_norm(c: "Converter", node: fx.Node) -> str:
    a = _arguments(node)
    if len(a["normalized_shape"]) != 1:
        raise c.unsupported(node, "layer_norm over several dimensions")
    parameters = {r: c.value[a[r]].name for r in ("weight", "bias") if a[r] is not None}
    source = c.operand(a["input"], node)
    attributes = {"epsilon": a["eps"]}
    name = c.path(node) or "layer_norm"
    return c.add(name, "layer_norm", (source,), node, attributes=attributes, parameters=parameters)


_ACTIVATIONS = ("silu", "relu", "hardswish", "sigmoid", "hardsigmoid", "tanh", "relu6")


@handles(*_ACTIVATIONS, *(f"{name}_" for name in _ACTIVATIONS), "gelu", "gelu_")
def _activation(c: "Converter", node: fx.Node) -> str:
    a = _arguments(node)
    function = str(node.target).split(".")[1].removesuffix("_")
    if a.get("approximate", "none") == "tanh":
        function = "gelu_tanh"
    return _add_activation(c, node, function)


@handles("hardtanh", "hardtanh_")
def _hardtanh(c: "Converter", node: fx.Node) -> str:
    a = _arguments(node)
    if (a["min_val"], a["max_val"]) != (0.0, 6.0):
        raise c.unsupported(node, f"hardtanh from {a['min_val']} to {a['max_val']}")
    return _add_activation(c, node, "relu6")


def _add_activation(c: "Converter", node: fx.Node, function: str) -> str:
    source = c.operand(node.args[0], node)
    name = c.path(node) or function
    return c.add(name, "activation", (source,), node, attributes={"function": function})


@handles("add", "add_")
def _add(c: "Converter", node: fx.Node) -> str:
    return _binary(c, node, "add")


@handles("mul", "mul_")
def _mul(c: "Converter", node: fx.Node) -> str:
    return _binary(c, node, "mul")


def _binary(c: "Converter", node: fx.Node, op: str) -> str:
    a = _arguments(node)
    if a.get("alpha", 1) != 1 or not isinstance(a["other"], fx.Node):
        raise c.unsupported(node, f"{op} with a number")
    inputs = (c.operand(a["self"], node), c.operand(a["other"], node))
    return c.add(f"{c.path(node)}.{op}", op, inputs, node)


@handles("matmul", "bmm")
def _matmul(c: "Converter", node: fx.Node) -> str:
    inputs = (c.operand(node.args[0], node), c.operand(node.args[1], node))
    name = f"{c.path(node)}.matmul"
    return c.add(name, "matmul", inputs, node, attributes={"factor": 1.0})


@handles("softmax", "_softmax")
def _softmax(c: "Converter", node: fx.Node) -> str:
    a = _arguments(node)
    rank = len(node.meta["val"].shape)
    if a["dim"] % rank != rank - 1:
        raise c.unsupported(node, "softmax over another dimension than the last")
    source = c.operand(node.args[0], node)
    return c.add(f"{c.path(node)}.softmax", "softmax", (source,), node)


@handles("scaled_dot_product_attention")
def _attention(c: "Converter", node: fx.Node) -> str:
    a = _arguments(node)
    if a["attn_mask"] is not None or a["is_causal"]:
        raise c.unsupported(node, "attention with a mask")
    query, key, value = (c.operand(a[role], node) for role in ("query", "key", "value"))
    key_shape = c.nodes[key].shape
    rank = len(key_shape)
    head_size = key_shape[-1]
    assert isinstance(head_size, int)
    factor = a["scale"] if a["scale"] is not None else 1.0 / math.sqrt(head_size)
    path = c.path(node)
    order = [*range(rank - 2), rank - 1, rank - 2]
    transposed = tuple(key_shape[i] for i in order)
    key = c.add(
        f"{path}.key_t", "permute", (key,), node, shape=transposed, attributes={"order": order}
    )
    scores = (*c.nodes[query].shape[:-1], transposed[-1])
    attributes = {"factor": float(factor)}
    qk = c.add(f"{path}.qk", "matmul", (query, key), node, shape=scores, attributes=attributes)
    soft = c.add(f"{path}.softmax", "softmax", (qk,), node, shape=scores)
    return c.add(f"{path}.av", "matmul", (soft, value), node, attributes={"factor": 1.0})


@handles("dropout", "dropout_", "contiguous", "clone", "alias", "detach", "detach_", "to")
def _identity(c: "Converter", node: fx.Node) -> Any:
    return c.value[node.args[0]]  # type: ignore[index]


@handles("reshape", "view", "flatten", "unsqueeze", "squeeze", "_unsafe_view", "unflatten")
def _reshape(c: "Converter", node: fx.Node) -> str:
    source = c.operand(node.args[0], node)
    return c.add(f"{c.path(node)}.reshape", "reshape", (source,), node)


@handles("permute")
def _permute(c: "Converter", node: fx.Node) -> str:
    rank = len(node.meta["val"].shape)
    return _permuted(c, node, [d % rank for d in _arguments(node)["dims"]])


@handles("transpose")
def _transpose(c: "Converter", node: fx.Node) -> str:
    a = _arguments(node)
    order = list(range(len(node.meta["val"].shape)))
    i, j = a["dim0"] % len(order), a["dim1"] % len(order)
    order[i], order[j] = order[j], order[i]
    return _permuted(c, node, order)


def _permuted(c: "Converter", node: fx.Node, order: list[int]) -> str:
    source = c.operand(node.args[0], node)
    name = f"{c.path(node)}.permute"
    return c.add(name, "permute", (source,), node, attributes={"order": order})


@handles("expand")
def _expand(c: "Converter", node: fx.Node) -> str:
    source = c.operand(node.args[0], node)
    return c.add(f"{c.path(node)}.expand", "expand", (source,), node)


@handles("select")
def _select(c: "Converter", node: fx.Node) -> str:
    a = _arguments(node)
    source = c.operand(a["self"], node)
    rank = len(c.nodes[source].shape)
    attributes = {"dim": a["dim"] % rank, "index": a["index"]}
    return c.add(f"{c.path(node)}.select", "select", (source,), node, attributes=attributes)


@handles("slice")
def _slice(c: "Converter", node: fx.Node) -> str:
    a = _arguments(node)
    source = c.operand(a["self"], node)
    shape = c.nodes[source].shape
    dim = a["dim"] % len(shape)
    size = shape[dim]
    if not isinstance(size, int):
        raise c.unsupported(node, "a slice of the batch")
    start, stop, step = slice(a["start"], a["end"], a["step"]).indices(size)
    attributes = {"dim": dim, "start": start, "stop": stop, "step": step}
    return c.add(f"{c.path(node)}.slice", "slice", (source,), node, attributes=attributes)


@handles("unbind", "chunk", "split", "split_with_sizes")
def _pieces(c: "Converter", node: fx.Node) -> list[str]:
    a = _arguments(node)
    source = c.operand(a["self"], node)
    dim = a["dim"] % len(c.nodes[source].shape)
    pieces, start = [], 0
    for index, piece in enumerate(node.meta["val"]):
        shape = tuple(c.dim(size, node) for size in piece.shape)
        if "unbind" in str(node.target):
            op, attributes = "select", {"dim": dim, "index": index}
        else:
            size = shape[dim]
            assert isinstance(size, int)
            op, attributes = "slice", {"dim": dim, "start": start, "stop": start + size, "step": 1}
            start += size
        name = f"{c.path(node)}.{op}"
        pieces.append(c.add(name, op, (source,), node, shape=shape, attributes=attributes))
    return pieces


@handles("getitem")
def _getitem(c: "Converter", node: fx.Node) -> Any:
    return c.value[node.args[0]][node.args[1]]  # type: ignore[index]


@handles("cat", "concat")
def _concat(c: "Converter", node: fx.Node) -> str:
    a = _arguments(node)
    inputs = tuple(c.operand(item, node) for item in a["tensors"])
    attributes = {"dim": a["dim"] % len(node.meta["val"].shape)}
    return c.add(f"{c.path(node)}.concat", "concat", inputs, node, attributes=attributes)


@handles("adaptive_avg_pool2d")
def _adaptive_pool(c: "Converter", node: fx.Node) -> str:
    if list(_pair(node.args[1])) != [1, 1]:
        raise c.unsupported(node, f"adaptive_avg_pool2d to {node.args[1]}")
    return _add_mean(c, node, [2, 3], keep=True)


@handles("mean")
def _mean(c: "Converter", node: fx.Node) -> str:
    a = _arguments(node)
    rank = len(node.args[0].meta["val"].shape)  # type: ignore[union-attr]
    dims = sorted(d % rank for d in a["dim"])
    if 0 in dims:
        raise c.unsupported(node, "a mean over the batch")
    return _add_mean(c, node, dims, keep=a["keepdim"])


def _add_mean(c: "Converter", node: fx.Node, dims: list[int], *, keep: bool) -> str:
    source = c.operand(node.args[0], node)
    attributes = {"dims": dims, "keep": keep}
    return c.add(f"{c.path(node)}.mean", "mean", (source,), node, attributes=attributes)


def _pair(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else [*value] * (2 // len(value))


assert torch  # the schemas of the operations live in torch
