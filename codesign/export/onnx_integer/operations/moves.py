"""Operations that move codes and change none."""

import sys
from collections.abc import Mapping, Sequence

import numpy as np

from codesign.export.onnx_integer.builder import Builder
from codesign.export.onnx_integer.operations.base import converts
from codesign.export.onnx_integer.values import Codes, Integers, Value, bounds
from codesign.integer.model import IntegerNode

Tensors = Mapping[str, Integers]


@converts("reshape")
def _reshape(b: Builder, node: IntegerNode, t: Tensors, x: Sequence[Codes]) -> Value:
    if sum(isinstance(size, str) for size in node.shape) > 1:
        return _moved(b, "Reshape", x[0].value, [run_time_shape(b, node.shape)])
    return b.reshape(x[0].value, sizes(node.shape))


@converts("expand")
def _expand(b: Builder, node: IntegerNode, t: Tensors, x: Sequence[Codes]) -> Value:
    return _moved(b, "Expand", x[0].value, [run_time_shape(b, node.shape)])


def sizes(shape: Sequence[int | str]) -> list[int]:
    """Return a shape with -1 for a size that grows with the batch."""
    return [-1 if isinstance(size, str) else size for size in shape]


def run_time_shape(b: Builder, shape: Sequence[int | str]) -> str:
    """Return the name of a shape tensor that is known when the batch is."""
    batch = Value(b.emit("Shape", [b.input_name], "batch", start=0, end=1), "int64", 1, 2**31)
    parts = [
        b.constant(np.array([size], np.int64), "int64", "size")
        if isinstance(size, int)
        else b.cast(b.multiply(batch, int(size.removesuffix("*B")), "size"), "int64").name
        for size in shape
    ]
    return b.emit("Concat", parts, "shape", axis=0)


@converts("permute")
def _permute(b: Builder, node: IntegerNode, t: Tensors, x: Sequence[Codes]) -> Value:
    return _moved(b, "Transpose", x[0].value, [], perm=list(node.attributes["order"]))


@converts("select")
def _select(b: Builder, node: IntegerNode, t: Tensors, x: Sequence[Codes]) -> Value:
    index = b.constant(node.attributes["index"], "int64")
    return _moved(b, "Gather", x[0].value, [index], axis=node.attributes["dim"])


@converts("gather")
def _gather(b: Builder, node: IntegerNode, t: Tensors, x: Sequence[Codes]) -> Value:
    indices = b.constant(np.array(node.attributes["indices"]), "int32", "indices")
    return _moved(b, "Gather", x[0].value, [indices], axis=node.attributes["dim"])


@converts("slice")
def _slice(b: Builder, node: IntegerNode, t: Tensors, x: Sequence[Codes]) -> Value:
    a = node.attributes
    stop = sys.maxsize if a["stop"] is None else a["stop"]
    return take(b, x[0].value, a["dim"], a["start"] or 0, stop, a["step"] or 1)


@converts("pad")
def _pad(b: Builder, node: IntegerNode, t: Tensors, x: Sequence[Codes]) -> Value:
    return pad(b, x[0].value, node.attributes["pads"], node.attributes["value"])


def pad(b: Builder, x: Value, pads: Sequence[Sequence[int]], value: int) -> Value:
    """Return x between a value: (before, behind) for each dimension."""
    limits = np.iinfo(x.dtype)
    if x.dtype.endswith("16") or not limits.min <= value <= limits.max:
        # ONNX Runtime pads no numbers of 16 bits
        x = b.cast(x, b.width(bounds(x), (value, value)))
    widths = np.array([*(p[0] for p in pads), *(p[1] for p in pads)], dtype=np.int64)
    names = [b.constant(widths, "int64", "pads"), b.constant(value, x.dtype)]
    name = b.emit("Pad", [x.name, *names], "padded")
    return Value(name, x.dtype, min(x.low, value), max(x.high, value))


def take(b: Builder, x: Value, dim: int, start: int, stop: int, step: int) -> Value:
    """Return x[start:stop:step] along a dimension."""
    limits = [b.constant(np.array([v]), "int64", "limit") for v in (start, stop, dim, step)]
    return _moved(b, "Slice", x, limits)


def _moved(b: Builder, op: str, x: Value, inputs: Sequence[str], **attributes: object) -> Value:
    name = b.emit(op, [x.name, *inputs], "moved", **attributes)
    return Value(name, x.dtype, x.low, x.high)
