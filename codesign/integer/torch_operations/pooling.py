"""Pooling in torch: largest values and sums under windows."""

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor

from codesign.integer.model import IntegerNode
from codesign.integer.torch_operations.base import (
    Step,
    centred,
    prepares,
    requantizer,
    scalar_requantizer,
)
from codesign.numerics.fixed_point import Format

BELOW_ALL = -(2.0**31)


def _finisher(node: IntegerNode, t: Mapping[str, Tensor]) -> Step:
    m, s = t["multiplier"].double(), t["shift"].double()
    finish = requantizer(node, m, s, 0 * m)
    return lambda x: finish(x[0])


@prepares("max_pool2d")
def _max_pool2d(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    a, finish = node.attributes, _finisher(node, t)
    pads = [*a["pads"][1], *a["pads"][0]]

    def pool(x: Sequence[Tensor]) -> Tensor:
        wide = F.pad(centred(x[0], sources[0]), pads, value=BELOW_ALL)
        return finish([F.max_pool2d(wide, a["kernel"], a["stride"], 0, a["dilation"])])

    return pool


@prepares("avg_pool2d")
def _avg_pool2d(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    a, finish = node.attributes, _finisher(node, t)
    pads = [*a["pads"][1], *a["pads"][0]]

    def pool(x: Sequence[Tensor]) -> Tensor:
        wide = F.pad(centred(x[0], sources[0]).double(), pads)
        return finish([F.avg_pool2d(wide, a["kernel"], a["stride"], divisor_override=1)])

    return pool


@prepares("max")
def _max(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    a, finish = node.attributes, scalar_requantizer(node)
    return lambda x: finish(centred(x[0], sources[0]).amax(a["dims"], keepdim=bool(a["keep"])))
