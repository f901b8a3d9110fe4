"""Every operation in both float files against the NumPy executor, on random and extreme codes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from float_operation import (
    codes_apart,
    float_result,
    integer_result,
    node_model,
    random_codes,
    whole,
)

from codesign.export.onnx_float.base import EMITTERS
from codesign.export.onnx_float.operations.functions import FUNCTIONS
from codesign.integer import replay
from codesign.numerics.activation import ACTIVATIONS
from codesign.numerics.affine import affine_constants
from codesign.numerics.division import DIVISIONS
from codesign.numerics.fixed_point import Format, dyadic
from codesign.numerics.group_norm import row_constants
from codesign.numerics.layer_norm import LAYER_NORMS
from codesign.numerics.softmax import SOFTMAXES

KINDS = ("qdq", "qonnx")
EVEN, NARROW = Format(8, 0.0511393, 117), Format(4, 0.31973, 6)
FACTORS = Format(8, 0.02, 117, shifts=tuple(c % 4 for c in range(12)))
LEVELS = Format(4, 2.0**-14, codebook=(*(2**k for k in range(14, -1, -1)), 0))
TWO_SCALES = Format(
    6, 0.01, codebook=(*(q << 3 for q in range(32)), *(q - 64 for q in range(32, 64)))
)
TWELVE, WIDE = Format(12, 2e-3, 0, signed=True), Format(16, 1e-4, 0, signed=True)
SIGNED, CLIPPED = Format(8, 0.0411379, 0, signed=True), Format(5, 0.2113, 0)
SOURCES = (EVEN, NARROW, FACTORS, LEVELS, TWO_SCALES, TWELVE, WIDE, SIGNED)
TARGETS = (EVEN, NARROW, FACTORS, TWELVE, WIDE, SIGNED, CLIPPED, Format(2, 0.9, 1))
ROUNDINGS = 0.003
"""Share of codes that may differ by one: ties, and what factors too near to 1 leave out."""
WIDE_ROUNDINGS = 1 / 16
"""The same for wide results: with 16-bit multipliers one of 16 codes is easily a tie."""
ROWS, LENGTH = 9, 12


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def check(kind, op, operands, target, attributes=None, tensors=None, shape=(ROWS, LENGTH)):
    """Compare; return the share of codes that differ, by one at most."""
    apart = distance(kind, op, operands, target, attributes, tensors, shape)
    assert apart.max() <= 1
    share = float((apart > 0).mean())
    allowed = ROUNDINGS if target.bits <= 8 else WIDE_ROUNDINGS
    assert share <= allowed or apart.size * share < 3, (share, op, operands[0][1], target)
    return share


def distance(kind, op, operands, target, attributes=None, tensors=None, shape=(ROWS, LENGTH)):
    model, node, given = node_model(op, operands, target, attributes, tensors, shape)
    expected = integer_result(model, node, given)
    return codes_apart(float_result(model, node, given, kind), expected, target)


def codes(rng, fmt, shape=(ROWS, LENGTH), images=40):
    return random_codes(rng, (images, *shape), fmt)


def ratio(factor, target):
    multiplier, shift = dyadic(factor, 44 - max(target.shifts, default=0))
    return {"multiplier": multiplier, "shift": shift}


def scalar(factor, target):
    return {role: int(value[0]) for role, value in ratio(factor, target).items()}


def weights(rng, shape, peak, source, target):
    """Random weights and constants whose results spread over the target's codes."""
    weight = rng.integers(-peak, peak + 1, shape)
    spread = source.magnitude * source.scale * peak * np.sqrt(weight[0].size)
    scale = target.scale * target.magnitude / spread * rng.uniform(0.3, 3, shape[0])
    accumulator = source.scale * scale
    bias = np.round(rng.normal(0, 0.3, shape[0]) * target.scale * target.magnitude / accumulator)
    constants = ratio(accumulator / target.scale, target)
    return {"weight": weight, "bias": bias.astype(np.int64), **constants}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("peak", [7, 127, 448, 2**15])
def test_layers(rng, kind, peak):
    for source, target in zip(SOURCES, TARGETS, strict=True):
        x = codes(rng, source)
        t = weights(rng, (LENGTH, LENGTH), peak, source, target)
        check(kind, "linear", [(x, source)], target, {}, t)
    for groups, target in ((1, EVEN), (2, NARROW), (4, CLIPPED)):
        x = codes(rng, EVEN, (4, 7, 8), 6)
        t = weights(rng, (8, 4 // groups, 3, 2), peak, EVEN, target)
        a = {"stride": [2, 1], "padding": [1, 2], "dilation": [1, 2], "groups": groups}
        check(kind, "conv2d", [(x, EVEN)], target, a, t, (8, 4, 10))


@pytest.mark.parametrize("kind", KINDS)
def test_a_channel_whose_multiplier_is_zero(rng, kind):
    t = weights(rng, (LENGTH, LENGTH), 7, EVEN, NARROW)
    t["multiplier"][3] = 0
    t["bias"][3] = 2**29
    check(kind, "linear", [(codes(rng, EVEN), EVEN)], NARROW, {}, t)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", TARGETS)
def test_rescaling_sums_and_products(rng, kind, target):
    for source in SOURCES:
        x, y = codes(rng, source), codes(rng, EVEN)
        reach = target.magnitude * target.scale
        factor = 1.3 * reach / source.magnitude / target.scale
        check(kind, "requantize", [(x, source)], target, scalar(factor, target))
        second = 0.8 * reach / EVEN.magnitude / target.scale
        m, shift = (v.tolist() for v in dyadic(max(factor, second), 40))
        both = [round(factor * 2 ** shift[0]), round(second * 2 ** shift[0])]
        pair = [(x, source), (y, EVEN)]
        assert max(both) == m[0]
        check(kind, "add", pair, target, {"multipliers": both, "shift": shift[0]})
        product = factor / EVEN.magnitude
        check(kind, "mul", pair, target, scalar(product, target))
        product /= np.sqrt(LENGTH)
        pair = [(x, source), (codes(rng, EVEN, (LENGTH, 5)), EVEN)]
        if not target.shifts:
            check(kind, "matmul", pair, target, scalar(product, target), {}, (ROWS, 5))


@pytest.mark.parametrize("kind", KINDS)
def test_affine(rng, kind):
    for source, target in zip(SOURCES, (*TARGETS[:2], EVEN, *TARGETS[3:]), strict=True):
        reach = target.magnitude * target.scale
        gain = rng.uniform(-2, 2, LENGTH) * reach / source.magnitude / source.scale
        c = affine_constants(gain, rng.normal(0, reach / 3, LENGTH), source, target)
        t = {"multiplier": c.multiplier, "offset": c.offset, "shift": c.shift}
        check(kind, "affine", [(codes(rng, source), source)], target, {"axis": -1}, t)
    t = {role: v[:1] for role, v in t.items()}
    check(kind, "affine", [(codes(rng, source), source)], target, {"axis": -1}, t)


@pytest.mark.parametrize("kind", KINDS)
def test_ties_are_where_the_files_part(kind):
    """x / 2 in whole codes: QDQ goes to even codes, the integer model and QONNX go up."""
    source, target = Format(8, 1.0, 0), Format(8, 2.0, 0)
    x = np.arange(256).reshape(1, 256)
    apart = distance(
        kind, "requantize", [(x, source)], target, {"multiplier": 1, "shift": 1}, {}, (256,)
    )
    expected = [q % 4 == 1 for q in range(256)] if kind == "qdq" else [False] * 256
    assert (apart[0] == 1).tolist() == expected


def function_codes(fmt):
    """Every code, in rows."""
    count = fmt.high - fmt.low + 1
    return np.arange(fmt.low, fmt.high + 1).reshape(1, count), (count,)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", [*ACTIVATIONS.names(), "clamp(-1,2)", "leaky_relu(0.2)", "elu(0.5)"]
)
def test_activation_functions_on_every_code(kind, name):
    function = ACTIVATIONS.get(name)
    approximate = name in ("shift_swish", "shift_gelu")
    for source in (EVEN, NARROW, Format(8, 0.0213719, 40)):
        x, shape = function_codes(source)
        target = Format(8, 0.0201377, 20)
        c = function.constants(source, target)
        tensors = {}
        if function.operation == "lookup":
            tensors["table"] = function.table(source, target).numpy()
            c = {"function": name}
        operands = [(x, source)]
        apart = distance(kind, function.operation, operands, target, c, tensors, shape)
        # the shifts' approximation is not copied: up to 0.11 in real units on these ranges
        assert apart.max() <= (6 if approximate else 1)
        assert approximate or (apart > 0).sum() <= 2, name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*FUNCTIONS, "log", "rsqrt", "reciprocal", "power(2)", "unknown"])
def test_tables_with_and_without_an_operator(rng, kind, name):
    source, target = Format(8, 0.0317119, 100), Format(8, 0.0201377, 60)
    x, shape = function_codes(source)
    if name == "unknown":
        a, table = {}, rng.integers(0, 256, 256)
    else:
        full = name + "(-1,1)" * (name == "clamp")
        a, table = {"function": full}, ACTIVATIONS.get(full).table(source, target).numpy()
    apart = distance(kind, "lookup", [(x, source)], target, a, {"table": table}, shape)
    assert apart.max() <= 1
    assert (apart > 0).sum() <= (2 if name in FUNCTIONS else 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", [EVEN, NARROW, FACTORS, LEVELS, TWO_SCALES, SIGNED])
def test_tables_of_any_codes_are_exact(rng, kind, source):
    """Codebooks that repeat a value have the same table entry for both codes, as functions do."""
    for target in (EVEN, TWO_SCALES, WIDE, FACTORS):
        count = source.high - source.low + 1
        table = rng.integers(target.low, target.high + 1, count)
        x = codes(rng, source)
        if source.codebook:
            values = np.array(source.codebook)
            table = table[[int(np.argmax(values == v)) for v in values]]
        apart = distance(kind, "lookup", [(x, source)], target, {}, {"table": table})
        assert apart.max() == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("name", SOFTMAXES.names())
@pytest.mark.parametrize("scale", [0.02, 0.3])
def test_softmax(rng, kind, bits, name, scale):
    source = Format(8, scale, 130)
    softmax = SOFTMAXES.get(name)
    target = softmax.format(bits, torch.logspace(-5, 0, 999))
    c = softmax.constants(source, target)
    t = {role: value.numpy() for role, value in c.tensors.items()}
    x = codes(rng, source)
    apart = distance(kind, softmax.operation, [(x, source)], target, dict(c.attributes), t)
    if name == "log_int":  # codes are octaves; the polynomial in few codes is not copied
        assert apart.max() <= 2
        assert (apart > 0).mean() < 0.2
    elif name == "shiftmax":  # exponentials of straight lines are not copied: up to 6 percent
        assert (apart * target.scale).max() <= 0.06 + target.scale
    else:
        assert apart.max() <= 1
        # alternating rows have sixths, of which 255 makes ties; ONNX Runtime fuses a softmax
        assert (apart > 0).mean() < (0.1 if name == "table" and kind == "qdq" else 0.02)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LAYER_NORMS.names())
def test_layer_norm(rng, kind, name):
    for source, target in ((EVEN, EVEN), (FACTORS, NARROW), (SIGNED, FACTORS), (FACTORS, SIGNED)):
        norm = LAYER_NORMS.get(name)
        gamma, beta = rng.normal(0, 1.5, LENGTH), rng.normal(0, 1, LENGTH)
        gamma[5] = 0.0
        factors = np.exp2(np.array(target.shifts)) if target.shifts else 1.0
        c = norm.constants(gamma / factors, beta / factors, 1e-5, source, target)
        t = {role: value.numpy() for role, value in c.tensors.items()}
        x = np.clip(np.round(rng.normal(source.zero_point, 40, (40, ROWS, LENGTH))), -128, 255)
        x = np.clip(x, source.low, source.high).astype(np.int64)
        apart = distance(kind, norm.operation, [(x, source)], target, dict(c.attributes), t)
        if name == "fq_vit":  # the factor of each token has 8 bits: 2**-7 of gamma * x / std
            normal = np.abs(whole(x, source)) / np.std(whole(x, source), axis=-1, keepdims=True)
            bound = 2.0**-7 * np.abs(gamma) * normal / target.scale / factors
            assert (apart <= bound + 1).all()
        else:
            assert apart.max() <= 1
            assert (apart > 0).mean() < 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_norms_of_groups_and_of_rows(rng, kind):
    for source, groups in ((EVEN, 1), (NARROW, 3), (EVEN, 6)):
        x = codes(rng, source, (6, 5, 5))
        gamma, beta = rng.uniform(-1.5, 1.5, 6), rng.uniform(-1, 1, 6)
        c = row_constants(150 // groups, gamma, beta, 1e-5, source, EVEN)
        a = {"epsilon": c.epsilon, "row_shift": c.row_shift, "shift": c.shift, "groups": groups}
        t = {"scale": c.scale, "offset": c.offset}
        apart = distance(kind, "group_norm", [(x, source)], EVEN, a, t, (6, 5, 5))
        assert apart.max() <= 1
        assert (apart > 0).mean() < 0.02
    for length, single in ((LENGTH, False), (5000, True)):
        x = codes(rng, EVEN, (3, length))
        gamma = rng.uniform(0.5, 1.5, 1 if single else length)
        c = row_constants(length, gamma, np.zeros_like(gamma), 1e-5, EVEN, EVEN)
        a = {"epsilon": c.epsilon, "row_shift": c.row_shift, "shift": c.shift}
        t = {"scale": c.scale, "offset": c.offset}
        apart = distance(kind, "rms_norm", [(x, EVEN)], EVEN, a, t, (3, length))
        assert apart.max() <= 1
        assert (apart > 0).mean() < 0.02


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", DIVISIONS.names())
def test_division(rng, kind, name):
    division = DIVISIONS.get(name)
    for below in (Format(8, 0.02), Format(8, 0.3)) if name == "log2" else (WIDE, EVEN, SIGNED):
        for above, target in ((WIDE, EVEN), (EVEN, NARROW), (SIGNED, WIDE)):
            c = division.constants(1e-3, above, below, target)
            pair = [(codes(rng, above), above), (codes(rng, below, (ROWS, 1)), below)]
            check(kind, division.operation, pair, target, dict(c.attributes))


@pytest.mark.parametrize("kind", KINDS)
def test_pools_and_reductions(rng, kind):
    geometries = (([3, 2], [2, 1], [[1, 1], [0, 1]]), ([2, 2], [2, 2], [[2, 0], [0, 3]]))
    for source, target in ((EVEN, SIGNED), (NARROW, WIDE), (SIGNED, CLIPPED)):
        x = codes(rng, source, (3, 8, 9), 6)
        for kernel, stride, pads in geometries:
            a = {"kernel": kernel, "stride": stride, "dilation": [1, 1], "pads": pads}
            size = [
                (n + sum(p) - k) // s + 1
                for n, p, k, s in zip((8, 9), pads, kernel, stride, strict=True)
            ]
            factor = source.scale / target.scale * np.ones((1, 1))
            t = ratio(factor, target)
            check(kind, "max_pool2d", [(x, source)], target, a, t, (3, *size))
            for counts in (np.full((1, 1), 6), rng.integers(1, 7, size)):
                t = ratio(factor / counts, target)
                check(kind, "avg_pool2d", [(x, source)], target, a, t, (3, *size))
        for op, count in (("max", 1), ("mean", 72), ("mean", 1)):
            for keep, shape in ((True, (3, 1, 1)), (False, (3,))):
                constants = scalar(source.scale / target.scale / count, target)
                a = {"dims": [2, 3], "keep": keep, **constants}
                check(kind, op, [(x, source)], target, a, {}, shape)


MOVES = {
    "reshape": ({}, (LENGTH, ROWS)),
    "permute": ({"order": [0, 2, 1]}, (LENGTH, ROWS)),
    "slice": ({"dim": 1, "start": 2, "stop": 9, "step": 3}, (3, LENGTH)),
    "select": ({"dim": 1, "index": 4}, (LENGTH,)),
    "gather": ({"dim": 1, "indices": [3, 3, 0, 8]}, (4, LENGTH)),
    "pad": ({"pads": [[0, 0], [1, 2], [0, 0]]}, (ROWS + 3, LENGTH)),
    "concat": ({"dim": 1}, (2 * ROWS, LENGTH)),
    "constant": ({}, (ROWS, LENGTH)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("op", MOVES)
def test_moves_are_exact(rng, kind, op):
    a, shape = MOVES[op]
    for fmt in SOURCES:
        if fmt.shifts and op in ("reshape", "permute"):  # the channels' axis would move along
            fmt = Format(8, fmt.scale, fmt.zero_point)
        x = codes(rng, fmt)
        operands = [(x, fmt)] * (2 if op == "concat" else 1)
        value = fmt.codebook.index(0) if fmt.codebook else fmt.zero_point
        a = {**a, "value": value} if op == "pad" else a
        tensors = {"value": x} if op == "constant" else {}
        assert distance(kind, op, operands, fmt, a, tensors, shape).max() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_expand_takes_the_batch_from_the_images(rng, kind):
    for fmt in (EVEN, FACTORS, LEVELS):
        x = codes(rng, fmt)[:, :1]
        assert distance(kind, "expand", [(x, fmt)], fmt, {}, {}, (ROWS, LENGTH)).max() == 0


def test_nothing_is_left_out():
    registries = (SOFTMAXES, LAYER_NORMS, DIVISIONS, ACTIVATIONS)
    kinds = {r.get(name).operation for r in registries for name in r.names()}
    text = Path(__file__).read_text()
    named = {op for op in replay.OPERATIONS if f'kind, "{op}"' in text or f'("{op}", ' in text}
    assert set(EMITTERS) == {"input", *replay.OPERATIONS}
    assert set(replay.OPERATIONS) == kinds | named | set(MOVES) | {"expand"}
