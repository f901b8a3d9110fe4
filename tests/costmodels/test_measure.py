"""Timing models in INT8: the layers' arithmetic on the CPU, and the command."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodels import measure as command
from costmodels.errors import CostModelError
from costmodels.measure import MeasureOptions, Row, measure, savings
from costmodels.measuring.int8_kernels import TorchKernels
from costmodels.measuring.int8_layers import Int8Linear, Int8Mlp
from costmodels.measuring.models import create_model, images
from costmodels.measuring.quantized import quantize_linears, replace_activations
from costmodels.measuring.stages import OutputStage

KERNELS = TorchKernels()


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 40),
    depth=st.integers(1, 8),
    columns=st.integers(1, 8),
    relu=st.booleans(),
    step=st.sampled_from([None, 0.05, 1.0]),
    seed=st.integers(0, 99),
)
def test_products_of_codes_are_exact(rows, depth, columns, relu, step, seed) -> None:
    torch.manual_seed(seed)
    codes = torch.randint(-128, 128, (rows, 8 * depth), dtype=torch.int8)
    weight = torch.randint(-127, 128, (8 * columns, 8 * depth), dtype=torch.int8)
    scale, bias = 0.001 + torch.rand(8 * columns), torch.randn(8 * columns)
    stage = OutputStage(relu, output_scale=step, dtype=torch.float32)
    result = KERNELS.linear(codes, weight, scale, bias, stage)
    wanted = (codes.long() @ weight.long().t()).float() * scale + bias
    wanted = wanted.clamp(min=0) if relu else wanted
    if step is None:
        assert torch.equal(result, wanted)
    else:
        assert torch.equal(result.float(), torch.floor(wanted * (1 / step) + 0.5).clamp(-128, 127))


@pytest.mark.parametrize("bias", [True, False])
def test_an_int8_layer_is_within_its_quantisation_error(bias) -> None:
    """Each operand is off by half a step at most: the sum of the products' bounds."""
    torch.manual_seed(1)
    layer, values = torch.nn.Linear(64, 24, bias=bias), torch.randn(2, 5, 64)
    largest = float(values.abs().max())
    quantised = Int8Linear(layer, largest, KERNELS)
    steps = layer.weight.detach().abs().amax(1) / 127
    step = largest / 127
    bound = values.abs().sum(-1, keepdim=True) * steps / 2
    bound = bound + step / 2 * (layer.weight.detach().abs() + steps[:, None] / 2).sum(1)
    error = (quantised(values) - layer(values)).abs()
    assert torch.all(error <= bound + 1e-5) and error.max() > 0


@pytest.mark.parametrize("activation", [torch.nn.GELU(), torch.nn.ReLU()])
def test_an_int8_mlp_follows_the_float_one(activation) -> None:
    torch.manual_seed(2)
    first, second, values = torch.nn.Linear(64, 128), torch.nn.Linear(128, 64), torch.randn(50, 64)
    before = first(values).detach()
    after = activation(before)
    mlp = Int8Mlp(
        Int8Linear(first, float(values.abs().max()), KERNELS),
        activation,
        Int8Linear(second, float(after.abs().max()), KERNELS),
        float(before.abs().max()),
    )
    wanted = second(after)
    assert float(((mlp(values) - wanted).norm() / wanted.norm()).detach()) < 0.03


def test_the_table_holds_the_function_of_every_code() -> None:
    first, second = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)
    layers = (Int8Linear(first, 1.0, KERNELS), Int8Linear(second, 2.0, KERNELS))
    mlp = Int8Mlp(layers[0], torch.nn.GELU(), layers[1], 3.0)
    codes = torch.arange(-128, 128).to(torch.int8)
    values = torch.nn.functional.gelu(codes.double() * 3 / 127) * 127 / 2
    found = KERNELS.look_up(codes, mlp.table)
    assert (found.double() - values.clamp(-128, 127)).abs().max() <= 0.5 + 1e-4


def test_every_linear_layer_of_a_model_becomes_int8() -> None:
    model, size = create_model("test_vit")
    linears = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    blocks = replace_activations(model, "relu")
    count = quantize_linears(model, images(2, size, "fp32", torch.device("cpu")), KERNELS)
    assert count == len(linears)
    assert sum(isinstance(m, Int8Mlp) and m.relu for m in model.modules()) == blocks > 0


def test_models_that_cannot_run_in_int8_are_refused() -> None:
    image = torch.randn(1, 3, 8, 8)
    with pytest.raises(CostModelError, match="no linear layer that runs in INT8"):
        quantize_linears(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3)), image, KERNELS)
    with pytest.raises(CostModelError, match="no activation modules"):
        replace_activations(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3)), "relu")
    broken = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 8))
    with pytest.raises(CostModelError, match="the input of '1' is not finite"):
        quantize_linears(broken, image * float("nan"), KERNELS)


def test_the_command_times_both_activations(tmp_path, capsys) -> None:
    out = tmp_path / "rows.json"
    arguments = ["device=cpu", "model=test_vit", "precisions=[fp32,int8]", "batches=[1,2]"]
    assert command.main([*arguments, "repeats=1", f"out={out}"]) == 0
    record = json.loads(out.read_text())
    keys = {(row["precision"], row["activation"], row["batch"]) for row in record["rows"]}
    assert keys == {(p, a, b) for p in ("fp32", "int8") for a in ("gelu", "relu") for b in (1, 2)}
    for row in record["rows"]:
        assert row["latency_ms"] > 0
        assert (row["logit_error"] == 0) == (row["precision"] == "fp32")
        assert row["logit_error"] < 0.1
    assert len(record["savings"]) == 4 and "less time than GELU" in capsys.readouterr().out


def test_savings_by_hand() -> None:
    rows = [Row("int8", "gelu", 8, 2.0, 0.0), Row("int8", "relu", 8, 1.5, 0.0)]
    rows.append(Row("fp16", "gelu", 8, 4.0, 0.0))
    assert savings(rows) == [{"precision": "int8", "batch": 8, "saved_pct": 25.0}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "device=cuda: PyTorch finds no CUDA device here"),
        (["precisions=[int3]"], "precisions must be of fp32, fp16, bf16, int8, not 'int3'"),
        (["activations=[]"], "activations must be of gelu, relu, not empty"),
        (["kernels=cutlass"], "kernels must be of"),
        (["batches=[0]"], "batches must be at least 1"),
        (["device=cpu", "model=swim"], "timm has no 'swim'"),
        (["modell=x"], "Did you mean 'model'"),
    ],
)
def test_mistakes_get_one_line_and_exit_2(arguments, message, capsys, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_the_commands_import_neither_the_framework_nor_its_tools() -> None:
    """A machine that only measures has torch, timm and numpy."""
    code = (
        "import sys; import costmodels.measure, costmodels.calibrate;"
        "first = {'torch', 'timm', 'yaml'} & set(sys.modules);"
        "import costmodels.measuring.quantized, costmodels.measuring.trace;"
        "heavy = {'codesign', 'ray', 'optuna', 'scalesim', 'omegaconf'} & set(sys.modules);"
        "print(sorted(first | heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


TRITON = """
import torch
from costmodels.measuring.int8_kernels import TorchKernels
from costmodels.measuring.stages import OutputStage
from costmodels.measuring.triton_kernels import TritonKernels

ours, wanted = TritonKernels(), TorchKernels()
torch.manual_seed(0)
for m, k, n in ((5, 40, 24), (70, 96, 72)):
    values = torch.randn(m, k) * 3
    codes = ours.quantize(values, 0.03)
    assert torch.equal(codes, wanted.quantize(values, 0.03))
    table = torch.randint(-128, 128, (256,), dtype=torch.int8)
    assert torch.equal(ours.look_up(codes, table), wanted.look_up(codes, table))
    weight = torch.randint(-127, 128, (n, k), dtype=torch.int8)
    scale, bias = torch.rand(n) * 0.01, torch.randn(n)
    for relu in (False, True):
        for step in (None, 0.3):
            stage = OutputStage(relu, output_scale=step, dtype=torch.float32)
            found = ours.linear(codes, weight, scale, bias, stage)
            assert torch.equal(found, wanted.linear(codes, weight, scale, bias, stage))
print("equal")
"""


def test_triton_kernels_equal_the_reference_or_are_refused() -> None:
    """Triton's interpreter runs the kernels on the CPU; without Triton the command says so."""
    if importlib.util.find_spec("triton") is None:
        with pytest.raises(CostModelError, match="Triton is not installed"):
            measure(MeasureOptions(device="cpu", model="test_vit", kernels="triton"))
        return
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", TRITON], capture_output=True, text=True, env=environment
    )
    assert done.stdout.strip() == "equal", done.stderr
