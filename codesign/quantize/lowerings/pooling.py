"""Lowering of pooling: largest values and sums under windows."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from codesign.graph.ir import Node, resolve
from codesign.numerics.fixed_point import Format, dyadic
from codesign.quantize.lowerings.base import Integers, Lowering, largest_shift, lowers, scalar


@lowers("max_pool2d")
def _max_pool2d(b: Lowering, node: Node) -> None:
    source, target = b.format(node.inputs[0]), b.target(node)
    tensors = _requantisation(np.array([[source.scale / target.scale]]), target)
    b.add(node, target, _geometry(b, node), tensors)


@lowers("avg_pool2d")
def _avg_pool2d(b: Lowering, node: Node) -> None:
    """Sum under the window; where windows reach over the border, counts differ by place."""
    source, target = b.format(node.inputs[0]), b.target(node)
    geometry = _geometry(b, node)
    area = geometry["kernel"][0] * geometry["kernel"][1]
    b.prove(node, area * source.magnitude)
    counts = _counts(b, node, geometry["pads"])
    tensors = _requantisation(source.scale / target.scale / counts, target)
    b.add(node, target, {**geometry, "accumulator_bound": area * source.magnitude}, tensors)


@lowers("max")
def _max(b: Lowering, node: Node) -> None:
    source, target = b.format(node.inputs[0]), b.target(node)
    attributes = {"dims": node.attributes["dims"], "keep": bool(node.attributes["keep"])}
    b.add(node, target, {**attributes, **scalar(source.scale / target.scale, target)}, {})


def _requantisation(ratios: NDArray[np.float64], target: Format) -> Integers:
    multiplier, shift = dyadic(ratios, largest_shift(target))
    return {"multiplier": multiplier.astype(np.int32), "shift": shift.astype(np.int8)}


def _geometry(b: Lowering, node: Node) -> dict[str, Any]:
    """Return the window's attributes; `pads` reaches as far as the last window does."""
    a = node.attributes
    before = resolve(b.network.graph[node.inputs[0]].shape, 1)[-2:]
    after = resolve(node.shape, 1)[-2:]
    dilation = a.get("dilation", [1, 1])
    pads = []
    for i in range(2):
        start, end = (width + a["padding"][i] for width in a.get("border", [[0, 0]] * 2)[i])
        reach = (after[i] - 1) * a["stride"][i] + dilation[i] * (a["kernel"][i] - 1) + 1
        pads.append([start, max(end, reach - before[i] - start)])
    return {"kernel": a["kernel"], "stride": a["stride"], "dilation": dilation, "pads": pads}


def _counts(b: Lowering, node: Node, pads: list[list[int]]) -> NDArray[np.float64]:
    """Return what a sum is divided by at each place, (height, width), or (1, 1) if all agree."""
    a = node.attributes
    height, width = resolve(b.network.graph[node.inputs[0]].shape, 1)[-2:]
    ones = torch.ones(1, 1, height, width, dtype=torch.float64)
    geometry = (a["kernel"], a["stride"], a["padding"], a["ceil"], a["count_padding"])
    mean = F.avg_pool2d(ones, *geometry)
    wide = F.pad(ones, (*pads[1], *pads[0]))
    total = F.avg_pool2d(wide, a["kernel"], a["stride"], divisor_override=1)
    counts = torch.round(total / mean)[0, 0].numpy()
    return counts[:1, :1] if (counts == counts[0, 0]).all() else counts
