"""LUTs, flip-flops and DSPs of PEs against their synthesis, FINN-R's formula and AMD's DPU."""

import itertools
import random
from dataclasses import replace
from math import ceil

import pytest
from sample_workloads import linear, mobile_block

from costmodels.accelerator import Accelerator
from costmodels.board import load_board
from costmodels.errors import CostModelError
from costmodels.estimate import estimate
from costmodels.fabric import control_cost
from costmodels.packing import Packing, array_dsps
from costmodels.pe import (
    dsp_pe_group,
    fit_logic,
    fitted_logic,
    log2_pe,
    lut_pe,
    synthesised_logic,
)
from costmodels.tables import read_table
from costmodels.vector_unit import FUNCTIONS, Fabric, lane_cost
from costmodels.workload import VectorOperation, Workload

DSP_TYPES = {"xc7": "DSP48E1", "xcup": "DSP48E2"}


def widths(row: dict[str, str]) -> tuple[int, int, int]:
    return tuple(int(row[f"{name}_bits"]) for name in ("weight", "activation", "accumulator"))  # type: ignore[return-value]


def groups(row: dict[str, str]) -> int:
    """PEs, or DSPs with the PEs they serve, in a row of the table."""
    rows, cols = max(1, int(row["rows"])), max(1, int(row["cols"]))
    if row["rows"] == "0":
        return 1
    return array_dsps(rows, cols, Packing(int(row["weights"]), int(row["activations"])))


def predicted(row: dict[str, str]) -> Fabric:
    packed = Packing(int(row["weights"]), int(row["activations"]))
    if row["kind"] == "uniform":
        return lut_pe(*widths(row)) * groups(row)
    if row["kind"] == "log2":
        return log2_pe(*widths(row)) * groups(row)
    return dsp_pe_group(*widths(row), packed, DSP_TYPES[row["family"]]) * groups(row)


def table(*kinds: str) -> list[dict[str, str]]:
    return [row for row in read_table("pe") if row["kind"] in kinds]


def in_fit(row: dict[str, str]) -> bool:
    """Whether the model knows the row: one output-stationary PE of up to 8 bits, usual sums."""
    w, a, sums = widths(row)
    product = a + 2 ** (w - 1) - 2 if row["kind"] == "log2" else w + a
    usual = sums == min(32, product + 10) and (w, a) in synthesised_logic(row["kind"])
    return usual and row["rows"] == "0" and row["dataflow"] == "os"


def test_dsps_are_those_of_synthesis() -> None:
    rows = table("dsp", "packed", "uniform", "log2")
    differing = [row for row in rows if predicted(row).dsp != int(row["dsp"])]
    with_dsp = [row for row in rows if int(row["dsp"])]
    assert not differing
    assert len(with_dsp) >= 150
    assert sum(row["rows"] != "0" for row in with_dsp) >= 12


def test_packed_pes_take_the_luts_of_synthesis() -> None:
    """On a DSP48E1, whose pre-adder and registers Yosys uses; ragged arrays are trimmed there."""
    ragged = [row for row in table("packed") if int(row["cols"]) % int(row["weights"])]
    rows = [row for row in table("dsp", "packed") if row["family"] == "xc7" and row not in ragged]
    assert len(rows) >= 120 and len(ragged) == 1
    assert not [row for row in rows if predicted(row).lut != int(row["lut"])]
    singles = [row for row in rows if row["rows"] == "0"]
    assert not [row for row in singles if predicted(row).ff != int(row["ff"])]
    assert all(predicted(row).lut >= int(row["lut"]) for row in ragged)


def test_ultrascale_synthesis_takes_the_unused_preadder_more() -> None:
    for row in table("packed"):
        if row["family"] == "xcup":
            w, a, _ = widths(row)
            adders = (int(row["weights"]) - 1) * w + (int(row["activations"]) - 1) * a
            assert 0 <= int(row["lut"]) - predicted(row).lut <= 3 * adders


def test_luts_of_what_was_not_fitted() -> None:
    rows = [row for row in table("uniform", "log2") if not in_fit(row)]
    errors = [abs(predicted(row).lut / int(row["lut"]) - 1) for row in rows]
    assert len(rows) >= 60
    assert sum(error <= 0.15 for error in errors) >= 0.9 * len(rows)
    assert sum(errors) / len(errors) < 0.03


@pytest.mark.parametrize("kind", ["uniform", "log2"])
def test_fit_to_half_of_the_widths_prices_the_other_half(kind: str) -> None:
    points = list(synthesised_logic(kind).items())
    random.Random(0).shuffle(points)
    fit = fit_logic(kind, dict(points[::2]))
    errors = []
    for (w, a), logic in points[1::2]:
        product = a + 2 ** (w - 1) - 2 if kind == "log2" else w + a
        sums = min(32, product + 10)
        errors.append(abs((fitted_logic(kind, w, a, fit) + sums) / (logic + sums) - 1))
    assert sum(error <= 0.15 for error in errors) >= 0.9 * len(errors)


def test_flip_flops_are_those_of_synthesis() -> None:
    """Operands, product where the multiplier is in LUTs, and sum."""
    rows = table("uniform", "log2")
    assert len(rows) > 150
    assert not [row for row in rows if predicted(row).ff != int(row["ff"])]


def test_every_width_pair_was_synthesised() -> None:
    assert set(synthesised_logic("uniform")) == set(itertools.product(range(2, 9), repeat=2))
    assert set(synthesised_logic("log2")) == set(itertools.product(range(2, 6), range(2, 9)))
    packed = {widths(row)[:2] for row in table("packed") if row["dataflow"] == "os"}
    assert packed == set(itertools.product(range(2, 9), repeat=2))


@pytest.mark.parametrize(("w", "a", "product"), [(2, 2, 4), (4, 8, 36), (8, 8, 80), (3, 4, 21)])
def test_finn_profile_is_finns_formula(w: int, a: int, product: int) -> None:
    assert product == (2 * ceil((w + a) / 6) - 1) * (w + a)
    assert lut_pe(w, a, 20, "finn") == Fabric(product + 20, 2 * (w + a) + 20, 0)


def test_each_accumulator_bit_is_a_lut_and_a_flip_flop() -> None:
    for pe in (log2_pe, lut_pe):
        narrow, wide = pe(4, 8, 24), pe(4, 8, 29)
        assert (wide.lut - narrow.lut, wide.ff - narrow.ff) == (5, 5)


def test_shifts_are_cheaper_than_products() -> None:
    for w, a in itertools.product(range(3, 6), range(2, 9)):
        assert log2_pe(3, a, 24).lut <= lut_pe(8, a, 24).lut
        assert lut_pe(w, a, 24).lut < lut_pe(w + 1, a + 1, 24).lut


def test_wrong_widths_and_profiles_are_named() -> None:
    with pytest.raises(CostModelError, match="at least 2 bits"):
        log2_pe(1, 8, 20)
    with pytest.raises(CostModelError, match=r"unknown fabric 'vivado'\. Known: yosys, finn"):
        estimate(mobile_block(), Accelerator(), fabric="vivado")
    with pytest.raises(CostModelError, match=r"unknown mac_pe 'bram'\. Known: dsp, lut"):
        estimate(mobile_block(), Accelerator(mac_pe="bram"))


def one(**layer: int) -> Workload:
    return Workload("one", (linear(**layer),), 0)


def test_array_in_luts_takes_no_dsp() -> None:
    accelerator = Accelerator(mac_rows=8, mac_cols=4, mac_pe="lut")
    layer = linear(k=64, weight_bits=4, activation_bits=6)
    for fabric in ("yosys", "finn"):
        cost = estimate(Workload("one", (layer,), 0), accelerator, fabric=fabric)
        pe = lut_pe(4, 6, 4 + 6 + 6, fabric)
        assert cost.metrics["fpga.mac_array_dsp"] == 0
        assert cost.metrics["fpga.mac_array_lut"] == round(32 * pe.lut)
    assert "FINN-R" in cost.source("fpga.mac_array_lut")


def test_array_in_luts_takes_products_that_no_dsp_takes() -> None:
    wide = one(weight_bits=28, activation_bits=8)
    with pytest.raises(CostModelError, match="does not fit one DSP48E2"):
        estimate(wide, Accelerator())
    assert estimate(wide, Accelerator(mac_pe="lut")).metrics["fpga.mac_array_lut"] > 0


def test_depthwise_lanes_follow_the_array() -> None:
    accelerator = Accelerator(mac_rows=8, mac_cols=8, shift_rows=0, shift_cols=0)
    dsps, luts = (
        estimate(mobile_block(), replace(accelerator, mac_pe=pe)).metrics for pe in ("dsp", "lut")
    )
    assert dsps["fpga.depthwise_dsp"] > 0 == luts["fpga.depthwise_dsp"]
    assert dsps["fpga.depthwise_lut"] == 0 < luts["fpga.depthwise_lut"]
    assert dsps["fpga.cycles"] == luts["fpga.cycles"]  # 8 bits: two products a DSP, same columns


def test_soft_memory_controllers_take_fabric_and_hard_ones_none() -> None:
    on = {name: estimate(one(), Accelerator(board=name)) for name in ("zcu102", "u250", "u280")}
    assert on["zcu102"].metrics["fpga.memory_controller_lut"] == 0
    assert on["u250"].metrics["fpga.memory_controller_lut"] == 4 * 33256
    assert on["u250"].metrics["fpga.memory_controller_dsp"] == 4 * 3
    assert on["u280"].metrics["fpga.memory_controller_lut"] == load_board("u280").controller_lut
    assert on["u250"].metrics["fpga.bram36"] >= 4 * 199 / 2


def test_control_is_below_the_smallest_dpu() -> None:
    smallest = read_table("dpuczdx8g")[0]
    control = control_cost()
    assert 0 < control.lut < int(smallest["lut_low"]) and 0 < control.ff < int(smallest["ff_low"])


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_has_a_synthesised_circuit(name: str) -> None:
    cost = lane_cost([VectorOperation("x", name, 8)])
    assert cost.lut > 0 and cost.ff > 0


def test_tables_double_with_each_input_bit() -> None:
    def lut(bits: int) -> float:
        base = lane_cost([]).lut
        return lane_cost([VectorOperation("x", "table", 8, input_bits=bits)]).lut - base

    assert lut(8) == 2 * lut(7) > 0
