"""Pools under windows, and sums and largest values over dimensions."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from codesign.export.onnx_float.base import Mirror, Real, dyadic, emits, unseen
from codesign.integer.model import IntegerNode

LOWEST = -1e30
"""Pads in front of a max pool: never the largest value."""


@emits("max_pool2d", "avg_pool2d")
def pool(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write a MaxPool or an AveragePool; where counts differ by place, so does a factor."""
    a, t, x = node.attributes, b.tensors(), inputs[0]
    largest = node.op == "max_pool2d"
    window: dict[str, Any] = {
        "kernel_shape": list(a["kernel"]),
        "strides": list(a["stride"]),
    }
    if max(a["dilation"]) > 1:  # ONNX Runtime's fused pools do not know the attribute
        window["dilations"] = list(a["dilation"])
    (top, bottom), (left, right) = a["pads"]
    pads, value = [top, left, bottom, right], x.name
    if any(p >= k for p, k in zip(pads, 2 * list(a["kernel"]), strict=True)):  # not in a pool
        value, pads = _padded(b, value, pads, LOWEST if largest else 0.0), [0, 0, 0, 0]
    factor = np.ldexp(t["multiplier"].astype(np.float64), -t["shift"])
    factor = factor * node.format.scale / x.format.scale
    if largest:
        result = b.add("MaxPool", [value], **window, pads=pads)
    else:
        result = b.add("AveragePool", [value], **window, pads=pads, count_include_pad=1)
        factor = factor * math.prod(a["kernel"])
    return b.scaled(result, factor, unseen(node.format))


def _padded(b: Mirror, value: str, pads: Sequence[int], fill: float) -> str:
    top, left, bottom, right = pads
    sizes = b.integers([0, 0, top, left, 0, 0, bottom, right], "pads")
    padded = b.add("Pad", [value, sizes, b.number(fill, "fill")])
    # A Max that changes nothing: ONNX Runtime would fuse the Pad with a pool that refuses it.
    return b.add("Max", [padded, b.number(LOWEST, "smallest")])


@emits("max", "mean")
def reduction(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write a ReduceMax, a ReduceMean or, where that is what the factor makes of it, ReduceSum."""
    a, x = node.attributes, inputs[0]
    names = [x.name, b.integers(a["dims"], "axes")]
    factor = dyadic(a) * node.format.scale / x.format.scale
    op = "ReduceMax" if node.op == "max" else "ReduceSum"
    count = math.prod(int(x.shape[d]) for d in a["dims"])
    if node.op == "mean" and abs(factor * count - 1) < abs(factor - 1):
        op, factor = "ReduceMean", factor * count
    result = b.add(op, names, keepdims=int(a["keep"]))
    return b.scaled(result, factor, unseen(node.format))
