"""The GPU roofline against published latencies."""

import pytest
from sample_workloads import conv, linear, matmul

from costmodels.board import gpu_names, load_gpu
from costmodels.errors import CostModelError
from costmodels.gpu import FASTER_TRANSFORMER, kernels, latency_ms, tile_utilisation
from costmodels.gpu_fit import fit, mape, points, swin
from costmodels.workload import VectorOperation, Workload


def test_shipped_parameters_are_the_fit() -> None:
    assert fit() == FASTER_TRANSFORMER


def test_error_on_the_fitted_model() -> None:
    assert len(points("tiny")) == 28
    assert mape(FASTER_TRANSFORMER, points("tiny")) <= 0.15


@pytest.mark.parametrize("model", ["small", "base", "large"])
def test_error_on_models_the_fit_has_not_seen(model: str) -> None:
    assert mape(FASTER_TRANSFORMER, points(model)) <= 0.20


def test_relu_saves_what_was_published_for_swin() -> None:
    """Replacing GELU by ReLU saves at least 11 % on an RTX 4090 (arXiv 2402.01169, abstract)."""
    gelu = swin("tiny")
    relu = Workload(
        "relu",
        tuple(
            VectorOperation(op.name, "relu", op.elements, fused_into=op.fused_into)
            if isinstance(op, VectorOperation) and op.function == "table"
            else op
            for op in gelu.operations
        ),
        0,
    )
    gpu = load_gpu("rtx4090")
    saved = 1 - latency_ms(relu, gpu) / latency_ms(gelu, gpu)
    assert 0.10 <= saved <= 0.20


def test_swin_has_its_published_work() -> None:
    """4.5 GFLOP and 28 M parameters: Liu et al., ICCV 2021, table 1."""
    layers = swin("tiny").layers
    assert sum(layer.macs for layer in layers) == pytest.approx(4.5e9, rel=0.02)
    weights = sum(layer.weight_elements for layer in layers if layer.kind != "matmul")
    assert weights == pytest.approx(28e6, rel=0.02)


def test_attention_is_one_kernel() -> None:
    operations = (
        linear("qkv"),
        matmul("qk"),
        VectorOperation("requantize", "requantize", 768, fused_into="qk"),
        VectorOperation("softmax", "softmax", 768, 16, fused_into="qk"),
        matmul("av", 16, 16, 8),
        linear("proj"),
    )
    assert [k.name for k in kernels(Workload("a", operations, 0))] == ["qkv", "qk", "proj"]


def test_products_without_softmax_stay_apart() -> None:
    operations = (matmul("kv"), matmul("qkv"))
    assert [k.name for k in kernels(Workload("a", operations, 0))] == ["kv", "qkv"]


def test_every_gpu_loads_with_its_sources() -> None:
    for name in gpu_names():
        gpu = load_gpu(name)
        assert gpu.bandwidth_gb_s > 0
        assert all(gpu.sources.values()) and len(gpu.sources) == 5


def test_compute_bound_kernel_runs_at_the_peak() -> None:
    """One large product of whole tiles in whole waves: operations over the usable peak."""
    gpu = load_gpu("a100")
    side = 128 * 108
    layer = linear("big", side, 4096, side)
    seconds = 2 * layer.macs / (gpu.int8_tops * 1e12 * FASTER_TRANSFORMER.compute_efficiency)
    assert latency_ms(Workload("b", (layer,), 0), gpu) == pytest.approx(1e3 * seconds)


def test_depthwise_convolutions_leave_the_tensor_cores_idle() -> None:
    (kernel,) = kernels(Workload("d", (conv(channels=8, filters=8, groups=8),), 0))
    assert kernel.gemms == () and kernel.scalar_macs == 256 * 9 * 8


def test_tiles_of_a_batch_of_single_products_join() -> None:
    assert tile_utilisation(32, 128, 1, 4, 1) == 1.0


def test_unknown_names_are_listed() -> None:
    with pytest.raises(CostModelError, match=r"'a1000'\. Did you mean 'a100'"):
        load_gpu("a1000")
    with pytest.raises(CostModelError, match="unknown precision 'int4'"):
        latency_ms(swin("tiny"), load_gpu("t4"), precision="int4")
