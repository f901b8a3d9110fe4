"""A random integer graph under construction: formats and constants at their extremes."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.graph.ir import resolve
from codesign.integer import replay
from codesign.integer.model import IntegerNode
from codesign.numerics.fixed_point import Format, dyadic

TRIED = 6
Sizes = tuple[int, ...]
Build = Callable[["Draft"], None]
BUILDERS: dict[str, Build] = {}
"""Operation to what adds a node of it to a draft."""


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
        self.add((), self.codes(wide=True, codebook=True), sizes)

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

    def codes(self, *, wide: bool = False, codebook: bool = False, shifts: int = 0) -> Format:
        """Return a format: 2 to 8 bits, zero points at the ends or between, perhaps others.

        Args:
            wide: 16 signed bits may be drawn too.
            codebook: So may codes of two scales.
            shifts: Channels of the last axis, if they may have steps of their own.
        """
        rng = self.rng
        kind = rng.random()
        if wide and kind < 0.1:
            return Format(16, self.scale(), 0, signed=True)
        bits = int(rng.choice([2, 3, 4, 5, 6, 7, 8, 8, 8]))
        if kind < 0.25:
            return Format(bits, self.scale(), 0, signed=True)
        if kind < 0.35 and codebook:
            half, ratio = 2 ** (bits - 1), int(rng.integers(7))
            book = (*(code << ratio for code in range(half)), *range(-half, 0))
            return Format(bits, self.scale(), codebook=book)
        top = 2**bits - 1
        zero = int(rng.choice([0, top, rng.integers(top + 1)]))
        steps = tuple(int(s) for s in rng.integers(4, size=shifts)) if kind > 0.8 else ()
        return Format(bits, self.scale(), zero, shifts=steps)

    def scale(self) -> float:
        """Return a scale; only exponentials, divisions and norms look at it."""
        return float(2.0 ** self.rng.uniform(-9, 2))

    def constant(self, sizes: Sizes, fmt: Format | None = None) -> IntegerNode:
        """Add a constant that has one image for all."""
        fmt = fmt or self.codes()
        value = self.rng.integers(fmt.low, fmt.high + 1, size=(1, *sizes)).astype(np.int16)
        shape = (1, *sizes)
        return self.add((), fmt, shape, {}, {"value": value}, op="constant", batch=False)

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
