"""Batches: by hand, against single images, and against SCALE-Sim run in full."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_workloads import conv, linear, matmul, mobile_block

from costmodels.accelerator import Accelerator
from costmodels.batch import batched
from costmodels.board import load_gpu
from costmodels.errors import CostModelError
from costmodels.estimate import estimate
from costmodels.explain import explain
from costmodels.formats import Format, estimate_layers
from costmodels.gpu import latency_ms
from costmodels.many import estimate_many
from costmodels.scalesim import full_run, layer_task
from costmodels.workload import MatrixLayer, VectorOperation, Workload

SMALL = Accelerator(mac_rows=8, mac_cols=8, shift_rows=0, shift_cols=0)


def test_a_batch_of_one_is_the_workload_itself() -> None:
    block = mobile_block()
    assert batched(block, 1) is block
    assert estimate(block, SMALL, batch=1) == estimate(block, SMALL)


def test_what_a_batch_asks_by_hand() -> None:
    stem, _, dw, *_, scores, softmax, _, _, _, _ = batched(mobile_block(), 5).operations
    assert isinstance(stem, MatrixLayer) and isinstance(dw, MatrixLayer)
    assert (stem.m, stem.k, stem.n, stem.repeats) == (5 * 256, 72, 16, 1)
    assert (stem.input_elements, stem.weight_elements) == (5 * 16 * 16 * 8, 72 * 16)
    assert (stem.in_height, stem.kernel_height) == (18, 3)
    assert (dw.m, dw.repeats, dw.weight_elements) == (5 * 256, 16, 9 * 16)
    assert isinstance(scores, MatrixLayer) and isinstance(softmax, VectorOperation)
    assert (scores.m, scores.repeats) == (64, 5 * 3)
    assert scores.weight_elements == 5 * 3 * 8 * 64
    assert (softmax.elements, softmax.row_length) == (5 * 3 * 64 * 64, 64)


def test_weights_of_a_layer_that_waits_for_them_are_read_once() -> None:
    """One row of 1,000 x 1,000 weights: 16 images take hardly longer than one."""
    head = Workload("head", (linear("head", 1, 1000, 1000),), 0)
    one, many = (estimate(head, SMALL, batch=n) for n in (1, 16))
    constants = 7 * 1000
    assert one.layers[0].dram_bytes == 1000 * 1000 + constants + 2 * 1000
    assert many.layers[0].dram_bytes == 1000 * 1000 + constants + 16 * 2 * 1000
    assert one.layers[0].bound_by == "array"  # 125 folds of 1000 + 14 cycles for 8 rows at once
    assert one.layers[0].cycles == 125 * (1000 + 14)
    assert many.layers[0].cycles == 2 * 125 * (1000 + 14)


def test_which_metrics_are_the_batch_s_and_which_an_image_s() -> None:
    block = mobile_block()
    cost = estimate(block, SMALL, batch=6, gpus=("t4",))
    m, one = cost.metrics, estimate(block, SMALL, gpus=("t4",)).metrics
    whole = estimate(batched(block, 6), SMALL).metrics
    assert cost.batch == 6 and cost.to_json()["batch"] == 6
    for name in ("latency_ms", "cycles", "compute_cycles", "vector_cycles", "dram_mb"):
        assert m[f"fpga.{name}"] == whole[f"fpga.{name}"]
    assert m["fpga.cycles"] == sum(layer.cycles for layer in cost.layers)
    assert m["fpga.fps"] == pytest.approx(6e3 / m["fpga.latency_ms"])
    assert m["fpga.energy_mj"] == pytest.approx(whole["fpga.energy_mj"] / 6)
    assert m["gpu.t4.latency_ms"] == pytest.approx(latency_ms(block, load_gpu("t4"), batch=6))
    assert {n: v for n, v in m.items() if n.startswith("model.")} == {
        n: v for n, v in one.items() if n.startswith("model.")
    }
    assert m["fpga.dsp"] == one["fpga.dsp"] and m["fpga.bram36"] == one["fpga.bram36"]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 9),
    st.integers(5, 24),
    st.sampled_from(["os", "ws", "is"]),
    st.integers(1, 16),
    st.integers(1, 3),
)
def test_a_batch_asks_no_more_than_its_images_one_by_one(
    images: int, size: int, dataflow: str, kilobytes: int, stride: int
) -> None:
    buffers = {f"{name}_buffer_kb": kilobytes for name in ("input", "weight", "output")}
    accelerator = replace(SMALL, dataflow=dataflow, **buffers)
    layer = conv("c", size, 6, 20, stride=stride)
    halo = max(0, 3 - stride) * (size + 2) * 6
    for operation, seams in ((layer, halo), (matmul("a"), 0), (linear("l", size, 60, 70), 0)):
        workload = Workload("w", (operation,), 0)
        one, many = (estimate(workload, accelerator, batch=n).layers[0] for n in (1, images))
        assert many.compute_cycles <= images * one.compute_cycles
        assert many.dram_bytes <= images * (one.dram_bytes + seams)
        moved = operation.input_elements + operation.output_elements
        weights = operation.weight_elements * (images if operation.kind == "matmul" else 1)
        assert many.dram_bytes >= images * moved + weights


@pytest.mark.parametrize("dataflow", ["os", "ws", "is"])
def test_cycles_of_a_batch_are_scale_sims_in_full(dataflow: str) -> None:
    """A batch's convolution is the product of the rows of all its images."""
    accelerator = replace(SMALL, mac_rows=4, dataflow=dataflow, depthwise_lanes=0)
    layers = (
        conv("strided", 9, 4, 6, stride=2),
        conv("dw", 7, 4, 4, groups=4),
        linear("fc", 5, 9, 11),
        matmul("qk", 6, 4, 6, repeats=2),
    )
    workload = Workload("w", layers, 0)
    closed = estimate(workload, accelerator, batch=3)
    for layer, cost in zip(batched(workload, 3).layers, closed.layers, strict=True):
        task = layer_task(layer, 4, 8, dataflow)
        assert task.product == (layer.m, layer.k, layer.n)
        assert (full_run(task).reported + 1) * layer.repeats == cost.compute_cycles
    simulated = estimate(workload, accelerator, batch=3, cycles="scalesim")
    assert simulated.layers == closed.layers
    assert simulated.metrics["scalesim.cycles"] == closed.metrics["fpga.compute_cycles"]


def test_tables_of_formats_and_explanations_are_of_the_batch() -> None:
    layer = linear("fc", 40, 200, 300)
    table = estimate_layers([layer], [Format(8, 8)], SMALL, batch=4)
    workload = Workload("fc", (layer,), 0)
    cost = estimate(workload, SMALL, batch=4)
    assert table.figures["cycles"][0, 0] == cost.layers[0].cycles
    explanation = explain(workload, SMALL, batch=4)
    assert explanation.cost == cost and explanation.to_json()["batch"] == 4
    assert explanation.rows[0].macs == 4 * layer.macs
    assert explanation.rows[0].shape == "160 x 200 x 300"


@pytest.mark.parametrize("batch", [0, -1, 1.0, True, "2", 2**20])
def test_wrong_batches_are_named(batch: object) -> None:
    for price in (
        lambda: estimate(mobile_block(), SMALL, batch=batch),  # type: ignore[arg-type]
        lambda: estimate_many(mobile_block(), [SMALL], batch=batch),  # type: ignore[arg-type]
        lambda: estimate_layers([linear()], [Format(8, 8)], SMALL, batch=batch),  # type: ignore[arg-type]
    ):
        with pytest.raises(CostModelError, match="batch must be"):
            price()


def test_a_batch_too_large_to_count_is_an_error() -> None:
    layer = linear("fc", 2**12, 2**12, 2**16)
    with pytest.raises(CostModelError, match=r"'fc': m x k x n x repeats"):
        estimate(Workload("w", (layer,), 0), SMALL, batch=2**11)
