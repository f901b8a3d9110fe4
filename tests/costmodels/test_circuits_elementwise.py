"""The element-wise circuits of the vector unit, simulated, against the integer specification."""

import random
from itertools import chain

import pytest
import torch
from circuits import simulate

from codesign.numerics.activation import ACTIVATIONS
from codesign.numerics.constants import Constants
from codesign.numerics.division import DIVISIONS
from codesign.numerics.fixed_point import Format
from costmodels.vector_unit import FUNCTIONS

ELEMENTS = 300
TENSORS = 12
"""Tensors of ELEMENTS codes each, every tensor with constants of its own."""


def clamp(value):
    return min(max(value, 0), 255)


def rounded(value, shift):
    return (value + 2 ** (shift - 1)) // 2**shift


def stream(module, tensors, latency, folder, delay=None, output="y"):
    """Return each element's result; constants hold while a tensor and its last result pass.

    Args:
        module: Module of the vector unit.
        tensors: For each tensor its constants (numbers) and its streams (lists).
        latency: Clock edges from an element to its result.
        folder: Scratch folder.
        delay: Clocks by which a stream arrives after the others.
        output: Port that is read.
    """
    inputs = {name: [] for name in tensors[0]}
    spans = []
    for tensor in tensors:
        length = max(len(v) for v in tensor.values() if isinstance(v, list))
        start = len(inputs[next(iter(inputs))])
        spans.append((start + latency - 1, length))
        for name, value in tensor.items():
            if isinstance(value, list):
                late = (delay or {}).get(name, 0)
                inputs[name] += [value[0]] * late + value + [value[-1]] * (latency - late)
            else:
                inputs[name] += [value] * (length + latency)
    got = simulate(module, inputs, folder)[output]
    return [got[first : first + length] for first, length in spans]


def codes(rng, count=ELEMENTS):
    """Return random codes with the extremes side by side."""
    return [0, 255, 0, 0, 255, 255, *(rng.randrange(256) for _ in range(count - 6))]


def signed(rng, width, count=ELEMENTS):
    """Return random numbers of a width and a sign."""
    return [rng.randrange(-(2**width), 2**width) for _ in range(count)]


def constants(rng, extreme):
    """Return zero points, a multiplier and a shift, for every third tensor extreme ones."""
    return {
        "zero_x": rng.choice((0, 255)) if extreme else rng.randrange(256),
        "zero_point": rng.choice((0, 255)) if extreme else rng.randrange(256),
        "multiplier": rng.choice((0, 1, 2**15, 2**16 - 1)) if extreme else rng.randrange(2**16),
        "shift": rng.choice((1, 44)) if extreme else rng.randrange(1, 45),
    }


def useful(rng, span):
    """Return a 16-bit multiplier and the shift that brings `span` near the range of a code."""
    multiplier = rng.randrange(2**15, 2**16)
    shift = max(1, (span * multiplier // 256).bit_length() - rng.randrange(0, 2))
    return {"multiplier": multiplier, "shift": min(shift, 44)}


@pytest.fixture
def rng(request):
    return random.Random(request.node.name)


def test_requantize_takes_every_accumulator_multiplier_and_shift(rng, tmp_path):
    tensors, expected = [], []
    for i in range(TENSORS):
        c = constants(rng, i % 3 == 0)
        del c["zero_x"]
        if i % 3 == 1:
            c |= useful(rng, 2**31)
        width = rng.randrange(1, 32)
        acc = [-(2**31), 2**31 - 1, 0, -1, *signed(rng, width)]
        tensors.append({**c, "acc": acc})
        expected.append(
            [clamp(c["zero_point"] + rounded(a * c["multiplier"], c["shift"])) for a in acc]
        )
    assert stream("requantize", tensors, 3, tmp_path, output="code") == expected


def test_requantize_shift_equals_a_multiplier_that_is_a_power_of_two(rng, tmp_path):
    tensors, expected = [], []
    for _ in range(TENSORS):
        shift, zero = rng.randrange(1, 45), rng.randrange(256)
        width = min(31, max(2, shift + rng.randrange(-2, 4)))
        acc = [-(2**31), 2**31 - 1, 0, *signed(rng, width)]
        tensors.append({"acc": acc, "shift": shift, "zero_point": zero})
        expected.append([clamp(zero + rounded(a * 2**7, shift)) for a in acc])
    assert stream("requantize_shift", tensors, 2, tmp_path, output="code") == expected


def test_rescale(rng, tmp_path):
    tensors, expected = [], []
    for i in range(TENSORS):
        c = constants(rng, i % 3 == 0) | (useful(rng, 256) if i % 3 else {})
        x = codes(rng)
        tensors.append({**c, "x": x})
        expected.append(
            [
                clamp(c["zero_point"] + rounded((q - c["zero_x"]) * c["multiplier"], c["shift"]))
                for q in x
            ]
        )
    assert stream("rescale", tensors, 4, tmp_path) == expected


def test_affine_by_channel(rng, tmp_path):
    """A multiplier, an offset and a shift for each element, accumulators up to 31 bits."""
    tensors, expected = [], []
    for _ in range(TENSORS):
        zero_x, zero = rng.choice((0, 0, -(2**15), 2**15 - 1)), rng.randrange(256)
        x = [-(2**15), 2**15 - 1, *signed(rng, 15)]
        shift = [rng.randrange(1, 31) for _ in x]
        m, b = [], []
        for s in shift:
            room = 2**31 - 1 - 2 ** (s - 1)  # |m| * |x| + |b| at most
            m.append(rng.randrange(-(2**15) + 1, 2**15) // rng.choice((1, 4, 64)))
            m[-1] = m[-1] if abs(m[-1]) * 2**16 <= room else 0
            b.append(rng.randint(abs(m[-1]) * 2**16 - room, room - abs(m[-1]) * 2**16))
        tensors.append(
            {"x": x, "zero_x": zero_x, "multiplier": m, "offset": b, "shift": shift}
            | {"zero_point": zero}
        )
        expected.append(
            [
                clamp(zero + rounded((q - zero_x) * f + o, s))
                for q, f, o, s in zip(x, m, b, shift, strict=True)
            ]
        )
    late = {"multiplier": 1, "offset": 1, "shift": 2}
    assert stream("affine", tensors, 4, tmp_path, late) == expected


def test_hardswish(rng, tmp_path):
    tensors, expected = [], []
    for i in range(TENSORS):
        c = constants(rng, i % 3 == 0)
        c["three"] = rng.choice((1, 4095)) if i % 3 == 0 else rng.randrange(1, 150)
        if i % 3:
            c |= {"zero_x": rng.randrange(128), "zero_point": rng.randrange(60)}
            c |= useful(rng, (255 - c["zero_x"]) * 2 * c["three"])
        x = codes(rng)
        tensors.append({**c, "x": x})
        centred = [q - c["zero_x"] for q in x]
        p = [v * min(max(v + c["three"], 0), 2 * c["three"]) for v in centred]
        expected.append(
            [clamp(c["zero_point"] + rounded(v * c["multiplier"], c["shift"])) for v in p]
        )
    assert stream("hardswish", tensors, 6, tmp_path) == expected


def test_add(rng, tmp_path):
    tensors, expected = [], []
    for i in range(TENSORS):
        m, n = rng.randrange(2**15, 2**16), rng.randrange(2**16)
        m, n = rng.choice(((m, n), (n, m)))
        za, zb, zero = (rng.choice((0, 255, rng.randrange(256))) for _ in range(3))
        shift = rng.randrange(1, 45) if i % 3 == 0 else rng.randrange(14, 18)
        a, b = codes(rng), codes(rng)[::-1]
        tensors.append(
            {"a": a, "b": b, "multiplier_a": m, "multiplier_b": n, "shift": shift}
            | {"offset": -za * m - zb * n, "zero_point": zero}
        )
        expected.append(
            [
                clamp(zero + rounded((p - za) * m + (q - zb) * n, shift))
                for p, q in zip(a, b, strict=True)
            ]
        )
    assert stream("add", tensors, 4, tmp_path) == expected


def test_multiply(rng, tmp_path):
    tensors, expected = [], []
    for i in range(TENSORS):
        c = constants(rng, i % 3 == 0) | (useful(rng, 2**15) if i % 3 else {})
        za, zb = c.pop("zero_x"), rng.choice((0, 255, rng.randrange(256)))
        a, b = codes(rng), codes(rng)[::-1]
        tensors.append({**c, "a": a, "b": b, "zero_a": za, "zero_b": zb})
        expected.append(
            [
                clamp(c["zero_point"] + rounded((p - za) * (q - zb) * c["multiplier"], c["shift"]))
                for p, q in zip(a, b, strict=True)
            ]
        )
    assert stream("multiply", tensors, 5, tmp_path) == expected


def shift_exp(v, unit, fraction):
    power = v + (v >> 1) - (v >> 4)
    whole = -power // unit
    rest = -power - whole * unit
    return ((unit - (rest >> 1)) << fraction) >> min(whole, 62)


def gated_exponential(x, unit, fraction):
    one, e = unit << fraction, shift_exp(-abs(x), unit, fraction)
    return x * (((one if x >= 0 else e) << 8) // (one + e))


@pytest.mark.parametrize("name", ["shift_swish", "shift_gelu"])
def test_gated_exponential_of_every_code(name, rng, tmp_path):
    tensors, expected = [], []
    for unit in (1, 2, 3, 5, 7, 16, 21, 42, 85, 128, 254, 255):
        c = {**constants(rng, False), **useful(rng, 128 * 256), "unit": unit}
        x = rng.sample(range(256), 256)
        tensors.append({**c, "x": x})
        products = [gated_exponential(q - c["zero_x"], unit, 20) for q in x]
        expected.append(
            [clamp(c["zero_point"] + rounded(p * c["multiplier"], c["shift"])) for p in products]
        )
        formats = Format(8, 1.0, c["zero_x"]), Format(8, 1.0, c["zero_point"])
        assert ACTIVATIONS.get(name).integer(torch.tensor(x), *formats, c).tolist() == expected[-1]
    assert stream(FUNCTIONS[name].circuit, tensors, 26, tmp_path) == expected


def quotient(n, d, multiplier, shift):
    """Return n * multiplier / (d * 2**shift), rounded half up."""
    n, d = (-n, -d) if d < 0 else (n, d)
    return (2 * n * multiplier + (d << shift)) // (d << (shift + 1))


def test_divide_of_16_bit_codes_of_either_sign(rng, tmp_path):
    tensors, expected = [], []
    for i in range(TENSORS):
        zero = rng.choice((0, 128, 255, rng.randrange(256)))
        zn, zd = (rng.choice((0, 0, -(2**15), 2**15 - 1)) for _ in range(2))
        width = rng.randrange(1, 16)
        n = [-(2**15), 2**15 - 1, *signed(rng, rng.randrange(1, 16))]
        d = [0, 1, -(2**15), 2**15 - 1, *signed(rng, width, ELEMENTS - 2)]
        c = {"multiplier": rng.randrange(2**16), "shift": rng.randrange(1, 31)}
        c["epsilon"] = rng.choice((0, 1, 2**15))
        if i % 3:
            c["shift"] = max(1, 16 + 15 - width - rng.randrange(5, 9))
        if i % 6 == 0:
            c |= {"shift": rng.choice((1, 2, 30)), "multiplier": 2**16 - 1}
        if i % 2:  # exact zeros among the denominators, quotients in the range of a code
            d = [zd - c["epsilon"] if rng.randrange(3) == 0 else q for q in d]
            d = [q if -(2**15) <= q < 2**15 else 0 for q in d]
            n = [min(max(zn + rng.randint(-200, 200), -(2**15)), 2**15 - 1) for _ in n]
            c |= {"shift": 15, "multiplier": 30_000}
        tensors.append(
            {"numerator": n, "denominator": d, "zero_n": zn, "zero_d": zd, "zero_point": zero, **c}
        )
        divisors = [q - zd + c["epsilon"] or 1 for q in d]
        ratio = c["multiplier"], c["shift"]
        expected.append(
            [clamp(zero + quotient(q - zn, v, *ratio)) for q, v in zip(n, divisors, strict=True)]
        )
        pair = torch.tensor([q - zn for q in n]), torch.tensor([q - zd for q in d])
        whole = pair[0].double(), pair[1].double() + c["epsilon"]
        codes = DIVISIONS.get("exact").quotients(*whole, Format(8, 1.0, zero), Constants(c))
        assert codes.tolist() == expected[-1]
    assert stream("divide", tensors, 13, tmp_path) == expected


def test_log2_divide(rng, tmp_path):
    tensors, expected = [], []
    for i in range(TENSORS):
        c = {"multiplier": rng.randrange(2**16), "shift": rng.randrange(1, 31)}
        c |= {"zero_point": rng.choice((0, 128, 255)), "zero_n": rng.choice((0, 128, 255))}
        c["epsilon"] = rng.choice((0, 0, 1, 2**15))
        if i % 3:
            c["shift"] = rng.randrange(5, 18)
        n, d = codes(rng), rng.sample(range(256), 256) + codes(rng, ELEMENTS - 256)
        tensors.append({**c, "numerator": n, "denominator": d})
        divisors = [max(q + c["epsilon"], 1) for q in d]
        exponents = [next(e for e in range(18) if 4 * v < 3 * 2 ** (e + 1)) for v in divisors]
        expected.append(
            [
                clamp(
                    c["zero_point"] + rounded((q - c["zero_n"]) * c["multiplier"], c["shift"] + e)
                )
                for q, e in zip(n, exponents, strict=True)
            ]
        )
        whole = torch.tensor(n).double() - c["zero_n"], torch.tensor(d).double() + c["epsilon"]
        target = Format(8, 1.0, c["zero_point"])
        found = DIVISIONS.get("log2").quotients(*whole, target, Constants(c))
        assert found.tolist() == expected[-1]
    assert stream("log2_divide", tensors, 4, tmp_path) == expected


def test_comparisons_and_tables(rng, tmp_path):
    x, zero = codes(rng, 3000), rng.randrange(256)
    low, high = sorted((rng.randrange(256), rng.randrange(256)))
    assert stream("relu", [{"x": x, "zero_point": zero}], 1, tmp_path) == [
        [max(q, zero) for q in x]
    ]
    assert stream("clip", [{"x": x, "low": low, "high": high}], 1, tmp_path) == [
        [min(max(q, low), high) for q in x]
    ]
    entries = [rng.randrange(256) for _ in range(256)]
    inputs = {
        "write": [1] * 256,
        "write_address": list(range(256)),
        "write_data": entries,
        "x": [0] * 256 + x,
    }
    assert simulate("table_lookup", inputs, tmp_path)["y"][256:] == [entries[q] for q in x]


def test_max_pool(rng, tmp_path):
    rows = [codes(rng, 9) for _ in range(300)]
    inputs = {"x": list(chain(*rows)), "first": [1, *[0] * 8] * 300}
    assert simulate("max_pool", inputs, tmp_path)["y"][8::9] == [max(row) for row in rows]


def test_mean_pool_of_rows_that_follow_one_another(rng, tmp_path):
    c = {"zero_x": 131, "zero_point": 7, "multiplier": 40_000, "shift": 19}
    rows = [[0] * 49, [255] * 49, *(codes(rng, 49) for _ in range(40))]
    x = list(chain(*rows))
    inputs = {k: [v] * (len(x) + 5) for k, v in c.items()}
    inputs |= {"x": x, "first": [1, *[0] * 48] * len(rows)}
    got = simulate("mean_pool", inputs, tmp_path)["y"][48 + 4 :: 49]
    sums = [sum(q - c["zero_x"] for q in row) for row in rows]
    assert got[: len(rows)] == [
        clamp(c["zero_point"] + rounded(s * c["multiplier"], c["shift"])) for s in sums
    ]
