"""What layers of sums of powers of two, mixed layers and products with powers of two cost."""

import itertools
from dataclasses import replace

import pytest
from sample_workloads import conv, linear, matmul

from codesign.numerics.weights import SCHEMES
from costmodels import systolic
from costmodels.accelerator import Accelerator
from costmodels.engines import array_parts, lane_widths, place, simulation_tasks
from costmodels.errors import CostModelError
from costmodels.estimate import estimate
from costmodels.fabric import apot_exponent, apot_operand_bits, apot_terms
from costmodels.mixed import split_mixed
from costmodels.operands import accumulator_bits, operand_bits, shift_code_bits
from costmodels.workload import Workload

BOTH = Accelerator(mac_rows=8, mac_cols=8, shift_rows=4, shift_cols=8)
MAC = replace(BOTH, shift_rows=0, shift_cols=0)


def cycles(layer, accelerator, rows, cols):
    return int(systolic.cycles(layer.m, layer.k, layer.n, rows, cols, accelerator.dataflow))


def compute(layer, accelerator, **options):
    return estimate(Workload("one", (layer,), 0), accelerator, **options).layers[0]


def is_sum_of(level, terms, largest_exponent):
    powers = [0, *(2**e for e in range(largest_exponent + 1))]
    return any(sum(c) == level for c in itertools.product(powers, repeat=terms))


@pytest.mark.parametrize("bits", range(2, 8))
def test_apot_widths_are_those_of_its_levels(bits):
    levels = [int(level) for level in SCHEMES.get("apot").levels(bits)]
    terms, exponent = apot_terms(bits), apot_exponent(bits)
    assert all(is_sum_of(level, terms, exponent) for level in levels)
    assert not all(is_sum_of(level, terms - 1, exponent) for level in levels)
    assert any(level >= 2**exponent for level in levels)
    assert levels[-1] < 1 << (apot_operand_bits(bits) - 1) <= 2 * levels[-1]
    code = shift_code_bits(linear(weight_bits=bits, weight_scheme="apot"))
    assert (1 << (code - 1)) - 2 >= exponent  # the largest exponent of a log2 code


@pytest.mark.parametrize(("bits", "passes"), [(2, 1), (3, 1), (4, 2), (5, 2), (6, 3), (7, 3)])
def test_a_shift_array_passes_once_for_each_term(bits, passes):
    layer = linear(weight_bits=bits, weight_scheme="apot")
    cost = compute(layer, BOTH)
    assert cost.engine == "shift_array"
    assert cost.compute_cycles == passes * cycles(layer, BOTH, 4, 8)
    assert cost.utilisation == pytest.approx(passes * layer.macs / (cost.cycles * 32))


def test_without_a_shift_array_apot_weights_are_integers_of_their_width():
    layer = linear(weight_bits=7, weight_scheme="apot")
    cost = compute(layer, MAC)
    assert cost.engine == "mac_array"
    assert cost.compute_cycles == cycles(layer, MAC, 8, 8)
    assert operand_bits(layer) == 10
    wide = linear(weight_bits=10)
    dsp = [estimate(Workload("one", (x,), 0), MAC).metrics["fpga.dsp"] for x in (layer, wide)]
    assert dsp[0] == dsp[1]


@pytest.mark.parametrize("bits", range(2, 8))
def test_accumulators_hold_the_largest_apot_sum(bits):
    layer = linear(k=50, weight_bits=bits, weight_scheme="apot", activation_bits=8)
    largest = int(SCHEMES.get("apot").levels(bits)[-1])
    assert 50 * largest * 128 < 1 << (accumulator_bits(layer) - 1)


def test_apot_reads_its_codes_from_memory():
    sizes = {s: compute(linear(weight_bits=4, weight_scheme=s), BOTH).dram_bytes
             for s in ("uniform", "apot", "log2")}  # fmt: skip
    assert len(set(sizes.values())) == 1


def mixed(share=0.25, **changes):
    return linear(n=32, weight_bits=4, weight_scheme="mixed", log2_share=share, **changes)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.8])
@pytest.mark.parametrize("dataflow", ["os", "ws", "is"])
def test_a_mixed_layer_takes_as_long_as_its_slower_part(share, dataflow):
    accelerator = replace(BOTH, dataflow=dataflow)
    layer = mixed(share)
    log2 = round(share * 32)
    on_mac = cycles(replace(layer, n=32 - log2), accelerator, 8, 8)
    on_shift = cycles(replace(layer, n=log2), accelerator, 4, 8)
    cost = compute(layer, accelerator)
    assert cost.engine == "mac_array+shift_array"
    assert cost.compute_cycles == max(on_mac, on_shift)
    assert cost.utilisation == pytest.approx(layer.macs / (cost.cycles * (64 + 32)))


def test_a_mixed_layer_without_a_shift_array_is_a_layer_of_the_mac_array():
    cost = compute(mixed(), MAC)
    assert cost.engine == "mac_array"
    assert cost.compute_cycles == cycles(mixed(), MAC, 8, 8)
    assert operand_bits(mixed()) == 8  # log2 levels up to 64, and a sign


def test_the_arrays_are_those_of_unsplit_layers():
    split = estimate(Workload("one", (mixed(0.5),), 0), BOTH).metrics
    apart = (linear("a", weight_bits=4), linear("b", weight_bits=4, weight_scheme="log2"))
    whole = estimate(Workload("two", apart, 0), BOTH).metrics
    for name in ("fpga.mac_array_dsp", "fpga.shift_array_lut"):
        assert split[name] == whole[name] > 0


def test_split_parts_add_up():
    for layer in (mixed(0.4), conv("g", channels=8, filters=8, groups=8, weight_scheme="mixed",
                                   weight_bits=4, log2_share=0.4)):  # fmt: skip
        uniform, log2 = split_mixed(layer)
        assert (uniform.weight_scheme, log2.weight_scheme) == ("uniform", "log2")
        for name in ("macs", "weight_elements", "output_elements"):
            assert getattr(uniform, name) + getattr(log2, name) == getattr(layer, name)
        assert log2.macs == pytest.approx(0.4 * layer.macs, abs=layer.macs / 8)
    assert split_mixed(mixed(0.0))[1] is None
    assert split_mixed(mixed(0.99))[0] is None


def test_both_arrays_are_fed_at_once():
    ((placement,), _) = place(Workload("one", (mixed(0.5),), 0), BOTH, "DSP48E2")
    parts = [lane_widths(part, "os") for part in placement.parts]
    inputs, weights, sums = lane_widths(placement, "os")
    assert inputs == max(p[0] for p in parts)
    assert (weights, sums) == (parts[0][1] + parts[1][1], parts[0][2] + parts[1][2])


def test_scalesim_prices_each_part_on_its_array(tmp_path):
    workload = Workload("one", (mixed(0.5), linear("x", weight_bits=5, weight_scheme="apot")), 0)
    tasks = simulation_tasks(workload, BOTH)
    assert [(t.filters, t.rows, t.cols) for t in tasks] == [(16, 8, 8), (16, 4, 8), (32, 4, 8)]
    closed, simulated = (
        estimate(workload, BOTH, cycles=c, cache_dir=tmp_path).layers
        for c in ("closed_form", "scalesim")
    )
    assert simulated[0].compute_cycles == closed[0].compute_cycles
    assert simulated[1].compute_cycles == closed[1].compute_cycles
    placements, _ = place(workload, BOTH, "DSP48E2")
    assert len(array_parts(placements)) == 3


def test_reconfigurable_arrays_widen_the_part_they_run():
    accelerator = replace(BOTH, precision="reconfigurable", shift_rows=32, shift_cols=32)
    wide = linear("wide", 8, 8, 8)
    layer = mixed(0.5, m=64, k=64, activation_bits=4)
    cost = estimate(Workload("two", (layer, wide), 0), accelerator).layers[0]
    assert cost.compute_cycles == cycles(replace(layer, n=16), accelerator, 8, 16)


def test_probabilities_that_are_powers_of_two_shift():
    product = replace(matmul("attn.av", 8, 16, 16), weight_scheme="log2", weight_bits=5)
    cost = compute(product, BOTH)
    assert cost.engine == "shift_array"
    assert cost.compute_cycles == 3 * cycles(product, BOTH, 4, 8)
    _, builds = place(Workload("one", (product,), 0), BOTH, "DSP48E2")
    build = builds["shift_array"]
    assert (build.weight_bits, build.activation_bits) == (5, 8)
    largest = 16 * (127 << 14)  # 2^0 to 2^-14, as whole numbers, times V's codes
    assert largest < 1 << (build.accumulator_bits - 1)


def test_probabilities_that_are_powers_of_two_on_multipliers_are_decoded():
    product = replace(matmul("attn.av", 8, 16, 16), weight_scheme="log2", weight_bits=5)
    _, builds = place(Workload("one", (product,), 0), MAC, "DSP48E2")
    assert builds["mac_array"].weight_bits == 16
    assert builds["mac_array"].activation_bits == 8


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (linear(weight_scheme="apot", weight_bits=8), "must be 2 to 7, not 8"),
        (linear(log2_share=0.5), "0 unless mixed"),
        (linear(weight_scheme="mixed", weight_bits=4, log2_share=1.0), "below 1"),
        (replace(matmul(), weight_scheme="apot", weight_bits=4), "matmul must be uniform or log2"),
    ],
)
def test_wrong_codes_are_named(layer, message):
    with pytest.raises(CostModelError, match=message):
        compute(layer, BOTH)
