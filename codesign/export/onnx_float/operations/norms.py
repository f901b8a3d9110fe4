"""Normalisations: of rows, of groups of channels, by the root mean square."""

import math
from collections.abc import Sequence

import numpy as np

from codesign.export.onnx_float.base import Mirror, Real, Values, along, emits, steps
from codesign.integer.model import IntegerNode

FRACTION_BITS = 10
"""Fraction bits of the normalised values that the integer factors multiply."""
OFFSET_BITS = 16
"""Fraction bits of the offsets of `layer_norm_8bit`."""


@emits("layer_norm")
def layer_norm(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write a LayerNormalization with the factors that the integers stand for."""
    t, shift = b.tensors(), node.attributes["shift"]
    gamma, beta = _factors(t, shift)
    step = _row_steps(node)
    return _layer_normalization(b, node, inputs[0], gamma * step, beta * step)


@emits("layer_norm_8bit")
def layer_norm_8bit(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write a LayerNormalization; its factors are not rounded to 8 bits a token."""
    t, step = b.tensors(), _row_steps(node)
    gamma = np.ldexp(t["mantissa"].astype(np.float64), -t["exponent"]) / len(t["mantissa"])
    beta = np.ldexp(t["offset"].astype(np.float64), -OFFSET_BITS)
    return _layer_normalization(b, node, inputs[0], gamma * step, beta * step)


def _row_steps(node: IntegerNode) -> Values:
    """Return the real step of a code of each channel, or of all."""
    return steps(node.format).reshape(-1)


def _factors(t: dict[str, Values], shift: int) -> tuple[Values, Values]:
    """Return gamma and beta in steps of the result."""
    scale, offset = (t[role].astype(np.float64) for role in ("scale", "offset"))
    return np.ldexp(scale, FRACTION_BITS - shift), np.ldexp(offset, -shift)


def _layer_normalization(b: Mirror, node: IntegerNode, x: Real, gamma: Values, beta: Values) -> str:
    epsilon = node.attributes["epsilon"] * (x.format.scale / len(gamma)) ** 2
    names = [x.name, b.number(gamma, "gamma"), b.number(beta, "beta")]
    return b.add("LayerNormalization", names, axis=-1, epsilon=epsilon)


@emits("group_norm")
def group_norm(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write an InstanceNormalization with groups in the channels' place, and gamma and beta."""
    x, groups = inputs[0], node.attributes["groups"]
    sizes = [int(d) for d in x.shape[1:]]
    rows = b.add("Reshape", [x.name, b.integers([0, groups, -1], "rows")])
    unit = [b.number(np.full(groups, value), role) for value, role in ((1, "one"), (0, "zero"))]
    epsilon = _epsilon(node, x, math.prod(sizes) // groups)
    normal = b.add("InstanceNormalization", [rows, *unit], epsilon=epsilon)
    normal = b.add("Reshape", [normal, b.integers([0, *sizes], "sizes")])
    gamma, beta = (
        along(v * node.format.scale, -len(sizes))
        for v in _factors(b.tensors(), node.attributes["shift"])
    )
    scaled = b.add("Mul", [normal, b.number(gamma, "gamma")])
    return b.add("Add", [scaled, b.number(beta, "beta")])


@emits("rms_norm")
def rms_norm(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write the quotient by the root of the mean square, and a Mul."""
    x = inputs[0]
    gamma, beta = (v * node.format.scale for v in _factors(b.tensors(), node.attributes["shift"]))
    axes = b.integers([-1], "axes")
    mean = b.add("ReduceMean", [b.add("Mul", [x.name, x.name]), axes], keepdims=1)
    epsilon = b.number(_epsilon(node, x, int(x.shape[-1])), "epsilon")
    root = b.add("Sqrt", [b.add("Add", [mean, epsilon])])
    normal = b.add("Div", [x.name, root])
    result = b.add("Mul", [normal, b.number(gamma, "gamma")])
    return b.add("Add", [result, b.number(beta, "beta")]) if np.any(beta) else result


def _epsilon(node: IntegerNode, x: Real, count: int) -> float:
    """Return what is added to the variance, in real units."""
    a = node.attributes
    return float(a["epsilon"] * 4 ** a["row_shift"] * (x.format.scale / count) ** 2)
