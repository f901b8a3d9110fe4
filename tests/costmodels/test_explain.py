"""costmodels.explain: rows and roofs agree with the cost and the workload; inputs; plots."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chain_workloads import mbconv
from matplotlib import image
from rich.console import Console
from sample_workloads import linear, mobile_block

from costmodels.accelerator import Accelerator
from costmodels.board import load_board
from costmodels.errors import CostModelError
from costmodels.estimate import estimate
from costmodels.explain import Explanation, Resource, explain
from costmodels.explain.__main__ import main
from costmodels.explain.figures import COLOURS, roofline_png, utilisation_png
from costmodels.explain.report import layer_table, print_explanation
from costmodels.workload import MatrixLayer, Workload
from costmodels.workload_json import load_workload, workload_from_json

SMALL = Accelerator(mac_rows=8, mac_cols=8, shift_rows=8, shift_cols=8)
LOG2 = mobile_block(weight_scheme="log2", weight_bits=4)


@pytest.fixture(scope="module")
def explanation() -> Explanation:
    return explain(LOG2, SMALL, title="the sample", gpus=("t4",))


def workload_values(workload: Workload) -> dict[str, Any]:
    """A workload as a bundle's workload.json has it."""
    kinds = {True: "matrix", False: "vector"}
    operations = [
        {"is": kinds[isinstance(op, MatrixLayer)], **asdict(op)} for op in workload.operations
    ]
    return {
        "schema_version": 1,
        "name": workload.name,
        "parameter_bits": workload.parameter_bits,
        "operations": operations,
    }


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "7"
    folder.mkdir()
    (folder / "workload.json").write_text(json.dumps(workload_values(LOG2)))
    design = {"layers": {}, "activations": {}, "accelerator": asdict(SMALL)}
    (folder / "design.json").write_text(json.dumps(design))
    return folder


def shown(explanation: Explanation, width: int, top: int = 0) -> str:
    stream = StringIO()
    print_explanation(explanation, Console(file=stream, width=width), top)
    return stream.getvalue()


def test_rows_are_the_cost_s_layers(explanation: Explanation) -> None:
    cost = estimate(LOG2, SMALL, gpus=("t4",))
    assert explanation.cost == cost
    layers = {op.name: op for op in LOG2.operations}
    for row, layer in zip(explanation.rows, cost.layers, strict=True):
        assert {n: getattr(row, n) for n in ("name", "engine", "cycles", "bound_by")} == {
            n: getattr(layer, n) for n in ("name", "engine", "cycles", "bound_by")
        }
        operation = layers[row.name]
        macs = operation.macs if isinstance(operation, MatrixLayer) else 0
        assert row.macs == macs
        seconds = layer.cycles / 200e6
        assert row.gops == pytest.approx(2 * macs / seconds / 1e9)
        if row.ops_per_byte is not None:
            assert row.ops_per_byte * layer.dram_bytes == pytest.approx(2 * macs)
    assert sum(row.share for row in explanation.rows) == pytest.approx(1)
    stem = explanation.rows[0]
    assert (stem.shape, stem.bits, stem.kind) == ("256 x 72 x 16", "w4a8", "conv")
    assert next(r for r in explanation.rows if r.name == "attn.qk").shape == "3 of 64 x 8 x 64"
    assert next(r for r in explanation.rows if r.name == "pool").shape == "24 x 256"
    assert "stem.act" not in {row.name for row in explanation.rows}  # fused into the stem


def test_no_layer_is_above_its_roofs(explanation: Explanation) -> None:
    """The roofs hold what they must: capacity of the array, bandwidth of the board."""
    roofs, board = explanation.roofs, load_board("zcu104")
    assert roofs.engines["mac_array"] == pytest.approx(2 * 64 * 0.2)
    assert roofs.engines["shift_array"] == pytest.approx(2 * 64 * 0.2)
    assert roofs.sustained_gb_s == pytest.approx(board.bandwidth_gb_s * board.bandwidth_efficiency)
    for row in explanation.rows:
        if row.macs:
            memory = (row.ops_per_byte or np.inf) * roofs.sustained_gb_s
            assert row.gops <= 1.0001 * min(roofs.engines[row.engine], memory)
    products = 64 / explanation.cost.metrics["fpga.mac_array_dsp"]
    assert roofs.board_gops == pytest.approx(1728 * 0.8 * products * 2 * 0.2)
    assert explain(LOG2, replace(SMALL, mac_pe="lut")).roofs.board_gops is None


def test_shares_of_dsps_and_the_bill(explanation: Explanation) -> None:
    m = explanation.cost.metrics
    shares = {row.engine: row.dsp_share for row in explanation.rows}
    for engine in ("mac_array", "shift_array", "vector"):
        assert shares[engine] == pytest.approx(m[f"fpga.{engine}_dsp"] / m["fpga.dsp"])
    board = load_board("zcu104")
    for item in explanation.resources:
        assert item.used == m[f"fpga.{item.name}"]
        assert item.available == board.limits[item.name]
        stem = item.name.removesuffix("36")
        assert item.percent == pytest.approx(m[f"fpga.{stem}_pct"])
        assert item.ceiling == getattr(board, f"{stem}_ceiling")


@pytest.mark.parametrize(
    ("used", "verdict"),
    [(80, "fits"), (81, "above its ceiling"), (100, "above its ceiling"), (101, "larger than")],
)
def test_verdicts(used: float, verdict: str) -> None:
    assert Resource("dsp", used, 100, 0.8).verdict.startswith(verdict)
    assert Resource("uram", 0, 0, 0.8).percent == 0


def test_the_print_has_every_figure_and_what_backs_it(explanation: Explanation) -> None:
    text = shown(explanation, 200)
    for row in explanation.rows:
        line = next(x for x in text.splitlines() if x.split()[:1] == [row.name])
        assert f"{row.cycles:,}" in line and f"{row.dram_bytes:,}" in line
        assert row.bound_by in line and row.shape in line
    m = explanation.cost.metrics
    for value in (f"{m['fpga.latency_ms']:.3f} ms", f"{m['gpu.t4.latency_ms']:.3f}"):
        assert value in text
    words = " ".join(text.split())
    shown_metrics = ["fpga.latency_ms", "fpga.dram_mb", "fpga.energy_mj", "gpu.t4.latency_ms"]
    shown_metrics += [f"fpga.{item.name}" for item in explanation.resources]
    for metric in shown_metrics:
        source = explanation.cost.source(metric)
        assert " ".join(source.split()) in words
        number = words.split(f"] {source}")[0].rpartition("[")[2]
        assert f"[{'~' if source.startswith('relative') else ''}{number}]" in words


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160])
def test_the_table_is_as_wide_as_the_console(explanation: Explanation, width: int) -> None:
    """Narrow consoles drop columns, never cycles or the bound; names lose their start."""
    long = [replace(row, name=f"stages.0.blocks.{row.name}" * 5) for row in explanation.rows]
    stream = StringIO()
    console = Console(file=stream, width=width)
    console.print(layer_table(long, console))
    lines = stream.getvalue().splitlines()
    assert max(len(line.rstrip()) for line in lines) <= width
    for row in explanation.rows:
        line = next(x for x in lines if f"{row.name} " in x)
        assert f"{row.cycles:,}" in line and row.bound_by in line and "…" in line
    assert ("M x K x N" in stream.getvalue()) == (width >= 100)


def test_the_longest_layers(explanation: Explanation) -> None:
    stream = StringIO()
    console = Console(file=stream, width=160)
    console.print(layer_table(explanation.rows, console, top=2))
    longest = sorted(explanation.rows, key=lambda row: -row.cycles)
    names = [line.split()[0] for line in stream.getvalue().splitlines() if line.split()]
    assert names[-2:] == [row.name for row in longest[:2]]


def pixels(png: bytes) -> np.ndarray:
    return image.imread(BytesIO(png), format="png")[..., :3]


def count(picture: np.ndarray, colour: str) -> int:
    wanted = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return int((np.abs(picture - wanted).max(axis=-1) < 0.02).sum())


def test_the_utilisation_s_area_is_the_work(explanation: Explanation) -> None:
    """Painted area by colour, without the strip below: utilisation times time of those layers."""
    picture = pixels(utilisation_png(explanation))
    area = {}
    for bound in ("array", "dram"):
        rows = [row for row in explanation.rows if row.bound_by == bound]
        painted = sum(row.cycles * (100 * row.utilisation + 4) for row in rows)
        if painted:
            area[bound] = count(picture, COLOURS[bound]) / painted
    assert len(area) >= 1
    plain = next(iter(area.values()))
    full = sum(row.cycles for row in explanation.rows) * 144  # the axes, -4 to 140 per cent
    assert 0.5 < plain * full / (picture.shape[0] * picture.shape[1]) < 0.95
    assert all(value == pytest.approx(plain, rel=0.15) for value in area.values())


def test_the_roofline_paints_each_layer(explanation: Explanation) -> None:
    png = roofline_png(explanation)
    assert pixels(png).shape == (780, 1200, 3)
    slow = explain(LOG2, replace(SMALL, board="pynq_z2", clock_mhz=500.0))
    assert {row.bound_by for row in slow.rows if row.macs} != {
        row.bound_by for row in explanation.rows if row.macs
    }
    assert roofline_png(slow) != png


def test_a_network_without_layers_or_traffic_is_drawn() -> None:
    vector_only = Workload("net", (mobile_block().vector_operations[1],), 0)
    for png in (roofline_png, utilisation_png):
        assert pixels(png(explain(vector_only, SMALL))).size


def test_a_bundle_is_explained(bundle: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    assert main([f"bundle={bundle}", f"out={out}", "gpus=[t4]"]) == 0
    text = capsys.readouterr().out
    assert "mobile_block of bundle 7" in text
    values = json.loads((out / "explain.json").read_text())
    cost = estimate(LOG2, SMALL, gpus=("t4",))
    assert values["metrics"] == cost.metrics
    assert values["provenance"] == {name: cost.source(name) for name in cost.metrics}
    assert [row["cycles"] for row in values["layers"]] == [layer.cycles for layer in cost.layers]
    assert {path.name for path in out.iterdir()} == {
        "explain.json",
        "roofline.png",
        "utilisation.png",
    }
    assert sorted(path.name for path in bundle.iterdir()) == ["design.json", "workload.json"]


def test_what_if(bundle: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    words = ["accelerator.board=u50", "accelerator.mac_rows=4", "accelerator.clock_mhz=300"]
    words += ["fabric=finn", "cycles=scalesim", f"out={out}"]
    source = [f"workload={bundle / 'workload.json'}", f"design={bundle / 'design.json'}"]
    assert main([*source, *words]) == 0
    changed = replace(SMALL, board="u50", mac_rows=4, clock_mhz=300.0)
    wanted = estimate(LOG2, changed, cycles="scalesim", fabric="finn")
    assert json.loads((out / "explain.json").read_text())["metrics"] == wanted.metrics


def test_batches_are_the_bundle_s_or_those_asked_for(
    bundle: Path, tmp_path: Path, capsys: Any
) -> None:
    (bundle / "cost.json").write_text(json.dumps({"batch": 4}))
    for words, batch in (([], 4), (["batch=2"], 2)):
        assert main([f"bundle={bundle}", f"out={tmp_path}", *words]) == 0
        values = json.loads((tmp_path / "explain.json").read_text())
        assert values["batch"] == batch
        assert values["metrics"] == estimate(LOG2, SMALL, batch=batch).metrics
        assert f"ms for a batch of {batch}, " in capsys.readouterr().out


def test_chains_are_shown(tmp_path: Path, capsys: Any) -> None:
    workload = mbconv(16, 16, 64, 16)
    (tmp_path / "w.json").write_text(json.dumps(workload_values(workload)))
    words = [f"workload={tmp_path / 'w.json'}", f"out={tmp_path}"]
    assert main([*words, "accelerator.fused_chains=true"]) == 0
    values = json.loads((tmp_path / "explain.json").read_text())
    cost = estimate(workload, Accelerator(fused_chains=True))
    (chain,) = cost.chains
    assert [row["chain"] for row in values["layers"]] == [chain.name] * 3
    assert values["chains"][0]["bands"] == chain.bands
    assert sum(row["cycles"] for row in values["layers"]) == chain.cycles
    assert sum(row["share"] for row in values["layers"]) == pytest.approx(1)
    text = capsys.readouterr().out
    assert "separable" in text and f"{chain.bands}" in text and "fused chains" in text
    for row in values["layers"]:
        assert row["gops"] == pytest.approx(2 * row["macs"] * 200 / chain.cycles / 1e3)
        assert row["gops"] <= 1.0001 * values["roofs"]["engines"][row["engine"]]


def test_out_none_writes_nothing(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main([f"bundle={bundle}", "out=none"]) == 0
    assert not list((tmp_path / "here").iterdir())
    assert main([f"bundle={bundle}"]) == 0
    assert (tmp_path / "here" / "runs" / "explain" / "bundle-7" / "roofline.png").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "what is to be explained? Give one of space=NAME"),
        (["space=a", "run=b"], "given were space and run"),
        (["bundle=nowhere"], "bundle=nowhere: there is no such folder"),
        (["bundle={bundle}", "design=x.json"], "design= belongs to space= or workload="),
        (["bundle={bundle}", "trial=3"], "trial= belongs to run="),
        (["bundle={bundle}", "data.image_size=3"], "data.image_size= belongs to space="),
        (["bundle={bundle}", "accelerator.mac_row=3"], "'mac_row'. Did you mean 'mac_rows'?"),
        (["bundle={bundle}", "accelerator.mac_rows=two"], "mac_rows must be of type int"),
        (["bundle={bundle}", "accelerator.mac_rows=-2"], "mac_rows must be zero or a positive"),
        (["bundle={bundle}", "accelerator.board=zcu"], "unknown board 'zcu'"),
        (["bundle={bundle}", "cycles=rtl"], "unknown cycles 'rtl'"),
        (["bundle={bundle}", "gpus=[t5]"], "unknown GPU 't5'"),
        (["bundle={bundle}", "batch=-2"], "batch must be a positive whole number, not -2"),
        (["bundle={bundle}", "batch=2.5"], "batch must be of type int"),
        (["bundle={bundle}", "accelerator.fused_chains=3"], "fused_chains must be true or false"),
        (["bundle={bundle}", "top=-1"], "top and width must be 0 or more"),
        (["bundel=x"], "unknown key 'bundel'. Did you mean 'bundle'?"),
        (["workload={bundle}/design.json"], "lacks name, operations, parameter_bits"),
        (["workload={bundle}/none.json"], "none.json cannot be read as JSON"),
        (
            ["workload={bundle}/workload.json", "design={bundle}/workload.json"],
            "workload.json holds no accelerator",
        ),
        (["space=nowhere"], "unknown space 'nowhere'"),
        (["run=nowhere"], "nowhere"),
        (["bundle={bundle}", "out=/proc/nowhere"], "cannot write"),
    ],
)
def test_mistakes_are_one_line(words: list[str], message: str, bundle: Path, capsys: Any) -> None:
    assert main([word.format(bundle=bundle) for word in words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v["operations"][0].pop("m"), "operation 0 lacks m"),
        (lambda v: v["operations"][1].update(speed=3), "operation 1 has the unknown key speed"),
        (lambda v: v["operations"][0].update({"is": "tensor"}), "'is' must be one of matrix"),
        (lambda v: v.update(operations={}), "operations a list"),
        (lambda v: v.update(schema_version=2), "schema_version must be 1"),
        (lambda v: v.update(operations=[3]), "'is' must be one of matrix, vector, not None"),
    ],
)
def test_files_that_are_no_workloads(change: Any, message: str) -> None:
    values = workload_values(LOG2)
    change(values)
    with pytest.raises(CostModelError, match=message):
        workload_from_json(values)


def test_workloads_survive_json(bundle: Path) -> None:
    assert load_workload(bundle / "workload.json") == LOG2
    bare = {
        "name": "net",
        "parameter_bits": 0,
        "operations": [{"is": "matrix", **asdict(linear())}],
    }
    assert workload_from_json(bare) == Workload("net", (linear(),), 0)


def test_codesign_is_not_imported_for_a_bundle(bundle: Path) -> None:
    code = (
        "import sys; from costmodels.explain.__main__ import main;"
        f"assert main(['bundle={bundle}', 'out=none']) == 0;"
        "heavy = {'torch', 'optuna', 'codesign'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_help_names_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for key in ("space", "design", "run", "trial", "bundle", "workload", "out", "top", "gpus"):
        assert f"  {key} (" in text
    assert "accelerator.FIELD=VALUE" in text
