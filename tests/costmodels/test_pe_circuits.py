"""The PEs and arrays whose synthesis the model rests on compute what they claim: simulated."""

import random
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from circuits import simulate

from costmodels.characterize.pes import PeConfiguration, pe_configurations
from costmodels.tables import REFERENCE

SOURCES = tuple(sorted((REFERENCE / "pe").glob("*.v")))
ALL = pe_configurations()
SINGLE = {(c.kind, c.weight_bits, c.activation_bits): c for c in reversed(ALL) if not c.rows}
CHOSEN = [
    *[SINGLE["uniform", w, a] for w, a in ((2, 2), (3, 5), (8, 8))],
    *[SINGLE["log2", w, a] for w, a in ((2, 2), (3, 8), (4, 4), (5, 6))],
    *[c for c in ALL if c.kind == "packed" and not c.rows][::9],
]
ARRAYS = [c for c in ALL if c.rows]


def name(c: PeConfiguration) -> str:
    size = f"-{c.rows}x{c.cols}" if c.rows else ""
    return f"{c.kind}-{c.dataflow}-{c.weight_bits}x{c.activation_bits}-{c.family}{size}"


def signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def pack(values: list[int], bits: int) -> int:
    return sum((value & ((1 << bits) - 1)) << (bits * i) for i, value in enumerate(values))


def unpack(word: int, bits: int, count: int) -> list[int]:
    return [signed(word >> (bits * i), bits) for i in range(count)]


def weight_value(c: PeConfiguration, code: int) -> int:
    """Return what a weight's code stands for."""
    if c.kind != "log2":
        return signed(code, c.weight_bits)
    exponent = code & ((1 << (c.weight_bits - 1)) - 1)
    if exponent == (1 << (c.weight_bits - 1)) - 1:
        return 0
    return -(1 << exponent) if code >> (c.weight_bits - 1) else 1 << exponent


def codes(draw: random.Random, bits: int, count: int) -> list[int]:
    """Return codes as unsigned words, half of them the extremes."""
    extremes = (1 << (bits - 1), (1 << (bits - 1)) - 1, (1 << bits) - 1, 0)
    return [
        draw.choice(extremes) if draw.random() < 0.5 else draw.randrange(1 << bits)
        for _ in range(count)
    ]


@dataclass
class Stationary:
    """What an output-stationary PE holds, cycle by cycle."""

    c: PeConfiguration
    operands: tuple[list[int], list[int]] = ([], [])
    products: list[int] | None = None

    def step(self, weights: list[int], activations: list[int], sums: list[int]) -> list[int]:
        """Return the sums after an edge at which the operands enter."""
        old_weights, old_activations = self.operands
        made = [weight_value(self.c, w) * a for a in old_activations for w in old_weights]
        added = made if self.c.kind == "log2" else self.products
        self.operands = weights, activations
        self.products = made
        return [s + p for s, p in zip(sums, added or [0] * len(sums), strict=True)]


@pytest.mark.parametrize("c", [c for c in CHOSEN if c.dataflow == "os"], ids=name)
def test_output_stationary_pe(c: PeConfiguration, tmp_path: Path) -> None:
    c = replace(c, accumulator_bits=32)
    draw, cycles, n, m = random.Random(1), 250, c.weights, c.activations
    weights = [codes(draw, c.weight_bits, n) for _ in range(cycles)]
    activations = [codes(draw, c.activation_bits, m) for _ in range(cycles)]
    clear = [int(t < 4 or 90 < t < 93) for t in range(cycles)]
    plural = "s" if c.kind == "packed" else ""
    inputs = {
        "clear": clear,
        f"weight{plural}_in": [pack(w, c.weight_bits) for w in weights],
        f"activation{plural}_in": [pack(a, c.activation_bits) for a in activations],
    }
    out = simulate(c.instance.module, inputs, tmp_path, c.instance.parameters, SOURCES)
    pe, sums = Stationary(c), [0] * (n * m)
    for t in range(cycles):
        values = [signed(a, c.activation_bits) for a in activations[t]]
        sums = pe.step(weights[t], values, sums)
        if clear[t]:
            sums = [0] * (n * m)
        if t >= 4:
            assert unpack(out[f"sum{plural}"][t] or 0, 32, n * m) == sums, t
        assert out[f"weight{plural}"][t] == inputs[f"weight{plural}_in"][t]
        assert out[f"activation{plural}"][t] == inputs[f"activation{plural}_in"][t]


def matrices(c: PeConfiguration, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Return codes of activations and of weights, both with `depth` first."""
    draw = random.Random(2)
    activations = [codes(draw, c.activation_bits, c.rows) for _ in range(depth)]
    rows = c.rows if c.dataflow == "ws" else depth
    weights = [codes(draw, c.weight_bits, c.cols) for _ in range(rows)]
    return np.array(activations), np.array(weights)


def skewed(
    values: np.ndarray, start: int, share: int, cycles: int, idle: int = 0
) -> list[list[int]]:
    """Return values[k][lane] at cycle start + k + lane // share."""
    words = np.full((cycles, values.shape[1]), idle)
    for lane in range(values.shape[1]):
        first = start + lane // share
        words[first : first + len(values), lane] = values[:, lane]
    return words.tolist()


@pytest.mark.parametrize("c", [c for c in ARRAYS if c.dataflow == "os"], ids=name)
def test_output_stationary_array_multiplies_matrices(c: PeConfiguration, tmp_path: Path) -> None:
    c = replace(c, accumulator_bits=32)
    depth, start = 9, 6
    cycles = start + depth + c.rows + c.cols + 4
    activations, weights = matrices(c, depth)
    rows = skewed(activations, start, c.activations, cycles)
    cols = skewed(weights, start, c.weights, cycles)
    inputs = {
        "clear": [int(t < start) for t in range(cycles)],
        "activations": [pack(row, c.activation_bits) for row in rows],
        "weights": [pack(row, c.weight_bits) for row in cols],
    }
    out = simulate(c.instance.module, inputs, tmp_path, c.instance.parameters, SOURCES)
    found = unpack(out["sums"][-1] or 0, 32, c.rows * c.cols)
    left = np.vectorize(lambda x: signed(int(x), c.activation_bits))(activations)
    right = np.vectorize(lambda x: weight_value(c, int(x)))(weights)
    assert (np.array(found).reshape(c.rows, c.cols) == left.T @ right).all()


@pytest.mark.parametrize("c", [c for c in ARRAYS if c.dataflow == "ws"], ids=name)
def test_weight_stationary_array_multiplies_matrices(c: PeConfiguration, tmp_path: Path) -> None:
    c = replace(c, accumulator_bits=32)
    depth, start = 9, c.rows
    latency = c.rows - 1 + (1 if c.kind == "log2" else 2)
    cycles = start + depth + latency + c.cols + 1
    activations, weights = matrices(c, depth)
    rows = skewed(activations, start, 1, cycles)
    bias = [7 * j - 3 for j in range(c.cols)]
    inputs = {
        "load": [int(t < c.rows) for t in range(cycles)],
        "weights": [pack(row, c.weight_bits) for row in weights[::-1].tolist()],
        "activations": [pack(row, c.activation_bits) for row in rows],
        "bias": [pack(bias, 32)] * cycles,
    }
    out = simulate(c.instance.module, inputs, tmp_path, c.instance.parameters, SOURCES)
    left = np.vectorize(lambda x: signed(int(x), c.activation_bits))(activations)
    right = np.vectorize(lambda x: weight_value(c, int(x)))(weights)
    expected = left @ right + np.array(bias)
    for k in range(depth):
        for j in range(c.cols):
            word = out["sums"][start + k + latency + j // c.weights]
            assert word is not None
            assert unpack(word, 32, c.cols)[j] == expected[k, j]
