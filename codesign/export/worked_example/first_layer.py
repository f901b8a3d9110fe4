"""The first layer with weights, and what it computes for the first golden image."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.integer.model import IntegerModel, IntegerNode
from codesign.numerics.fixed_point import Format
from codesign.numerics.weights import SCHEMES

Integers = NDArray[np.int64]
Index = tuple[int, ...]
LINE = 16
"""Inputs of a linear that stand in one line."""


@dataclass(frozen=True)
class Line:
    """Inputs and weights that stand in one line of an example: a row of the kernel.

    Attributes:
        label: Which they are.
        codes: The input codes; the code of zero where the window lies on the padding.
        values: The whole numbers these stand for.
        weights: The weights.
        first: Index of the first code that is not padding, in the layer's input; None without.
        padded: How many codes at the beginning and at the end of the line are padding.
    """

    label: str
    codes: Integers
    values: Integers
    weights: Integers
    first: Index | None
    padded: tuple[int, int]

    @property
    def sum(self) -> int:
        """The sum of its products."""
        return int((self.values * self.weights).sum())


@dataclass(frozen=True)
class FirstLayer:
    """The first layer and its golden codes.

    Attributes:
        node: A conv2d or linear.
        source: The node it reads.
        codes: Codes of that node for the golden images.
        outputs: The layer's own golden codes.
        tensors: Role to array.
    """

    node: IntegerNode
    source: IntegerNode
    codes: Integers
    outputs: Integers
    tensors: Mapping[str, Integers]

    @classmethod
    def of(
        cls, model: IntegerModel, golden: Mapping[str, NDArray[np.integer[Any]]]
    ) -> "FirstLayer | None":
        """Return the first layer of a model, None where it has no layer with weights."""
        node = next((n for n in model.nodes if n.op in ("conv2d", "linear")), None)
        if node is None:
            return None
        source = next(n for n in model.nodes if n.name == node.inputs[0])
        arrays = {role: model.tensors[key].astype(np.int64) for role, key in node.tensors.items()}
        codes, outputs = (golden[n.name].astype(np.int64) for n in (source, node))
        return cls(node, source, codes, outputs, arrays)

    @property
    def channel_axis(self) -> int:
        """The axis of the output's channels."""
        return 1 if self.node.op == "conv2d" else self.outputs.ndim - 1

    def kind(self, channel: int) -> str:
        """Return what a channel's weights are: "uniform", "log2" or "apot"."""
        hardware = SCHEMES.get(self.node.attributes["weight_scheme"]).hardware
        if hardware == "mixed":
            return "log2" if channel in self.node.attributes["log2_channels"] else "uniform"
        return hardware

    def constant(self, role: str, channel: int) -> int:
        """Return the bias, multiplier or shift of a channel."""
        return int(self.tensors[role][channel])

    def channel_shift(self, channel: int) -> int:
        """Return what the output format adds to the shift of a channel."""
        shifts = self.node.format.shifts
        return shifts[channel] if shifts else 0

    @cached_property
    def values(self) -> Integers:
        """The whole numbers that the input codes of image 0 stand for."""
        return whole_numbers(self.codes[:1], self.source.format)[0]

    @cached_property
    def accumulators(self) -> Integers:
        """The accumulators of image 0, in the output's shape."""
        weight, bias = self.tensors["weight"], self.tensors["bias"]
        if self.node.op == "linear":
            return np.asarray(self.values @ weight.T + bias)
        windows, groups = self._windows(), self.node.attributes["groups"]
        parts = [
            np.einsum("chwyx,ochw->oyx", part, filters, optimize=True)
            for part, filters in zip(
                np.split(windows, groups), np.split(weight, groups), strict=True
            )
        ]
        return np.asarray(np.concatenate(parts) + bias[:, None, None])

    @cached_property
    def terms(self) -> Integers:
        """How many inputs under each output of image 0 are not zero, in the output's shape."""
        if self.node.op == "linear":
            count = np.count_nonzero(self.values, axis=-1)[..., None]
        else:
            parts = np.split(self._windows(), self.node.attributes["groups"])
            counts = [np.count_nonzero(part, axis=(0, 1, 2)) for part in parts]
            count = np.repeat(np.stack(counts), len(self.outputs[0]) // len(parts), axis=0)
        return np.broadcast_to(count, self.outputs[0].shape)

    @cached_property
    def numerators(self) -> Integers:
        """What is shifted in the requantisation, of each output of image 0."""
        half = np.left_shift(1, self.shifts - 1)
        return self.accumulators * self.along("multiplier") + half

    @cached_property
    def shifts(self) -> Integers:
        """The whole shift of each channel, shaped to stand beside the output."""
        own = self.along("shift")
        extra = self.node.format.shifts
        return own + np.array(extra).reshape(own.shape) if extra else own

    def along(self, role: str) -> Integers:
        """Return a constant of each channel, shaped to stand beside the output."""
        return self.tensors[role].reshape(-1, *[1] * (self.outputs.ndim - 1 - self.channel_axis))

    def lines(self, index: Index) -> list[Line]:
        """Return the inputs and weights of one output of image 0.

        Args:
            index: Of the output, the image first.
        """
        channel = index[self.channel_axis]
        weight = self.tensors["weight"][channel]
        if self.node.op == "linear":
            return self._row(index, weight)
        return self._window(index, weight)

    def _row(self, index: Index, weight: Integers) -> list[Line]:
        codes, values = self.codes[index[:-1]], self.values[index[1:-1]]
        lines = []
        for start in range(0, len(codes), LINE):
            part = slice(start, start + LINE)
            label, first = f"inputs from {start}", (*index[:-1], start)
            lines.append(Line(label, codes[part], values[part], weight[part], first, (0, 0)))
        return lines

    def _window(self, index: Index, weight: Integers) -> list[Line]:
        a = self.node.attributes
        image, channel, row, column = index
        ahead = channel // (len(self.tensors["weight"]) // a["groups"]) * weight.shape[0]
        rows, columns = (
            at * a["stride"][i]
            - a["padding"][i]
            + np.arange(weight.shape[i + 1]) * a["dilation"][i]
            for i, at in enumerate((row, column))
        )
        lines = []
        for c, filters in enumerate(weight):
            for y, line in enumerate(filters):
                place = (image, ahead + c, int(rows[y]))
                lines.append(self._line(f"c{ahead + c} r{y}", place, columns, line))
        return lines

    def _line(self, label: str, place: Index, columns: Integers, weights: Integers) -> Line:
        height, width = self.codes.shape[2:]
        inside = (columns >= 0) & (columns < width) & (0 <= place[2] < height)
        codes = np.full(len(columns), zero_code(self.source.format))
        values = np.zeros(len(columns), dtype=np.int64)
        if not inside.any():  # a row below the image has no codes to look up
            return Line(label, codes, values, weights, None, (len(columns), 0))
        codes[inside] = self.codes[place][columns[inside]]
        values[inside] = self.values[place[1:]][columns[inside]]
        before, after = int(inside.argmax()), int(inside[::-1].argmax())
        first = (*place, int(columns[before]))
        return Line(label, codes, values, weights, first, (before, after))

    def _windows(self) -> Integers:
        """Return the inputs of image 0 under the kernel: (channels, kh, kw, height, width)."""
        a, kernel = self.node.attributes, self.tensors["weight"].shape[2:]
        pads = [(0, 0), *((p, p) for p in a["padding"])]
        spans = tuple(d * (k - 1) + 1 for d, k in zip(a["dilation"], kernel, strict=True))
        axes: Any = (1, 2)
        padded = np.pad(self.values, pads)
        view = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=axes)
        (sh, sw), (dh, dw) = a["stride"], a["dilation"]
        return view[:, ::sh, ::sw, ::dh, ::dw].transpose(0, 3, 4, 1, 2)


def whole_numbers(codes: Integers, fmt: Format) -> Integers:
    """Return the whole numbers that codes (with the images' axis) stand for."""
    if fmt.codebook:
        return np.array(fmt.codebook, dtype=np.int64)[codes]
    x = codes - fmt.zero_point
    if fmt.shifts:
        x = x << np.array(fmt.shifts).reshape(-1, *[1] * (-1 - fmt.axis))
    return x


def zero_code(fmt: Format) -> int:
    """Return the code that stands for zero."""
    return fmt.codebook.index(0) if 0 in fmt.codebook else fmt.zero_point
