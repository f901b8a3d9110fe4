"""The whole estimate: its parts against hand counts, and properties that must hold."""

import json
import math
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_workloads import conv, linear, matmul, mobile_block

from costmodels import systolic
from costmodels.accelerator import Accelerator
from costmodels.board import load_board
from costmodels.cost import Cost
from costmodels.errors import CostModelError
from costmodels.estimate import estimate
from costmodels.scalesim import simulate_layer
from costmodels.workload import MatrixLayer, VectorOperation, Workload

SMALL = Accelerator(mac_rows=8, mac_cols=8, shift_rows=8, shift_cols=8)


def one(*operations: Any) -> Workload:
    return Workload("one", operations, parameter_bits=8192)


def layer_of(cost: Cost, name: str) -> Any:
    return next(layer for layer in cost.layers if layer.name == name)


def test_every_metric_is_finite_and_says_how_good_it_is() -> None:
    cost = estimate(mobile_block(), SMALL, gpus=("rtx4090", "orin"))
    assert all(math.isfinite(value) for value in cost.metrics.values())
    assert all(cost.source(name) for name in cost.metrics)
    assert json.loads(json.dumps(cost.to_json()))["metrics"] == dict(cost.metrics)


def test_latency_is_the_sum_of_the_layers() -> None:
    cost = estimate(mobile_block(), SMALL)
    total = sum(layer.cycles for layer in cost.layers)
    assert cost.metrics["fpga.latency_ms"] == pytest.approx(1e3 * total / (SMALL.clock_mhz * 1e6))
    assert cost.metrics["fpga.fps"] * cost.metrics["fpga.latency_ms"] == pytest.approx(1e3)


def test_layer_takes_the_longest_of_array_vector_and_dram() -> None:
    for layer in estimate(mobile_block(), SMALL).layers:
        times = {
            "array": layer.compute_cycles,
            "vector": layer.vector_cycles,
            "dram": layer.dram_cycles,
        }
        assert layer.cycles == max(times.values()) == times[layer.bound_by]
        assert 0 <= layer.utilisation <= 1


def test_fused_work_has_no_layer_of_its_own() -> None:
    names = [layer.name for layer in estimate(mobile_block(), SMALL).layers]
    assert "stem.act" not in names and "residual" in names


def test_engines_take_the_layers_meant_for_them() -> None:
    workload = one(
        linear("uniform"), linear("log2", weight_scheme="log2", weight_bits=4), matmul("attn.qk"),
        conv("dw", channels=8, filters=8, groups=8),
    )  # fmt: skip
    engines = [layer.engine for layer in estimate(workload, SMALL).layers]
    assert engines == ["mac_array", "shift_array", "mac_array", "depthwise"]
    without = replace(SMALL, shift_rows=0, shift_cols=0, depthwise_lanes=0)
    assert {layer.engine for layer in estimate(workload, without).layers} == {"mac_array"}


def test_shift_array_takes_no_dsp() -> None:
    log2 = estimate(one(linear(weight_scheme="log2", weight_bits=4)), SMALL).metrics
    uniform = estimate(one(linear(weight_bits=4)), SMALL).metrics
    assert log2["fpga.shift_array_dsp"] == 0 and log2["fpga.shift_array_lut"] > 0
    assert log2["fpga.mac_array_dsp"] == 0  # serves no layer, so it is not built
    assert log2["fpga.dsp"] == uniform["fpga.dsp"] - uniform["fpga.mac_array_dsp"]


def test_dsps_of_a_packed_array() -> None:
    def array_dsp(bits: int, dataflow: str) -> float:
        layer = linear(weight_bits=bits, activation_bits=bits)
        accelerator = replace(SMALL, dataflow=dataflow)
        return estimate(one(layer), accelerator).metrics["fpga.mac_array_dsp"]

    assert array_dsp(8, "os") == 64 / 2  # AMD WP486: two INT8 products a DSP
    assert array_dsp(4, "os") == 64 / 4  # AMD WP521: four INT4 products a DSP
    assert array_dsp(8, "ws") == 64 / 2


def test_static_arrays_are_built_for_the_widest_layer() -> None:
    narrow, wide = linear("a", weight_bits=4, activation_bits=4), linear("b")
    mixed = estimate(one(narrow, wide), SMALL).metrics
    assert mixed["fpga.mac_array_dsp"] == estimate(one(wide), SMALL).metrics["fpga.mac_array_dsp"]


def test_reconfigurable_arrays_run_narrow_layers_at_the_packed_rate() -> None:
    narrow = linear("a", 64, 64, 64, weight_bits=4, activation_bits=4)
    workload = one(narrow, linear("b"))
    accelerator = replace(SMALL, precision="reconfigurable")
    packed = layer_of(estimate(workload, accelerator), "a")
    plain = layer_of(estimate(workload, SMALL), "a")
    assert packed.compute_cycles == systolic.cycles(64, 64, 64, 8, 16, "os")
    assert plain.compute_cycles == systolic.cycles(64, 64, 64, 8, 8, "os")
    lut = [estimate(workload, a).metrics["fpga.lut"] for a in (accelerator, SMALL)]
    assert lut[0] > lut[1]


def test_depthwise_engine_does_one_channel_a_lane() -> None:
    layer = conv("dw", size=8, channels=10, filters=10, groups=10)
    cost = estimate(one(layer), replace(SMALL, depthwise_lanes=4))
    assert layer_of(cost, "dw").compute_cycles == 3 * 64 * 9  # ceil(10 / 4) x pixels x window
    assert cost.metrics["fpga.depthwise_dsp"] == 4


def test_depthwise_lanes_shift_when_all_weights_are_log2() -> None:
    layer = conv("dw", channels=8, filters=8, groups=8, weight_scheme="log2", weight_bits=4)
    assert estimate(one(layer), SMALL).metrics["fpga.depthwise_dsp"] == 0


def test_bytes_of_a_layer_that_fits_the_buffers() -> None:
    layer = linear(m=16, k=24, n=32, weight_bits=4, activation_bits=6, output_bits=5)
    bits = 16 * 24 * 6 + 24 * 32 * 4 + 16 * 32 * 5 + 32 * (32 + 16 + 8)
    assert estimate(one(layer), SMALL).layers[0].dram_bytes == math.ceil(bits / 8)


def test_fused_add_reads_its_other_operand() -> None:
    layer, elements = linear(), 16 * 32
    add = VectorOperation("add", "add", elements, fused_into="fc")
    plain, fused = (estimate(one(*ops), SMALL).layers[0] for ops in ((layer,), (layer, add)))
    assert fused.dram_bytes == plain.dram_bytes + elements


def test_scalesim_takes_the_place_of_the_closed_form(tmp_path: Path) -> None:
    workload = one(linear("a", 20, 30, 40), matmul("b"))
    simulated = estimate(workload, SMALL, cycles="scalesim", cache_dir=tmp_path)
    exact = [simulate_layer(layer, 8, 8, "os") for layer in workload.layers]
    assert [layer.compute_cycles for layer in simulated.layers] == exact
    assert simulated.metrics["scalesim.cycles"] == sum(exact)
    closed = estimate(workload, SMALL)
    assert simulated.layers == closed.layers


def test_percentages_are_of_the_board() -> None:
    cost, board = estimate(mobile_block(), SMALL).metrics, load_board(SMALL.board)
    assert cost["fpga.dsp_pct"] == pytest.approx(100 * cost["fpga.dsp"] / board.dsp)
    assert cost["fpga.bram_pct"] == pytest.approx(100 * cost["fpga.bram36"] / board.bram36)


def test_over_budget_is_a_figure_not_an_error() -> None:
    large = Accelerator(board="pynq_z2", mac_rows=64, mac_cols=64)
    assert estimate(mobile_block(), large).metrics["fpga.dsp_pct"] > 100


def test_mean_bits_are_weighted_by_count() -> None:
    workload = one(linear("a", 2, 3, 5, weight_bits=8), linear("b", 2, 9, 5, weight_bits=4))
    metrics = estimate(workload, SMALL).metrics
    assert metrics["model.mean_weight_bits"] == pytest.approx((15 * 8 + 45 * 4) / 60)
    assert metrics["model.size_kb"] == 1.0
    assert metrics["model.macs"] == 2 * 3 * 5 + 2 * 9 * 5


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["os", "ws", "is"]))
def test_more_of_a_resource_is_never_slower(lanes: int, buffer_kb: int, dataflow: str) -> None:
    before = replace(
        SMALL,
        vector_lanes=lanes,
        depthwise_lanes=lanes,
        input_buffer_kb=buffer_kb,
        dataflow=dataflow,
    )
    latency = estimate(mobile_block(), before).metrics["fpga.latency_ms"]
    for change in (
        {"vector_lanes": lanes + 1},
        {"depthwise_lanes": lanes + 1},
        {"input_buffer_kb": 2 * buffer_kb},
        {"board": "u280"},
        {"precision": "reconfigurable"},
    ):
        after = estimate(mobile_block(), replace(before, **change)).metrics  # type: ignore[arg-type]
        assert after["fpga.latency_ms"] <= latency


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 7), st.integers(2, 7), st.sampled_from(["os", "ws", "is"]))
def test_fewer_bits_never_cost_more(weight_bits: int, activation_bits: int, dataflow: str) -> None:
    def metrics(w: int, a: int) -> dict[str, float]:
        layer = linear("a", 40, 50, 60, weight_bits=w, activation_bits=a)
        return dict(estimate(one(layer), replace(SMALL, dataflow=dataflow)).metrics)

    narrow, wide = (
        metrics(weight_bits, activation_bits),
        metrics(weight_bits + 1, activation_bits + 1),
    )
    for name in ("fpga.dsp", "fpga.dram_mb", "fpga.latency_ms", "fpga.energy_mj"):
        assert narrow[name] <= wide[name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clock_mhz": float("nan")}, "clock_mhz must be a finite positive number, not nan"),
        ({"clock_mhz": 0.0}, "clock_mhz"),
        ({"mac_rows": 0}, "mac_rows is 0 and mac_cols is 8"),
        ({"vector_lanes": 0}, "vector_lanes must be a positive whole number, not 0"),
        ({"input_buffer_kb": -1}, "input_buffer_kb"),
        ({"mac_cols": 2.5}, "mac_cols"),
        ({"dataflow": "rs"}, "unknown dataflow 'rs'. Known: os, ws, is"),
        ({"precision": "float"}, "unknown precision 'float'"),
        ({"board": "zcu"}, "unknown board 'zcu'"),
    ],
)
def test_wrong_accelerator_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(CostModelError, match=message):
        estimate(mobile_block(), replace(SMALL, **change))


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (linear(m=0), "layer 'fc': m must be a positive whole number, not 0"),
        (linear(weight_bits=-4), "weight_bits"),
        (linear(weight_bits=64), "weight_bits must be at most 32, not 64"),
        (linear(kind="fft"), "unknown kind 'fft'"),
        (linear(weight_scheme="float"), "unknown weight_scheme"),
        (conv(in_height=1), "smaller than the kernel"),
        (
            VectorOperation("act", "gelu", 4),
            "operation 'act': the vector unit has no function 'gelu'",
        ),
        (VectorOperation("act", "relu", 0), "elements"),
        (VectorOperation("act", "relu", 4, fused_into="nowhere"), "names 'nowhere', not a layer"),
    ],
)
def test_wrong_operation_is_named(operation: MatrixLayer | VectorOperation, message: str) -> None:
    with pytest.raises(CostModelError, match=message):
        estimate(one(linear("other"), operation), SMALL)


def test_other_mistakes_are_named() -> None:
    with pytest.raises(CostModelError, match="two layers are called 'fc'"):
        estimate(one(linear(), linear()), SMALL)
    with pytest.raises(CostModelError, match="has no operations"):
        estimate(one(), SMALL)
    with pytest.raises(CostModelError, match="unknown cycles 'rtl'"):
        estimate(mobile_block(), SMALL, cycles="rtl")
    with pytest.raises(CostModelError, match="'fc' needs the MAC array"):
        estimate(one(linear()), replace(SMALL, mac_rows=0, mac_cols=0))


def test_import_is_cheap() -> None:
    code = (
        "import sys, costmodels.estimate;"
        "heavy = {'torch', 'optuna', 'scalesim', 'yaml', 'codesign'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_equal_inputs_give_equal_costs() -> None:
    first, second = (estimate(mobile_block(), SMALL) for _ in range(2))
    assert asdict(first.layers[0]) == asdict(second.layers[0]) and first == second
