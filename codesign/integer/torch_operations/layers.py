"""Layers with weights and products of activations, in torch."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from codesign.integer.model import IntegerNode
from codesign.integer.torch_operations.base import (
    FLOAT32_LIMIT,
    Step,
    centred,
    exact_type,
    prepares,
    requantizer,
    scalar_requantizer,
)
from codesign.numerics.fixed_point import Format


@prepares("conv2d")
def _conv2d(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    a, source = node.attributes, sources[0]
    dtype = exact_type(t["weight"], source)
    weight = t["weight"].to(dtype)
    geometry = (a["stride"], a["padding"], a["dilation"], a["groups"])
    m, s, b = (t[role][:, None, None] for role in ("multiplier", "shift", "bias"))
    finish = requantizer(node, m, s, b.double())
    return lambda x: finish(F.conv2d(centred(x[0], source, dtype), weight, None, *geometry))


@prepares("linear")
def _linear(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    source = sources[0]
    dtype = exact_type(t["weight"], source)
    weight = t["weight"].to(dtype)
    finish = requantizer(node, t["multiplier"], t["shift"], t["bias"].double())
    return lambda x: finish(F.linear(centred(x[0], source, dtype), weight))


@prepares("matmul")
def _matmul(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    left, right = sources
    finish = scalar_requantizer(node)
    step = left.magnitude * right.magnitude
    proved = node.attributes.get("accumulator_bound", FLOAT32_LIMIT) < FLOAT32_LIMIT

    def matmul(x: Sequence[Tensor]) -> Tensor:
        exact = proved or x[0].shape[-1] * step < FLOAT32_LIMIT
        dtype = torch.float32 if exact else torch.float64
        return finish(torch.matmul(centred(x[0], left, dtype), centred(x[1], right, dtype)))

    return matmul
