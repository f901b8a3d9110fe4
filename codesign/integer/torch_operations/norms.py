"""Normalisation by group and by root mean square, in torch."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from codesign.integer.model import IntegerNode
from codesign.integer.torch_operations.base import Step, centred, prepares, requantizer
from codesign.numerics.fixed_point import Format
from codesign.numerics.group_norm import normal_rows


@prepares("group_norm")
def _group_norm(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    a, rank = node.attributes, len(node.shape)
    finish = _finisher(node, t, [-1, *[1] * (rank - 2)])

    def norm(x: Sequence[Tensor]) -> Tensor:
        values = centred(x[0], sources[0], torch.float64)
        rows = values.reshape(len(values), a["groups"], -1)
        normal = normal_rows(rows, a["epsilon"], a["row_shift"], centre=True)
        return finish(normal.reshape(values.shape))

    return norm


@prepares("rms_norm")
def _rms_norm(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    a, finish = node.attributes, _finisher(node, t, [-1])

    def norm(x: Sequence[Tensor]) -> Tensor:
        values = centred(x[0], sources[0], torch.float64)
        return finish(normal_rows(values, a["epsilon"], a["row_shift"], centre=False))

    return norm


def _finisher(
    node: IntegerNode, t: Mapping[str, Tensor], shape: list[int]
) -> Callable[[Tensor], Tensor]:
    """Return the step from n to codes: n * A + B, shifted; both factors exact in float64."""
    scale, offset = (t[role].double().reshape(shape) for role in ("scale", "offset"))
    one = torch.ones((), dtype=torch.float64, device=scale.device)
    finish = requantizer(node, one, one * node.attributes["shift"], 0 * one)
    return lambda n: finish(torch.addcmul(offset, n, scale))
