"""What the handlers of ATen operations share: the registry, arguments, constants."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

if TYPE_CHECKING:
    from codesign.graph.capture import Converter

Handler = Callable[["Converter", fx.Node], Any]
_HANDLERS: dict[str, Handler] = {}


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor that does not depend on the image: a parameter, or computed from parameters.

    Attributes:
        value: The tensor for a batch of one.
        twice: The tensor for a batch of two: the same object where no size grows with the batch.
        name: What to call it: the timm name of a parameter, else "".
    """

    value: Tensor
    twice: Tensor
    name: str = ""

    def at(self, batch: int) -> Tensor:
        """Return the tensor for a batch of one or two."""
        return self.value if batch == 1 else self.twice

    def changed(self, change: Callable[[Tensor], Tensor]) -> "Constant":
        """Return the constant with its tensors changed; the name stays."""
        value = change(self.value)
        twice = value if self.value is self.twice else change(self.twice)
        return Constant(value, twice, self.name)


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Return a decorator that files a handler under the names of ATen operations.

    A name stands for all overloads of an operation and for its in-place form.
    """

    def decorate(handler: Handler) -> Handler:
        _HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return decorate


def convert(c: "Converter", node: fx.Node) -> Any:
    """Add the nodes an exported node stands for; return the name of its result.

    Raises:
        UserError: The operation is not known.
    """
    handler = _HANDLERS.get(short_name(node))
    if handler is None:
        raise c.unsupported(node, f"operation {node.target}")
    return handler(c, node)


def short_name(node: fx.Node) -> str:
    """Return an operation's name without namespace, overload and the underscore of in-place."""
    if node.target is operator.getitem:
        return "getitem"
    parts = str(node.target).split(".")
    return (parts[1] if len(parts) > 1 else parts[0]).removesuffix("_")


def is_in_place(node: fx.Node) -> bool:
    """Whether an operation changes its first operand."""
    parts = str(node.target).split(".")
    return len(parts) > 1 and parts[1].endswith("_") and not parts[1].startswith("_")


_VIEWS = frozenset(
    {"alias", "detach", "dropout", "contiguous", "to", "reshape", "view", "flatten", "unsqueeze"}
    | {"squeeze", "unflatten", "permute", "transpose", "movedim", "expand", "expand_as", "select"}
    | {"slice", "narrow", "getitem", "unbind", "chunk", "split", "split_with_sizes", "view_as"}
    | {"numpy_T", "swapaxes"}
)
"""Operations whose result may share the memory of their first operand."""


def owner(node: fx.Node) -> fx.Node:
    """Return the node whose memory a node's result shares; itself if it has its own."""
    while node.op == "call_function" and (short_name(node) in _VIEWS or is_in_place(node)):
        node = node.args[0]  # type: ignore[assignment]
    return node


def arguments(node: fx.Node) -> dict[str, Any]:
    """Return the arguments of an ATen call by name, defaults filled in."""
    schema = node.target._schema  # type: ignore[union-attr]
    named = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    named.update(zip((a.name for a in schema.arguments), node.args, strict=False))
    return {**named, **node.kwargs}


def rank(node: Any) -> int:
    """Return the number of dimensions of an exported node's result."""
    return len(node.meta["val"].shape)


def pair(value: Any) -> list[int]:
    """Return a size given once or twice as a list of two."""
    return [value, value] if isinstance(value, int) else [*value] * (2 // len(value))


def source(node: fx.Node) -> fx.Node:
    """Return the first operand of an exported node."""
    first = node.args[0]
    assert isinstance(first, fx.Node)
    return first


def number(value: Any) -> float | None:
    """Return a plain number as a float, None for anything else."""
    return float(value) if isinstance(value, int | float) else None


assert torch  # the schemas of the operations live in torch
