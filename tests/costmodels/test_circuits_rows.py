"""The row circuits of the vector unit, simulated, against the integer specification."""

import math
import random

import pytest
import torch
from circuits import simulate

from codesign.numerics.constants import Constants
from codesign.numerics.fixed_point import Format
from codesign.numerics.group_norm import normal_rows
from codesign.numerics.layer_norm import LAYER_NORMS
from codesign.numerics.softmax import SOFTMAXES
from costmodels.vector_unit import FUNCTIONS

EIGHT_BIT_PAUSE = [10, 10, 10, 1, 2, 3, 4, *[5] * 48, *[6] * 5, 7, *[8] * 32]
"""Steps of `layer_norm_8bit` between the passes over a row."""


def clamp(value):
    return min(max(value, 0), 255)


@pytest.fixture
def rng(request):
    return random.Random(request.node.name)


def codes(rng, count):
    """Return a row of codes: of a random range, or all equal, or one alone, or the extremes."""
    low, high = sorted((rng.randrange(256), rng.randrange(256)))
    kind = rng.randrange(8)
    if kind == 0:
        return [low] * count
    if kind == 1:
        return [high if i == count // 2 else low for i in range(count)]
    if kind == 2:
        return [255 * (i % 2) for i in range(count)]
    return [rng.randint(low, high) for _ in range(count)]


def run_rows(module, clocks, constants, latency, folder, output="y"):
    """Run a script of clocks and return the outputs of those that name a "row".

    Args:
        module: Module of the vector unit.
        clocks: For each clock the ports that change; "row" is taken off and kept.
        constants: Ports that hold.
        latency: Clock edges from an element to its result.
        folder: Scratch folder.
        output: Port that is read.
    """
    clocks = [dict(clock) for clock in clocks] + [{}] * latency
    rows = [clock.pop("row", None) for clock in clocks]
    names = {name for clock in clocks for name in clock}
    inputs = {name: [clock.get(name, 0) for clock in clocks] for name in names}
    inputs |= {name: [value] * len(clocks) for name, value in constants.items()}
    got = simulate(module, inputs, folder)[output]
    results = {}
    for t, row in enumerate(rows):
        if row is not None:
            results.setdefault(row, []).append(got[t + latency - 1])
    return [results[row] for row in sorted(results)]


def passes(row, numbers, index, last):
    """Return the clocks of passes over a row; the elements of the last one name the row."""
    return [
        {"pass": p, "first": int(i == 0), "x": q} | ({"row": index} if p == last else {})
        for p in numbers
        for i, q in enumerate(row)
    ]


def writes(table):
    return [
        {"write": 1, "write_address": i, "write_data": v, "pass": 3} for i, v in enumerate(table)
    ]


@pytest.mark.parametrize("scale", [0.002, 0.05, 0.3])
def test_softmax_of_rows_without_a_pause(scale, rng, tmp_path):
    table = [math.floor((2**15 - 1) * math.exp(-scale * d) + 0.5) for d in range(256)]
    rows = [codes(rng, rng.choice((1, 2, 7, 49, 197))) for _ in range(40)]
    assert FUNCTIONS["softmax"].row_cycles == 0 and FUNCTIONS["softmax"].passes == 3
    clocks = writes(table)
    for index, row in enumerate(rows):
        clocks += passes(row, (0, 1, 2), index, 2)
    expected = []
    for row in rows:
        e = [table[max(row) - q] for q in row]
        expected.append([(2 * 255 * v + sum(e)) // (2 * sum(e)) for v in e])
    assert run_rows("softmax", clocks, {}, 11, tmp_path) == expected


def delayed(clocks, name, by):
    """Move a stream's values to later clocks."""
    values = [clock.pop(name, 0) for clock in clocks]
    for clock, value in zip(clocks[by:], values, strict=False):
        clock[name] = value


def norm_rows(rows, pause, constants, last):
    """Return the clocks of two passes over each row, `constants` one dict for each channel."""
    clocks = []
    for index, row in enumerate(rows):
        shifts = [{k: v for k, v in c.items() if k == "channel_shift"} for c in constants]
        clocks += [
            {"step": 0, "first": int(i == 0), "code": q, **shift}
            for i, (q, shift) in enumerate(zip(row, shifts, strict=True))
        ]
        clocks += [{"step": step} for step in pause]
        clocks += [
            {"step": last, "code": q, **channel, "row": index}
            for q, channel in zip(row, constants, strict=True)
        ]
    return clocks + [{"step": last + 1} for _ in range(6)]


def centred(row, zero_x, constants):
    return [
        (q - zero_x) << channel.get("channel_shift", 0)
        for q, channel in zip(row, constants, strict=True)
    ]


def variance(x, epsilon):
    return len(x) * sum(v * v for v in x) - sum(x) ** 2 + epsilon


NORMS = [
    *(("layer_norm", 26, count) for count in (2, 3, 16, 197, 4096)),
    *(("layer_norm_ptf", 29, count) for count in (2, 3, 16, 197, 4096)),
    *(("rms_norm", 26, count) for count in (2, 16, 2055, 2056, 4096)),
    *(("group_norm", 26, count) for count in (2, 3, 16, 2056, 20_000)),
]


@pytest.mark.parametrize(("module", "digits", "count"), NORMS)
def test_norm(module, digits, count, rng, tmp_path):
    """The shift t of long rows is that of codesign/numerics/group_norm.py."""
    epsilon = rng.choice((1, 2**38, min(count**2, 2**38)))
    zero_x = rng.choice((0, 131, 255))
    t = max(0, (count * 255).bit_length() - 19) if module in ("rms_norm", "group_norm") else 0
    rows = [codes(rng, count) for _ in range(2 if count > 1000 else 8)]
    top = min(2**15 - 1, 2**30 // (math.ceil(1.02 * (math.sqrt(count) + 1)) * 2**10 + 1))
    channels = [
        {
            "gain": rng.randint(-top, top) if i % 2 else rng.randint(-999, 999),
            "offset": rng.randint(-(2**21), 2**21),
            **({"channel_shift": rng.randrange(4)} if module == "layer_norm_ptf" else {}),
        }
        for i in range(count)
    ]
    pause = [9, 9, 1, 2, 3, 4, *[5] * digits, 6, *[7] * 35]
    assert len(pause) == FUNCTIONS[module].row_cycles
    expected = []
    for row in rows:
        x = centred(row, zero_x, channels)
        total = 0 if module == "rms_norm" else sum(x)
        spread = (count * sum(v * v for v in x) - total**2 >> 2 * t) + epsilon
        inverse = 2**40 // math.isqrt(spread << 12)
        normal = [((count * v - total >> t) * inverse + 2**23) >> 24 for v in x]
        scaled = [n * c["gain"] + c["offset"] for n, c in zip(normal, channels, strict=True)]
        assert all(abs(v) < 2**31 for v in scaled)
        expected.append([clamp(120 + ((v + 2**13) >> 14)) for v in scaled])
        if module in ("rms_norm", "group_norm"):
            found = normal_rows(torch.tensor(x), epsilon, t, centre=module == "group_norm")
            assert found.tolist() == normal
    if module == "layer_norm":
        tensors = {"scale": "gain", "offset": "offset"}
        tensors = {k: torch.tensor([c[v] for c in channels]) for k, v in tensors.items()}
        kind, attributes = LAYER_NORMS.get("reciprocal"), {"epsilon": epsilon, "shift": 14}
        formats = Format(8, 1.0, zero_x), Format(8, 1.0, 120)
        found = kind.integer(torch.tensor(rows), *formats, Constants(attributes, tensors))
        assert found.tolist() == expected
    clocks = norm_rows(rows, pause, channels, 8)
    delayed(clocks, "gain", 6)
    delayed(clocks, "offset", 6)
    c = {"zero_x": zero_x, "zero_point": 120, "shift": 14, "count": count, "epsilon": epsilon}
    c |= {"row_shift": t} if module in ("rms_norm", "group_norm") else {}
    assert run_rows(module, clocks, c, 9, tmp_path) == expected


def eight_bit_factor(v, c):
    """Return (N, sign * a) of a channel in a row of variance v, as numerics/README.md has it."""
    half = (62 - v.bit_length()) // 2
    rho = 2**61 // math.isqrt(v << 2 * half) + 1
    g, h = c["mantissa"], c["exponent"]
    if g == 0:
        return 0, 0
    p = g * rho
    n = min(max(69 + h - half - p.bit_length(), 0), 31)
    a = min(p >> min(max(45 + h - half - n, 0), 62), 2**24 - 1)
    return n, -a if c["negative"] else a


def eight_bit_norm(x, channels, zero_point, epsilon):
    v = variance(x, epsilon)
    result = []
    for value, c in zip(x, channels, strict=True):
        n, a = eight_bit_factor(v, c)
        m = -(-a >> 16) if a < 0 else a >> 16
        bias = ((c["offset"] << n) - a * sum(x) // len(x) + 2**15) >> 16
        y = (m * value + bias + ((1 << n) >> 1)) >> n
        result.append(clamp(y + zero_point))
    return result


def test_layer_norm_8bit_at_the_edges_of_rounding(rng, tmp_path):
    """Offsets that put B, or the result of a vanishing factor, next to a rounding threshold."""
    clocks, expected = [], []
    for index in range(60):
        x = [0, 0, 0, 0, 0, rng.randint(-9, 9), rng.randint(-99, 99)]
        epsilon, channels = rng.choice((7, 2**38)), []
        v = variance(x, epsilon)
        for i in range(len(x)):
            c = {"mantissa": rng.randrange(2**15, 2**16), "negative": rng.randrange(2)}
            c["exponent"] = next(
                h for h in range(40, -41, -1) if eight_bit_factor(v, {**c, "exponent": h})[0] == 0
            )
            mean = eight_bit_factor(v, c)[1] * sum(x) // len(x)
            c["offset"] = mean + 2**15 + (rng.randint(-70, 70) << 16) - rng.randrange(2)
            if i == len(x) - 1:
                c |= {"exponent": rng.randint(34, 40), "offset": (rng.randint(0, 70) << 16) | 2**15}
            channels.append({**c, "channel_shift": 0})
        part = norm_rows([[q + 100 for q in x]], EIGHT_BIT_PAUSE, channels, 9)
        clocks += [{**clock, "row": index} if "row" in clock else clock for clock in part]
        expected.append(eight_bit_norm(x, channels, 77, epsilon))
        for clock in clocks[-len(part) :]:
            clock |= {"count": len(x), "epsilon": epsilon}
    delayed(clocks, "offset", 3)
    c = {"zero_x": 100, "zero_point": 77}
    assert run_rows("layer_norm_8bit", clocks, c, 8, tmp_path) == expected


@pytest.mark.parametrize("count", [1, 2, 3, 16, 197, 768, 4096])
def test_layer_norm_8bit(count, rng, tmp_path):
    epsilon = rng.choice((1, 2**38, count**2))
    zero_x = rng.choice((0, 131, 255))
    rows = [codes(rng, count) for _ in range(2 if count > 1000 else 10)]
    middle = math.ceil(math.log2(count)) - 8
    channels = [
        {
            "mantissa": rng.randrange(2**15, 2**16) if rng.randrange(20) else 0,
            "exponent": rng.randint(-40, 40) if i % 9 == 8 else rng.randint(2, 9) - middle,
            "negative": rng.randrange(2),
            "offset": rng.randrange(-(2**31), 2**31) >> (0 if i % 9 == 7 else 9),
            "channel_shift": rng.randrange(4),
        }
        for i in range(count)
    ]
    assert len(EIGHT_BIT_PAUSE) == FUNCTIONS["layer_norm_8bit"].row_cycles
    clocks = norm_rows(rows, EIGHT_BIT_PAUSE, channels, 9)
    delayed(clocks, "offset", 3)
    expected = [
        eight_bit_norm(centred(row, zero_x, channels), channels, 77, epsilon) for row in rows
    ]
    c = {"zero_x": zero_x, "zero_point": 77, "count": count, "epsilon": epsilon}
    kind, tensors = LAYER_NORMS.get("fq_vit"), {}
    for role in ("mantissa", "exponent", "offset"):
        tensors[role] = torch.tensor([channel[role] for channel in channels])
    tensors["mantissa"] *= 1 - 2 * torch.tensor([channel["negative"] for channel in channels])
    shifts = tuple(channel["channel_shift"] for channel in channels)
    formats = Format(8, 1.0, zero_x, shifts=shifts, axis=-1), Format(8, 1.0, 77)
    found = kind.integer(torch.tensor(rows), *formats, Constants({"epsilon": epsilon}, tensors))
    assert found.tolist() == expected
    assert run_rows("layer_norm_8bit", clocks, c, 8, tmp_path) == expected


def spread(scale):
    """Return (left shift of a distance, scale behind it)."""
    shift = 0
    while scale > 0.125:
        shift, scale = shift + 1, scale / 2
    return shift, max(scale, 2.0**-14)


def shipped(name, scale, rows, expected):
    """Check that the integer model computes these codes too, constants included."""
    kind, source = SOFTMAXES.get(name), Format(8, scale)
    target = kind.format(8, torch.ones(1))
    c = kind.constants(source, target)
    for row, codes in zip(rows, expected, strict=True):
        assert kind.integer(torch.tensor(row), source, target, c).tolist() == codes


SCALES = [2.0**-15, 0.0019, 0.0135, 0.0435, 0.0627, 0.125, 0.3, 2.7, 16.0]


@pytest.mark.parametrize("scale", SCALES)
def test_log_int_softmax(scale, rng, tmp_path):
    """The ratio by a division, its logarithm by its bits: the circuit only compares."""
    shift, fine = spread(scale)
    unit = math.ceil(0.6931 / fine)
    limit = min(16, math.ceil((255 << shift) / unit))
    linear = math.floor(0.96963238 / 0.35815147 / fine)
    constant = math.floor(1 / 0.35815147 / fine**2)

    def exponential(distance):
        i = min(distance << shift, limit * unit)
        q, r = divmod(i, unit)
        return (r * (r - linear) + constant) << (limit - q)

    def code(e, total):
        ratio = (2 * total + e) // (2 * e)
        k = ratio.bit_length() - 1
        k += ratio >= 1.5 * 2**k
        return k if k <= 14 else 255

    rows = [codes(rng, rng.choice((1, 2, 7, 49, 200))) for _ in range(12)] + [[0] * 3000]
    clocks, expected = [], []
    for index, row in enumerate(rows):
        clocks += passes(row, (0, 1, 2), index, 2)
        e = [exponential(max(row) - q) for q in row]
        expected.append([code(v, sum(e)) for v in e])
    shipped("log_int", scale, rows, expected)
    c = {"distance_shift": shift, "ceiling": limit * unit, "unit": unit, "linear": linear}
    c |= {"constant": constant, "limit": limit, "zero_code": 255}
    assert run_rows("log_int_softmax", clocks, c, 15, tmp_path) == expected


def test_log_int_softmax_of_the_longest_row_of_the_finest_scale(tmp_path):
    """The sum of 65,536 of the largest exponentials: every code stands for zero."""
    target = Format(8, 1.0, codebook=(1,) * 256)
    c = SOFTMAXES.get("log_int").constants(Format(8, 2.0**-14), target).attributes
    names = {name: c[name] for name in ("distance_shift", "unit", "linear", "constant", "limit")}
    clocks = [{"pass": 0, "first": 1, "x": 0}]
    clocks += [{"pass": 1, "first": int(i == 0), "x": 0} for i in range(2**16)]
    clocks += [{"pass": 2, "first": int(i == 0), "x": 0, "row": 0} for i in range(20)]
    names |= {"ceiling": c["limit"] * c["unit"], "zero_code": 255}
    assert run_rows("log_int_softmax", clocks, names, 15, tmp_path) == [[255] * 20]


@pytest.mark.parametrize("scale", SCALES)
def test_shiftmax(scale, rng, tmp_path):
    shift, fine = spread(scale)
    unit = round(1 / fine)
    n = min(15, 24 - unit.bit_length())

    def exponential(distance):
        v = -(distance << shift)
        power = min(-v - (v >> 1) + (v >> 4), n * unit)
        q, r = divmod(power, unit)
        return ((2 * unit - r) << (n - 1)) >> q

    rows = [codes(rng, rng.choice((1, 2, 7, 49, 200))) for _ in range(12)] + [[0] * 3000]
    clocks, expected = [], []
    pause = [{}] * 9 + [{"load": 1}] + [{"run": 1}] * 5
    assert len(pause) == FUNCTIONS["shiftmax"].row_cycles
    for index, row in enumerate(rows):
        clocks += passes(row, (0, 1), index, 2)
        clocks += [{"pass": 3, **clock} for clock in pause]
        last = passes(row, (2,), index, 2)
        clocks += [{**clock, "run": int(i < 9)} for i, clock in enumerate(last)]
        clocks += [{"pass": 3, "run": 1} for _ in range(9 - len(row))]
        e = [exponential(max(row) - q) for q in row]
        expected.append([(2**31 // sum(e) * v) >> 24 for v in e])
    shipped("shiftmax", scale, rows, expected)
    c = {"distance_shift": shift, "ceiling": min(n * unit, 511), "unit": unit, "drop": 15 - n}
    assert run_rows("shiftmax", clocks, c, 11, tmp_path) == expected


@pytest.mark.parametrize(
    ("module", "levels"),
    [("codebook_softmax", 16), ("codebook_softmax", 9), ("codebook_softmax_wide", 256)],
)
def test_codebook_softmax(module, levels, rng, tmp_path):
    table = [math.floor((2**15 - 1) * math.exp(-0.05 * d) + 0.5) for d in range(256)]
    thresholds = sorted(rng.choices(range(1, 2000), k=levels - 3))
    thresholds += [30_000, 32_768]
    symbols = rng.sample(range(levels), levels)
    whole = 16 if levels <= 16 else 256
    clocks = [{**clock, "address_space": 0} for clock in writes(table)]
    for space, values in ((1, thresholds + [65_535] * (whole - levels)), (2, symbols)):
        clocks += [{**clock, "address_space": space} for clock in writes(values)]
    rows = [codes(rng, rng.choice((1, 2, 7, 49, 197))) for _ in range(40)]
    expected = []
    for index, row in enumerate(rows):
        clocks += passes(row, (0, 1, 2), index, 2)
        e = [table[max(row) - q] for q in row]
        wide = [((v << 16) + sum(e)) // (2 * sum(e)) for v in e]
        expected.append([symbols[sum(t <= p for t in thresholds)] for p in wide])
    latency = 2 + 1 + 16 + (4 if whole == 16 else 8) + 1
    assert run_rows(module, clocks, {}, latency, tmp_path) == expected
