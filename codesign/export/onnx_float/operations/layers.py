"""The input, layers with weights, and products of activations."""

from collections.abc import Sequence

import numpy as np

from codesign.export.onnx_float.base import Mirror, Real, Values, dyadic, emits, unseen
from codesign.integer.model import IntegerNode
from codesign.numerics.fixed_point import Format


@emits("input")
def image(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Take the graph's input."""
    return "images"


@emits("conv2d")
def conv2d(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write a Conv: zeros pad, as the code of zero does."""
    a, t, source = node.attributes, b.tensors(), inputs[0].format
    accumulator = _accumulator_scale(t, node.format)
    weight = b.quantiser.weight(b, t["weight"], accumulator / source.scale, 0, source)
    bias = b.quantiser.bias(b, t["bias"], accumulator)
    result = b.add(
        "Conv",
        [inputs[0].name, weight, bias],
        kernel_shape=list(t["weight"].shape[2:]),
        strides=list(a["stride"]),
        dilations=list(a["dilation"]),
        group=int(a["groups"]),
        pads=[*a["padding"], *a["padding"]],
    )
    return clipped(b, result, node.format)


@emits("linear")
def linear(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write a MatMul with (inputs, outputs) weights, and an Add."""
    t, source = b.tensors(), inputs[0].format
    accumulator = _accumulator_scale(t, node.format)
    weight = b.quantiser.weight(b, t["weight"].T, accumulator / source.scale, 1, source)
    product = b.add("MatMul", [inputs[0].name, weight])
    result = b.add("Add", [product, b.quantiser.bias(b, t["bias"], accumulator)])
    return clipped(b, result, node.format)


def _accumulator_scale(t: dict[str, Values], target: Format) -> Values:
    """Return the real value of one step of each channel's accumulator: M / 2**s * scale'.

    Where the result's channels have shifts, requantisation shifts further by as much as a code's
    step is larger: they cancel.
    """
    return np.ldexp(t["multiplier"].astype(np.float64), -t["shift"]) * target.scale


def clipped(b: Mirror, value: str, target: Format) -> str:
    """Write a Relu where the result's smallest code is zero, which clips as much."""
    free = target.signed or target.zero_point or target.codebook
    return value if free else b.add("Relu", [value])


@emits("matmul")
def matmul(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write a MatMul and its factor, for example that of attention."""
    left, right = inputs
    factor = dyadic(node.attributes) * node.format.scale / left.format.scale / right.format.scale
    result = b.add("MatMul", [left.name, right.name])
    return b.scaled(result, factor, unseen(node.format))
