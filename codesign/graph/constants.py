"""Evaluation of what does not depend on the image: position tables, masks, standardised weights."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from codesign.graph.aten.base import Constant, short_name

if TYPE_CHECKING:
    from codesign.graph.capture import Converter

_READS_SHAPE = {
    **dict.fromkeys(("zeros_like", "ones_like", "full_like", "empty_like"), 0),
    **dict.fromkeys(("new_zeros", "new_ones", "new_full", "new_tensor", "new_empty"), 0),
    **dict.fromkeys(("type_as", "expand_as", "reshape_as", "view_as"), 1),
}
"""Operations that read of one operand (its position) only size and type."""


class _NotConstantError(Exception):
    """An operand depends on the image."""


def fold(c: "Converter", node: fx.Node) -> Any:
    """Return the constant (or constants) that an exported node computes, or None.

    A node is evaluated for a batch of one and, where a size among its operands grows with the
    batch, for a batch of two.
    """
    if not isinstance(node.target, torch._ops.OpOverload):
        return None
    try:
        results = [_evaluate(c, node, 1)]
        if _grows(c, node):
            results.append(_evaluate(c, node, 2))
    except _NotConstantError:
        return None
    one, two = results[0], results[-1]
    if isinstance(one, Tensor):
        return _named(c, node, Constant(one, two))
    return [Constant(a, b) for a, b in zip(one, two, strict=True)]


def _named(c: "Converter", node: fx.Node, result: Constant) -> Constant:
    """Return the constant with its parameter's name where it is that parameter, seen otherwise."""
    for operand in node.all_input_nodes:
        known = c.constant(operand)
        if known is not None and known.name and known.value.data_ptr() == result.value.data_ptr():
            same = known.value.numel() == result.value.numel()
            if same and result.value is result.twice:
                return Constant(result.value, result.twice, known.name)
    return result


def _grows(c: "Converter", node: fx.Node) -> bool:
    for operand in node.all_input_nodes:
        value = c.value.get(operand)
        if value is None:
            value = operand.meta.get("val")
        items = value if isinstance(value, list) else [value]
        for item in items:
            if isinstance(item, Constant) and item.value is not item.twice:
                return True
            if isinstance(item, torch.SymInt | torch.SymFloat | torch.SymBool):
                return True
            if isinstance(item, str):  # only the shape is read
                return True
    return False


def _evaluate(c: "Converter", node: fx.Node, batch: int) -> Any:
    position = _READS_SHAPE.get(short_name(node))

    def argument(operand: fx.Node) -> Any:
        value = c.value.get(operand)
        if isinstance(value, Constant):
            return value.at(batch)
        if isinstance(value, list) and all(isinstance(item, Constant) for item in value):
            return [item.at(batch) for item in value]
        meta: Any = operand.meta.get("val")
        if isinstance(value, str) and position is not None and node.args[position] is operand:
            shape = [size_at(size, c.symbol, batch) for size in meta.shape]
            return torch.empty(shape, dtype=meta.dtype)
        size = meta if value is None else value
        if isinstance(size, int | float | torch.SymInt | torch.SymFloat | torch.SymBool):
            return size_at(size, c.symbol, batch)
        raise _NotConstantError

    arguments = fx.map_arg(node.args, argument)
    named = fx.map_arg(node.kwargs, argument)
    return node.target(*arguments, **named)  # type: ignore[operator]


def size_at(size: Any, symbol: Any, batch: int) -> Any:
    """Return a size, or what is computed from sizes, for a batch."""
    if not isinstance(size, torch.SymInt | torch.SymFloat | torch.SymBool):
        return size
    value = size.node.expr.subs(symbol, batch)
    if isinstance(size, torch.SymInt):
        return int(value)
    return float(value) if isinstance(size, torch.SymFloat) else bool(value)


def fetch(module: fx.GraphModule, name: str) -> Any:
    """Return a parameter, buffer or part of a module by its dotted name."""
    value: Any = module
    for part in name.split("."):
        value = getattr(value, part)
    return value.detach() if isinstance(value, Tensor) else value
