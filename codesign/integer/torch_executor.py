"""Run an integer model quickly with torch, on the CPU or a GPU.

Codes are held as float32 whole numbers. A layer is evaluated in float32 where the sum of its
weights' magnitudes proves that no partial sum reaches 2**24, else in float64; requantisation is in
float64, exact below 2**53. The integers are those of `codesign.integer.replay`, to the last one.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from codesign.graph.execute import last_uses, move
from codesign.graph.ir import SHAPE_OPERATIONS
from codesign.graph.ir import Node as GraphNode
from codesign.integer.model import IntegerModel, IntegerNode
from codesign.numerics.activation import ACTIVATIONS
from codesign.numerics.fixed_point import Format
from codesign.numerics.layer_norm import LayerNormConstants, layer_norm
from codesign.numerics.softmax import softmax

FLOAT32_LIMIT = 2**24
CHUNK_IMAGES = 32
"""Images evaluated at once: larger batches fall out of the caches."""

Step = Callable[[Sequence[Tensor]], Tensor]


class TorchExecutor:
    """An integer model made ready to run.

    Args:
        model: The model.
        device: A torch device name.
    """

    def __init__(self, model: IntegerModel, device: str = "cpu") -> None:
        self.model = model
        self.device = device
        self._by_name = {node.name: node for node in model.nodes}
        self._steps = {node.name: self._prepare(node) for node in model.nodes[1:]}
        self._last = last_uses(_as_graph_nodes(model))

    @torch.no_grad()
    def run(self, codes: Tensor, keep: dict[str, Tensor] | None = None) -> Tensor:
        """Return the logits' codes of a batch of input codes, float32 whole numbers.

        Args:
            codes: (batch, channels, height, width) whole numbers of any type.
            keep: Receives every node's codes if given; the batch is then run in one piece.
        """
        codes = codes.to(self.device, torch.float32)
        if keep is not None:
            return self._run_chunk(codes, keep)
        return torch.cat([self._run_chunk(part, None) for part in codes.split(CHUNK_IMAGES)])

    def predict(self, images: Tensor) -> Tensor:
        """Return the class of each image, (batch,) int64."""
        codes = self.model.input_format.quantize(images)
        return self.run(codes).argmax(dim=1).cpu()

    def _run_chunk(self, codes: Tensor, keep: dict[str, Tensor] | None) -> Tensor:
        values = {self.model.nodes[0].name: codes}
        result = codes
        for node in self.model.nodes[1:]:
            inputs = [values[name] for name in node.inputs]
            if node.op in SHAPE_OPERATIONS:
                result = move(_as_graph_node(node), inputs[0], codes.shape[0])
            else:
                result = self._steps[node.name](inputs)
            values[node.name] = result
            for name in () if keep is not None else self._last[node.name]:
                del values[name]
        if keep is not None:
            keep.update(values)
        return result

    def _prepare(self, node: IntegerNode) -> Step:
        tensors = {
            role: torch.from_numpy(np.array(self.model.tensors[key])).to(self.device)
            for role, key in node.tensors.items()
        }
        sources = [self._by_name[name].format for name in node.inputs]
        if node.op in SHAPE_OPERATIONS:
            return lambda x: x[0]
        return _PREPARE[node.op](node, tensors, sources)


def _as_graph_node(node: IntegerNode) -> GraphNode:
    return GraphNode(node.name, node.op, node.inputs, node.shape, node.attributes)


def _as_graph_nodes(model: IntegerModel) -> list[GraphNode]:
    return [_as_graph_node(node) for node in model.nodes]


def _requantizer(
    node: IntegerNode, multiplier: Tensor, shift: Tensor, bias: Tensor
) -> Callable[[Tensor], Tensor]:
    """Return `fixed_point.requantize` with the bias and the rounding folded into one addend."""
    f = node.format
    factor = torch.ldexp(multiplier.double(), -shift.double())
    addend = factor * bias + (f.zero_point + 0.5)

    def finish(accumulator: Tensor) -> Tensor:
        result = torch.addcmul(addend, accumulator.double(), factor)
        return result.floor_().clamp_(f.low, f.high).float()

    return finish


def _scalar(node: IntegerNode) -> Callable[[Tensor], Tensor]:
    a, f = node.attributes, node.format
    factor = math.ldexp(a["multiplier"], -a["shift"])
    addend = torch.tensor(f.zero_point + 0.5, dtype=torch.float64)

    def finish(accumulator: Tensor) -> Tensor:
        result = torch.add(addend, accumulator.double(), alpha=factor)
        return result.floor_().clamp_(f.low, f.high).float()

    return finish


def _exact_type(weight: Tensor, source: Format) -> torch.dtype:
    """Return float32 where it provably holds every partial sum of a layer, else float64.

    On a GPU, convolutions wider than a pixel take float64 too: in float32 cuDNN may choose
    Winograd's algorithm, which rounds.
    """
    if weight.is_cuda and weight[0, 0].numel() > 1:
        return torch.float64
    magnitudes = weight.double().abs().flatten(1).sum(dim=1)
    exact = float(magnitudes.max()) * source.magnitude < FLOAT32_LIMIT
    return torch.float32 if exact else torch.float64


def _centred(x: Tensor, source: Format, dtype: torch.dtype = torch.float32) -> Tensor:
    return (x - source.zero_point if source.zero_point else x).to(dtype)


def _conv2d(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    a, source = node.attributes, sources[0]
    dtype = _exact_type(t["weight"], source)
    weight = t["weight"].to(dtype)
    geometry = (a["stride"], a["padding"], a["dilation"], a["groups"])
    m, s, b = (t[role][:, None, None] for role in ("multiplier", "shift", "bias"))
    finish = _requantizer(node, m, s, b.double())
    return lambda x: finish(F.conv2d(_centred(x[0], source, dtype), weight, None, *geometry))


def _linear(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    source = sources[0]
    dtype = _exact_type(t["weight"], source)
    weight = t["weight"].to(dtype)
    finish = _requantizer(node, t["multiplier"], t["shift"], t["bias"].double())
    return lambda x: finish(F.linear(_centred(x[0], source, dtype), weight))


def _matmul(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    left, right = sources
    finish = _scalar(node)
    step = left.magnitude * right.magnitude

    def matmul(x: Sequence[Tensor]) -> Tensor:
        exact = x[0].shape[-1] * step < FLOAT32_LIMIT
        dtype = torch.float32 if exact else torch.float64
        return finish(torch.matmul(_centred(x[0], left, dtype), _centred(x[1], right, dtype)))

    return matmul


def _add(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    a, f = node.attributes, node.format
    factors = [m * 2.0 ** -a["shift"] for m in a["multipliers"]]
    offset = f.zero_point + 0.5
    offset -= sum(x.zero_point * m for x, m in zip(sources, factors, strict=True))

    def add(x: Sequence[Tensor]) -> Tensor:
        result = x[0].double() * factors[0] + offset
        result = result + x[1].double() * factors[1]
        return result.floor_().clamp_(f.low, f.high).float()

    return add


def _mul(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    finish = _scalar(node)
    return lambda x: finish(_centred(x[0], sources[0]) * _centred(x[1], sources[1]))


def _requantize(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    finish = _scalar(node)
    return lambda x: finish(_centred(x[0], sources[0]))


def _lookup(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    return _by_table(t["table"], sources[0])


def _arithmetic(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    """Evaluate an arithmetic function once on every code: faster, and the same integers."""
    codes = torch.arange(sources[0].low, sources[0].high + 1)
    function = ACTIVATIONS.get(node.op)
    return _by_table(function.integer(codes, sources[0], node.format, node.attributes), sources[0])


def _by_table(table: Tensor, source: Format) -> Step:
    values = table.float()

    def look_up(x: Sequence[Tensor]) -> Tensor:
        index = x[0].to(torch.int32)
        return values.to(x[0].device)[index - source.low if source.low else index]

    return look_up


def _softmax(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    table = t["table"].double()
    return lambda x: softmax(x[0], table, node.attributes["levels"])


def _layer_norm(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    a = node.attributes
    scale, offset = (t[role].cpu().numpy().astype(np.int64) for role in ("scale", "offset"))
    constants = LayerNormConstants(a["epsilon"], scale, offset, a["shift"])
    return lambda x: layer_norm(x[0], constants, sources[0], node.format)


def _mean(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    a, finish = node.attributes, _scalar(node)

    def mean(x: Sequence[Tensor]) -> Tensor:
        centred = _centred(x[0], sources[0], torch.float64)
        return finish(centred.sum(dim=a["dims"], keepdim=bool(a["keep"])))

    return mean


def _concat(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    return lambda x: torch.cat(list(x), dim=node.attributes["dim"])


def _constant(node: IntegerNode, t: Mapping[str, Tensor], sources: Sequence[Format]) -> Step:
    value = t["value"].float()
    return lambda x: value


_PREPARE: dict[str, Callable[[IntegerNode, Mapping[str, Tensor], Sequence[Format]], Step]] = {
    "conv2d": _conv2d,
    "linear": _linear,
    "matmul": _matmul,
    "add": _add,
    "mul": _mul,
    "requantize": _requantize,
    "lookup": _lookup,
    "hardswish": _arithmetic,
    "shift_swish": _arithmetic,
    "softmax": _softmax,
    "layer_norm": _layer_norm,
    "mean": _mean,
    "concat": _concat,
    "constant": _constant,
}
