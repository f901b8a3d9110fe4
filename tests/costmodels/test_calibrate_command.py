"""Calibration on the CPU: the same command as on a GPU, few and small kernels."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from costmodels import calibrate as command
from costmodels import measure as measuring
from costmodels.board import load_gpu
from costmodels.calibrate import CalibrateOptions, calibrate
from costmodels.errors import CostModelError
from costmodels.gpu import Gemm, Kernel, Profile, kernel_ms, kernel_work, kernels, load_profile
from costmodels.gpu.rates import Rates
from costmodels.measuring import timing
from costmodels.measuring.device import known_gpu, time_ms
from costmodels.measuring.fit import Timed, fit_device, hold_out, judge
from costmodels.measuring.int8_kernels import choose_kernels
from costmodels.measuring.layers import layers
from costmodels.measuring.microkernels import attention, micro_kernels, product
from costmodels.measuring.models import create_model, images
from costmodels.measuring.operators import operators
from costmodels.measuring.quantized import quantize_linears
from costmodels.measuring.record import calibrated_gpu, read_record, save
from costmodels.measuring.runtime import TORCH
from costmodels.measuring.trace import trace
from costmodels.measuring.traced_int8 import trace_int8

CPU = torch.device("cpu")
SMALL = CalibrateOptions(
    device="cpu",
    models=["test_vit"],
    held_models=["test_efficientnet"],
    int8_models=["test_vit"],
    batches=["1"],
    operator_batches=["1"],
    most_mmacs=40.0,
    most_melements=0.6,
    repeats=3,
)


@pytest.fixture(scope="module")
def found():
    return calibrate(SMALL, verbose=False)


def test_fit_and_judgement_see_kernels_and_models(found) -> None:
    """How near the fit comes, benchmarks say: a busy machine has no times to test."""
    points = {part: errors["points"] for part, errors in found["errors"].items()}
    assert points["held_out_kernels"] >= 15 and points["fitted_kernels"] >= 35
    assert (points["fitted_models"], points["held_out_models"]) == (2, 1)
    for errors in found["errors"].values():
        assert errors["mean_error"] > 0 and -1 <= errors.get("rank_correlation", 0) <= 1


def test_the_record_holds_device_versions_and_every_measurement(found, tmp_path) -> None:
    save(tmp_path / "cpu.json", found)
    record = json.loads((tmp_path / "cpu.json").read_text())
    assert record["device"]["type"] == "cpu" and record["device"]["torch"] == torch.__version__
    assert all(record["device"][key] for key in ("name", "date", "python", "timm"))
    assert {one["kind"] for one in record["measurements"]} == {"kernel", "model"}
    assert all(one["measured_ms"] > 0 for one in record["measurements"])
    assert f"{100 * record['errors']['held_out_kernels']['mean_error']:.1f} %" in record["backing"]


def test_the_record_is_a_profile_that_predicts_as_it_says(found, tmp_path) -> None:
    save(tmp_path / "cpu.json", found)
    profile = load_profile(str(tmp_path / "cpu.json"))
    timed, read, gpu, device = read_record(tmp_path / "cpu.json")
    assert read == profile and gpu == calibrated_gpu(tmp_path / "cpu.json")
    assert device == found["device"] and len(timed) == len(found["measurements"])
    for one, measured in zip(timed, found["measurements"], strict=True):
        alone = replace(profile, gap_us=0.0) if one.kind == "kernel" else profile
        modelled = kernel_ms(kernel_work(one.kernels, gpu, one.batch), alone).sum()
        assert modelled == pytest.approx(measured["predicted_ms"], rel=1e-4)


def test_a_record_is_fitted_again_without_the_device(found, tmp_path, capsys) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    save(first, found)
    assert command.main([f"record={first}", f"out={second}"]) == 0
    assert json.loads(second.read_text()) == json.loads(first.read_text())
    (tmp_path / "other.json").write_text('{"gpu": 1}')
    assert command.main([f"record={tmp_path / 'other.json'}"]) == 2
    assert "holds no device" in capsys.readouterr().err


def test_operators_of_a_model_are_timed_alone_and_counted_once(found) -> None:
    names = [one["name"] for one in found["measurements"] if one["kind"] == "kernel"]
    assert len(names) == len(set(names))
    assert any(name.startswith("convolution ") for name in names)
    assert any(name.startswith("native_layer_norm ") for name in names)


def test_the_fit_never_sees_what_is_held_out() -> None:
    """Kernels that known rates time are fitted exactly, whatever the held-out ones say."""
    rates = Rates(0, 0.5, 0.4, 0.7, 6.0, start_us=3.0)
    truth, gpu = Profile("truth", rates, TORCH), load_gpu("t4")
    chosen = micro_kernels(("fp32", "int8"), 4e7, 6e5)
    held = hold_out(len(chosen), 3)
    assert 0.2 < np.mean(held) < 0.4 and held != hold_out(len(chosen), 4)
    timed = []
    for micro, out in zip(chosen, held, strict=True):
        exact = float(kernel_ms(kernel_work([micro.kernel], gpu, 1), truth)[0])
        taken = 9 * exact if out else exact
        timed.append(Timed("kernel", micro.name, "fp32", 1, (micro.kernel,), taken, out))
    profile, errors = fit_device(timed, gpu, TORCH)
    assert errors["fitted_kernels"]["mean_error"] < 0.02
    assert errors["held_out_kernels"]["mean_error"] == pytest.approx(8 / 9, abs=0.02)
    assert errors == judge(timed, gpu, profile)
    assert {"product", "integer_product", "softmax"} <= set(profile.kinds)


def test_models_say_how_much_longer_kernels_take_among_others() -> None:
    """Networks of kernels that take 3 us alone and 4.25 us in a network."""
    truth = Profile("truth", Rates(0, 1, 1, 1, 0, start_us=3.0), TORCH)
    gpu, timed = load_gpu("h200"), []
    for count in range(1, 9):
        kernel = Kernel("k", activation_bytes=1e5 * count, elements=1000 * count, kind="add")
        taken = float(kernel_ms(kernel_work([kernel], gpu, 1), truth)[0])
        timed.append(Timed("kernel", f"k{count}", "fp16", 1, (kernel,), taken, False))
        network = count * (taken + 1.25e-3)
        timed.append(Timed("model", f"m{count}", "fp16", 1, (kernel,) * count, network, False))
    profile, errors = fit_device(timed, gpu, TORCH)
    assert profile.gap_us == pytest.approx(1.25, abs=0.06)
    assert errors["fitted_models"]["mean_error"] < 0.01


def test_micro_kernels_compute_what_their_model_says() -> None:
    gemm = product(40, 16, 24, "int8")
    assert gemm.kernel.gemms == (Gemm(40, 24, 16, 1, "int8"),)
    result = gemm.build(CPU)()
    assert result.shape == (40, 24) and result.dtype == torch.int8
    assert gemm.kernel.weight_bytes == 16 * 24
    assert gemm.kernel.activation_bytes == 40 * 16 + 40 * 24
    assert attention(6, 10, 8, "fp32").build(CPU)().shape == (1, 6, 10, 8)
    for micro in micro_kernels(("fp32", "int8"), 1e6, 2e4):
        assert isinstance(micro.build(CPU)(), torch.Tensor)


def test_layers_take_the_images_they_say() -> None:
    for name, layer, shape in layers():
        assert layer(torch.zeros(1, *shape)).shape[0] == 1, name


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 4, 4)
        self.norm, self.fc = torch.nn.LayerNorm(8), torch.nn.Linear(8, 8)

    def forward(self, x):
        x = self.conv(x).flatten(2).transpose(1, 2)
        for _ in range(3):
            x = x + torch.nn.functional.gelu(self.fc(self.norm(x)))
        return x.mean(1)


def test_operators_are_those_of_the_model_and_run_alone() -> None:
    found = operators(Small().eval(), torch.randn(2, 3, 8, 8), "fp32", TORCH)
    kinds = [one.kernel.kind for one in found]
    assert kinds.count("product") == 1 and kinds.count("gelu") == 1  # equal ones once
    assert kinds[0] == "patches" and found[0].call().shape == (2, 8, 2, 2)
    assert {"layer_norm", "pool"} <= set(kinds)
    image = torch.randn(2, 3, 8, 8)
    conv = torch.nn.Conv2d(3, 8, 4, 4)
    (alone,) = operators(conv, image, "fp32", TORCH)
    torch.testing.assert_close(alone.call(), conv(image) - conv.bias[:, None, None])


def test_int8_layers_are_traced_as_the_kernels_they_launch() -> None:
    model, size = create_model("test_vit")
    image = images(1, size, "fp32", CPU)
    plain = trace(model, image, "vit")
    wanted = model(image)
    quantize_linears(model, image, choose_kernels("torch", CPU))
    traced = trace_int8(model, image, "vit")
    before = [layer.macs for layer in plain.layers]
    assert [layer.macs for layer in traced.layers] == before
    launched = kernels(traced, "int8", TORCH)
    found = [kernel.kind for kernel in launched]
    linears = sum(layer.kind == "linear" for layer in plain.layers)
    assert found.count("integer_product") == linears and found.count("attention") > 0
    assert found.count("quantize") == linears - found.count("table") > 0
    assert (model(image) - wanted).abs().max() < 0.1 * wanted.abs().max() + 0.1  # still runs


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
    assert kinds == ["conv", "gelu", "depthwise", "layer_norm", "linear", "row_softmax"]
    assert traced.vector_operations[0].fused_into == traced.layers[0].name
    assert len(kernels(traced, "fp32", TORCH)) == 6


def test_what_reads_other_strides_than_it_writes_is_strided() -> None:
    class Moves(torch.nn.Module):
        def forward(self, x):
            turned = x.transpose(2, 3)
            x = x + 1
            x = x + x
            x = x.clone()
            x = turned.contiguous()
            x = turned + x
            return x + x[:1, :1, :1]

    traced = trace(Moves(), torch.randn(1, 3, 6, 6), "moves")
    functions = [operation.function for operation in traced.vector_operations]
    assert functions == ["affine", "add", "copy", "strided", "strided_pair", "strided"]
    last = torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    (kept,) = trace(torch.nn.ReLU(), last, "kept").vector_operations
    assert kept.function == "relu"


def test_a_bias_is_a_kernel_of_its_own_where_asked() -> None:
    conv, image = torch.nn.Conv2d(3, 4, 3), torch.randn(1, 3, 6, 6)
    assert len(trace(conv, image, "c").operations) == 1
    _, bias = trace(conv, image, "c", add_biases=True).operations
    assert (bias.function, bias.elements) == ("strided", 4 * 4 * 4)


def test_attention_is_traced_as_two_products_and_a_softmax() -> None:
    class Attention(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.scaled_dot_product_attention(x, x, x)

    traced = trace(Attention(), torch.randn(1, 3, 10, 8), "attention")
    assert [layer.macs for layer in traced.layers] == [3 * 10 * 10 * 8] * 2
    (kernel,) = kernels(traced, "fp16", TORCH)
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
        (["device=cpu", "batches=[1,x]"], "batches must be whole numbers of at least 1, not 'x'"),
        (["repeats=few"], "repeats must be of type int"),
        (["device=cpu", "repeats=0"], "repeats must be at least 1"),
        (
            ["device=cpu", "operator_batches=[0]"],
            "operator_batches must be whole numbers of at least 1, not '0'",
        ),
        (["record=absent.json"], "cannot read the GPU profile absent.json"),
        (["graphs=perhaps"], "graphs must be true or false"),
        (["device"], "'device' has no value"),
    ],
)
def test_mistakes_get_one_line_and_exit_2(arguments, message, capsys, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize("module", [command, measuring])
def test_a_file_that_cannot_be_written_is_said_before_measuring(
    module, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.setattr(module, module.__name__.split(".")[-1], None)  # would fail if called
    assert module.main(["device=cpu", f"out={tmp_path / 'absent' / 'x.json'}"]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert module.main(["device=cpu", f"out={tmp_path}"]) == 2
    assert "it is a folder" in capsys.readouterr().err


def test_an_interrupted_calibration_says_so_and_writes_nothing(
    tmp_path, capsys, monkeypatch
) -> None:
    def stop(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "calibrate", stop)
    assert command.main(["device=cpu", f"out={tmp_path / 'x.json'}"]) == 130
    error = capsys.readouterr().err
    assert error == "interrupted: nothing is written\n" and not list(tmp_path.iterdir())


def test_an_unknown_model_is_named(monkeypatch) -> None:
    monkeypatch.setattr(timing, "micro_kernels", lambda *arguments: [])
    with pytest.raises(CostModelError, match="timm has no 'swim_tiny'"):
        calibrate(replace(SMALL, models=["swim_tiny"], most_melements=1e-6), verbose=False)


def test_help_names_every_option(capsys) -> None:
    assert command.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} (" in shown for name in CalibrateOptions.__dataclass_fields__)


def test_measurements_that_are_no_numbers_are_refused(tmp_path) -> None:
    kernel = Kernel("k", activation_bytes=100.0, elements=25)
    timed = [Timed("kernel", "k", "fp32", 1, (kernel,), float("nan"), False)]
    with pytest.raises(CostModelError, match="positive and finite"):
        fit_device(timed, load_gpu("t4"), TORCH)
    with pytest.raises(CostModelError, match="cannot be written"):
        save(tmp_path / "nan.json", {"value": float("nan")})
    with pytest.raises(CostModelError, match="cannot be written"):
        save(tmp_path / "absent" / "x.json", {})
    assert list(tmp_path.iterdir()) == []
