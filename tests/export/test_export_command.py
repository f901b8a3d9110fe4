"""The command on a real, tiny study: a one-block vision transformer on random images."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import onnx
import pytest
from rich.console import Console

from codesign.cli import exit_code
from codesign.evaluate.__main__ import main as evaluate
from codesign.export.__main__ import main
from codesign.export.checks import MANIFEST, manifest
from codesign.files import content_key
from codesign.integer.model import IntegerModel
from codesign.search.read import read_study
from codesign.search.run import run_search
from codesign.settings import load_settings
from codesign.verify.__main__ import main as verify
from codesign.verify.registry import CHECKS
from costmodels.accelerator import Accelerator

SETTINGS = """
executor: serial
device: cpu
report: false
trials: 5
model:
  name: vit_tiny_patch16_224
  kwargs: {img_size: 32, depth: 1, embed_dim: 48, num_heads: 3}
data: {name: random, image_size: 32}
teacher: {epochs: 0}
distill: {steps: 0}
quantize: {calibration_images: 16}
cost: {gpus: [h200]}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The folder of a finished study."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "small.yaml").write_text(SETTINGS)
    runs = folder / "runs"
    settings = load_settings([f"space={folder / 'small.yaml'}", f"runs_dir={runs}"])
    assert run_search(settings, console=Console(quiet=True)) == 0
    return runs / "small"


def export(*arguments):
    return exit_code(main, [str(argument) for argument in arguments])


def test_knee_is_exported_into_the_study(study, capsys):
    assert export(f"run={study}", "trial=knee", "golden=2") == 0
    (bundle,) = (study / "exports").iterdir()
    number = int(bundle.name)
    record = read_study(study)
    trial = next(t for t in record.trials if t.number == number)
    assert trial.on_front
    assert manifest(bundle) == (bundle / MANIFEST).read_text()
    said = capsys.readouterr().out
    assert f"exporting trial {number} of study small" in said
    correct = round(trial.metrics["accuracy"] * 128)
    assert f"bundle: {bundle}" in said
    assert "verified: 0 differing integers over" in said
    assert f"({correct} of 128) = trial's" in said
    checks = [name for name in CHECKS if name != "manifest"]
    assert said.endswith(f"checks passed: {', '.join(checks)}\n")
    for name in checks:
        assert re.search(rf"^  ok      {re.escape(name)} ", said, re.M)
    assert exit_code(verify, [str(bundle)]) == 0
    assert exit_code(evaluate, [f"bundle={bundle}"]) == 0
    assert capsys.readouterr().out.endswith(f"{correct} of 128 on validation: equal\n")
    cost = json.loads((bundle / "cost.json").read_text())
    assert cost["trial_metrics"]["accuracy"] == trial.metrics["accuracy"]
    for name, value in cost["metrics"].items():
        assert trial.metrics[name] == value


def test_every_complete_trial_can_be_exported(study, tmp_path):
    for trial in read_study(study).trials:
        if trial.state == "complete":
            out = tmp_path / str(trial.number)
            assert export(f"run={study}", f"trial={trial.number}", f"out={out}", "golden=1") == 0
            assert (out / MANIFEST).is_file()


def test_a_design_stored_before_a_parameter_was_added_is_exported(study, tmp_path):
    """Its file lacks the parameter, and its model records the key of that file."""
    runs = tmp_path / "runs"
    shutil.copytree(study.parent / ".cache", runs / ".cache")
    older = Path(shutil.copytree(study, runs / "small"))
    number = min(trial.number for trial in read_study(older).front)
    path = older / "designs" / f"{number}.json"
    stored = json.loads(path.read_text())
    default = dataclasses.fields(Accelerator)[-1]
    if stored["design"]["accelerator"].pop(default.name) != default.default:
        pytest.fail("choose a parameter that has its default")
    path.write_text(json.dumps(stored))
    model = IntegerModel.load(path.with_suffix(".npz"))
    model = model.with_info(design=content_key(stored["design"]))
    path.with_suffix(".npz").write_bytes(model.to_bytes())
    assert export(f"run={older}", f"trial={number}", f"out={tmp_path / 'b'}", "golden=1") == 0


def test_the_qonnx_file_has_the_quantisers_asked_for(study, tmp_path):
    named = {}
    for quant_op in ("IntQuant", "Quant"):
        out = tmp_path / quant_op
        assert export(f"run={study}", f"out={out}", "golden=1", f"quant_op={quant_op}") == 0
        graph = onnx.load(out / "model.qonnx.onnx").graph
        named[quant_op] = {node.op_type for node in graph.node}
        measured = json.loads((out / "interchange.json").read_text())["mirrors"]
        assert measured["model.qdq.onnx"]["images"] == 128
        assert measured["model.qonnx.onnx"]["runner"] == "qonnx"
        assert str(measured["model.qdq.onnx"]["differing"]) in (out / "README.md").read_text()
        assert verify([str(out)]) == 0
    assert named["IntQuant"] - named["Quant"] == {"IntQuant"}
    assert named["Quant"] - named["IntQuant"] == {"Quant"}


def test_best_of_an_objective(study, tmp_path, capsys):
    assert export(f"run={study}", "trial=best:fpga.dsp", f"out={tmp_path / 'b'}", "golden=1") == 0
    front = read_study(study).front
    smallest = min(front, key=lambda trial: trial.values["fpga.dsp"])
    assert f"exporting trial {smallest.number} " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("trial=99", "trial 99 does not exist; front: "),
        ("trial=best:speed", "give knee, a number, or one of best:accuracy"),
        ("golden=0", "golden=0: a bundle needs at least 1"),
        ("golden=129", "golden=129: there are only 128 validation images"),
        ("quant_op=Int", "quant_op=Int: choose IntQuant or Quant."),
        ("golden=many", "golden on the command line must be an integer"),
        ("trail=1", "unknown key 'trail' on the command line. Did you mean trial?"),
    ],
)
def test_wrong_words_are_one_line_and_code_2(study, tmp_path, capsys, arguments, message):
    assert export(f"run={study}", f"out={tmp_path / 'x'}", arguments) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_help_lists_every_key(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    said = capsys.readouterr().out
    for key in ("run=", "trial=knee", "out=", "golden=8", "quant_op=IntQuant"):
        assert f"\n  {key}" in said


def test_no_study_is_one_line_and_code_2(tmp_path, capsys):
    assert export() == 2
    assert "Give run=DIR" in capsys.readouterr().err
    assert export(f"run={tmp_path / 'nowhere'}") == 2
    assert "is no run directory" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["missing model", "cut model", "cut cost", "other model"])
def test_damaged_studies_are_one_line_and_nothing_is_written(study, tmp_path, capsys, damage):
    runs = tmp_path / "runs"
    shutil.copytree(study.parent / ".cache", runs / ".cache")
    broken = Path(shutil.copytree(study, runs / "small"))
    front = sorted(read_study(broken).front, key=lambda trial: trial.number)
    number = front[0].number
    model, design = (broken / "designs" / f"{number}.{kind}" for kind in ("npz", "json"))
    if damage == "missing model":
        model.unlink()
    elif damage == "cut model":
        model.write_bytes(model.read_bytes()[:-500])
    elif damage == "cut cost":
        stored = json.loads(design.read_text())
        design.write_text(json.dumps({**stored, "cost": {}}))
    else:
        trials = read_study(broken).trials
        accuracy = {t.number: t.metrics["accuracy"] for t in trials if t.reuses is None}
        other = next(n for n, a in accuracy.items() if a != accuracy[number])
        shutil.copy(broken / "designs" / f"{other}.npz", model)
    out = tmp_path / "out"
    code = export(f"run={broken}", f"trial={number}", f"out={out}")
    said = capsys.readouterr().err
    assert code == (1 if damage == "other model" else 2)
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert not out.exists()
