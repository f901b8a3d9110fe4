"""Calibration on the CPU: the same command as on a GPU, few and small kernels."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from costmodels import calibrate as command
from costmodels.board import load_gpu
from costmodels.calibrate import CalibrateOptions, calibrate
from costmodels.errors import CostModelError
from costmodels.gpu import DEFAULT, Gemm, Kernel, kernel_ms, kernel_work, kernels, load_profile
from costmodels.measuring.device import known_gpu, time_ms
from costmodels.measuring.fit import EAGER, Timed, fit_device, hold_out, judge
from costmodels.measuring.microkernels import attention, micro_kernels, product
from costmodels.measuring.models import create_model, images
from costmodels.measuring.record import calibrated_gpu, save
from costmodels.measuring.trace import trace

CPU = torch.device("cpu")
SMALL = CalibrateOptions(
    device="cpu",
    models=["test_vit"],
    held_models=["test_efficientnet"],
    batches=[1],
    most_mmacs=40.0,
    most_melements=0.6,
    repeats=3,
)


@pytest.fixture(scope="module")
def found():
    return calibrate(SMALL, verbose=False)


def test_the_fit_ranks_kernels_it_has_not_seen(found) -> None:
    """Their times span three decades; a busy machine moves them by a factor of two."""
    assert found["errors"]["held_out_kernels"]["points"] >= 15
    assert found["errors"]["held_out_kernels"]["rank_correlation"] >= 0.6


def test_the_record_holds_device_versions_and_every_measurement(found, tmp_path) -> None:
    save(tmp_path / "cpu.json", found)
    record = json.loads((tmp_path / "cpu.json").read_text())
    assert record["device"]["type"] == "cpu" and record["device"]["torch"] == torch.__version__
    assert all(record["device"][key] for key in ("name", "date", "python"))
    assert {one["kind"] for one in record["measurements"]} == {"kernel", "model"}
    assert all(one["measured_ms"] > 0 for one in record["measurements"])
    assert f"{100 * record['errors']['held_out_kernels']['mean_error']:.1f} %" in record["backing"]


def test_the_record_is_a_profile_that_predicts_as_it_says(found, tmp_path) -> None:
    save(tmp_path / "cpu.json", found)
    profile = load_profile(str(tmp_path / "cpu.json"))
    gpu = calibrated_gpu(tmp_path / "cpu.json")
    known = {micro.name: micro.kernel for micro in micro_kernels(("fp32", "int8"), 4e7, 6e5)}
    for one in found["measurements"]:
        if one["kind"] == "kernel":
            modelled = kernel_ms(kernel_work([known[one["name"]]], gpu, 1), profile)[0]
            assert modelled == pytest.approx(one["predicted_ms"])


def test_the_fit_never_sees_what_is_held_out() -> None:
    """Kernels that a known profile times are fitted exactly, whatever the held-out ones say."""
    truth, gpu = replace(load_profile(DEFAULT), fusion=EAGER), load_gpu("t4")
    chosen = micro_kernels(("fp32", "int8"), 4e7, 6e5)
    held = hold_out(len(chosen), 3)
    assert 0.2 < np.mean(held) < 0.4 and held != hold_out(len(chosen), 4)
    timed = []
    for micro, out in zip(chosen, held, strict=True):
        exact = float(kernel_ms(kernel_work([micro.kernel], gpu, 1), truth)[0])
        taken = 9 * exact if out else exact
        timed.append(Timed("kernel", micro.name, "fp32", 1, (micro.kernel,), taken, out))
    profile, errors = fit_device(timed, gpu, EAGER)
    assert errors["fitted_kernels"]["mean_error"] < 0.03
    assert errors["held_out_kernels"]["mean_error"] == pytest.approx(8 / 9, abs=0.02)
    assert errors == judge(timed, gpu, profile)


def test_micro_kernels_compute_what_their_model_says() -> None:
    gemm = product(40, 16, 24, "int8")
    assert gemm.kernel.gemms == (Gemm(40, 24, 16, 1, "int8"),)
    result = gemm.build(CPU)()
    assert result.shape == (40, 24) and result.dtype == torch.int32
    assert gemm.kernel.weight_bytes == 16 * 24
    assert gemm.kernel.activation_bytes == 40 * 16 + 4 * 40 * 24
    assert attention(6, 10, 8, "fp32").build(CPU)().shape == (1, 6, 10, 8)
    for micro in micro_kernels(("fp32", "int8"), 1e6, 2e4):
        assert isinstance(micro.build(CPU)(), torch.Tensor)


@pytest.mark.parametrize(("name", "gmacs"), [("resnet18", 1.82), ("deit_tiny_patch16_224", 1.26)])
def test_traced_models_have_their_published_work(name, gmacs) -> None:
    """Multiply-accumulates of the models: timm's table of results (GMACs)."""
    model, size = create_model(name)
    traced = trace(model, images(1, size, "fp32", CPU), name)
    assert sum(layer.macs for layer in traced.layers) / 1e9 == pytest.approx(gmacs, rel=0.01)


def test_a_trace_has_every_operator_that_computes() -> None:
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, groups=1),
        torch.nn.GELU(),
        torch.nn.Conv2d(4, 4, 3, groups=4),
        torch.nn.Flatten(),
        torch.nn.LayerNorm(16),
        torch.nn.Linear(16, 8),
        torch.nn.Softmax(-1),
    )
    traced = trace(model, torch.randn(1, 3, 6, 6), "all")
    kinds = [getattr(op, "kind", None) or op.function for op in traced.operations]
    assert kinds == ["conv", "table", "depthwise", "layer_norm", "linear", "row_softmax"]
    assert traced.vector_operations[0].fused_into == traced.layers[0].name
    assert len(kernels(traced, "fp32", EAGER)) == 6


def test_attention_is_traced_as_two_products_and_a_softmax() -> None:
    class Attention(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.scaled_dot_product_attention(x, x, x)

    traced = trace(Attention(), torch.randn(1, 3, 10, 8), "attention")
    assert [layer.macs for layer in traced.layers] == [3 * 10 * 10 * 8] * 2
    (kernel,) = kernels(traced, "fp16", EAGER)
    assert kernel.activation_bytes == 2 * 4 * 3 * 10 * 8


def test_timing_counts_the_calls_of_a_stream() -> None:
    """A call that sleeps takes at least as long as its sleep, and is called more than once."""
    calls = []
    taken = time_ms(lambda: (calls.append(1), time.sleep(0.001)), CPU, repeats=3)
    assert taken >= 1.0 and len(calls) > 10


def test_devices_are_known_by_the_names_cuda_gives(monkeypatch) -> None:
    names = {
        "NVIDIA H200": "h200",
        "NVIDIA A100-SXM4-40GB": "a100",
        "NVIDIA A10": "a10",
        "Tesla T4": "t4",
        "NVIDIA GeForce RTX 4090": "rtx4090",
        "NVIDIA H100 80GB HBM3": "h100",
        "NVIDIA A10G": None,
    }
    for name, file in names.items():
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device, name=name: name)
        assert known_gpu(torch.device("cuda")) == file
    assert known_gpu(CPU) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["device=cuda"], "finds no CUDA device here"),
        (["device=tpu"], "device must be cuda or cpu"),
        (["devise=cpu"], "unknown key 'devise'. Did you mean 'device'"),
        (["batches=3"], "batches must be a list"),
        (["repeats=few"], "repeats must be of type int"),
        (["device=cpu", "repeats=0"], "repeats must be at least 1"),
        (["graphs=perhaps"], "graphs must be true or false"),
        (["device"], "'device' has no value"),
    ],
)
def test_mistakes_get_one_line_and_exit_2(arguments, message, capsys, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_an_unknown_model_is_named(monkeypatch) -> None:
    monkeypatch.setattr(command, "_time_kernels", lambda *arguments: [])
    with pytest.raises(CostModelError, match="timm has no 'swim_tiny'"):
        calibrate(replace(SMALL, models=["swim_tiny"]), verbose=False)


def test_help_names_every_option(capsys) -> None:
    assert command.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} (" in shown for name in CalibrateOptions.__dataclass_fields__)


def test_measurements_that_are_no_numbers_are_refused(tmp_path) -> None:
    kernel = Kernel("k", activation_bytes=100.0, elements=25)
    timed = [Timed("kernel", "k", "fp32", 1, (kernel,), float("nan"), False)]
    with pytest.raises(CostModelError, match="positive and finite"):
        fit_device(timed, load_gpu("t4"), EAGER)
    with pytest.raises(CostModelError, match="cannot be written"):
        save(tmp_path / "nan.json", {"value": float("nan")})
    with pytest.raises(CostModelError, match="cannot be written"):
        save(tmp_path / "absent" / "x.json", {})
    assert list(tmp_path.iterdir()) == []
