"""Bad input, in any field: a CostModelError that names the field and its value, nothing else."""

import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sample_workloads import conv, linear, mobile_block

from costmodels import board as boards
from costmodels import gpu, memory, packing, pe, systolic
from costmodels.accelerator import Accelerator
from costmodels.board import Board, Gpu, load_board, load_gpu
from costmodels.errors import CostModelError
from costmodels.estimate import estimate
from costmodels.scalesim.task import Task
from costmodels.validate import (
    MAX_MACS,
    MAX_PES,
    MAX_READS,
    MAX_SIZE,
    check_accelerator,
    check_workload,
)
from costmodels.vector_unit import FUNCTIONS
from costmodels.workload import MatrixLayer, VectorOperation, Workload

FOLDER = Path(boards.__file__).parent
SMALL = Accelerator(mac_rows=8, mac_cols=8, shift_rows=8, shift_cols=8)
MAY_BE_ZERO = {"mac_rows", "mac_cols", "shift_rows", "shift_cols", "depthwise_lanes"}
MAY_BE_ZERO |= {"in_height", "in_width", "in_channels", "out_channels", "parameter_bits"}
MAY_BE_ZERO |= {"log2_share", "uram", "memory_controllers", "int4_tops"}

JUNK = st.one_of(
    st.none(), st.booleans(), st.text(max_size=5), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=1), st.binary(max_size=3),
)  # fmt: skip
NO_WHOLE = st.one_of(
    JUNK, st.floats(), st.integers(max_value=-1), st.builds(np.int64, st.integers(1, 64))
)
NO_NUMBER = st.one_of(
    JUNK.filter(lambda value: not isinstance(value, bool) or value),
    st.sampled_from([math.nan, math.inf, -math.inf, -1, -0.5, 10**400]),
)


def no_value(name: str, kind: Any) -> st.SearchStrategy[Any]:
    """Values that a field called `name` of a type cannot have."""
    if kind is str:
        return st.one_of(JUNK, st.integers(), st.just(math.nan))
    if kind is bool:
        return st.one_of(JUNK.filter(lambda value: not isinstance(value, bool)), st.integers())
    zero = st.nothing() if name in MAY_BE_ZERO or name.startswith("controller_") else st.just(0)
    return st.one_of(NO_WHOLE if kind is int else NO_NUMBER, zero)


def wrong(kind: type[Any], skip: tuple[str, ...] = ()) -> st.SearchStrategy[tuple[str, Any]]:
    """A field of a dataclass and a value it cannot have."""
    chosen = [item for item in fields(kind) if item.name not in skip]
    pairs = [st.tuples(st.just(f.name), no_value(f.name, f.type)) for f in chosen]
    return st.one_of(pairs)


def assert_named(error: CostModelError, name: str, value: Any) -> None:
    """The message is one line with the field and the value in it."""
    text = str(error)
    assert name in text
    assert "\n" not in text.replace(str(value), "")
    if not isinstance(value, int) or abs(value) < 1000:  # large ones are written 1,000,000
        assert str(value) in text or repr(value) in text


@settings(max_examples=200, deadline=None)
@given(wrong(Accelerator))
def test_every_field_of_an_accelerator(change: tuple[str, Any]) -> None:
    with pytest.raises(CostModelError) as caught:
        check_accelerator(replace(SMALL, **dict([change])))
    assert_named(caught.value, *change)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([linear(), conv()]), wrong(MatrixLayer, skip=("name",)))
def test_every_field_of_a_layer(layer: MatrixLayer, change: tuple[str, Any]) -> None:
    with pytest.raises(CostModelError, match=f"layer '{layer.name}'") as caught:
        check_workload(Workload("net", (replace(layer, **dict([change])),), 0))
    assert_named(caught.value, *change)


@settings(max_examples=150, deadline=None)
@given(wrong(VectorOperation, skip=("name", "fused_into", "function")))
def test_every_figure_of_a_vector_operation(change: tuple[str, Any]) -> None:
    operation = replace(VectorOperation("act", "softmax", 64, 8), **dict([change]))
    with pytest.raises(CostModelError, match="operation 'act'") as caught:
        check_workload(Workload("net", (linear(), operation), 0))
    assert_named(caught.value, *change)


@pytest.mark.parametrize(
    ("workload", "message"),
    [
        (Workload("net", [linear()], 0), "operations must be a tuple, not list"),  # type: ignore
        (Workload("net", ("fc",), 0), "operation 0 is a str"),  # type: ignore[arg-type]
        (Workload("net", (linear(name=3),), 0), "operation 0: name must be a string, not 3"),
        (Workload("net", (linear(),), -1), "parameter_bits must be zero or a positive"),
        (
            Workload("net", (linear(), VectorOperation("act", 7, 8)), 0),  # type: ignore[arg-type]
            "operation 'act': function must be a string, not 7",
        ),
        (
            Workload("net", (linear(), VectorOperation("a", "relu", 8, fused_into=["fc"])), 0),  # type: ignore
            r"fused_into names '\['fc'\]', not a layer",
        ),
        (
            Workload("net", (linear(), VectorOperation("sum", "softmax", 8, 9)), 0),
            "row_length must be at most elements, 8, not 9",
        ),
        (Workload("net", (linear(weight_scheme="log2", weight_bits=1),), 0), "must be 2 to 9"),
    ],
)
def test_other_parts_of_a_workload(workload: Workload, message: str) -> None:
    with pytest.raises(CostModelError, match=message):
        estimate(workload, SMALL, gpus=("t4",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mac_rows": 1001, "mac_cols": 1000}, "mac_rows x mac_cols is 1,001 x 1,000 = 1,001,000"),
        ({"shift_rows": 10**9, "shift_cols": 1}, "shift_rows x shift_cols"),
        ({"vector_lanes": 10**6 + 1}, "vector_lanes must be at most 1,000,000, not 1,000,001"),
        ({"weight_buffer_kb": 2**20 + 1}, "weight_buffer_kb must be at most 1,048,576"),
    ],
)
def test_absurd_hardware(change: dict[str, int], message: str) -> None:
    with pytest.raises(CostModelError, match=message):
        estimate(mobile_block(), replace(SMALL, **change))


def test_an_array_that_no_board_holds_is_priced_in_per_cent() -> None:
    cost = estimate(mobile_block(), replace(SMALL, mac_rows=1000, mac_cols=1000))
    assert cost.metrics["fpga.dsp_pct"] > 100 * 1000 * 1000 / 4 / 1728
    assert cost.metrics["fpga.latency_ms"] > 0


sizes = st.integers(0, 40).flatmap(lambda bits: st.integers(1, 1 << bits))
lanes = st.integers(0, 19).flatmap(lambda bits: st.integers(1, 1 << bits))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_passes_the_checks_has_finite_costs(data: st.DataObject) -> None:
    """No count leaves 64 bits anywhere, however large the network and the hardware."""
    m, k, n, repeats = (data.draw(sizes) for _ in range(4))
    assume(m * k * n * repeats <= MAX_MACS)
    bits = st.integers(2, 7)
    layer = linear(
        m=m, k=k, n=n, repeats=repeats,
        weight_bits=data.draw(bits), activation_bits=data.draw(bits),
        weight_scheme=data.draw(st.sampled_from(("uniform", "log2", "apot", "mixed"))),
        input_elements=data.draw(sizes), output_elements=data.draw(sizes),
        weight_elements=data.draw(sizes),
    )  # fmt: skip
    assume(m * layer.weight_elements + n * layer.input_elements <= MAX_READS)
    elements = data.draw(sizes)
    function = data.draw(st.sampled_from(sorted(FUNCTIONS)))
    row = data.draw(st.integers(1, elements))
    tail = VectorOperation("tail", function, elements, row)
    rows, cols = data.draw(lanes), data.draw(lanes)
    assume(rows * cols <= MAX_PES)
    accelerator = Accelerator(
        clock_mhz=data.draw(st.floats(1e-3, 1e5)),
        mac_rows=rows, mac_cols=cols, shift_rows=cols, shift_cols=rows,
        dataflow=data.draw(st.sampled_from(("os", "ws", "is"))),
        precision=data.draw(st.sampled_from(("static", "reconfigurable"))),
        mac_pe=data.draw(st.sampled_from(("dsp", "lut"))),
        input_buffer_kb=data.draw(lanes), weight_buffer_kb=data.draw(lanes),
        output_buffer_kb=data.draw(lanes), vector_lanes=data.draw(lanes),
        depthwise_lanes=data.draw(lanes),
    )  # fmt: skip
    cost = estimate(Workload("net", (layer, tail), 0), accelerator, gpus=("t4",))
    assert all(math.isfinite(value) and value >= 0 for value in cost.metrics.values())
    least = layer.macs / max(2 * 4 * rows * cols, 1)
    for part in cost.layers:
        assert part.cycles > 0 and part.dram_bytes >= 0 and 0 <= part.utilisation <= 1
    assert cost.layers[0].cycles >= least


@pytest.mark.parametrize("name", ["m", "k", "n", "input_elements", "kernel_height"])
def test_sizes_beyond_what_is_counted(name: str) -> None:
    with pytest.raises(CostModelError, match=f"{name} must be at most"):
        check_workload(Workload("net", (replace(linear(), **{name: MAX_SIZE + 1}),), 0))
    with pytest.raises(CostModelError, match="m x k x n x repeats"):
        check_workload(Workload("net", (linear(m=2**20, k=2**20, n=2**20),), 0))
    for change in ({"weight_elements": MAX_SIZE}, {"input_elements": MAX_SIZE}):
        layer = linear(m=2**17, k=1, n=2**17, **change)
        with pytest.raises(CostModelError, match="do the sizes belong together"):
            check_workload(Workload("net", (layer,), 0))


def write(folder: Path, name: str, content: Any) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(path)


@settings(max_examples=150, deadline=None)
@given(wrong(Board, skip=("name", "part", "sources")))
def test_every_figure_of_a_board(change: tuple[str, Any]) -> None:
    with pytest.raises(CostModelError, match="board 'zcu104'") as caught:
        replace(load_board("zcu104"), **dict([change]))
    assert_named(caught.value, *change)


@settings(max_examples=100, deadline=None)
@given(wrong(Gpu, skip=("name", "sources")))
def test_every_figure_of_a_gpu(change: tuple[str, Any]) -> None:
    with pytest.raises(CostModelError, match="GPU 'h200'") as caught:
        replace(load_gpu("h200"), **dict([change]))
    assert_named(caught.value, *change)


@settings(max_examples=60, deadline=None)
@given(wrong(Board, skip=("name", "part", "sources")))
def test_every_figure_of_a_board_s_file(tmp_path_factory: Any, change: tuple[str, Any]) -> None:
    name, value = change
    assume(not isinstance(value, dict | np.generic))
    content = yaml.safe_load((FOLDER / "boards" / "zcu104.yaml").read_text())
    content[name] = {"value": value, "source": "none"} if name != "dsp_type" else value
    path = write(tmp_path_factory.mktemp("boards"), "mine", content)
    with pytest.raises(CostModelError) as caught:
        estimate(mobile_block(), replace(SMALL, board=path))
    assert path in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("dsp: [", "cannot be read"),
        ("- 1", "holds no figures"),
        ("dsp: {value: 3}", "dsp needs a value and a source"),
        ("dsp: {value: 3, source: a, unit: b}", "dsp needs a value and a source"),
        ("part: x", "bandwidth_efficiency is missing"),
        ("5: x", "5 is not a figure of a board"),
        ("\x00", "cannot be read"),
    ],
)
def test_files_that_are_no_boards(content: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, "mine", content)
    with pytest.raises(CostModelError, match=f"mine.yaml:? {message}"):
        load_board(path)


def test_a_board_of_one_s_own(tmp_path: Path) -> None:
    """A known board's file under another path prices alike; a missing one is named."""
    path = write(tmp_path, "mine", (FOLDER / "boards" / "zcu104.yaml").read_text())
    known, own = (
        estimate(mobile_block(), replace(SMALL, board=name)).metrics for name in ("zcu104", path)
    )
    assert known == own
    with pytest.raises(CostModelError, match=r"nowhere.yaml cannot be read: .*No such file"):
        load_board(str(tmp_path / "nowhere.yaml"))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["m", "k", "n", "rows", "cols"]), NO_WHOLE | st.just(0))
def test_closed_forms(name: str, value: Any) -> None:
    assume(not isinstance(value, np.generic))  # arrays of sizes are what they are for
    sizes = {"m": 8, "k": 8, "n": 8, "rows": 4, "cols": 4} | {name: value}
    assume(value != [] and not (isinstance(value, list) and min(value) > 0))
    with pytest.raises(CostModelError, match=f"array: {name} must be a positive whole number"):
        systolic.cycles(**sizes, dataflow="os")
    task = {"height": 8, "width": 8, "kernel_height": 3, "kernel_width": 3, "channels": 4}
    task |= {"filters": 4, "stride_height": 1, "stride_width": 1, "rows": 4, "cols": 4}
    with pytest.raises(CostModelError, match="SCALE-Sim task: rows"):
        Task(**task | {"rows": value}, dataflow="os")


@settings(max_examples=60, deadline=None)
@given(NO_WHOLE | st.just(0))
def test_parts_of_the_template(value: Any) -> None:
    assume(not isinstance(value, list | dict))  # unhashable arguments of a cached function
    calls = [
        lambda: memory.bram18_blocks(value, 8),
        lambda: memory.uram_blocks(4096, value),
        lambda: memory.lutram_luts(64, 8, banks=value),
        lambda: memory.buffer_depth(value, 64),
        lambda: packing.packing(value, 8),
        lambda: packing.array_dsps(8, value, packing.Packing(1, 1)),
        lambda: pe.lut_pe(8, value, 16),
        lambda: pe.log2_pe(4, 8, value),
        lambda: pe.dsp_pe_group(value, 8, 16, packing.Packing(1, 1)),
        lambda: gpu.latency_ms(mobile_block(), load_gpu("t4"), batch=value),
    ]
    for call in calls:
        with pytest.raises(CostModelError, match="must be a positive whole number"):
            call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: packing.packing(8, 8, dataflow="rs"), "unknown dataflow 'rs'. Known: os, ws, is"),
        (lambda: packing.packing(8, 8, dsp_type="DSP4"), "unknown dsp_type 'DSP4'. Known: DSP48E1"),
        (lambda: packing.packing(8, 8, guard_bits=-1), "guard_bits must be zero or a positive"),
        (lambda: packing.array_dsps(8, 8, packing.Packing(1, 1), "rs"), "unknown dataflow 'rs'"),
        (lambda: memory.lutram_luts(64, 8, family="virtex"), "unknown family 'virtex'"),
        (lambda: memory.place(-1, 8, has_uram=False), "depth must be zero or a positive"),
        (lambda: systolic.cycles(8, 8, 8, 4, 4, "rs"), "unknown dataflow 'rs'"),
        (lambda: pe.lut_pe(8, 8, 16, "vivado"), "unknown fabric 'vivado'"),
        (lambda: estimate(mobile_block(), SMALL, fabric="asic"), "unknown fabric 'asic'"),
        (lambda: estimate(mobile_block(), SMALL, gpus=("h20",)), "'h20'. Did you mean 'h200'"),
        (lambda: estimate(mobile_block(), SMALL, gpus="t4"), "gpus must be a list of names"),
        (
            lambda: estimate(mobile_block(), SMALL, gpus=("t4",), gpu_precision="int2"),
            "unknown precision 'int2'",
        ),
    ],
)
def test_words_and_options(call: Any, message: str) -> None:
    with pytest.raises(CostModelError, match=message):
        call()
