"""Nodes, constants and casts of a graph of integer tensors: names, types and bounds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from codesign.errors import RunError
from codesign.export.onnx_integer.values import Integers, Operand, Value, bounds, narrowest

FEW = 16
"""Constants of more elements are stored in their narrowest type and cast on loading."""


class Tensors:
    """Collects the nodes and constants of an ONNX graph, named after the integer model's nodes.

    Args:
        input_name: The graph's input.
        reserved: Names of the integer model's nodes, which their results will bear.
    """

    def __init__(self, input_name: str, reserved: Sequence[str]) -> None:
        self.input_name = input_name
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.scope = ""
        self._start = 0
        self._taken = set(reserved)
        self._constants: dict[tuple[Any, ...], str] = {}
        self._casts: dict[tuple[str, str], str] = {}

    def enter(self, scope: str) -> None:
        """Name what follows after a node of the integer model."""
        self.scope, self._start, self._casts = scope, len(self.nodes), {}

    def leave(self, result: Value) -> Value:
        """Give the node's result the node's own name."""
        made = {name for node in self.nodes[self._start :] for name in node.output}
        name = result.name if result.name in made else self.emit("Identity", [result.name], "same")
        for node in self.nodes[self._start :]:
            for names in (node.input, node.output):
                names[:] = [self.scope if old == name else old for old in names]
            if self.scope in node.output:
                node.name = self.scope
        return Value(self.scope, result.dtype, result.low, result.high)

    def emit(self, op: str, inputs: Sequence[str], label: str, **attributes: Any) -> str:
        """Append an ONNX node of one output; return the output's name.

        The node itself has no name, which would be the output's again, unless its result is the
        whole node's (`leave`): names are a good part of a file.
        """
        name = self._unique(label)
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def _unique(self, label: str) -> str:
        count, name = 1, f"{self.scope}/{label}"
        while name in self._taken:
            count += 1
            name = f"{self.scope}/{label}_{count}"
        self._taken.add(name)
        return name

    def constant(self, array: Integers | int, dtype: str, label: str = "constant") -> str:
        """Return the name of a stored constant; equal constants are stored once."""
        values = np.array(array).astype(dtype)
        key = (dtype, values.shape, values.tobytes())
        if key not in self._constants:
            name = f"{dtype}_{values}" if values.ndim == 0 else self._unique(label)
            self.initializers.append(numpy_helper.from_array(values, name))
            self._constants[key] = name
        return self._constants[key]

    def stored(self, array: Integers, label: str) -> Value:
        """Return a constant in its narrowest type, under a name of its own."""
        low, high = bounds(array)
        dtype = narrowest(low, high)
        return Value(self.constant(array, dtype, label), dtype, low, high)

    def stored_bytes(self, array: Integers, label: str) -> Value:
        """Return a constant of numbers from 0 to 255 as bytes."""
        return Value(self.constant(array, "uint8", label), "uint8", *bounds(array))

    def cast(self, x: Value, dtype: str) -> Value:
        """Return a value in another type.

        Raises:
            RunError: The type does not hold its bounds.
        """
        limits = np.iinfo(dtype)
        if not limits.min <= x.low <= x.high <= limits.max:
            raise RunError(f"{self.scope}: numbers from {x.low} to {x.high} do not fit {dtype}.")
        if x.dtype == dtype:
            return x
        if (x.name, dtype) not in self._casts:
            to = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
            self._casts[x.name, dtype] = self.emit("Cast", [x.name], dtype, to=to)
        return Value(self._casts[x.name, dtype], dtype, x.low, x.high)

    def operand(self, x: Operand, dtype: str, label: str = "constant") -> str:
        """Return the name of a value cast to a type, or of a constant of it."""
        if not isinstance(x, Value) and np.size(x) > FEW:
            x = self.stored(np.asarray(x), label)
        return self.cast(x, dtype).name if isinstance(x, Value) else self.constant(x, dtype, label)

    def width(self, *ranges: tuple[int, int], unsigned: bool = False) -> str:
        """Return the type of 32 bits, or else of 64, that holds all ranges.

        Raises:
            RunError: Neither does.
        """
        for dtype in ("uint32", "uint64") if unsigned else ("int32", "int64"):
            limits = np.iinfo(dtype)
            if all(limits.min <= low and high <= limits.max for low, high in ranges):
                return dtype
        raise RunError(f"{self.scope}: {dtype} does not hold an intermediate result of {ranges}.")
