"""What normalises rows, in torch: softmax and LayerNorm."""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from codesign.integer.model import IntegerNode
from codesign.integer.torch_operations.base import Step, prepares
from codesign.numerics.fixed_point import Format
from codesign.numerics.layer_norm import LayerNormConstants, layer_norm
from codesign.numerics.softmax import softmax


@prepares("softmax")
def _softmax(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    table = t["table"].double()
    return lambda x: softmax(x[0], table, node.attributes["levels"])


@prepares("layer_norm")
def _layer_norm(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    a = node.attributes
    scale, offset = (t[role].cpu().numpy().astype(np.int64) for role in ("scale", "offset"))
    constants = LayerNormConstants(a["epsilon"], scale, offset, a["shift"])
    return lambda x: layer_norm(x[0], constants, sources[0], node.format)
