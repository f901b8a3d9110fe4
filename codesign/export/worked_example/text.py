"""The worked examples as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from codesign.errors import RunError
from codesign.export.golden import Golden
from codesign.export.memories.elements import Element
from codesign.export.memories.weights import sign_exponent, sign_terms
from codesign.export.worked_example.choose import choose
from codesign.export.worked_example.first_layer import FirstLayer, Index, Integers, Line
from codesign.export.worked_example.output_stage import following
from codesign.export.worked_example.places import Places
from codesign.integer.model import IntegerModel

_CODED = {"log2": sign_exponent, "apot": sign_terms}


def worked_example(
    model: IntegerModel,
    golden: Golden,
    memories: Iterable[Mapping[str, Any]] = (),
    golden_memories: Iterable[Mapping[str, Any]] = (),
) -> str:
    """Return outputs of the first layer, each checked against its golden code.

    Args:
        model: The integer model.
        golden: The golden vectors.
        memories: What each file of mem/ holds, as in hardware.json.
        golden_memories: Likewise of golden/mem/.

    Raises:
        RunError: A result is not the golden code.
    """
    layer = FirstLayer.of(model, golden.codes)
    if layer is None:
        return "The network has no layer with weights to show."
    places = Places(layer, memories, golden_memories)
    parts = [_introduction(layer) + (_LOCATED if layer.source.name in places.golden else "")]
    for number, index in enumerate(choose(layer), 1):
        parts.append(f"### Example {number}: {_where(layer, index)}")
        parts.append(_example(layer, index, places))
        stage = following(model, layer, index, golden.codes, places)
        parts += [stage] if stage else []
    return "\n\n".join(parts)


_LOCATED = (
    " `line:lane` is where the line's first code that is not padding stands in the input's memory"
    " file, the file's first line being 1. The next codes follow lane by lane, then line by line,"
    " the dilation apart."
)


def _introduction(layer: FirstLayer) -> str:
    node, source = layer.node, layer.source
    f = source.format
    text = (
        f"The first layer is `{node.name}` ({node.op}). It reads `{source.name}`: {f.bits}-bit"
        f" codes, zero point {f.zero_point}. All examples are of golden image 0."
    )
    if f.codebook:
        text += " A code q stands for x = codebook[q]; the `x` column has it."
    elif f.shifts:
        text += " x is (code - zero point) << shift of the channel; the `x` column has it."
    else:
        text += f" x is code - {f.zero_point}."
    if node.op == "conv2d":
        a = node.attributes
        text += (
            f" Stride {a['stride']}, padding {a['padding']}, dilation {a['dilation']}"
            f" (rows, columns), {a['groups']} group(s). A line `c0 r1` is input channel 0, kernel"
            " row 1."
        )
        if any(a["padding"]):
            text += " On the padding the code is that of zero, so that x = 0."
    return text


def _where(layer: FirstLayer, index: Index) -> str:
    if layer.node.op == "conv2d":
        return f"output channel {index[1]}, row {index[2]}, column {index[3]}"
    return f"output channel {index[-1]} at {list(index[1:-1])}"


def _example(layer: FirstLayer, index: Index, places: Places) -> str:
    channel = index[layer.channel_axis]
    lines = layer.lines(index)
    steps, result = _steps(layer, channel, lines)
    expected = int(layer.outputs[index])
    if result != expected:
        raise RunError(
            f"worked example of {layer.node.name}: {result}, but the golden code is {expected}"
        )
    array = f"`{layer.node.name}`{list(index)} of golden/golden.npz holds {expected}"
    spot = places.code(layer.node.name, index)
    there = f"; {places.golden[layer.node.name]['path']}: {spot}" if spot else ""
    table = ["| number | array (of weights.npz) | memory file |", "|---|---|---|"]
    table += [f"| {' | '.join(row)} |" for row in places.rows(index)]
    return "\n".join(
        [
            *(line for line in (_coding(layer, channel), "") if line),
            "",
            "```",
            *_window(layer, channel, lines, places),
            "",
            *steps,
            "```",
            "",
            f"{array}{there}.",
            "",
            *table,
        ]
    ).lstrip()


def _coding(layer: FirstLayer, channel: int) -> str:
    """Return how the weights of a channel are written, where not as plain numbers."""
    kind, bits = layer.kind(channel), layer.node.attributes["weight_bits"]
    if kind == "log2":
        return (
            f"The weights of this channel are {bits}-bit log2. `s:e` is the sign bit and the"
            f" exponent field: 0:e is 2^e, 1:e is -2^e, and e = {2 ** (bits - 1) - 1} is 0."
            " So a product is x << e."
        )
    if kind == "apot":
        note = sign_terms(bits).note
        return f"The weights of this channel are sums of powers of two. Their codes: {note}."
    return ""


def _window(layer: FirstLayer, channel: int, lines: Sequence[Line], places: Places) -> list[str]:
    """Return the window as a table of fixed width."""
    kind, bits = layer.kind(channel), layer.node.attributes["weight_bits"]
    plain = not (layer.source.format.codebook or layer.source.format.shifts)
    columns = [["", *(line.label for line in lines)]]
    if places.golden.get(layer.source.name):
        columns.append(["line:lane", *(places.line_of(line.first) for line in lines)])
    columns.append(["codes", *_aligned([line.codes for line in lines])])
    if not plain:
        columns.append(["x", *_aligned([line.values for line in lines])])
    columns.append(["weights", *_aligned([line.weights for line in lines])])
    if kind in _CODED:
        written = [_coded(line.weights, kind, bits) for line in lines]
        columns.append([_HEADINGS[kind], *written])
    columns.append(["sum of x * weight", *(str(line.sum) for line in lines)])
    widths = [max(len(cell) for cell in column) for column in columns]
    rows = zip(*columns, strict=True)
    return [
        " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


_HEADINGS = {"log2": "s:e", "apot": "weight codes"}


def _aligned(rows: Sequence[Integers]) -> list[str]:
    width = max(len(str(int(v))) for row in rows for v in row)
    return [" ".join(str(int(v)).rjust(width) for v in row) for row in rows]


def _coded(weights: Integers, kind: str, bits: int) -> str:
    element: Element = _CODED[kind](bits)
    codes = element.encode(weights).tolist()
    if kind == "apot":
        return " ".join(f"{code:0{bits}b}" for code in codes)
    field = 2 ** (bits - 1) - 1
    return " ".join(f"{code >> (bits - 1)}:{code & field}" for code in codes)


def _steps(layer: FirstLayer, channel: int, lines: Sequence[Line]) -> tuple[list[str], int]:
    bias, multiplier, own = (
        layer.constant(role, channel) for role in ("bias", "multiplier", "shift")
    )
    f, extra = layer.node.format, layer.channel_shift(channel)
    shift = own + extra
    total = sum(line.sum for line in lines)
    accumulator = total + bias
    product = accumulator * multiplier
    numerator = product + (1 << (shift - 1))
    scaled = numerator >> shift
    result = int(np.clip(f.zero_point + scaled, f.low, f.high))
    steps = [
        f"sum         = {total}",
        f"accumulator = {total} + bias {bias} = {accumulator}",
        f"product     = {accumulator} * multiplier {multiplier} = {product}",
        f"rounded     = ({product} + 2^{shift - 1}) >> {shift} = {scaled}",
        f"code        = clamp({f.zero_point} + {scaled}, {f.low}, {f.high}) = {result}",
    ]
    if f.shifts:
        steps.insert(3, f"shift       = {own} + {extra} of the output's channel = {shift}")
    if numerator < 0 and numerator % (1 << shift):
        quotient = numerator / (1 << shift)
        steps.insert(-1, f"              (the quotient {quotient:.4f} is rounded down to {scaled})")
    if result != f.zero_point + scaled:
        steps.append(f"              (it saturates: {f.zero_point + scaled} is out of range)")
    return steps, result
