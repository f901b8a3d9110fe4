"""Random small networks: every executor gives the same integers in every node.

    CODESIGN_FUZZ=2000 pytest -s tests/fuzz/test_fuzz.py

takes 2000 calibrated networks and twice as many extreme graphs in place of the fixed budget, and
prints what was met. A failure says which seed, node and index, and how to run that seed alone.
"""

import os
from collections import Counter
from functools import lru_cache

import numpy as np
import pytest
from drawn_codes import drawn_codes, searched, uniform
from executors import EXECUTORS, REFERENCE, differing, first_difference
from extreme_graphs import BUILDERS, extreme_graph
from random_designs import calibrated
from random_modules import ON_MAPS, ON_TOKENS
from roundings import copy_of_replay, count_roundings

from codesign.errors import RunError, UserError
from codesign.graph.ir import resolve
from codesign.integer import replay
from codesign.numerics.division import DIVISIONS
from codesign.numerics.layer_norm import LAYER_NORMS
from codesign.numerics.softmax import SOFTMAXES
from codesign.numerics.weights import SCHEMES
from codesign.quantize.methods import METHODS

BUDGET = 36
NETWORKS = int(os.environ.get("CODESIGN_FUZZ", BUDGET))
DRAWN = {"calibrated": lru_cache(maxsize=BUDGET)(calibrated), "extreme": extreme_graph}
MET: Counter[str] = Counter()


@pytest.fixture(scope="module", autouse=True)
def summary():
    """Print what was met, for those who ask with -s."""
    yield
    print("\n" + ", ".join(f"{count} {name}" for name, count in sorted(MET.items())))


def disagreements(model, codes, folder):
    """Return executor to its first difference from the reference, or why it does not run."""
    values, found = {}, {}
    for name, make in EXECUTORS.items():
        own = folder / name
        own.mkdir()
        try:
            values[name] = make(model, own)(codes)
        except (UserError, RunError) as error:
            found[name] = str(error)
    expected = values.pop(REFERENCE)
    assert list(expected) == [node.name for node in model.nodes]
    for node in model.nodes:
        codes_of = expected[node.name]
        assert node.format.low <= codes_of.min() <= codes_of.max() <= node.format.high, node.name
        assert list(codes_of.shape) == resolve(node.shape, len(codes)), node.name
    MET["integers compared with each executor"] += sum(v.size for v in expected.values())
    found |= {name: first_difference(expected, got) for name, got in values.items()}
    return {name: text for name, text in found.items() if text}


def check(kind, model, seed, folder):
    codes = drawn_codes(model, np.random.default_rng(seed))
    MET.update(count_roundings(model, codes).totals())
    MET.update({"networks": 1, "inputs": len(codes)})
    for name, text in disagreements(model, codes, folder).items():
        pytest.fail(
            f"{kind} network of seed {seed}: {name} is not {REFERENCE}: {text}.\n"
            f"Alone: CODESIGN_FUZZ={seed + 1} pytest 'tests/fuzz/test_fuzz.py"
            f"::test_{kind}_networks[{seed}]'"
        )


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_calibrated_networks(seed, tmp_path):
    check("calibrated", DRAWN["calibrated"](seed).model, seed, tmp_path)


@pytest.mark.parametrize("seed", range(2 * NETWORKS))
def test_extreme_networks(seed, tmp_path):
    check("extreme", extreme_graph(seed), seed, tmp_path)


def test_the_budget_meets_every_kind_there_is():
    drawn = [DRAWN["calibrated"](seed) for seed in range(BUDGET)]
    nodes = [node for d in drawn for node in d.model.nodes]
    layers = [layer for d in drawn for _, layer in d.design.layers]
    assert {node.op for node in nodes} == {"input", *replay.OPERATIONS}
    assert {layer.weight_scheme for layer in layers} == set(SCHEMES.names())
    assert {layer.weight_bits for layer in layers} == set(range(2, 9))
    assert {layer.activation_bits for layer in layers} == set(range(2, 9))
    assert any(layer.weight_scheme == "log2std" and layer.weight_option for layer in layers)
    assert any(node.format.shifts for node in nodes)
    assert any(node.format.codebook for node in nodes)
    kinds = {"softmax": SOFTMAXES, "layer_norm": LAYER_NORMS, "division": DIVISIONS}
    for key, registry in kinds.items():
        assert {getattr(d.recipe, key) for d in drawn} == set(registry.names())
    methods = {METHODS.get(name) for name in METHODS.names()}
    assert methods <= {d.recipe for d in drawn}
    assert len(ON_MAPS) <= BUDGET
    assert len(ON_TOKENS) <= BUDGET


def test_the_extreme_graphs_meet_every_operation_and_every_end():
    models = [extreme_graph(seed) for seed in range(2 * BUDGET)]
    nodes = [(model, node) for model in models for node in model.nodes]
    assert {node.op for _, node in nodes} == {"input", *replay.OPERATIONS} == {"input", *BUILDERS}
    met = {role: set() for role in ("multiplier", "shift", "bias", "offset")}
    for model, node in nodes:
        for role, key in node.tensors.items():
            met.setdefault(role, set()).update(np.ravel(model.tensors[key]).tolist())
        for role in ("multiplier", "shift"):
            met[role].add(node.attributes.get(role))
    assert {0, 1, 2**16 - 1} <= met["multiplier"]
    assert {1, 44} <= met["shift"]
    assert {-(2**29), 2**29} <= met["bias"]
    formats = [node.format for _, node in nodes]
    assert {f.bits for f in formats} >= {2, 3, 4, 5, 6, 7, 8, 12, 16}
    assert {(f.bits, f.zero_point) for f in formats} >= {(8, 0), (8, 255), (2, 0), (2, 3)}


@pytest.mark.parametrize("kind", ["calibrated", "extreme"])
def test_ties_and_both_ends_are_met(kind):
    """Often enough with any codes, and the search finds images with more of them."""
    plain, found = Counter(), Counter()
    for seed in range(8):
        model = extreme_graph(seed) if kind == "extreme" else DRAWN[kind](seed).model
        rng = np.random.default_rng(seed)
        for most, draw in ((plain, uniform), (found, searched)):
            for what, each in vars(count_roundings(model, draw(model, rng, 12))).items():
                most[what] += int(each.max())
    for what in ("ties", "low", "high"):
        assert plain[what] > 100, what
        assert found[what] >= plain[what], what
    assert found["ties"] > plain["ties"]


def half_to_even(product, shift):
    floor, rest = product >> shift, product & ((np.int64(1) << shift) - 1)
    half = np.int64(1) << (shift - 1)
    return floor + ((rest > half) | ((rest == half) & (floor % 2 == 1)))


def towards_zero(product, shift):
    shifted = product + (np.int64(1) << (shift - 1))
    return np.sign(shifted) * (np.abs(shifted) >> shift)


FAULTS = {
    "half to even": (half_to_even, np.clip),
    "half down": (lambda p, s: (p + (np.int64(1) << (s - 1)) - 1) >> s, np.clip),
    "shift towards zero": (towards_zero, np.clip),
    "no rounding": (lambda p, s: p >> s, np.clip),
    "wraps at the ends": (
        lambda p, s: (p + (np.int64(1) << (s - 1))) >> s,
        lambda v, low, high: low + (v - low) % (high - low + 1),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", ["calibrated", "extreme"])
def test_a_faulty_executor_would_be_found(fault, kind):
    """Executors with a planted fault of rounding differ on a third of the networks at least."""
    scale_down, clamp = FAULTS[fault]
    found = 0
    for seed in range(6):
        model = extreme_graph(seed) if kind == "extreme" else DRAWN[kind](seed).model
        codes = drawn_codes(model, np.random.default_rng(seed))
        faulty = copy_of_replay()

        def requantize(accumulator, multiplier, shift, fmt, limits=faulty.limits):
            shift = np.asarray(shift, dtype=np.int64)
            if "shifts" in fmt:
                shift = shift + replay.channels(fmt["shifts"], fmt["axis"])
            product = np.asarray(accumulator, dtype=np.int64) * np.asarray(multiplier, np.int64)
            return clamp(scale_down(product, shift) + fmt["zero_point"], *limits(fmt))

        faulty.requantize = requantize
        expected, got = {}, {}
        replay.run(model.graph_json(), dict(model.tensors), codes, expected)
        try:
            faulty.run(model.graph_json(), dict(model.tensors), codes, got)
        except IndexError:  # codes beyond a table
            got = {}
        found += differing(expected, got) > 0
    assert found >= 2
