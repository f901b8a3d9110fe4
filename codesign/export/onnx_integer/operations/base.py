"""The registry of conversions: one function an operation of the integer model."""

from collections.abc import Callable, Mapping, Sequence

from codesign.export.onnx_integer.builder import Builder
from codesign.export.onnx_integer.values import Codes, Integers, Value
from codesign.integer.model import IntegerNode

Convert = Callable[[Builder, IntegerNode, Mapping[str, Integers], Sequence[Codes]], Value]
CONVERT: dict[str, Convert] = {}


def converts(*operations: str) -> Callable[[Convert], Convert]:
    """Return a decorator that files a function under the operations it converts.

    It gets the builder, the node, its tensors by role and its operands, and returns the result's
    codes, in the type of `values.storage`.
    """

    def decorate(function: Convert) -> Convert:
        CONVERT.update(dict.fromkeys(operations, function))
        return function

    return decorate
