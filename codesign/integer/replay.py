"""Replay an integer model with NumPy alone, and check it against golden vectors.

This file is the NumPy executor of the project and, copied into an export bundle as verify.py, the
bundle's own check: it imports nothing else of the project. Every value is a whole number. Products
and sums of the matrix operations are evaluated in float64, which is exact below 2**53; the bundle's
accumulators are proved to fit 32 bits. All else is int64.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Json = dict[str, Any]
Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]
Pair = tuple[Array, Json]  # codes and their format


def run(graph: Json, tensors: Arrays, codes: Array, keep: Arrays | None = None) -> Array:
    """Return the logits' codes (int64) for a batch of input codes.

    Args:
        graph: The model's JSON description.
        tensors: Its arrays by key.
        codes: Input codes, (batch, channels, height, width).
        keep: A dict that receives every node's codes, or None.
    """
    formats = {node["name"]: node["format"] for node in graph["nodes"]}
    last = {name: node["name"] for node in graph["nodes"] for name in node["inputs"]}
    values: Arrays = {}
    result = codes
    for node in graph["nodes"]:
        t = {role: tensors[key] for role, key in node["tensors"].items()}
        inputs = [(values[name], formats[name]) for name in node["inputs"]]
        if node["op"] == "input":
            result = codes.astype(np.int64)
        else:
            result = OPERATIONS[node["op"]](node, t, inputs, len(codes))
        values[node["name"]] = result
        if keep is not None:
            keep[node["name"]] = result
        for name in node["inputs"]:
            if last[name] == node["name"] and name in values:
                del values[name]
    return result


def limits(fmt: Json) -> tuple[int, int]:
    """Return the smallest and the largest code of a format."""
    low = -(2 ** (fmt["bits"] - 1)) if fmt["signed"] else 0
    return low, low + 2 ** fmt["bits"] - 1


def finish(scaled: Array, fmt: Json) -> Array:
    """Add the zero point and clamp to the format's codes."""
    return np.clip(scaled + fmt["zero_point"], *limits(fmt))


def requantize(accumulator: Array, multiplier: Any, shift: Any, fmt: Json) -> Array:
    """Return clamp(zero point + ((accumulator * multiplier + 2**(shift - 1)) >> shift)).

    Where the format's channels have shifts of their own, those add to `shift`.
    """
    shift = np.asarray(shift, dtype=np.int64)
    if "shifts" in fmt:
        shift = shift + channels(fmt["shifts"], fmt["axis"])
    half = np.int64(1) << (shift - 1)
    product = accumulator.astype(np.int64) * np.asarray(multiplier, dtype=np.int64)
    return finish((product + half) >> shift, fmt)


def centred(pair: Pair) -> Array:
    """Return the whole numbers codes stand for: by codebook, or less zero point and shifted."""
    codes, fmt = pair
    if "codebook" in fmt:
        return np.array(fmt["codebook"], dtype=np.int64)[codes]
    x = codes - fmt["zero_point"]
    if "shifts" in fmt:
        x = x << channels(fmt["shifts"], fmt["axis"])
    return x


def channels(values: Any, axis: int) -> Array:
    """Return one whole number a channel, shaped for the channels' axis (-1 is the last)."""
    return np.asarray(values, dtype=np.int64).reshape(-1, *[1] * (-1 - axis))


def conv2d(node: Json, t: Arrays, inputs: Sequence[Pair], batch: int) -> Array:
    """Convolve, add the bias, requantise per output channel."""
    a = node["attributes"]
    weight = t["weight"].astype(np.float64)
    (ph, pw), groups = a["padding"], a["groups"]
    x = np.pad(centred(inputs[0]).astype(np.float64), ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    patches = windows(x, weight.shape[2:], a)
    parts = [
        w.reshape(len(w), -1) @ p.reshape(len(p), w[0].size, -1)
        for w, p in zip(np.split(weight, groups), np.split(patches, groups, axis=1), strict=True)
    ]
    sums = np.concatenate(parts, axis=1).reshape(len(x), len(weight), *patches.shape[4:])
    m, s, b = (channels(t[role], -3) for role in ("multiplier", "shift", "bias"))
    return requantize(sums.astype(np.int64) + b, m, s, node["format"])


def windows(x: Array, kernel: Sequence[int], geometry: Json) -> Array:
    """Return the patches under a kernel: (batch, channels, kh, kw, out height, out width)."""
    (sh, sw), (dh, dw) = geometry["stride"], geometry["dilation"]
    spans = (dh * (kernel[0] - 1) + 1, dw * (kernel[1] - 1) + 1)
    axes: Any = (2, 3)
    view = np.lib.stride_tricks.sliding_window_view(x, spans, axis=axes)
    return view[:, :, ::sh, ::sw, ::dh, ::dw].transpose(0, 1, 4, 5, 2, 3)


def linear(node: Json, t: Arrays, inputs: Sequence[Pair], batch: int) -> Array:
    """Multiply by the weights, add the bias, requantise per output channel."""
    x = centred(inputs[0]).astype(np.float64)
    accumulator = (x @ t["weight"].astype(np.float64).T).astype(np.int64) + t["bias"]
    return requantize(accumulator, t["multiplier"], t["shift"], node["format"])


def product(node: Json, t: Arrays, inputs: Sequence[Pair], batch: int) -> Array:
    """Multiply tensors of codes, as matrices or element by element, or rescale a single one."""
    a, x = node["attributes"], [centred(pair) for pair in inputs]
    if node["op"] == "matmul":
        x = [np.matmul(*(v.astype(np.float64) for v in x)).astype(np.int64)]
    values = x[0] * x[1] if len(x) == 2 else x[0]
    return requantize(values, a["multiplier"], a["shift"], node["format"])


def add(node: Json, t: Arrays, inputs: Sequence[Pair], batch: int) -> Array:
    """Add two tensors of codes, each on its own scale."""
    a = node["attributes"]
    total = sum(centred(x) * m for x, m in zip(inputs, a["multipliers"], strict=True))
    return requantize(total, 1, a["shift"], node["format"])


def affine(node: Json, t: Arrays, inputs: Sequence[Pair], batch: int) -> Array:
    """Multiply and add by channel."""
    axis = node["attributes"]["axis"]
    m, b, s = (channels(t[role], axis) for role in ("multiplier", "offset", "shift"))
    return requantize(centred(inputs[0]) * m + b, 1, s, node["format"])


def lookup(node: Json, t: Arrays, inputs: Sequence[Pair], batch: int) -> Array:
    """Read the result for each code in a table."""
    codes, fmt = inputs[0]
    return t["table"].astype(np.int64)[codes - limits(fmt)[0]]


def hardswish(node: Json, t: Arrays, inputs: Sequence[Pair], batch: int) -> Array:
    """Return x * clip(x + 3, 0, 6) / 6 in codes."""
    a = node["attributes"]
    x = centred(inputs[0])
    factor = np.clip(x + a["three"], 0, 2 * a["three"])
    return requantize(x * factor, a["multiplier"], a["shift"], node["format"])


def shift_exp(v: Array, unit: int) -> Array:
    """Return unit * 2**20 * exp(v / unit) for v <= 0, by shifts and additions."""
    power = v + (v >> 1) - (v >> 4)
    whole = -power // unit
    rest = -power - whole * unit
    return ((unit - (rest >> 1)) << 20) >> np.minimum(whole, 62)


def shift_swish(node: Json, t: Arrays, inputs: Sequence[Pair], batch: int) -> Array:
    """Return x * sigmoid(x) in codes, exponentials by shifts and additions."""
    a = node["attributes"]
    x = centred(inputs[0])
    one = a["unit"] << 20
    e = shift_exp(-np.abs(x), a["unit"])
    sigmoid = (np.where(x >= 0, one, e) << 8) // (one + e)
    return requantize(x * sigmoid, a["multiplier"], a["shift"], node["format"])


def distances(pair: Pair) -> Array:
    """Return how far each code lies below the largest of its row."""
    return pair[0].max(axis=-1, keepdims=True) - pair[0]


def softmax(node: Json, t: Arrays, inputs: Sequence[Pair], batch: int) -> Array:
    """Return probabilities from a table of exponentials: rounded, or their levels' codes."""
    e = t["table"].astype(np.int64)[distances(inputs[0])]
    total = e.sum(axis=-1, keepdims=True)
    wide = (2 * node["attributes"].get("levels", 1 << 15) * e + total) // (2 * total)
    if node["op"] == "softmax":
        return wide
    return t["codes"].astype(np.int64)[np.searchsorted(t["thresholds"], wide, side="right")]


def log_int_softmax(node: Json, t: Arrays, inputs: Sequence[Pair], batch: int) -> Array:
    """Return the exponents of powers of two near the probabilities, or the code of zero."""
    a = node["attributes"]
    d = np.minimum(distances(inputs[0]) << a["distance_shift"], a["limit"] * a["unit"])
    whole, rest = d // a["unit"], d % a["unit"]
    e = (rest * (rest - a["linear"]) + a["constant"]) << (a["limit"] - whole)
    exponent = round_log2((2 * e.sum(axis=-1, keepdims=True) + e) // (2 * e))
    return np.where(exponent > a["largest_exponent"], limits(node["format"])[1], exponent)


def shiftmax(node: Json, t: Arrays, inputs: Sequence[Pair], batch: int) -> Array:
    """Return probabilities from exponentials by shifts and one reciprocal a row."""
    a = node["attributes"]
    v = -(distances(inputs[0]) << a["distance_shift"])
    power = np.minimum(-v - (v >> 1) + (v >> 4), a["limit"] * a["unit"])
    whole, rest = power // a["unit"], power % a["unit"]
    e = ((2 * a["unit"] - rest) << (a["limit"] - 1)) >> whole
    return ((1 << 31) // e.sum(axis=-1, keepdims=True) * e) >> (32 - node["format"]["bits"])


def bit_length(x: Array) -> Array:
    """Return the bits that whole numbers from 0 to 2**53 - 1 take."""
    return np.frexp(x.astype(np.float64))[1].astype(np.int64)


def round_log2(x: Array) -> Array:
    """Return the place of the leading one, plus the bit behind it."""
    place = bit_length(x) - 1
    return place + ((2 * x >> place) & 1)


def integer_sqrt(x: Array) -> Array:
    """Return floor(sqrt(x)) of int64 up to 2**62."""
    root = np.floor(np.sqrt(x.astype(np.float64))).astype(np.int64)
    root -= root * root > x
    root += (root + 1) * (root + 1) <= x
    return root


def row_sums(pair: Pair, epsilon: int) -> tuple[Array, int, Array, Array]:
    """Return x, the length C of a row, the sum S and C * sum x**2 - S**2 + epsilon."""
    x = centred(pair)
    total, squares = x.sum(axis=-1, keepdims=True), (x * x).sum(axis=-1, keepdims=True)
    return x, x.shape[-1], total, x.shape[-1] * squares - total * total + epsilon


def layer_norm(node: Json, t: Arrays, inputs: Sequence[Pair], batch: int) -> Array:
    """Normalise rows over the last dimension with an integer root and one reciprocal a row."""
    a = node["attributes"]
    x, channels, total, variance = row_sums(inputs[0], a["epsilon"])
    reciprocal = (1 << 40) // integer_sqrt(variance << 12)
    normal = ((channels * x - total) * reciprocal + (1 << 23)) >> 24
    scaled = (normal * t["scale"] + t["offset"] + (1 << (a["shift"] - 1))) >> a["shift"]
    return finish(scaled, node["format"])


def layer_norm_8bit(node: Json, t: Arrays, inputs: Sequence[Pair], batch: int) -> Array:
    """Normalise rows with an 8-bit multiplier and a shift for each element."""
    x, channels, total, variance = row_sums(inputs[0], node["attributes"]["epsilon"])
    g, h, b = (t[role].astype(np.int64) for role in ("mantissa", "exponent", "offset"))
    half = (62 - bit_length(variance)) >> 1
    product = np.abs(g) * ((1 << 61) // integer_sqrt(variance << 2 * half) + 1)
    n = np.where(g == 0, 0, np.clip(69 + h - half - bit_length(product), 0, 31))
    a = np.minimum(product >> np.clip(37 + h - half - n, 0, 62), 2**32 - 1)
    bias = ((b << n) - np.sign(g) * a * total // (channels << 8) + (1 << 15)) >> 16
    scaled = (np.sign(g) * (a >> 24) * x + bias + ((1 << n) >> 1)) >> n
    return finish(scaled, node["format"])


def divide(node: Json, t: Arrays, inputs: Sequence[Pair], batch: int) -> Array:
    """Divide, rounding half up; a zero below the line counts as one."""
    a = node["attributes"]
    n, d = centred(inputs[0]), centred(inputs[1]) + a["epsilon"]
    d = np.where(d == 0, 1, d)
    n, d = n * np.sign(d), np.abs(d) << a["shift"]
    return finish((2 * n * a["multiplier"] + d) // (2 * d), node["format"])


def log2_divide(node: Json, t: Arrays, inputs: Sequence[Pair], batch: int) -> Array:
    """Divide by the power of two near the denominator."""
    a = node["attributes"]
    shift = a["shift"] + round_log2(np.maximum(centred(inputs[1]) + a["epsilon"], 1))
    return requantize(centred(inputs[0]), a["multiplier"], shift, node["format"])


def group_norm(node: Json, t: Arrays, inputs: Sequence[Pair], batch: int) -> Array:
    """Normalise groups of channels, or rows by their root mean square."""
    a, x = node["attributes"], centred(inputs[0])
    groups = a.get("groups")
    r = x if groups is None else x.reshape(len(x), groups, -1)
    total = 0 if groups is None else r.sum(axis=-1, keepdims=True)
    variance = r.shape[-1] * (r * r).sum(axis=-1, keepdims=True) - total * total
    root = integer_sqrt(((variance >> 2 * a["row_shift"]) + a["epsilon"]) << 12)
    deviation = (r.shape[-1] * r - total) >> a["row_shift"]
    normal = ((deviation * ((1 << 40) // root) + (1 << 23)) >> 24).reshape(x.shape)
    axis = -1 if groups is None else 1 - x.ndim
    scale, offset = channels(t["scale"], axis), channels(t["offset"], axis)
    return requantize(normal * scale + offset, 1, a["shift"], node["format"])


def pool(node: Json, t: Arrays, inputs: Sequence[Pair], batch: int) -> Array:
    """Take the largest value under a window, or the sum, its count in the multiplier."""
    a, largest = node["attributes"], node["op"] == "max_pool2d"
    fill = -(1 << 31) if largest else 0
    x = np.pad(centred(inputs[0]), ((0, 0), (0, 0), *a["pads"]), constant_values=fill)
    patches = windows(x, a["kernel"], a)
    reduced = patches.max(axis=(2, 3)) if largest else patches.sum(axis=(2, 3))
    return requantize(reduced, t["multiplier"], t["shift"], node["format"])


def reduction(node: Json, t: Arrays, inputs: Sequence[Pair], batch: int) -> Array:
    """Sum over dimensions, the count in the multiplier, or take the largest value."""
    a, x = node["attributes"], centred(inputs[0])
    reduce = x.max if node["op"] == "max" else x.sum
    reduced = reduce(axis=tuple(a["dims"]), keepdims=bool(a["keep"]))
    return requantize(reduced, a["multiplier"], a["shift"], node["format"])


def concat(node: Json, t: Arrays, inputs: Sequence[Pair], batch: int) -> Array:
    """Join tensors of one format."""
    return np.concatenate([codes for codes, _ in inputs], axis=node["attributes"]["dim"])


def constant(node: Json, t: Arrays, inputs: Sequence[Pair], batch: int) -> Array:
    """Return stored codes."""
    return t["value"].astype(np.int64)


def move(node: Json, t: Arrays, inputs: Sequence[Pair], batch: int) -> Array:
    """Move codes, which pass unchanged; a pad adds the code of zero."""
    x, a, op = inputs[0][0], node["attributes"], node["op"]
    if op == "permute":
        return x.transpose(a["order"])
    if op == "select":
        return np.take(x, a["index"], axis=a["dim"])
    if op == "slice":
        part = slice(a["start"], a["stop"], a["step"])
        return x[(slice(None),) * a["dim"] + (part,)]
    if op == "gather":
        return np.take(x, a["indices"], axis=a["dim"])
    if op == "pad":
        return np.pad(x, a["pads"], constant_values=a["value"])
    sizes = [d if isinstance(d, int) else int(d[:-2]) * batch for d in node["shape"]]
    return x.reshape(sizes) if op == "reshape" else np.broadcast_to(x, sizes)


OPERATIONS = {
    **{f.__name__: f for f in (conv2d, linear, add, affine, lookup, hardswish, concat, constant)},
    **{f.__name__: f for f in (log_int_softmax, shiftmax, layer_norm, layer_norm_8bit)},
    **{f.__name__: f for f in (divide, log2_divide)},
    **dict.fromkeys(("matmul", "mul", "requantize"), product),
    **dict.fromkeys(("shift_swish", "shift_gelu"), shift_swish),
    **dict.fromkeys(("softmax", "codebook_softmax"), softmax),
    **dict.fromkeys(("group_norm", "rms_norm"), group_norm),
    **dict.fromkeys(("max_pool2d", "avg_pool2d"), pool),
    **dict.fromkeys(("max", "mean"), reduction),
    **dict.fromkeys(("reshape", "permute", "slice", "select", "expand", "gather", "pad"), move),
}


def main() -> int:
    """Replay the golden inputs of the bundle this file lies in; return 0 if all codes match."""
    folder = Path(__file__).resolve().parent
    graph = json.loads((folder / "graph.json").read_text())
    with np.load(folder / "weights.npz", allow_pickle=False) as file:
        tensors = {key: file[key] for key in file.files}
    with np.load(folder / "golden" / "golden.npz", allow_pickle=False) as file:
        golden = {key: file[key] for key in file.files}
    computed: Arrays = {}
    run(graph, tensors, golden[graph["nodes"][0]["name"]], keep=computed)
    for node in graph["nodes"]:
        name = node["name"]
        expected, got = golden[name], computed[name]
        if expected.shape != got.shape:
            print(f"DIFFERS {name}: expected shape {expected.shape}, got {got.shape}")
            return 1
        for index in np.argwhere(expected != got)[:1]:
            at = tuple(int(i) for i in index)
            print(f"DIFFERS {name} at {at}: expected {expected[at]}, got {got[at]}")
            return 1
        print(f"ok  {name:60s} {node['op']:12s} {expected.size:9d} codes")
    logits = computed[graph["nodes"][-1]["name"]]
    if not images_agree(folder / "golden" / "images.npz", graph, golden, logits):
        return 1
    print(f"0 differing integers in {len(graph['nodes'])} nodes over {len(logits)} images")
    return 0


def images_agree(path: Path, graph: Json, golden: Arrays, logits: Array) -> bool:
    """Return whether the float images give the input's codes, and the logits their classes."""
    source = graph["nodes"][0]
    fmt = source["format"]
    with np.load(path, allow_pickle=False) as file:
        images, classes = file["images"].astype(np.float64), file["expected_classes"]
    codes = finish(np.floor(images / fmt["scale"] + 0.5), fmt).astype(np.int64)
    pairs = {source["name"]: (golden[source["name"]], codes)}
    pairs["classes"] = (classes, logits.argmax(axis=1))
    for what, (expected, got) in pairs.items():
        if not np.array_equal(expected, got):
            print(f"DIFFERS {what} of the images: expected {expected}, got {got}")
    return all(np.array_equal(*pair) for pair in pairs.values())


if __name__ == "__main__":
    sys.exit(main())
