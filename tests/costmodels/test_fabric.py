"""LUTs and flip-flops against the synthesis points they are built on and published designs."""

import pytest

from costmodels.errors import CostModelError
from costmodels.fabric import control_cost, dsp_pe_group, log2_pe, log2_pe_line, log2_product_bits
from costmodels.packing import Packing
from costmodels.tables import read_table
from costmodels.vector_unit import FUNCTIONS, Fabric, lane_cost
from costmodels.workload import VectorOperation


@pytest.mark.parametrize("row", read_table("log2_pe"), ids=str)
def test_log2_pe_is_what_was_synthesised(row: dict[str, str]) -> None:
    weight_bits, activation_bits = int(row["weight_bits"]), int(row["activation_bits"])
    accumulator = log2_product_bits(weight_bits, activation_bits) + 10
    pe = log2_pe(weight_bits, activation_bits, accumulator)
    assert (pe.lut, pe.ff, pe.dsp) == (int(row["lut"]), int(row["ff"]), 0)


def test_line_through_the_log2_points_is_close_to_them() -> None:
    slope, intercept = log2_pe_line()
    errors = []
    for row in read_table("log2_pe"):
        product = log2_product_bits(int(row["weight_bits"]), int(row["activation_bits"]))
        errors.append(abs((slope * product + intercept) / int(row["lut"]) - 1))
    assert sum(errors) / len(errors) < 0.06 and max(errors) < 0.17


def test_each_accumulator_bit_is_a_lut_and_a_flip_flop() -> None:
    narrow, wide = log2_pe(4, 8, 24), log2_pe(4, 8, 29)
    assert (wide.lut - narrow.lut, wide.ff - narrow.ff) == (5, 5)


def test_packed_pair_is_what_was_synthesised() -> None:
    """Two INT8 products with 20-bit accumulators: 44 LUT, 98 FF (Yosys 0.70)."""
    assert dsp_pe_group(8, 8, 20, Packing(2, 1)) == Fabric(44, 98, 1)


@pytest.mark.parametrize(("weight_bits", "flip_flops"), [(8, 16), (4, 12)])
def test_single_product_accumulates_in_the_dsp(weight_bits: int, flip_flops: int) -> None:
    """Yosys 0.70, xc7: no LUT, one DSP."""
    assert dsp_pe_group(weight_bits, 8, 32, Packing(1, 1)) == Fabric(0, flip_flops, 1)


def test_one_bit_log2_weights_are_refused() -> None:
    with pytest.raises(CostModelError, match="at least 2 bits"):
        log2_pe(1, 8, 20)


def test_control_is_below_the_smallest_dpu() -> None:
    smallest = read_table("dpuczdx8g")[0]
    control = control_cost()
    assert 0 < control.lut < int(smallest["lut_low"]) and 0 < control.ff < int(smallest["ff_low"])


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_has_a_synthesised_circuit(name: str) -> None:
    cost = lane_cost([VectorOperation("x", name, 8)])
    assert cost.lut > 0 and cost.ff > 0


def test_tables_double_with_each_input_bit() -> None:
    def table(bits: int) -> float:
        base = lane_cost([]).lut
        return lane_cost([VectorOperation("x", "table", 8, input_bits=bits)]).lut - base

    assert table(8) == 2 * table(7) > 0
