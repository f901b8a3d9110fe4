"""One output value of the first layer, worked out step by step with the bundle's own numbers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codesign.errors import RunError
from codesign.export.golden import Golden
from codesign.integer.model import IntegerModel, IntegerNode

_SHOWN = 12


@dataclass(frozen=True)
class Position:
    """Where the value stands: image, output channel, row and column."""

    image: int
    channel: int
    row: int
    column: int


def worked_example(model: IntegerModel, golden: Golden) -> str:
    """Return the example as Markdown; its result is checked against the golden vector.

    The first convolution of the model is taken, and of its outputs for the first image the one
    whose accumulator has the most non-zero terms.

    Raises:
        RunError: The result is not the golden one.
    """
    node = next((node for node in model.nodes if node.op == "conv2d"), None)
    if node is None:
        return "The network has no convolution to show."
    codes = golden.codes[node.inputs[0]].astype(np.int64)
    source = next(n for n in model.nodes if n.name == node.inputs[0]).format
    windows = _Windows(model, node, codes - source.zero_point)
    position = _busiest(windows, golden.codes[node.name])
    taps = windows.taps(position)
    weights = model.tensors[node.tensors["weight"]][position.channel].astype(np.int64)
    lines, result = _steps(model, node, position, taps, weights, source.zero_point)
    expected = int(
        golden.codes[node.name][position.image, position.channel, position.row, position.column]
    )
    if result != expected:
        raise RunError(
            f"worked example of {node.name}: {result}, but the golden code is {expected}"
        )
    return "\n".join([*lines, "", f"`golden/golden.npz` holds {expected} there."])


class _Windows:
    """Reads the inputs under the kernel, padded with zeros."""

    def __init__(self, model: IntegerModel, node: IntegerNode, centred: NDArray[np.int64]) -> None:
        a = node.attributes
        (top, left), self.stride, self.dilation = a["padding"], a["stride"], a["dilation"]
        self.padded = np.pad(centred, ((0, 0), (0, 0), (top, top), (left, left)))
        weight = model.tensors[node.tensors["weight"]]
        self.channels, self.kernel = weight.shape[1], weight.shape[2:]
        self.outputs_per_group = weight.shape[0] // a["groups"]

    def taps(self, p: Position) -> NDArray[np.int64]:
        """Return the inputs (channels, kernel height, kernel width) under one output."""
        first = p.channel // self.outputs_per_group * self.channels
        rows = p.row * self.stride[0] + np.arange(self.kernel[0]) * self.dilation[0]
        columns = p.column * self.stride[1] + np.arange(self.kernel[1]) * self.dilation[1]
        channels = first + np.arange(self.channels)
        return np.asarray(self.padded[p.image][np.ix_(channels, rows, columns)])


def _busiest(windows: _Windows, output: NDArray[np.integer]) -> Position:
    """Return the output position of image 0 whose window has the most non-zero inputs."""
    _, channels, height, width = output.shape
    spots = [(row, column) for row in range(height) for column in range(width)]
    full = max(spots, key=lambda s: int(np.count_nonzero(windows.taps(Position(0, 0, *s)))))
    middle = output[0, :, full[0], full[1]].astype(np.int64)
    channel = int(np.argsort(middle, kind="stable")[channels // 2])
    return Position(0, channel, *full)


def _steps(
    model: IntegerModel,
    node: IntegerNode,
    p: Position,
    taps: NDArray[np.int64],
    weights: NDArray[np.int64],
    zero_point: int,
) -> tuple[list[str], int]:
    bias, multiplier, shift = (
        int(model.tensors[node.tensors[role]][p.channel])
        for role in ("bias", "multiplier", "shift")
    )
    f = node.format
    own = shift
    pairs = [
        (int(x), int(w)) for x, w in zip(taps.ravel(), weights.ravel(), strict=True) if x and w
    ]
    if f.shifts:  # the first layer's channels are its output's, whatever axis that is
        shift += f.shifts[p.channel]
    total = sum(x * w for x, w in pairs)
    accumulator = total + bias
    product = accumulator * multiplier
    scaled = (product + (1 << (shift - 1))) >> shift
    result = min(max(f.zero_point + scaled, f.low), f.high)
    shown = " + ".join(f"({x})({w})" for x, w in pairs[:_SHOWN])
    more = f" + {len(pairs) - _SHOWN} more products" if len(pairs) > _SHOWN else ""
    why = [f"The shift is {own} of the requantisation and {shift - own} of the output's channel."]
    lines = [
        f"Layer `{node.name}`, golden image 0, output channel {p.channel}, row {p.row}, column"
        f" {p.column}. Of its {taps.size} products those with an input code that is not the zero"
        f" point {zero_point} and a weight that is not 0 count, here {len(pairs)}, each",
        "(input code - zero point)(weight), in the order channel, kernel row, kernel column:",
        "",
        "```",
        f"sum         = {shown or 0}{more}",
        f"            = {total}",
        f"accumulator = {total} + bias {bias} = {accumulator}",
        f"product     = {accumulator} * multiplier {multiplier} = {product}",
        f"rounded     = ({product} + 2^{shift - 1}) >> {shift} = {scaled}",
        f"code        = clamp({f.zero_point} + {scaled}, {f.low}, {f.high}) = {result}",
        "```",
    ]
    return lines + (why if f.shifts else []), result
