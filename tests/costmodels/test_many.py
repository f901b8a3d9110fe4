"""Pricing many accelerators at once, and all formats of a layer, against pricing one by one."""

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_workloads import conv, linear, matmul, mobile_block

from costmodels.accelerator import Accelerator
from costmodels.cost import Cost
from costmodels.cycles import CycleModel
from costmodels.errors import CostModelError
from costmodels.estimate import estimate
from costmodels.formats import Format, estimate_layers
from costmodels.many import LAYER_FIGURES, Costs, estimate_many
from costmodels.workload import MatrixLayer, VectorOperation, Workload

sizes = st.sampled_from([1, 2, 3, 5, 8, 16, 24, 64])
buffers = st.integers(1, 96)
accelerators = st.builds(
    Accelerator,
    board=st.sampled_from(["zcu104", "pynq_z2", "u280"]),
    clock_mhz=st.floats(50, 500),
    mac_rows=sizes,
    mac_cols=sizes,
    dataflow=st.sampled_from(["os", "ws", "is"]),
    precision=st.sampled_from(["static", "reconfigurable"]),
    input_buffer_kb=buffers,
    weight_buffer_kb=buffers,
    output_buffer_kb=buffers,
    vector_lanes=st.integers(1, 40),
    depthwise_lanes=st.integers(0, 20),
    mac_pe=st.sampled_from(["dsp", "lut"]),
)


@st.composite
def designs(draw: st.DrawFn) -> list[Accelerator]:
    """Accelerators that share some sizes, with and without a shift array."""
    drawn = draw(st.lists(accelerators, min_size=1, max_size=4))
    shifts = draw(st.lists(st.one_of(st.just((0, 0)), st.tuples(sizes, sizes)), min_size=1))
    made = [replace(a, shift_rows=rows, shift_cols=cols) for a in drawn for rows, cols in shifts]
    lanes = draw(st.integers(0, 20))
    return [*made, *(replace(a, depthwise_lanes=lanes, clock_mhz=123.0) for a in made)]


def formats(draw: st.DrawFn) -> dict[str, Any]:
    scheme = draw(st.sampled_from(["uniform", "log2", "apot", "mixed"]))
    share = draw(st.floats(0, 0.99)) if scheme == "mixed" else 0.0
    bits = draw(st.integers(2, 5 if scheme != "uniform" else 8))
    activation_bits = draw(st.integers(2, 8))
    return {
        "weight_scheme": scheme,
        "weight_bits": bits,
        "activation_bits": activation_bits,
        "log2_share": share,
    }


@st.composite
def networks(draw: st.DrawFn) -> Workload:
    """Convolutions, depthwise and grouped ones, linear layers, attention, vector operations."""
    size, channels = draw(st.integers(3, 40)), draw(st.integers(1, 40))
    operations = (
        conv("stem", size, 3, channels, stride=draw(st.integers(1, 2)), **formats(draw)),
        VectorOperation("stem.act", "table", size * size * channels, fused_into="stem"),
        conv("dw", size, channels, channels, groups=channels, **formats(draw)),
        VectorOperation("dw.add", "add", size * size * channels, fused_into="dw"),
        VectorOperation("dw.act", "relu", size * size * channels, fused_into="dw"),
        conv("grouped", size, 4, 8, groups=2, **formats(draw)),
        VectorOperation("norm", "layer_norm", size * size * channels, channels),
        linear("fc", size, draw(st.integers(1, 3000)), draw(st.integers(1, 3000)), **formats(draw)),
        replace(matmul("qk", size, 8, size), weight_bits=draw(st.integers(2, 8))),
        VectorOperation("qk.softmax", "softmax", 3 * size * size, size, fused_into="qk"),
        VectorOperation("qk.norm", "layer_norm", 3 * size * size, size, fused_into="qk"),
        matmul("av", size, size, 8),
        VectorOperation("pool", "pool", size * size * channels, size * size),
    )
    kept = draw(st.integers(1, len(operations)))
    return Workload("drawn", operations[:kept], draw(st.integers(0, 10**9)))


def assert_equal(costs: Costs, index: int, one: Cost) -> None:
    assert {name: float(v[index]) for name, v in costs.metrics.items()} == dict(one.metrics)
    assert costs.provenance == one.provenance
    assert costs.operations == tuple(layer.name for layer in one.layers)
    for name in LAYER_FIGURES:
        assert costs.layers[name][index].tolist() == [getattr(x, name) for x in one.layers]


@settings(max_examples=60, deadline=None)
@given(
    networks(),
    designs(),
    st.sampled_from(["yosys", "finn"]),
    st.booleans(),
    st.sampled_from([1, 3]),
)
def test_many_are_priced_as_one(
    workload: Workload, grid: list[Accelerator], fabric: str, drain: bool, batch: int
) -> None:
    model = CycleModel(drain=drain, overlap=drain)
    options: dict[str, Any] = {"cycles": model, "fabric": fabric, "batch": batch}
    costs = estimate_many(workload, grid, layers=LAYER_FIGURES, **options)
    for i, accelerator in enumerate(grid):
        assert_equal(costs, i, estimate(workload, accelerator, **options))


def test_more_accelerators_than_are_priced_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(1)
    grid = [
        Accelerator(
            mac_rows=rng.choice([4, 8, 16]),
            dataflow=rng.choice(["os", "ws"]),
            input_buffer_kb=rng.choice([1, 2, 64]),
            vector_lanes=rng.randint(1, 9),
        )
        for _ in range(60)
    ]
    monkeypatch.setattr("costmodels.many._AT_ONCE", 70)  # seven accelerators of ten operations
    costs = estimate_many(mobile_block(), grid, layers=LAYER_FIGURES, gpus=("orin",))
    for i, accelerator in enumerate(grid):
        one = estimate(mobile_block(), accelerator, gpus=("orin",))
        assert_equal(costs, i, one)
    assert costs.cost(7) == estimate(mobile_block(), grid[7], gpus=("orin",))


def test_simulated_cycles_of_many_are_those_of_one() -> None:
    grid = [Accelerator(mac_rows=r, mac_cols=c, dataflow=d) for r, c, d in
            ((4, 4, "os"), (8, 4, "os"), (4, 4, "ws"))]  # fmt: skip
    costs = estimate_many(mobile_block(), grid, cycles="scalesim", layers=["compute_cycles"])
    for i, accelerator in enumerate(grid):
        one = estimate(mobile_block(), accelerator, cycles="scalesim")
        assert costs.metrics["scalesim.cycles"][i] == one.metrics["scalesim.cycles"]
        compute = [layer.compute_cycles for layer in one.layers]
        assert costs.layers["compute_cycles"][i].tolist() == compute


def test_network_without_layers() -> None:
    workload = Workload("norms", (VectorOperation("norm", "layer_norm", 100, 10),), 0)
    costs = estimate_many(workload, [Accelerator(), Accelerator(vector_lanes=2)])
    assert costs.metrics["fpga.vector_cycles"].tolist() == [2 * 7 + 68, 2 * 50 + 5 * 68]


@pytest.mark.parametrize(
    ("grid", "options", "message"),
    [
        ([], {}, "accelerators: there are none"),
        ([Accelerator()] * 3 + [Accelerator(mac_rows=0)], {}, r"accelerators\[3\].*mac_rows is 0"),
        ([Accelerator(), Accelerator(mac_rows=True)], {}, r"accelerators\[1\].*mac_rows"),
        ([Accelerator(), Accelerator(clock_mhz=float("nan"))], {}, r"accelerators\[1\].*clock_mhz"),
        ([Accelerator(), Accelerator(board="zcu")], {}, r"accelerators\[1\].*unknown board 'zcu'"),
        ([Accelerator()], {"layers": ["time"]}, "unknown figure 'time'. Known: cycles"),
        ([Accelerator()], {"fabric": "vivado"}, "unknown fabric"),
        ([Accelerator()], {"cycles": "rtl"}, "unknown cycles 'rtl'"),
        ([Accelerator(mac_rows=0, mac_cols=0)], {}, "'stem' needs the MAC array"),
    ],
)
def test_mistakes_are_named(grid: list[Accelerator], options: dict[str, Any], message: str) -> None:
    with pytest.raises(CostModelError, match=message):
        estimate_many(mobile_block(), grid, **options)


CHOICES = (
    Format(8, 8),
    Format(4, 4),
    Format(3, 5),
    Format(4, 6, "log2"),
    Format(6, 8, "apot"),
    Format(4, 8, "mixed", 0.4),
)
LAYERS: tuple[MatrixLayer, ...] = (
    conv("stem", 20, 3, 12),
    conv("dw", 20, 12, 12, groups=12),
    linear("fc", 40, 200, 300),
)


@settings(max_examples=60, deadline=None)
@given(accelerators, st.booleans(), st.lists(st.sampled_from(range(6)), min_size=3, max_size=3))
def test_layers_cost_in_a_table_what_they_cost_in_a_network(
    accelerator: Accelerator, has_shift_array: bool, chosen: list[int]
) -> None:
    if not has_shift_array:
        accelerator = replace(accelerator, shift_rows=0, shift_cols=0)
    act = VectorOperation("act", "add", 40 * 300, fused_into="fc")
    norm = VectorOperation("norm", "layer_norm", 400, 20)
    table = estimate_layers([*LAYERS, act, norm], CHOICES, accelerator)
    assert table.layers == ("stem", "dw", "fc") and table.formats == CHOICES
    network = [replace(layer, **vars(CHOICES[i])) for layer, i in zip(LAYERS, chosen, strict=True)]
    # what the PEs are built for: every format once, on a layer of its own
    widest = [replace(LAYERS[0], name=f"wide{i}", **vars(c)) for i, c in enumerate(CHOICES)]
    layers = estimate(Workload("one", (*network, act, norm, *widest), 0), accelerator).layers
    for row, (layer, i) in enumerate(zip(layers[:3], chosen, strict=True)):
        found = {name: values[row, i] for name, values in table.figures.items()}
        assert found == {name: getattr(layer, name) for name in found}


def test_static_layers_do_not_depend_on_the_others() -> None:
    table = estimate_layers(LAYERS, CHOICES, Accelerator())
    for i, choice in enumerate(CHOICES):
        for row, layer in enumerate(LAYERS):
            alone = estimate(
                Workload("alone", (replace(layer, **vars(choice)),), 0), Accelerator()
            ).layers[0]
            assert table.figures["cycles"][row, i] == alone.cycles
            assert table.figures["dram_bytes"][row, i] == alone.dram_bytes


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ((), "formats: there are none"),
        ((Format(8, 8), Format(0, 8)), "layer 'stem in format 1': weight_bits"),
        ((Format(8, 8, "fp8"),), "unknown weight_scheme 'fp8'"),
    ],
)
def test_wrong_formats_are_named(choices: tuple[Format, ...], message: str) -> None:
    with pytest.raises(CostModelError, match=message):
        estimate_layers(LAYERS, choices, Accelerator())


def test_arrays_are_by_accelerator() -> None:
    grid = [Accelerator(mac_rows=rows, shift_rows=rows) for rows in (4, 8, 16)]
    costs = estimate_many(mobile_block(), grid)
    assert all(values.shape == (3,) for values in costs.metrics.values())
    assert np.all(np.diff(costs.metrics["fpga.dsp"]) > 0)
