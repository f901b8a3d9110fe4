"""Parts of an exported module with a graph of their own: autocast and gradient regions."""

from typing import TYPE_CHECKING, Any

from torch import fx

from codesign.graph.aten.base import handles

if TYPE_CHECKING:
    from codesign.graph.capture import Converter


@handles("wrap_with_autocast", "wrap_with_set_grad_enabled")
def _region(c: "Converter", node: fx.Node) -> Any:
    """Convert the region's nodes in place; all arithmetic is float32 there too."""
    parts = [i for i, a in enumerate(node.args) if _is_module(c, a)]
    module = c.value[node.args[parts[0]]]  # type: ignore[index]
    inputs = [_value(c, a) for a in node.args[parts[0] + 1 :]]
    return c.convert_all(module, inputs)


def _value(c: "Converter", operand: Any) -> Any:
    """Return what an operand stands for; sizes are themselves."""
    if not isinstance(operand, fx.Node):
        return operand
    return c.value[operand] if operand in c.value else operand.meta["val"]


def _is_module(c: "Converter", value: Any) -> bool:
    return isinstance(value, fx.Node) and isinstance(c.value.get(value), fx.GraphModule)
