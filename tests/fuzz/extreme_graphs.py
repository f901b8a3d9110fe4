"""Random integer graphs made directly: formats, multipliers, shifts and tables at their extremes.

Nothing is calibrated. What is drawn keeps the bounds of `codesign/numerics/README.md`: accumulators
below 2**31, biases to 2**29, multipliers of 16 bits, shifts of 1 to 44.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.graph.ir import resolve
from codesign.integer import replay
from codesign.integer.model import IntegerModel, IntegerNode
from codesign.numerics.constants import Constants
from codesign.numerics.division import DIVISIONS
from codesign.numerics.fixed_point import ACCUMULATOR_LIMIT, Format, dyadic
from codesign.numerics.group_norm import row_constants
from codesign.numerics.layer_norm import LAYER_NORMS
from codesign.numerics.softmax import SOFTMAXES

MAX_BIAS = 2**29
TRIED = 6
Sizes = tuple[int, ...]
Build = Callable[["Draft"], None]
BUILDERS: dict[str, Build] = {}


def builds(*operations: str) -> Callable[[Build], Build]:
    """Return a decorator that files a function under the operations it may add."""

    def decorate(build: Build) -> Build:
        BUILDERS.update(dict.fromkeys(operations, build))
        return build

    return decorate


class Draft:
    """A model under construction.

    Attributes:
        rng: Where everything random comes from.
        op: The operation asked for.
        nodes: The nodes so far.
        tensors: Their tensors.
        values: Their codes for a few random inputs.
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.op = "input"
        self.nodes: list[IntegerNode] = []
        self.tensors: dict[str, NDArray[np.integer[Any]]] = {}
        self.values: dict[str, NDArray[np.int64]] = {}
        sizes = (int(self.rng.integers(1, 5)), *(int(n) for n in self.rng.integers(2, 8, size=2)))
        self.add((), self.codes(wide=True), sizes)

    def source(self, rank: int = 0, *, even: bool = False, shifts: bool = True) -> IntegerNode:
        """Return an earlier node, of a rank if one is given, the last ones more often.

        It is one whose codes differ, so that what is wrong somewhere is seen behind it. A value
        that does not fit is requantised, or reshaped, first.

        Args:
            rank: Dimensions with the batch, or 0 for any.
            even: Evenly spaced codes of at most 8 bits are needed.
            shifts: Whether channels may have steps of their own.
        """
        live = [n for n in self.nodes if n.op != "constant" and np.ptp(self.values[n.name])]
        node = live[-min(int(self.rng.geometric(0.5)), len(live))]
        fmt = node.format
        uneven = bool(fmt.shifts or fmt.codebook) or fmt.bits > 8
        if (even and uneven) or (fmt.shifts and not shifts):
            node = self.requantized(node, self.codes())
        sizes = sizes_of(node)
        if rank and rank != len(sizes) + 1:
            if node.format.shifts:
                node = self.requantized(node, self.codes())
            total = math.prod(sizes)
            sizes = (total,) if rank == 2 else (*(1,) * (rank - 3), sizes[0], total // sizes[0])
            node = self.add((node,), node.format, sizes, op="reshape")
        return node

    def requantized(self, node: IntegerNode, target: Format) -> IntegerNode:
        """Add a requantisation of a node."""
        scalar = self.scalar(node.format.magnitude, target)
        return self.add((node,), target, sizes_of(node), scalar, op="requantize")

    def codes(self, *, wide: bool = False, shifts: int = 0) -> Format:
        """Return a format: 2 to 8 bits, zero points at the ends or between, perhaps others.

        Args:
            wide: 16 signed bits may be drawn too.
            shifts: Channels of the last axis, if they may have steps of their own.
        """
        rng = self.rng
        kind = rng.random()
        if wide and kind < 0.1:
            return Format(16, self.scale(), 0, signed=True)
        bits = int(rng.choice([2, 3, 4, 5, 6, 7, 8, 8, 8]))
        if kind < 0.25:
            return Format(bits, self.scale(), 0, signed=True)
        if kind < 0.35:
            half, ratio = 2 ** (bits - 1), int(rng.integers(7))
            book = (*(code << ratio for code in range(half)), *range(-half, 0))
            return Format(bits, self.scale(), codebook=book) if wide else Format(bits, self.scale())
        top = 2**bits - 1
        zero = int(rng.choice([0, top, rng.integers(top + 1)]))
        steps = tuple(int(s) for s in rng.integers(4, size=shifts)) if kind > 0.8 else ()
        return Format(bits, self.scale(), zero, shifts=steps)

    def scale(self) -> float:
        """Return a scale; only exponentials, divisions and norms look at it."""
        return float(2.0 ** self.rng.uniform(-9, 2))

    def round_constants(self, peak: float, target: Format, size: int) -> tuple[Any, Any]:
        """Return multipliers and shifts: fitting ones, powers of two, and the extremes.

        Args:
            peak: Largest magnitude of what is requantised.
            target: Format of the result.
            size: How many.
        """
        room, limit = (target.high - target.low) / max(peak, 1), 44 - max(target.shifts, default=0)
        ratio = np.minimum(room * 2.0 ** self.rng.uniform(-1, 4, size=size), 2.0**14)
        m, s = dyadic(ratio, limit)
        power = np.floor(np.log2(np.minimum(ratio, 0.5)))
        draw = self.rng.integers(8, size=size)
        m, s = np.where(draw < 3, 1, m), np.where(draw < 3, np.clip(-power, 1, limit), s)
        ends = [(2**16 - 1, 1), (2**16 - 1, limit), (1, limit), (1, 1), (0, 1), (2**15, 16)]
        picks = np.array(ends)[self.rng.integers(len(ends), size=size)].T
        m, s = np.where(draw == 7, picks[0], m), np.where(draw == 7, picks[1], s)
        return m.astype(np.int64), s.astype(np.int64)

    def scalar(self, peak: float, target: Format) -> dict[str, int]:
        """Return one multiplier and one shift as attributes."""
        m, s = self.round_constants(peak, target, 1)
        return {"multiplier": int(m[0]), "shift": int(s[0])}

    def add(
        self,
        inputs: tuple[IntegerNode, ...],
        target: Format,
        sizes: Sizes,
        attributes: dict[str, Any] | None = None,
        tensors: dict[str, Any] | None = None,
        *,
        op: str = "",
        batch: bool = True,
    ) -> IntegerNode:
        """Add a node and return it."""
        name = f"{op or self.op}.{len(self.nodes)}"
        keys = {role: f"{name}/{role}" for role in tensors or {}}
        self.tensors |= {keys[role]: np.asarray(value) for role, value in (tensors or {}).items()}
        shape = ("1*B", *sizes) if batch else sizes
        sources = tuple(node.name for node in inputs)
        node = IntegerNode(name, op or self.op, sources, target, shape, attributes or {}, keys)
        self.nodes.append(node)
        self.values[name] = self._evaluated(node, tensors or {})
        return node

    def _evaluated(self, node: IntegerNode, tensors: dict[str, Any]) -> NDArray[np.int64]:
        formats = {n.name: n.format.to_json() for n in self.nodes}
        if node.op == "input":
            f, shape = node.format, (TRIED, *sizes_of(node))
            return self.rng.integers(f.low, f.high + 1, size=shape)
        inputs = [(self.values[name], formats[name]) for name in node.inputs]
        described = {
            "op": node.op, "shape": node.shape, "attributes": node.attributes,
            "format": formats[node.name],
        }  # fmt: skip
        arrays = {role: np.asarray(value) for role, value in tensors.items()}
        return replay.OPERATIONS[node.op](described, arrays, inputs, TRIED)


def sizes_of(node: IntegerNode) -> Sizes:
    """Return a node's shape without the batch."""
    return tuple(resolve(node.shape, 1)[1:])


def extreme_graph(seed: int, length: int = 8) -> IntegerModel:
    """Return a random graph; consecutive seeds take the operations in turn."""
    draft, names = Draft(seed), list(BUILDERS)
    order = [names[(seed * length + i) % len(names)] for i in range(length)]
    for op in draft.rng.permutation(order):
        draft.op = str(op)
        BUILDERS[draft.op](draft)
    return IntegerModel(f"extreme{seed}", tuple(draft.nodes), draft.tensors)


@builds("conv2d")
def _conv2d(d: Draft) -> None:
    x = d.source(4, shifts=False)
    channels, *sizes = sizes_of(x)
    groups = int(d.rng.choice([g for g in range(1, channels + 1) if channels % g == 0]))
    padding, dilation = d.rng.integers(3, size=2), d.rng.integers(1, 3, size=2)
    reach = [1 + (n + 2 * p - 1) // k for n, p, k in zip(sizes, padding, dilation, strict=True)]
    kernel = [int(d.rng.integers(1, min(3, r) + 1)) for r in reach]
    stride = d.rng.integers(1, 3, size=2)
    out = tuple(
        int((n + 2 * p - k * (w - 1) - 1) // s + 1)
        for n, p, k, w, s in zip(sizes, padding, dilation, kernel, stride, strict=True)
    )
    outputs = groups * int(d.rng.integers(1, 4))
    attributes = {
        "stride": stride.tolist(), "padding": padding.tolist(), "dilation": dilation.tolist(),
        "groups": groups,
    }  # fmt: skip
    _layer(d, x, (outputs, channels // groups, *kernel), (outputs, *out), attributes)


@builds("linear")
def _linear(d: Draft) -> None:
    x = d.source(int(d.rng.choice([2, 3, 4])), shifts=False)
    outputs = int(d.rng.integers(1, 9))
    _layer(d, x, (outputs, sizes_of(x)[-1]), (*sizes_of(x)[:-1], outputs), {})


def _layer(
    d: Draft, x: IntegerNode, shape: Sizes, sizes: Sizes, attributes: dict[str, Any]
) -> None:
    """Add a layer whose weights are of 2 bits up to as many as the accumulator allows."""
    terms, outputs = math.prod(shape[1:]), shape[0]
    most = max((ACCUMULATOR_LIMIT - MAX_BIAS) // (terms * x.format.magnitude), 1)
    peak = min(int(d.rng.choice([1, 1, 7, 127, 448, 2**14])), most)
    weight = d.rng.integers(-peak, peak + 1, size=shape)
    weight[0] = peak
    bound = terms * x.format.magnitude * peak
    reach = int(d.rng.choice([1, bound, MAX_BIAS]))
    bias = d.rng.integers(-min(reach, MAX_BIAS), min(reach, MAX_BIAS) + 1, size=outputs)
    bias[-1] = int(d.rng.choice([-1, 1])) * min(reach, MAX_BIAS)
    target = d.codes(wide=True)
    multiplier, shift = d.round_constants(bound, target, outputs)
    attributes = {**attributes, "accumulator_bound": int(bound + abs(bias).max())}
    tensors = {
        "weight": weight.astype(np.int8 if peak < 128 else np.int16),
        "bias": bias.astype(np.int32),
        "multiplier": multiplier.astype(np.int32),
        "shift": shift.astype(np.int8),
    }
    d.add((x,), _no_codebook(target), sizes, attributes, tensors)


def _no_codebook(target: Format) -> Format:
    """Return the format without its codebook: only tables write such codes."""
    return Format(target.bits, target.scale) if target.codebook else target


@builds("matmul")
def _matmul(d: Draft) -> None:
    left = d.source(4, shifts=False)
    heads, rows, length = sizes_of(left)
    if d.rng.random() < 0.5:
        right = _constant(d, (heads, length, int(d.rng.integers(1, 6))))
    else:
        moved = {"order": [0, 1, 3, 2]}
        right = d.add((left,), left.format, (heads, length, rows), moved, op="permute")
    target = d.codes()
    bound = length * left.format.magnitude * right.format.magnitude
    if bound > ACCUMULATOR_LIMIT:
        return
    attributes = {**d.scalar(bound, target), "accumulator_bound": bound}
    d.add((left, right), target, (heads, rows, right.shape[-1]), attributes)


def _constant(d: Draft, sizes: Sizes) -> IntegerNode:
    """Add a constant that has one image for all."""
    fmt = d.codes()
    value = d.rng.integers(fmt.low, fmt.high + 1, size=(1, *sizes)).astype(np.int16)
    return d.add((), fmt, (1, *sizes), {}, {"value": value}, op="constant", batch=False)


def _partner(d: Draft, x: IntegerNode) -> IntegerNode:
    """Return an operand for x: itself in another format, a constant, or one that is broadcast."""
    sizes = sizes_of(x)
    draw = int(d.rng.integers(3))
    if draw == 0:
        return _constant(d, tuple(int(d.rng.choice([1, n])) for n in sizes))
    if draw == 1:
        return d.requantized(x, d.codes())
    dims = {"dims": [len(sizes)], "keep": True}
    target = d.codes()
    constants = d.scalar(x.format.magnitude, target)
    return d.add((x,), target, (*sizes[:-1], 1), {**dims, **constants}, op="max")


@builds("add")
def _add(d: Draft) -> None:
    x = d.source()
    other = _partner(d, x)
    pair = (x, other) if d.rng.random() < 0.5 else (other, x)
    target = d.codes(wide=not x.format.shifts, shifts=sizes_of(x)[-1])
    limit = 44 - max(target.shifts, default=0)
    extreme = [([2**16 - 1, 1], 1), ([1, 1], 1), ([2**16 - 1, 2**16 - 1], limit), ([1, 2], 2)]
    most = max(2 ** max(1, 30 - x.format.magnitude.bit_length()), 2)
    fitting = ([int(m) for m in d.rng.integers(1, min(2**16, most), size=2)], 17)
    multipliers, shift = [*extreme, fitting, fitting][d.rng.integers(6)]
    attributes = {"multipliers": multipliers, "shift": shift}
    d.add(pair, _no_codebook(target), sizes_of(x), attributes)


@builds("mul")
def _mul(d: Draft) -> None:
    x = d.source(shifts=False)
    other = _partner(d, x)
    bound = x.format.magnitude * other.format.magnitude
    if bound <= ACCUMULATOR_LIMIT:
        target = _no_codebook(d.codes(wide=True))
        d.add((x, other), target, sizes_of(x), d.scalar(bound, target))


@builds("requantize")
def _requantize(d: Draft) -> None:
    x = d.source()
    d.requantized(x, d.codes(shifts=sizes_of(x)[-1]))


@builds("mean", "max")
def _reduce(d: Draft) -> None:
    x = d.source()
    sizes = sizes_of(x)
    dims = sorted(d.rng.permutation(len(sizes))[: d.rng.integers(1, len(sizes) + 1)] + 1)
    keep = bool(d.rng.random() < 0.5) or len(dims) == len(sizes)
    kept = [(1 if i + 1 in dims else n) for i, n in enumerate(sizes) if keep or i + 1 not in dims]
    count = math.prod(sizes[i - 1] for i in dims) if d.op == "mean" else 1
    target = d.codes()
    attributes = {"dims": [int(i) for i in dims], "keep": keep}
    scalar = d.scalar(count * x.format.magnitude, target)
    d.add((x,), target, tuple(kept), {**attributes, **scalar})


@builds("affine")
def _affine(d: Draft) -> None:
    x = d.source()
    sizes = sizes_of(x)
    axis = -int(d.rng.integers(1, len(sizes) + 1))
    count = sizes[axis] if d.rng.random() < 0.8 else 1
    shift = d.rng.choice([1, 2, 8, 17, 29], size=count)
    most = np.minimum((2**30 - 2 ** (shift - 1)) // x.format.magnitude, 2**15 - 1)
    multiplier = d.rng.integers(-most, most + 1)
    multiplier[0] = d.rng.choice([-most[0], most[0], 0])
    room = ACCUMULATOR_LIMIT - np.abs(multiplier) * x.format.magnitude - 2 ** (shift - 1)
    offset = d.rng.integers(-room, room + 1)
    offset[-1] = d.rng.choice([-room[-1], room[-1], 0])
    tensors = {
        "multiplier": multiplier.astype(np.int16),
        "offset": offset.astype(np.int32),
        "shift": shift.astype(np.int8),
    }
    target = d.codes(shifts=sizes[-1])
    d.add((x,), target, sizes, {"axis": axis if count > 1 else -1}, tensors)


@builds("lookup")
def _lookup(d: Draft) -> None:
    x, target = d.source(even=True), d.codes(wide=True)
    table = d.rng.integers(target.low, target.high + 1, size=2**x.format.bits)
    table[0], table[-1] = target.high, target.low
    d.add((x,), target, sizes_of(x), {}, {"table": table.astype(np.int32)})


@builds("hardswish")
def _hardswish(d: Draft) -> None:
    x = d.source()
    if x.format.shifts or x.format.codebook or x.format.bits > 8 or d.rng.random() < 0.3:
        x = d.requantized(x, Format(12, d.scale(), 0, signed=True))
    most = ACCUMULATOR_LIMIT // x.format.magnitude // 2
    three = min(int(d.rng.choice([1, 3, 100, 2**17])), most)
    target = d.codes()
    constants = d.scalar(x.format.magnitude * 2 * three, target)
    d.add((x,), target, sizes_of(x), {"three": three, **constants})


@builds("shift_swish", "shift_gelu")
def _shift_swish(d: Draft) -> None:
    x, target = d.source(even=True), d.codes()
    unit = int(d.rng.choice([1, 2, 3, 17, 512, 2**14]))
    constants = d.scalar(x.format.magnitude * 256, target)
    d.add((x,), target, sizes_of(x), {"unit": unit, **constants})


@builds("softmax")
def _softmax(d: Draft) -> None:
    _rows_of_probabilities(d, "table")


@builds("log_int_softmax")
def _log_int_softmax(d: Draft) -> None:
    _rows_of_probabilities(d, "log_int")


@builds("shiftmax")
def _shiftmax(d: Draft) -> None:
    _rows_of_probabilities(d, "shiftmax")


@builds("codebook_softmax")
def _codebook_softmax(d: Draft) -> None:
    _rows_of_probabilities(d, str(d.rng.choice(["log_sqrt2", "two_scale"])))


def _rows_of_probabilities(d: Draft, name: str) -> None:
    kind = SOFTMAXES.get(name)
    x = d.source(even=True)
    scale = float(d.rng.choice([2.0**-16, 0.011, 0.04, 0.125, 0.13, 1.0, 40.0]))
    x = d.requantized(x, Format(x.format.bits, scale, x.format.zero_point, x.format.signed))
    probabilities = _uniform(d, 0.0, float(d.rng.choice([0.01, 0.3, 1.0])), 64)
    target = kind.format(int(d.rng.choice(kind.widths)), _torch(probabilities))
    _add_kind(d, (x,), target, kind.constants(x.format, target))


@builds("layer_norm")
def _layer_norm(d: Draft) -> None:
    _norm(d, "reciprocal")


@builds("layer_norm_8bit")
def _layer_norm_8bit(d: Draft) -> None:
    _norm(d, "fq_vit")


def _norm(d: Draft, name: str) -> None:
    x = d.source()
    if x.format.codebook or x.format.bits > 8:
        x = d.requantized(x, d.codes(shifts=sizes_of(x)[-1]))
    target, channels = d.codes(), sizes_of(x)[-1]
    gamma, beta = _factors(d, target, channels)
    epsilon = float(d.rng.choice([0.0, 1e-6, 1e-2]))
    try:
        c = LAYER_NORMS.get(name).constants(gamma, beta, epsilon, x.format, target)
    except ValueError:  # gamma or beta beyond the widths: such a layer is refused
        return
    _add_kind(d, (x,), target, c)


def _factors(d: Draft, target: Format, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return gamma and beta, of either sign, from nothing to many times the result's range."""
    reach = target.scale * (target.high - target.low) * float(d.rng.choice([1e-4, 0.3, 1, 20]))
    gamma, beta = _uniform(d, -reach, reach, count), _uniform(d, -reach, reach, count)
    gamma[0] = d.rng.choice([0.0, reach]) if count > 1 else reach
    return gamma, beta


@builds("group_norm", "rms_norm")
def _group_norm(d: Draft) -> None:
    grouped = d.op == "group_norm"
    x = d.source(4 if grouped else 0, even=True)
    sizes, target = sizes_of(x), d.codes()
    divisors = [g for g in range(1, sizes[0] + 1) if sizes[0] % g == 0]
    groups = int(d.rng.choice(divisors)) if grouped else 0
    count = math.prod(sizes) // groups if grouped else sizes[-1]
    channels = sizes[0] if grouped else int(d.rng.choice([1, sizes[-1]]))
    gamma, beta = _factors(d, target, channels)
    beta = beta if grouped else 0 * beta
    epsilon = float(d.rng.choice([0.0, 1e-6, 1e-2]))
    try:
        c = row_constants(count, gamma, beta, epsilon, x.format, target)
    except ValueError:
        return
    attributes = {"epsilon": c.epsilon, "row_shift": c.row_shift, "shift": c.shift}
    attributes |= {"groups": groups} if grouped else {}
    tensors = {"scale": c.scale.astype(np.int16), "offset": c.offset.astype(np.int32)}
    d.add((x,), target, sizes, attributes, tensors)


@builds("divide")
def _divide(d: Draft) -> None:
    x = d.source()
    wide = Format(16, d.scale(), 0, signed=True)
    pair = (d.requantized(x, wide), d.requantized(x, wide))
    _quotient(d, "exact", pair)


@builds("log2_divide")
def _log2_divide(d: Draft) -> None:
    x = d.source(even=True)
    _quotient(d, "log2", (x, d.requantized(x, Format(8, d.scale(), 0))))


def _quotient(d: Draft, name: str, pair: tuple[IntegerNode, IntegerNode]) -> None:
    kind, target = DIVISIONS.get(name), d.codes()
    ratio = 2.0 ** (d.rng.uniform(-2, 9) if d.rng.random() < 0.8 else d.rng.uniform(-20, 14))
    scale = pair[0].format.scale / pair[1].format.scale / ratio
    target = Format(target.bits, scale, target.zero_point, target.signed)
    epsilon = float(d.rng.choice([0, 1, 300])) * pair[1].format.scale
    formats = (pair[0].format, pair[1].format)
    _add_kind(d, pair, target, kind.constants(epsilon, *formats, target))


def _add_kind(d: Draft, inputs: tuple[IntegerNode, ...], target: Format, c: Constants) -> None:
    tensors = {role: value.numpy() for role, value in c.tensors.items()}
    d.add(inputs, target, sizes_of(inputs[0]), dict(c.attributes), tensors)


def _uniform(d: Draft, low: float, high: float, count: int) -> NDArray[Any]:
    return d.rng.uniform(low, high, size=count)


def _torch(values: NDArray[Any]) -> Any:
    import torch

    return torch.from_numpy(values)


@builds("max_pool2d", "avg_pool2d")
def _pool(d: Draft) -> None:
    x = d.source(4, shifts=False)
    channels, *sizes = sizes_of(x)
    dilation = d.rng.integers(1, 3, size=2) if d.op == "max_pool2d" else np.ones(2, dtype=int)
    kernel = [
        int(d.rng.integers(1, 1 + (n + k - 1) // k)) for n, k in zip(sizes, dilation, strict=True)
    ]
    spans = [int(k * (w - 1) + 1) for w, k in zip(kernel, dilation, strict=True)]
    pads = [d.rng.integers(0, k, size=2).tolist() for k in kernel]
    stride = d.rng.integers(1, 4, size=2).tolist()
    out = tuple(
        (n + sum(p) - r) // s + 1 for n, p, r, s in zip(sizes, pads, spans, stride, strict=True)
    )
    target = d.codes()
    count = math.prod(kernel) if d.op == "avg_pool2d" else 1
    places = out if count > 1 and d.rng.random() < 0.5 else (1, 1)
    m, s = d.round_constants(count * x.format.magnitude, target, math.prod(places))
    tensors = {
        "multiplier": m.reshape(places).astype(np.int32),
        "shift": s.reshape(places).astype(np.int8),
    }
    attributes = {"kernel": kernel, "stride": stride, "dilation": dilation.tolist(), "pads": pads}
    d.add((x,), target, (channels, *out), attributes, tensors)


@builds("concat", "constant")
def _concat(d: Draft) -> None:
    x = d.source(shifts=False)
    sizes, dim = sizes_of(x), int(d.rng.integers(1, len(sizes_of(x)) + 1))
    shape = (*sizes[: dim - 1], 2, *sizes[dim:])
    value = d.rng.integers(x.format.low, x.format.high + 1, size=(1, *shape)).astype(np.int16)
    stored = d.add((), x.format, (1, *shape), {}, {"value": value}, op="constant", batch=False)
    each = d.add((stored,), x.format, shape, {}, op="expand")
    target = (*sizes[: dim - 1], sizes[dim - 1] + 2, *sizes[dim:])
    d.add((each, x), x.format, target, {"dim": dim}, op="concat")


@builds("reshape", "permute", "slice", "select", "expand", "gather", "pad")
def _move(d: Draft) -> None:
    x = d.source(shifts=False)
    sizes = sizes_of(x)
    dim = int(d.rng.integers(1, len(sizes) + 1))
    length = sizes[dim - 1]
    _MOVES.get(d.op, _reshape)(d, x, sizes, dim, length)


def _reshape(d: Draft, x: IntegerNode, sizes: Sizes, dim: int, length: int) -> None:
    one = d.add((x,), x.format, (*sizes, 1), op="reshape")
    d.add((one,), x.format, (math.prod(sizes[:-1]), sizes[-1]), op="reshape")


def _permute(d: Draft, x: IntegerNode, sizes: Sizes, dim: int, length: int) -> None:
    order = [0, *(int(i) + 1 for i in d.rng.permutation(len(sizes)))]
    d.add((x,), x.format, tuple(sizes[i - 1] for i in order[1:]), {"order": order})


def _slice(d: Draft, x: IntegerNode, sizes: Sizes, dim: int, length: int) -> None:
    start, step = int(d.rng.integers(length)), int(d.rng.integers(1, 3))
    stop = int(d.rng.integers(start + 1, length + 1))
    count = len(range(start, stop, step))
    attributes = {"dim": dim, "start": start, "stop": stop, "step": step}
    d.add((x,), x.format, (*sizes[: dim - 1], count, *sizes[dim:]), attributes)


def _select(d: Draft, x: IntegerNode, sizes: Sizes, dim: int, length: int) -> None:
    if len(sizes) > 1:
        rest = (*sizes[: dim - 1], *sizes[dim:])
        d.add((x,), x.format, rest, {"dim": dim, "index": int(d.rng.integers(length))})


def _expand(d: Draft, x: IntegerNode, sizes: Sizes, dim: int, length: int) -> None:
    one = d.add((x,), x.format, (1, *sizes), op="reshape")
    wide = d.add((one,), x.format, (2, *sizes))
    d.add((wide,), x.format, (2 * sizes[0], *sizes[1:]), op="reshape")


def _gather(d: Draft, x: IntegerNode, sizes: Sizes, dim: int, length: int) -> None:
    indices = [int(i) for i in d.rng.integers(length, size=min(length + 1, 8))]
    shape = (*sizes[: dim - 1], len(indices), *sizes[dim:])
    d.add((x,), x.format, shape, {"dim": dim, "indices": indices})


def _pad(d: Draft, x: IntegerNode, sizes: Sizes, dim: int, length: int) -> None:
    pads = [[0, 0], *(d.rng.integers(2, size=2).tolist() for _ in sizes)]
    shape = tuple(n + sum(p) for n, p in zip(sizes, pads[1:], strict=True))
    fmt = x.format
    value = fmt.codebook.index(0) if fmt.codebook else fmt.zero_point
    d.add((x,), fmt, shape, {"pads": pads, "value": value})


_MOVES: dict[str, Callable[..., None]] = {
    "permute": _permute,
    "slice": _slice,
    "select": _select,
    "expand": _expand,
    "gather": _gather,
    "pad": _pad,
}
