"""Pools over windows, sums and largest values over dimensions.

A window's rows are reduced first and its columns second, each by strided slices of the whole map.
"""

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np

from codesign.export.onnx_integer.arithmetic import centred, requantize
from codesign.export.onnx_integer.builder import Builder
from codesign.export.onnx_integer.operations.base import converts
from codesign.export.onnx_integer.operations.moves import pad, take
from codesign.export.onnx_integer.values import Codes, Integers, Value
from codesign.integer.model import IntegerNode

BELOW_ALL = -(2**31)


@converts("max_pool2d", "avg_pool2d")
def _pool(b: Builder, node: IntegerNode, t: Mapping[str, Integers], x: Sequence[Codes]) -> Value:
    a, largest = node.attributes, node.op == "max_pool2d"
    value = centred(b, x[0])
    if np.any(a["pads"]):
        value = pad(b, value, [[0, 0], [0, 0], *a["pads"]], BELOW_ALL if largest else 0)
    for axis, dim in enumerate((2, 3)):
        size = x[0].length(dim) + sum(a["pads"][axis])
        stride, step = a["stride"][axis], a["dilation"][axis]
        span = (size - step * (a["kernel"][axis] - 1) - 1) // stride * stride + 1
        starts = [step * i for i in range(a["kernel"][axis])]
        parts = [take(b, value, dim, start, start + span, stride) for start in starts]
        value = reduce(b.maximum if largest else b.add, parts)
    return requantize(b, value, t["multiplier"], t["shift"], node.format)


@converts("mean", "max")
def _reduction(
    b: Builder, node: IntegerNode, t: Mapping[str, Integers], x: Sequence[Codes]
) -> Value:
    a, value = node.attributes, centred(b, x[0])
    dims, keep = list(a["dims"]), bool(a["keep"])
    if node.op == "max":
        reduced = b.largest(value, dims, keep)
    else:
        reduced = b.sum(value, dims, int(np.prod([x[0].length(dim) for dim in dims])), keep)
    return requantize(b, reduced, a["multiplier"], a["shift"], node.format)
