"""Placement on engines: widths that hold the sums, tiles that fill the array."""

import pytest
from sample_workloads import conv, linear, mobile_block

from costmodels.accelerator import Accelerator
from costmodels.board import load_board
from costmodels.engines import accumulator_bits, lane_widths, place
from costmodels.estimate import estimate
from costmodels.fpga import memory_cost
from costmodels.memory import bram18_blocks, lutram_luts
from costmodels.tiling import CONSTANT_BITS
from costmodels.workload import Workload


@pytest.mark.parametrize(("w", "a", "k"), [(2, 2, 1), (3, 5, 7), (4, 4, 64), (8, 8, 300)])
def test_accumulators_hold_the_largest_uniform_sum(w: int, a: int, k: int) -> None:
    bits = accumulator_bits(linear(k=k, weight_bits=w, activation_bits=a))
    largest = k << (w - 1 + a - 1)  # both operands at their most negative
    assert largest < 1 << (bits - 1)
    assert 4 * largest >= 1 << (bits - 2)  # and waste two bits at most


@pytest.mark.parametrize(("w", "a", "k"), [(3, 4, 5), (4, 8, 64), (2, 8, 9)])
def test_accumulators_hold_the_largest_log2_sum(w: int, a: int, k: int) -> None:
    layer = linear(k=k, weight_bits=w, activation_bits=a, weight_scheme="log2")
    largest_exponent = 2 ** (w - 1) - 2  # one of the exponent codes means zero
    largest = k << (largest_exponent + a - 1)
    assert largest <= 1 << (accumulator_bits(layer) - 1)


def test_no_accumulator_is_wider_than_32_bits() -> None:
    assert accumulator_bits(linear(k=1 << 20)) == 32


@pytest.mark.parametrize(
    ("dataflow", "tile"), [("os", (4, 16, 6)), ("ws", (16, 4, 6)), ("is", (6, 4, 16))]
)
def test_smallest_tile_fills_the_array(dataflow: str, tile: tuple[int, int, int]) -> None:
    accelerator = Accelerator(mac_rows=4, mac_cols=6, dataflow=dataflow)
    workload = Workload("one", (linear(m=50, k=60, n=70),), 0)
    ((placement,), _) = place(workload, accelerator, "DSP48E2")
    assert placement.smallest_tile(dataflow) == tile


def test_conv_in_bands_reads_the_shared_rows_twice() -> None:
    """Half the image fits the buffers: two bands share two padded rows of pixels."""
    layer = conv(size=16, channels=8, filters=4)
    accelerator = Accelerator(mac_rows=8, mac_cols=8, input_buffer_kb=1, output_buffer_kb=2)
    cost = estimate(Workload("one", (layer,), 0), accelerator)
    once = 16 * 16 * 8 + 9 * 8 * 4 + 16 * 16 * 4 + 4 * CONSTANT_BITS // 8
    assert cost.layers[0].dram_bytes == once + 2 * 18 * 8


def test_memory_is_buffers_constants_and_lines() -> None:
    layer = conv(size=100, channels=600, filters=600, groups=600)
    accelerator = Accelerator(board="zcu102", depthwise_lanes=8, vector_lanes=2)
    placements, _ = place(Workload("one", (layer,), 0), accelerator, "DSP48E2")
    memory = memory_cost(placements, accelerator, load_board("zcu102"))
    buffer = bram18_blocks(2 * 64 * 1024 // 8, 64)  # 8 lanes of 8 bits, both halves of 64 kB
    constants = bram18_blocks(2 * 300, 2 * 56)  # two lanes share 600 channels
    lines = bram18_blocks(2 * 102, 64)  # two padded rows of pixels
    assert memory.bram18 == 3 * buffer + constants + lines
    assert memory.lut == 0


def test_few_constants_are_luts() -> None:
    layer = linear(n=32)
    accelerator = Accelerator(board="zcu102", vector_lanes=4)
    placements, _ = place(Workload("one", (layer,), 0), accelerator, "DSP48E2")
    memory = memory_cost(placements, accelerator, load_board("zcu102"))
    assert memory.lut == lutram_luts(2 * 8, 4 * CONSTANT_BITS)


@pytest.mark.parametrize("dataflow", ["os", "ws", "is"])
def test_lanes_feed_the_edges_of_the_array(dataflow: str) -> None:
    accelerator = Accelerator(mac_rows=4, mac_cols=6, dataflow=dataflow)
    layer = linear(weight_bits=3, activation_bits=5)
    ((placement,), _) = place(Workload("one", (layer,), 0), accelerator, "DSP48E2")
    read, weights, written = lane_widths(placement, dataflow)
    expected = (6 * 5, 4 * 3) if dataflow == "is" else (4 * 5, 6 * 3)
    assert (read, weights) == expected
    assert written == 6 * accumulator_bits(layer)


def test_every_layer_is_placed_once_in_order() -> None:
    workload = mobile_block()
    placements, _ = place(workload, Accelerator(), "DSP48E2")
    assert tuple(p.layer for p in placements) == workload.layers
