"""Swin blocks of few INT8 kernels: their arithmetic, their order of rows, the whole network."""

import copy
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from timm.models.swin_transformer import SwinTransformer, SwinTransformerBlock, window_partition
from torch.utils._python_dispatch import TorchDispatchMode

from costmodels.errors import CostModelError
from costmodels.measure import MeasureOptions, measure
from costmodels.measuring import torch_rows
from costmodels.measuring.int8_kernels import TorchKernels
from costmodels.measuring.models import create_model, images
from costmodels.measuring.quantized import carried, quantize_linears, replace_activations
from costmodels.measuring.stages import Windows
from costmodels.measuring.swin import (
    Int8Merging,
    Int8SwinBlock,
    RowNorm,
    position_bias,
    window_order,
)

KERNELS = TorchKernels()


def network(activation="gelu", **changes):
    """A Swin with a shifted block, its attention far from uniform."""
    torch.manual_seed(3)
    sizes = {"img_size": 56, "depths": (2, 2), "embed_dim": 32, "num_heads": (1, 2)}
    model = SwinTransformer(**sizes | {"num_classes": 16} | changes).eval()
    replace_activations(model, activation)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "qkv.weight" in name:
                value.copy_(torch.randn_like(value) * 1.5 / value.shape[1] ** 0.5)
            elif "relative_position_bias_table" in name:
                value.copy_(torch.randn_like(value))
            elif "norm" in name or "bias" in name:
                value.add_(torch.randn_like(value) * 0.2)
            elif value.ndim == 2:
                value.copy_(torch.randn_like(value) / value.shape[1] ** 0.5)
    return model


@torch.no_grad()
def difference(model, wanted, image):
    return float((model(image) - wanted(image)).norm() / wanted(image).norm())


@pytest.mark.parametrize("size", [(14, 14), (7, 21), (21, 14)])
@pytest.mark.parametrize("shift", [(0, 0), (3, 3), (3, 0), (0, 2)])
def test_the_order_and_the_regions_are_those_of_timm(size, shift) -> None:
    order, regions = window_order(size, (7, 7), shift)
    image = torch.arange(size[0] * size[1]).view(1, *size, 1)
    rolled = image.roll((-shift[0], -shift[1]), (1, 2))
    assert torch.equal(order.long(), window_partition(rolled, (7, 7)).flatten())
    block = SwinTransformerBlock(8, size, 1, window_size=7, always_partition=True)
    block.shift_size = shift
    mask = block.get_attn_mask(device=torch.device("cpu"), dtype=torch.float32)
    other = regions[:, :, None] != regions[:, None, :]
    assert torch.equal(other * -100.0, torch.zeros_like(other * 1.0) if mask is None else mask)


def test_rows_scattered_in_the_windows_order_come_back() -> None:
    order, _ = window_order((14, 14), (7, 7), (3, 3))
    rows = torch.randn(2 * 196, 5)
    gathered = rows.view(2, 196, 5)[:, order].flatten(0, 1)
    assert torch.equal(torch_rows.scatter_rows(gathered, order), rows)


def test_the_bias_is_that_of_timm_and_fills_the_tile() -> None:
    attention = network().layers[1].blocks[0].attn
    bias = position_bias(attention)
    assert bias.shape == (2, 64, 64)
    assert torch.equal(bias[:, :49, :49], attention._get_rel_pos_bias()[0])
    assert torch.all(bias[:, :49, 49:] == -30000) and torch.all(bias.half().isfinite())


@pytest.mark.parametrize("masked", [False, True])
def test_attention_on_codes_is_the_float_one_of_their_values(masked) -> None:
    """The scores are exact; weights are rounded to FP16, the result to codes."""
    torch.manual_seed(4)
    heads, head, steps, out = 2, 32, (0.02, 0.03, 0.01), 0.0101
    codes = torch.randint(-128, 128, (8 * 49, 3 * heads * head), dtype=torch.int8)
    bias = torch.nn.functional.pad(torch.randn(heads, 49, 49), (0, 15, 0, 15))
    _, regions = window_order((14, 14), (7, 7), (3, 3))
    scales = steps[0] * steps[1] / 32, steps[2] / out
    windows = Windows(bias, regions if masked else None, 49, *scales)
    found = KERNELS.window_attention(codes, windows)
    parts = codes.double().reshape(8, 49, 3, heads, head).permute(2, 0, 3, 1, 4)
    query, key, value = (part * step for part, step in zip(parts, steps, strict=True))
    other = (regions[:, :, None] != regions[:, None, :]).double() * -100
    added = bias[:, :49, :49].double() + masked * other.repeat(2, 1, 1)[:, None]
    wanted = ((query @ key.transpose(-2, -1)) / 32 + added).softmax(-1) @ value
    wanted = wanted.transpose(1, 2).reshape(8 * 49, -1) / out
    assert float((found - wanted).abs().max()) < 0.5 + 127 * steps[2] / out / 1024
    assert 10 < found.float().std() < 127


@pytest.mark.parametrize("place", [0, 1])
def test_a_fused_block_follows_the_float_one(place) -> None:
    """Another bias or another order of the rows is far beyond the quantisation error."""
    model, image = network(), torch.randn(2, 3, 56, 56)
    block, seen = model.layers[0].blocks[place], []
    hook = block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(image)
        hook.remove()
        quantised = copy.deepcopy(model)
        quantize_linears(quantised, image, KERNELS, fused=True)
        fused, values = quantised.layers[0].blocks[place], seen[0]
        assert isinstance(fused, Int8SwinBlock) and any(block.shift_size) == bool(place)

        def error():
            change = block(values) - values
            return float((fused(values) - values - change).norm() / change.norm())

        assert 0 < error() < 0.03
        fused.attn.position_bias.copy_(fused.attn.position_bias.roll(1, 1))
        assert error() > 0.1
        fused.attn.position_bias.copy_(fused.attn.position_bias.roll(-1, 1))
        if place:
            fused.attn.regions.zero_()
            assert error() > 0.1
        with pytest.raises(CostModelError, match="a block for"):
            fused(values[:, :7])


@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize("fused", [True, False])
def test_an_int8_swin_follows_the_float_one(activation, fused) -> None:
    model, image = network(activation), torch.randn(2, 3, 56, 56)
    quantised = copy.deepcopy(model)
    count = quantize_linears(quantised, image, KERNELS, fused)
    kinds = [type(module) for module in quantised.modules()]
    assert count == sum(isinstance(module, torch.nn.Linear) for module in model.modules())
    assert kinds.count(Int8SwinBlock) == 4 * fused and kinds.count(Int8Merging) == fused
    assert kinds.count(RowNorm) == 11 * fused
    assert 0 < difference(quantised, model, image) < 0.05


def test_the_fused_network_runs_in_fp16() -> None:
    model, image = network("relu"), torch.randn(2, 3, 56, 56)
    quantised = copy.deepcopy(model)
    quantize_linears(quantised, image, KERNELS, fused=True)
    half = carried(quantised, torch.float16)
    block = half.layers[0].blocks[1]
    kinds = {name: value.dtype for name, value in block.named_buffers()}
    assert kinds["attn.index"] == kinds["attn.regions"] == torch.int32
    assert kinds["attn.qkv.scale"] == kinds["attn.proj.bias"] == torch.float32
    assert kinds["attn.position_bias"] == block.norm1.weight.dtype == torch.float16
    with torch.no_grad():
        found, wanted = half(image.half()), model(image)
    assert found.dtype == torch.float16
    assert float((found - wanted).norm() / wanted.norm()) < 0.05


def test_no_value_of_a_fused_network_reaches_the_host() -> None:
    """A CUDA graph cannot hold a read of a value."""

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            assert func.overloadpacket.__name__ not in ("_local_scalar_dense", "nonzero")
            return func(*args, **(kwargs or {}))

    model, image = network(), torch.randn(1, 3, 56, 56)
    quantize_linears(model, image, KERNELS, fused=True)
    with torch.no_grad(), Watch():
        model(image)


@pytest.mark.parametrize(
    "changes", [{"img_size": 48}, {"window_size": 14}, {"strict_img_size": False}]
)
def test_blocks_that_the_kernels_do_not_fit_stay(changes) -> None:
    """12 tokens are no multiple of a window's 7, 196 too many; other sizes need other orders."""
    model = network(**changes)
    image = torch.randn(2, 3, changes.get("img_size", 56), changes.get("img_size", 56))
    left = [m for m in model.layers[0].blocks if isinstance(m, SwinTransformerBlock)]
    quantize_linears(model, image, KERNELS, fused=True)
    assert list(model.layers[0].blocks) == left


def test_other_models_are_the_same_with_fused_blocks_asked_for() -> None:
    found = []
    for fused in (False, True):
        model, size = create_model("test_vit")
        image = images(2, size, "fp32", torch.device("cpu"))
        quantize_linears(model, image, KERNELS, fused)
        assert not any(isinstance(module, RowNorm) for module in model.modules())
        found.append(model(image))
    assert torch.equal(*found)


@pytest.mark.parametrize("fused", [True, False])
def test_the_command_fuses_unless_told_not_to(fused, monkeypatch) -> None:
    made = []
    monkeypatch.setattr(
        "costmodels.measuring.models.create_model",
        lambda name, seed: (made.append(network()), (made[-1], 56))[1],
    )
    options = MeasureOptions(device="cpu", precisions=["int8"], batches=[1], repeats=1, fused=fused)
    record = measure(options)
    assert [row["logit_error"] < 0.1 for row in record["rows"]] == [True, True]
    blocks = [sum(isinstance(m, Int8SwinBlock) for m in model.modules()) for model in made]
    assert blocks == [0, 4 * fused] * 2


TRITON = """
import copy

import torch
from test_swin_kernels import network

from costmodels.measuring.int8_kernels import TorchKernels
from costmodels.measuring.quantized import quantize_linears
from costmodels.measuring.stages import Norm, OutputStage, Windows
from costmodels.measuring.swin import window_order
from costmodels.measuring.triton_kernels import TritonKernels

ours, wanted = TritonKernels(), TorchKernels()
torch.manual_seed(0)


def same(name, *arguments):
    found = getattr(ours, name)(*arguments)
    other = getattr(wanted, name)(*arguments)
    assert found.dtype == other.dtype == torch.int8, name
    apart = (found.int() - other.int()).abs()
    assert apart.max() <= 1 and (apart > 0).float().mean() < 0.001, name
    assert found.float().std() > 5, name


index, regions = window_order((14, 14), (7, 7), (3, 3))
regions = torch.nn.functional.pad(regions, (0, 15))
for kind in (torch.float32, torch.float16):
    for cols in (40, 96, 192, 384):
        values = (torch.randn(2 * 196, cols) * 3 + 1).to(kind)
        weight, bias = torch.randn(cols).to(kind), torch.randn(cols).to(kind)
        for order in (None, index):
            same("layer_norm", values, Norm(weight, bias, 1e-5, 0.03, order))
        rows = values[:5]
        found = ours.layer_norm(rows, Norm(weight, bias, 1e-5))
        assert found.dtype == kind
        near = wanted.layer_norm(rows, Norm(weight, bias, 1e-5))
        assert torch.allclose(found, near, atol=1e-5, rtol=2**-10)
for cols in (1536, 3072):
    norm = Norm(torch.randn(cols), torch.randn(cols), 1e-5, 0.03)
    same("layer_norm", torch.randn(3, cols), norm)
for heads, head in ((3, 32), (2, 16), (1, 48)):
    codes = torch.randint(-128, 128, (2 * 196, 3 * heads * head), dtype=torch.int8)
    bias = torch.randn(heads, 64, 64)
    bias[:, :, 49:] = -30000
    for kinds in (None, regions):
        same("window_attention", codes, Windows(bias.half(), kinds, 49, 1e-4, 0.9))
codes, bias = codes[: 9 * 30], torch.randn(1, 16, 16)
bias[:, :, 9:] = -30000
same("window_attention", codes, Windows(bias, None, 9, 1e-4, 0.9))
for k, n in ((96, 96), (40, 72)):
    codes = torch.randint(-128, 128, (2 * 196, k), dtype=torch.int8)
    weight = torch.randint(-127, 128, (n, k), dtype=torch.int8)
    scale, bias = torch.rand(n) * 0.01, torch.randn(n)
    for kind in (torch.float32, torch.float16):
        residual = (torch.randn(2 * 196, n) * 5).to(kind)
        kept = residual.clone()
        for order, added in ((None, residual), (index, residual), (index, None)):
            stage = OutputStage(False, order, added, dtype=kind)
            found = ours.linear(codes, weight, scale, bias, stage)
            assert torch.equal(found, wanted.linear(codes, weight, scale, bias, stage))
            assert torch.equal(residual, kept)
for activation in ("gelu", "relu"):
    model, image = network(activation), torch.randn(2, 3, 56, 56)
    found = []
    for kernels in (ours, wanted):
        quantised = copy.deepcopy(model)
        quantize_linears(quantised, image, kernels, fused=True)
        with torch.no_grad():
            found.append(quantised(image))
    assert float((found[0] - found[1]).norm() / found[1].norm()) < 0.005
print("equal")
"""


def test_triton_kernels_equal_their_reference() -> None:
    """Codes differ by one at most, where a sum or an exponential rounds another way."""
    if importlib.util.find_spec("triton") is None:
        with pytest.raises(CostModelError, match="Triton is not installed"):
            measure(MeasureOptions(device="cpu", model="test_vit", kernels="triton"))
        return
    folders = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": folders}
    done = subprocess.run(
        [sys.executable, "-c", TRITON], capture_output=True, text=True, env=environment
    )
    assert done.stdout.strip() == "equal", done.stderr
