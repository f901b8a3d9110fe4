"""Softmax, LayerNorm and division in torch: the integer forms of `codesign.numerics`."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from codesign.integer.model import IntegerNode
from codesign.integer.torch_operations.base import Step, prepares
from codesign.numerics.constants import Constants
from codesign.numerics.division import DIVISIONS
from codesign.numerics.fixed_point import Format
from codesign.numerics.layer_norm import LAYER_NORMS
from codesign.numerics.softmax import SOFTMAXES

_SOFTMAX = {SOFTMAXES.get(name).operation: SOFTMAXES.get(name) for name in SOFTMAXES.names()}
_NORM = {LAYER_NORMS.get(name).operation: LAYER_NORMS.get(name) for name in LAYER_NORMS.names()}
_DIVISION = {DIVISIONS.get(name).operation: DIVISIONS.get(name) for name in DIVISIONS.names()}


@prepares(*_SOFTMAX)
def _softmax(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    kind, c = _SOFTMAX[node.op], _constants(node, t)
    exponentials = kind.exponentials(sources[0].bits, c).double()
    return lambda x: kind.codes(x[0], exponentials, node.format, c)


@prepares(*_NORM)
def _layer_norm(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    kind, c = _NORM[node.op], _constants(node, t)
    return lambda x: kind.integer(x[0], sources[0], node.format, c)


@prepares(*_DIVISION)
def _divide(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    kind, c = _DIVISION[node.op], _constants(node, t)
    pair = (sources[0], sources[1])
    return lambda x: kind.integer(x[0], x[1], pair, node.format, c)


def _constants(node: IntegerNode, t: Mapping[str, Tensor]) -> Constants:
    wide = {role: value.to(torch.int64) for role, value in t.items()}
    return Constants(node.attributes, wide)
