"""Arithmetic on integer tensors; bounds decide where 32 bits do and where 64 are needed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.errors import RunError
from codesign.export.onnx_integer.tensors import Tensors
from codesign.export.onnx_integer.values import Integers, Operand, Value, bounds


class Builder(Tensors):
    """Builds an ONNX graph of integer tensors.

    The methods take values, integer arrays and Python integers, broadcast them, and return values
    with bounds. They work in int32 where the bounds of operands and result allow it, else in
    int64, and raise RunError where 64 bits are not enough. So no intermediate result overflows.
    """

    def _common(self, x: Operand, y: Operand, *results: tuple[int, int]) -> str:
        """Return the type for an operation; what is int64 already stays so, to spare casts."""
        dtype = self.width(*results, bounds(x), bounds(y))
        wide = any(isinstance(v, Value) and v.dtype == "int64" for v in (x, y))
        return "int64" if wide else dtype

    def _combine(self, op: str, x: Operand, y: Operand, corners: list[int], label: str) -> Value:
        low, high = min(corners), max(corners)
        dtype = self._common(x, y, (low, high))
        name = self.emit(op, [self.operand(v, dtype) for v in (x, y)], label)
        return Value(name, dtype, low, high)

    def add(self, x: Operand, y: Operand, label: str = "sum") -> Value:
        """Return x + y; adding the constant 0 is no node."""
        if isinstance(x, Value) and not isinstance(y, Value) and not np.any(y):
            return x
        (a, b), (c, d) = bounds(x), bounds(y)
        return self._combine("Add", x, y, [a + c, b + d], label)

    def subtract(self, x: Operand, y: Operand, label: str = "difference") -> Value:
        """Return x - y; subtracting the constant 0 is no node."""
        if isinstance(x, Value) and not isinstance(y, Value) and not np.any(y):
            return x
        (a, b), (c, d) = bounds(x), bounds(y)
        return self._combine("Sub", x, y, [a - d, b - c], label)

    def multiply(self, x: Operand, y: Operand, label: str = "product") -> Value:
        """Return x * y; multiplying by the constant 1 is no node."""
        if isinstance(x, Value) and not isinstance(y, Value) and np.all(np.equal(y, 1)):
            return x
        corners = [v * w for v in bounds(x) for w in bounds(y)]
        return self._combine("Mul", x, y, corners, label)

    def square(self, x: Value, label: str = "square") -> Value:
        """Return x * x."""
        return self.multiply(x, x, label).within(0, max(x.low**2, x.high**2))

    def quotient(self, x: Operand, y: Operand, label: str = "quotient") -> Value:
        """Return floor(x / y) for x >= 0 and y >= 1, where ONNX's truncating Div is the floor."""
        (a, b), (c, d) = bounds(x), bounds(y)
        if a < 0 or c < 1:
            raise RunError(f"{self.scope}: {label} divides {a} to {b} by {c} to {d}.")
        return self._combine("Div", x, y, [a // d, b // c], label)

    def maximum(self, x: Value, y: Operand, label: str = "at_least") -> Value:
        """Return the larger of two; no node where that always is x."""
        (a, b), (c, d) = bounds(x), bounds(y)
        return x if d <= a else self._choose("Max", x, y, (max(a, c), max(b, d)), label)

    def minimum(self, x: Value, y: Operand, label: str = "at_most") -> Value:
        """Return the smaller of two; no node where that always is x."""
        (a, b), (c, d) = bounds(x), bounds(y)
        return x if b <= c else self._choose("Min", x, y, (min(a, c), min(b, d)), label)

    def _choose(self, op: str, x: Value, y: Operand, limits: tuple[int, int], label: str) -> Value:
        """Write Max or Min; in 64 bits a comparison and Where.

        ONNX Runtime's Max, Min, Clip and Sign of int64 compare the lower halves of numbers with
        equal upper halves as signed numbers, where its Eigen is compiled for SSE2 (ONNX Runtime
        pull requests 25280 and 32475; Eigen merge request 2831): Max(3000000000, 0) gives 0.
        """
        if self.width(bounds(x), bounds(y)) == "int32":
            names = [self.operand(v, "int32") for v in (x, y)]
            return Value(self.emit(op, names, label), "int32", *limits)
        truth = self.compare("Less", x, y, "less")
        pair = (y, x) if op == "Max" else (x, y)
        return self.where(truth, pair[0], pair[1], label).within(*limits)

    def shift_right(self, x: Value, bits: Operand, label: str = "shifted") -> Value:
        """Return x >> bits for x >= 0: BitShift knows unsigned types alone."""
        low, high = x.low >> bounds(bits)[1], x.high >> bounds(bits)[0]
        return self._shift("RIGHT", x, bits, low, high, label)

    def shift_left(
        self,
        x: Operand,
        bits: Operand,
        label: str = "shifted",
        limits: tuple[int, int] | None = None,
    ) -> Value:
        """Return x << bits for x >= 0, within limits that the caller knows if given."""
        low, high = limits or (v << s for v, s in zip(bounds(x), bounds(bits), strict=True))
        return self._shift("LEFT", x, bits, low, high, label)

    def _shift(
        self, direction: str, x: Operand, bits: Operand, low: int, high: int, label: str
    ) -> Value:
        if not isinstance(bits, Value) and not np.any(bits) and isinstance(x, Value):
            return x
        wide = (0, 2**32) if bounds(bits)[1] > 31 else (0, 0)
        dtype = self.width((low, high), bounds(x), wide, unsigned=True)
        names = [self.operand(x, dtype), self.operand(bits, dtype, "shift")]
        return Value(self.emit("BitShift", names, label, direction=direction), dtype, low, high)

    def compare(self, op: str, x: Operand, y: Operand, label: str) -> Value:
        """Return a truth value (bool): op is "Less", "Equal" or "GreaterOrEqual"."""
        dtype = self._common(x, y)
        return Value(self.emit(op, [self.operand(v, dtype) for v in (x, y)], label), "bool", 0, 1)

    def where(self, truth: Value, x: Operand, y: Operand, label: str) -> Value:
        """Return x where the truth value holds and y elsewhere."""
        low, high = min(bounds(x)[0], bounds(y)[0]), max(bounds(x)[1], bounds(y)[1])
        dtype = self._common(x, y)
        names = [truth.name, *(self.operand(v, dtype) for v in (x, y))]
        return Value(self.emit("Where", names, label), dtype, low, high)

    def low_byte(self, x: Value, label: str) -> Value:
        """Return x modulo 256, for x >= 0."""
        if 0 <= x.low <= x.high <= 255:
            return x
        dtype = self.width(bounds(x), unsigned=True)
        names = [self.operand(v, dtype) for v in (x, 255)]
        return Value(self.emit("BitwiseAnd", names, label), dtype, 0, 255)

    def exclusive_or(self, x: Value, mask: Value, label: str, low: int, high: int) -> Value:
        """Return the bits of x, inverted where those of the mask are set."""
        dtype = self._common(x, mask, (low, high))
        names = [self.operand(v, dtype) for v in (x, mask)]
        return Value(self.emit("BitwiseXor", names, label), dtype, low, high)

    def read(self, table: Integers, index: Value, label: str, dtype: str = "") -> Value:
        """Return table[index], in the table's narrowest wide type unless one is named."""
        low, high = bounds(table)
        dtype = dtype or self.width((low, high))
        names = [self.constant(table, dtype, "table"), self.operand(index, "int32")]
        return Value(self.emit("Gather", names, label, axis=0), dtype, low, high)

    def sum(self, x: Value, axes: Sequence[int], count: int, keep: bool = True) -> Value:
        """Return the sum over axes of `count` elements in all."""
        return self._reduce("ReduceSum", x, axes, (count * x.low, count * x.high), keep)

    def largest(self, x: Value, axes: Sequence[int], keep: bool = True) -> Value:
        """Return the largest element over axes."""
        return self._reduce("ReduceMax", x, axes, (x.low, x.high), keep)

    def _reduce(
        self, op: str, x: Value, axes: Sequence[int], limits: tuple[int, int], keep: bool
    ) -> Value:
        dtype = self.width(limits, bounds(x))
        names = [self.operand(x, dtype), self.constant(np.array(axes, np.int64), "int64", "axes")]
        name = self.emit(op, names, "total" if op == "ReduceSum" else "largest", keepdims=int(keep))
        return Value(name, dtype, *limits)

    def reshape(self, x: Value, sizes: Sequence[int]) -> Value:
        """Return the elements in another shape; -1 is what is left, 0 the size as it is."""
        shape = self.constant(np.array(sizes, np.int64), "int64", "shape")
        return Value(self.emit("Reshape", [x.name, shape], "shaped"), x.dtype, x.low, x.high)


def per_channel(values: Any, axis: int) -> NDArray[np.int64]:
    """Return one number a channel, shaped for the channels' axis (-1 is the last)."""
    return np.asarray(values, dtype=np.int64).reshape(-1, *[1] * (-1 - axis))
