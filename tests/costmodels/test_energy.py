"""Energy: by hand for one layer, its order among formats and memories, and its calibration."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_workloads import linear, mobile_block

from costmodels import fpga
from costmodels.accelerator import Accelerator
from costmodels.board import board_names, load_board
from costmodels.buffers import buffers
from costmodels.energy import (
    calibration,
    dram_mj,
    figures,
    mac_pj,
    memory_kind,
    on_chip_mj,
    rest_w,
    vector_pj,
)
from costmodels.engines import place
from costmodels.estimate import estimate
from costmodels.grid import Grid
from costmodels.tables import read_table
from costmodels.workload import VectorOperation, Workload

ARRAY = Accelerator(board="zcu102", mac_rows=8, mac_cols=8, dataflow="os", vector_lanes=4)


def one(*operations: Any) -> Workload:
    return Workload("one", operations, parameter_bits=8)


def mac(accelerator: Accelerator = ARRAY, **changes: Any) -> float:
    """Return the picojoules of a multiply-accumulate of a small linear layer."""
    placements, _ = place(one(linear(**changes)), accelerator, "DSP48E2")
    return mac_pj(placements[0])


def parts(workload: Workload, accelerator: Accelerator) -> dict[str, float]:
    board = load_board(accelerator.board)
    placements, _ = place(workload, accelerator, board.dsp_type)
    cost = fpga.price(workload, Grid.of(accelerator), board)
    memories = buffers(placements, accelerator, has_uram=board.uram > 0)
    operations = workload.vector_operations
    return on_chip_mj(placements, cost.timing.layers(), operations, accelerator.dataflow, memories)


def test_one_layer_by_hand() -> None:
    """16 x 24 by 24 x 32, 8 bits, on 8 x 8 output-stationary PEs of half a DSP each.

    Eight folds of 24 + 8 + 8 - 2 cycles read 8 activations and 8 weights each; sums have 16 bits
    and 5 for 24 products, and are a LUT a bit; the pair of values on one port takes no adder, for
    it is the DSP's. A DSP is 27 x 18 partial products and 48 sum bits. ReLU is a circuit of 14
    LUTs (README).
    """
    relu = VectorOperation("act", "relu", 16 * 32, fused_into="fc")
    workload = one(linear(), relu)
    macs, cycles = 16 * 24 * 32, 8 * (24 + 8 + 8 - 2)
    dsp, lut = 0.2 * 27 * 18 / 64 + 0.1 * 48 / 32, 14 * 0.1 / 32
    multiply = macs * (dsp / 2 + lut * 21)
    stored = (2 * 8 * 8 * cycles + 16 * 32 * 21) * 10 / 64
    found = parts(workload, ARRAY)
    assert found["multiply"] == pytest.approx(multiply * 1e-9, rel=1e-3)
    assert found["buffers"] == pytest.approx(stored * 1e-9, rel=1e-12)
    assert found["vector"] == pytest.approx(16 * 32 * 14 * lut * 1e-9, rel=1e-12)
    cost = estimate(workload, ARRAY)
    dram = 8 * 17 * sum(layer.dram_bytes for layer in cost.layers) * 1e-9
    fitted = calibration()
    rest = (fitted["board_w"] + 2.7408 * fitted["rest_w_per_100k_lut"]) * cost.metrics[
        "fpga.latency_ms"
    ]
    expected = fitted["on_chip_factor"] * sum(found.values()) + dram + rest
    assert cost.metrics["fpga.energy_mj"] == pytest.approx(expected, rel=1e-12)
    assert "relative" in cost.source("fpga.energy_mj")


@given(w=st.integers(2, 7), a=st.integers(2, 7))
def test_a_wider_product_in_luts_costs_more(w: int, a: int) -> None:
    luts = replace(ARRAY, mac_pe="lut")
    narrow = mac(luts, weight_bits=w, activation_bits=a)
    assert narrow < mac(luts, weight_bits=w + 1, activation_bits=a)
    assert narrow < mac(luts, weight_bits=w, activation_bits=a + 1)


def test_functions_cost_what_their_circuits_do() -> None:
    softmax = VectorOperation("a", "softmax", 64, row_length=8)
    relu, add = VectorOperation("b", "relu", 64), VectorOperation("c", "add", 64)
    assert vector_pj(relu) < vector_pj(add) < vector_pj(softmax)


def test_packed_products_share_the_energy_of_a_dsp() -> None:
    four, two = mac(weight_bits=4, activation_bits=4), mac(weight_bits=8, activation_bits=8)
    one_product = mac(weight_bits=16, activation_bits=16)
    assert four < two
    assert one_product == figures()["dsp_cycle"]  # and its sum stays in the DSP


def test_a_shift_costs_less_than_a_product_of_the_same_code_in_luts() -> None:
    shifting = replace(ARRAY, shift_rows=8, shift_cols=8)
    log2 = mac(shifting, weight_bits=4, weight_scheme="log2")
    assert log2 < mac(replace(ARRAY, mac_pe="lut"), weight_bits=4)
    # APoT of 4 bits is two shifts, each of fewer places than log2's one
    assert log2 < mac(shifting, weight_bits=4, weight_scheme="apot") < 2 * log2


def test_dram_by_kind_of_memory() -> None:
    layers = estimate(mobile_block(), ARRAY).layers
    energy = {name: dram_mj(layers, load_board(name)) for name in ("u50", "zcu102", "pynq_z2")}
    assert energy["u50"] < energy["zcu102"] < energy["pynq_z2"]
    assert memory_kind("a_board_of_ones_own") == "ddr4"


def test_ultraram_costs_more_a_bit_than_block_ram() -> None:
    large = replace(ARRAY, mac_rows=32, mac_cols=32, input_buffer_kb=512, weight_buffer_kb=512)
    uram = parts(one(linear(m=256)), replace(large, board="zcu104"))["buffers"]
    bram = parts(one(linear(m=256)), large)["buffers"]
    assert bram < uram < 2 * bram  # the output buffer, the third memory, is the same on both


def test_a_larger_device_takes_more_at_rest_and_waiting_costs_energy() -> None:
    assert rest_w(load_board("kv260")) < rest_w(load_board("zcu102")) < rest_w(load_board("u280"))
    fast, slow = (estimate(mobile_block(), replace(ARRAY, clock_mhz=c)) for c in (200.0, 100.0))
    longer = (slow.metrics["fpga.latency_ms"] - fast.metrics["fpga.latency_ms"]) / 1e3
    more = slow.metrics["fpga.energy_mj"] - fast.metrics["fpga.energy_mj"]
    # at half the clock DRAM takes fewer cycles, so that layers waiting for it read no more
    assert more == pytest.approx(1e3 * longer * rest_w(load_board("zcu102")), rel=1e-9)


def test_every_figure_has_a_source_and_a_mark_and_every_board_a_memory() -> None:
    rows = read_table("energy")
    assert all(row["source"] and row["mark"] in ("published", "recalled") for row in rows)
    assert all(value > 0 for value in figures().values())
    assert {row["board"] for row in read_table("energy_memory")} == set(board_names())
    assert all(f"dram_bit.{memory_kind(name)}" in figures() for name in board_names())
