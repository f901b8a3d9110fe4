"""Layers with weights and products of activations, by ConvInteger and MatMulInteger."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from codesign.export.onnx_integer.arithmetic import requantize
from codesign.export.onnx_integer.builder import Builder, per_channel
from codesign.export.onnx_integer.operations.base import converts
from codesign.export.onnx_integer.planes import Plane, activation_planes, combine, weight_planes
from codesign.export.onnx_integer.values import Codes, Integers, Value
from codesign.integer.model import IntegerNode
from codesign.numerics.fixed_point import Format


@converts("conv2d")
def _conv2d(b: Builder, node: IntegerNode, t: Mapping[str, Integers], x: Sequence[Codes]) -> Value:
    a, weight = node.attributes, t["weight"]
    multiply = _operator(
        *(b, "ConvInteger", weight[0].size),
        kernel_shape=list(weight.shape[2:]),
        strides=list(a["stride"]),
        pads=[*a["padding"], *a["padding"]],
        dilations=list(a["dilation"]),
        group=a["groups"],
    )
    planes = (activation_planes(b, x[0]), weight_planes(b, weight))
    accumulator = combine(b, *planes, multiply, weighted_limits(weight, x[0].format))
    return _finish(b, accumulator, t, -3, node.format)


@converts("linear")
def _linear(b: Builder, node: IntegerNode, t: Mapping[str, Integers], x: Sequence[Codes]) -> Value:
    multiply = _operator(b, "MatMulInteger", t["weight"].shape[1])
    planes = (activation_planes(b, x[0]), weight_planes(b, t["weight"].T))
    accumulator = combine(b, *planes, multiply, weighted_limits(t["weight"], x[0].format))
    return _finish(b, accumulator, t, -1, node.format)


@converts("matmul")
def _matmul(b: Builder, node: IntegerNode, t: Mapping[str, Integers], x: Sequence[Codes]) -> Value:
    a, count = node.attributes, x[0].length(-1)
    bound = count * x[0].format.magnitude * x[1].format.magnitude
    bound = min(bound, a.get("accumulator_bound", bound))
    left, right = (activation_planes(b, operand) for operand in x)
    multiply = _operator(b, "MatMulInteger", count)
    accumulator = combine(b, left, right, multiply, (-bound, bound))
    return requantize(b, accumulator, a["multiplier"], a["shift"], node.format)


def _operator(b: Builder, op: str, count: int, **geometry: Any) -> Callable[[Plane, Plane], Value]:
    """Return the operator on planes: sums of `count` products, in 32 bits."""

    def multiply(left: Plane, right: Plane) -> Value:
        zero_points = [b.constant(plane.zero_point, "uint8") for plane in (left, right)]
        names = [left.value.name, right.value.name, *zero_points]
        corners = [p * q for p in left.limits for q in right.limits]
        low, high = count * min(*corners, 0), count * max(*corners, 0)
        return Value(b.emit(op, names, "acc", **geometry), "int32", low, high)

    return multiply


def weighted_limits(weight: Integers, source: Format) -> tuple[int, int]:
    """Return bounds of a layer's sums, from its own weights; padding is zero."""
    numbers = source.codebook or [
        (code - source.zero_point) << max(source.shifts, default=0)
        for code in (source.low, source.high)
    ]
    low, high = min(*numbers, 0), max(*numbers, 0)
    rows = weight.reshape(len(weight), -1).astype(np.int64)
    above, below = np.maximum(rows, 0).sum(axis=1), np.minimum(rows, 0).sum(axis=1)
    return int((above * low + below * high).min()), int((above * high + below * low).max())


def _finish(
    b: Builder, accumulator: Value, t: Mapping[str, Integers], axis: int, fmt: Format
) -> Value:
    bias, multiplier, shift = (per_channel(t[r], axis) for r in ("bias", "multiplier", "shift"))
    biased = b.add(accumulator, b.stored(bias, "bias"), "biased")
    return requantize(b, biased, multiplier, shift, fmt)
