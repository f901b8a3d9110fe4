"""What the operations share: exact types, centring, requantisation, and the registry."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from codesign.integer.model import IntegerNode
from codesign.numerics.fixed_point import Format
from codesign.numerics.straight_through import read

FLOAT32_LIMIT = 2**24

Step = Callable[[Sequence[Tensor]], Tensor]
Prepare = Callable[[IntegerNode, Mapping[str, Tensor], Sequence[Format]], Step]
PREPARE: dict[str, Prepare] = {}


def prepares(*operations: str) -> Callable[[Prepare], Prepare]:
    """Return a decorator that files a function under the operations it makes ready.

    It gets the node, its tensors by role and the formats of its inputs, and returns the step that
    turns the inputs' codes (float32 whole numbers) into the result's.
    """

    def decorate(function: Prepare) -> Prepare:
        PREPARE.update(dict.fromkeys(operations, function))
        return function

    return decorate


def requantizer(
    node: IntegerNode, multiplier: Tensor, shift: Tensor, bias: Tensor
) -> Callable[[Tensor], Tensor]:
    """Return `fixed_point.requantize` with the bias and the rounding folded into one addend."""
    f = node.format
    factor = torch.ldexp(multiplier.double(), -shift.double())
    if f.shifts:
        factor = factor / f.steps(factor)
    addend = factor * bias + (f.zero_point + 0.5)

    def finish(accumulator: Tensor) -> Tensor:
        addend_, factor_ = addend.to(accumulator.device), factor.to(accumulator.device)
        result = torch.addcmul(addend_, accumulator.double(), factor_)
        return result.floor_().clamp_(f.low, f.high).float()

    return finish


def scalar_requantizer(node: IntegerNode) -> Callable[[Tensor], Tensor]:
    """Return `fixed_point.requantize` with the node's one multiplier and shift."""
    a, f = node.attributes, node.format
    factor = math.ldexp(a["multiplier"], -a["shift"])
    addend = torch.tensor(f.zero_point + 0.5, dtype=torch.float64)
    if f.shifts:
        one = torch.ones((), dtype=torch.float64)
        return requantizer(node, one * a["multiplier"], one * a["shift"], one * 0)

    def finish(accumulator: Tensor) -> Tensor:
        result = torch.add(addend, accumulator.double(), alpha=factor)
        return result.floor_().clamp_(f.low, f.high).float()

    return finish


def exact_type(weight: Tensor, source: Format) -> torch.dtype:
    """Return float32 where it provably holds every partial sum of a layer, else float64.

    On a GPU, convolutions wider than a pixel take float64 too: in float32 cuDNN may choose
    Winograd's algorithm, which rounds.
    """
    if weight.is_cuda and weight[0, 0].numel() > 1:
        return torch.float64
    magnitudes = weight.double().abs().flatten(1).sum(dim=1)
    exact = float(magnitudes.max()) * source.magnitude < FLOAT32_LIMIT
    return torch.float32 if exact else torch.float64


def centred(x: Tensor, source: Format, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the whole numbers that codes stand for, in steps of their format's scale."""
    return source.integers(x).to(dtype)


def by_table(table: Tensor, source: Format) -> Step:
    """Return the step that reads each code's result in a table."""
    values = table.float()

    def look_up(x: Sequence[Tensor]) -> Tensor:
        index = x[0].to(torch.int32)
        return read(values.to(x[0].device), index - source.low if source.low else index)

    return look_up
