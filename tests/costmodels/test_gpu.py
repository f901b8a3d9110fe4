"""The GPU roofline: its arithmetic by hand, its files, bad input."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_workloads import conv, linear, mobile_block

from costmodels.accelerator import Accelerator
from costmodels.board import gpu_names, load_gpu
from costmodels.errors import CostModelError
from costmodels.estimate import estimate
from costmodels.gpu import (
    Gemm,
    Kernel,
    Profile,
    Rates,
    kernel_ms,
    kernel_work,
    latency_ms,
    load_profile,
    profile_names,
    tile_utilisation,
)
from costmodels.gpu.profile import parse_profile
from costmodels.gpu.rates import REQUIRED
from costmodels.gpu.swin import SIZES, swin
from costmodels.workload import Workload


def changed(name: str = "fastertransformer", **rates: float) -> Profile:
    profile = load_profile(name)
    return replace(profile, rates=replace(profile.rates, **rates))


def test_swin_has_its_published_work() -> None:
    """Multiply-accumulates and parameters of Liu et al., ICCV 2021, tables 1 and 7."""
    published = {"tiny": (4.5e9, 28e6), "small": (8.7e9, 50e6), "base": (15.4e9, 88e6)}
    for size, (macs, parameters) in published.items():
        layers = swin(size).layers
        assert sum(layer.macs for layer in layers) == pytest.approx(macs, rel=0.02)
        weights = sum(layer.weight_elements for layer in layers if layer.kind != "matmul")
        assert weights == pytest.approx(parameters, rel=0.02)
    assert set(published) < set(SIZES)


def test_swin_v2_has_its_published_work() -> None:
    """5.9 G and 11.5 G multiply-accumulates: the authors' model table, V2-T and V2-S, W8."""
    for size, macs in (("tiny", 5.9e9), ("small", 11.5e9)):
        layers = swin(size, version=2).layers
        assert sum(layer.macs for layer in layers) == pytest.approx(macs, rel=0.03)


def test_every_gpu_loads_with_its_sources() -> None:
    for name in gpu_names():
        gpu = load_gpu(name)
        assert gpu.bandwidth_gb_s > 0 and gpu.clock_mhz > 0
        assert all(gpu.sources.values()) and len(gpu.sources) == 8
        assert gpu.int4_tops in (0, pytest.approx(2 * gpu.int8_tops, rel=0.001))


def test_compute_bound_kernel_runs_at_the_peak() -> None:
    """One large product of whole tiles in whole waves: operations over the usable peak."""
    gpu = load_gpu("a100")
    profile = changed(instructions_per_element=0, memory_efficiency=1e9)
    side = 128 * 108
    layer = linear("big", side, 4096, side)
    seconds = 2 * layer.macs / (gpu.int8_tops * 1e12 * profile.rates.integer_efficiency)
    modelled = latency_ms(Workload("b", (layer,), 0), gpu, profile=profile)
    assert modelled == pytest.approx(1e3 * seconds)


def test_memory_bound_kernel_runs_at_the_bandwidth_and_issues_its_instructions() -> None:
    gpu, profile = load_gpu("t4"), load_profile()
    kernel = Kernel("copy", activation_bytes=2e8, elements=1000000, rows=5000, depth=64)
    memory = 3 * 2e8 / (320e9 * profile.rates.memory_efficiency)
    issue = 3 * 1e6 * profile.rates.instructions_per_element / (40 * 1590e6 * 128)
    work = kernel_work([kernel], gpu, 3)
    assert kernel_ms(work, profile)[0] == pytest.approx(1e3 * (memory + issue))
    rows, steps = 3 * 5000 * 700 / (40 * 1590e6 * 128), 64 * 2.5e-9
    more = replace(changed(start_us=7.0, instructions_per_row=700, step_ns=2.5), gap_us=0.5)
    seconds = memory + issue + rows + steps + 7.5e-6
    assert kernel_ms(work, more)[0] == pytest.approx(1e3 * seconds)


def test_what_fits_the_cache_moves_faster() -> None:
    """An A100's cache of 40 MB: all of it in there, or none."""
    gpu, profile = load_gpu("a100"), changed(cache_speed_up=4.0, kernel_us=0)
    small, large = (kernel_work([Kernel("c", activation_bytes=b)], gpu, 1) for b in (40e6, 41e6))
    speed = 1555e9 * profile.rates.memory_efficiency
    assert kernel_ms(small, profile)[0] == pytest.approx(1e3 * 40e6 / (4 * speed))
    assert kernel_ms(large, profile)[0] == pytest.approx(1e3 * 41e6 / speed)


def test_kinds_of_kernel_have_their_own_rates() -> None:
    gpu, plain = load_gpu("h200"), Rates(0, 1, 1, 1, 0, start_us=1.0)
    slow = replace(plain, start_us=9.0)
    profile = replace(load_profile(), rates=plain, kinds={"softmax": slow})
    work = kernel_work([Kernel("a", kind="add"), Kernel("s", kind="softmax")], gpu, 1)
    assert kernel_ms(work, profile).tolist() == pytest.approx([1e-3, 9e-3])


def test_small_kernels_take_the_floor() -> None:
    work = kernel_work([Kernel("a"), Kernel("b", elements=1)], load_gpu("h100"), 1)
    assert kernel_ms(work, load_profile()).tolist() == [load_profile().rates.kernel_us / 1e3] * 2


def test_four_bit_weights_save_bytes_but_time_on_int4_tensor_cores_alone() -> None:
    narrow = Workload("n", (linear(m=4096, k=4096, n=4096, weight_bits=4, activation_bits=4),), 0)
    hopper, ampere = load_gpu("h200"), load_gpu("a100")
    bound = changed("tensorrt", instructions_per_element=0, memory_efficiency=1e9)
    times = {
        (gpu.name, precision): latency_ms(narrow, gpu, precision=precision, profile=bound)
        for gpu in (hopper, ampere)
        for precision in ("int8", "int4")
    }
    assert times["h200", "int4"] == pytest.approx(times["h200", "int8"])
    assert times["a100", "int4"] == pytest.approx(times["a100", "int8"] / 2)
    tall = Workload("t", (linear(m=1, k=256, n=128 * 1056, weight_bits=4),), 0)
    moving = changed("tensorrt", instructions_per_element=0, integer_efficiency=1e9)
    wide, packed = (latency_ms(tall, hopper, precision=p, profile=moving) for p in ("int8", "int4"))
    assert packed == pytest.approx(wide / 2, rel=0.02)


def test_fp32_products_stay_off_the_tensor_cores() -> None:
    gemm = Gemm(128 * 108, 128, 1024, 1, "fp32")
    work = kernel_work([Kernel("g", (gemm,))], load_gpu("a100"), 1)
    assert work.floating[0] == pytest.approx(2e3 * gemm.macs / 19.5e12)


def test_depthwise_convolutions_leave_the_tensor_cores_idle() -> None:
    layer = conv(channels=8, filters=8, groups=8)
    modelled = latency_ms(
        Workload("d", (layer,), 0),
        load_gpu("a100"),
        batch=10**6,
        profile=changed(instructions_per_element=0, memory_efficiency=1.0),
    )
    moved = 1e6 * (layer.input_elements + layer.output_elements) / 1555e9
    computed = 2e6 * 256 * 9 * 8 / 19.5e12 / load_profile().rates.float_efficiency
    assert modelled == pytest.approx(1e3 * (moved + computed), rel=1e-3)


def test_tiles_of_a_batch_of_single_products_join() -> None:
    assert tile_utilisation(32, 128, 1, 4, 1) == 1.0
    assert tile_utilisation(64, 64, 3, 1, 2) == 0.75  # the second wave is half empty
    assert tile_utilisation(128, 128, 3, 1, 2) == 1.0  # twelve tiles of 64 x 64 fill six waves


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 400), st.integers(1, 200))
def test_tiles_against_every_choice(rows: int, cols: int, repeats: int, processors: int) -> None:
    """By laying tiles of each size: useful results over those that whole waves compute."""
    shares = []
    for high in (64, 128):
        for wide in (64, 128):
            tiles = len(range(0, rows, high)) * len(range(0, cols, wide)) * repeats
            waves = math.ceil(tiles / processors)
            shares.append(rows * cols * repeats / (waves * processors * high * wide))
    found = tile_utilisation(rows, cols, repeats, 1, processors)
    assert found == pytest.approx(max(shares)) and found <= 1


def test_estimate_prices_the_profile_and_says_what_backs_it() -> None:
    design = Accelerator("zcu102", mac_rows=8, mac_cols=8)
    for name in profile_names():
        cost = estimate(mobile_block(), design, gpus=("t4",), gpu_profile=name)
        expected = latency_ms(mobile_block(), load_gpu("t4"), profile=load_profile(name))
        assert cost.metrics["gpu.t4.latency_ms"] == pytest.approx(expected)
        assert cost.source("gpu.t4.latency_ms") == load_profile(name).backing
        assert "%" in load_profile(name).backing or "relative" in load_profile(name).backing


GOOD = dict.fromkeys(REQUIRED, 1.0)
RULES: dict[str, object] = {
    "float_epilogue": [],
    "integer_epilogue": [],
    "softmax": [],
    "add_norm": True,
    "pointwise": True,
    "float_residual": True,
}


def test_a_profile_needs_no_more_than_its_rates_and_rules() -> None:
    profile = parse_profile("mine", {"parameters": GOOD, "fusion": RULES})
    assert (profile.kinds, profile.gap_us, profile.backing) == ({}, 0, "relative")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"parameters": {}}, "needs the entries 'parameters' and 'fusion'"),
        ({"parameters": {}, "fusion": {}}, "lacks float_epilogue, integer_epilogue"),
        ({"parameters": {}, "fusion": RULES}, "lacks kernel_us, float_efficiency"),
        ({"parameters": GOOD | {"speed": 1}, "fusion": RULES}, "unknown figure 'speed'"),
        ({"parameters": GOOD | {"step_ns": -1}, "fusion": RULES}, "step_ns must be finite and not"),
        ({"parameters": GOOD, "fusion": RULES, "gap_us": -1}, "gap_us must"),
        ({"parameters": GOOD, "fusion": RULES, "kinds": []}, "'kinds' must map"),
        (
            {"parameters": GOOD, "fusion": RULES, "kinds": {"add": {}}},
            "'mine', add lacks kernel_us",
        ),
        ([], "is no GPU profile"),
    ],
)
def test_broken_profiles_are_named(broken: object, message: str, tmp_path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(broken))
    with pytest.raises(CostModelError, match=message):
        load_profile(str(path))


@pytest.mark.parametrize("value", [math.nan, math.inf, 0, -1.0, "fast"])
def test_profiles_refuse_what_is_no_share(value: object) -> None:
    with pytest.raises(CostModelError, match="memory_efficiency must be finite and positive"):
        changed(memory_efficiency=value)


def test_unknown_names_are_listed(tmp_path) -> None:
    with pytest.raises(CostModelError, match=r"'a1000'\. Did you mean 'a100'"):
        load_gpu("a1000")
    with pytest.raises(CostModelError, match="unknown precision 'int2'"):
        latency_ms(swin("tiny"), load_gpu("t4"), precision="int2")
    with pytest.raises(CostModelError, match=r"'tensort'\. Did you mean 'tensorrt'"):
        load_profile("tensort")
    with pytest.raises(CostModelError, match="cannot read the GPU profile"):
        load_profile(str(tmp_path / "absent.yaml"))
