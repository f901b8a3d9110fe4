"""What works element by element, and sums over elements, in torch."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from codesign.integer.model import IntegerNode
from codesign.integer.torch_operations.base import (
    FLOAT32_LIMIT,
    Step,
    by_table,
    centred,
    prepares,
    requantizer,
    scalar_requantizer,
)
from codesign.numerics.activation import ACTIVATIONS
from codesign.numerics.fixed_point import Format


@prepares("add")
def _add(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    a, f = node.attributes, node.format
    if f.shifts or any(source.shifts or source.codebook for source in sources):
        return _add_wide(node, sources)
    factors = [m * 2.0 ** -a["shift"] for m in a["multipliers"]]
    offset = f.zero_point + 0.5
    offset -= sum(x.zero_point * m for x, m in zip(sources, factors, strict=True))

    def add(x: Sequence[Tensor]) -> Tensor:
        start = torch.tensor(offset, dtype=torch.float64, device=x[0].device)
        result = torch.add(start, x[0].double(), alpha=factors[0])
        result = torch.add(result, x[1].double(), alpha=factors[1])
        return result.floor_().clamp_(f.low, f.high).float()

    return add


def _add_wide(node: IntegerNode, sources: Sequence[Format]) -> Step:
    """Add where channels have shifts: centred whole numbers first, one requantisation."""
    one = torch.ones((), dtype=torch.float64)
    finish = requantizer(node, one, one * node.attributes["shift"], one * 0)
    left, right = node.attributes["multipliers"]

    def add(x: Sequence[Tensor]) -> Tensor:
        wide = [centred(v, f, torch.float64) for v, f in zip(x, sources, strict=True)]
        return finish(wide[0] * left + wide[1] * right)

    return add


@prepares("affine")
def _affine(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    ones = [1] * (-1 - node.attributes["axis"])
    m, b, s = (t[role].double().reshape(-1, *ones) for role in ("multiplier", "offset", "shift"))
    finish = requantizer(node, torch.ones_like(m), s, torch.zeros_like(m))
    return lambda x: finish(torch.addcmul(b, centred(x[0], sources[0], torch.float64), m))


@prepares("mul")
def _mul(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    finish, (left, right) = scalar_requantizer(node), sources
    exact = left.magnitude * right.magnitude < FLOAT32_LIMIT
    dtype = torch.float32 if exact else torch.float64
    return lambda x: finish(centred(x[0], left, dtype) * centred(x[1], right, dtype))


@prepares("requantize")
def _requantize(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    finish = scalar_requantizer(node)
    return lambda x: finish(centred(x[0], sources[0]))


@prepares("lookup")
def _lookup(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    return by_table(t["table"], sources[0])


@prepares("hardswish", "shift_swish", "shift_gelu")
def _arithmetic(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    """Evaluate an arithmetic function once on every code: faster, and the same integers."""
    codes = torch.arange(sources[0].low, sources[0].high + 1)
    function = ACTIVATIONS.get(node.op)
    return by_table(function.integer(codes, sources[0], node.format, node.attributes), sources[0])


@prepares("mean")
def _mean(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    a, finish = node.attributes, scalar_requantizer(node)

    def mean(x: Sequence[Tensor]) -> Tensor:
        values = centred(x[0], sources[0], torch.float64)
        return finish(values.sum(dim=a["dims"], keepdim=bool(a["keep"])))

    return mean


@prepares("concat")
def _concat(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    return lambda x: torch.cat(list(x), dim=node.attributes["dim"])


@prepares("constant")
def _constant(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    value = t["value"].float()
    return lambda x: value
