"""Settings of a search: spaces, precedence, checks."""

import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from codesign.errors import UserError
from codesign.limits import Limit, parse_limits
from codesign.settings import SearchSettings, available_spaces, load_settings
from codesign.settings_tree import dotted_keys

ROOT = Path(__file__).parents[1]


@pytest.fixture
def space(tmp_path):
    """Write a space file and return the word that names it."""

    def write(text="{trials: 3}", name="mine"):
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        return f"space={path}"

    return write


def test_defaults_then_the_space_then_the_command_line(space):
    word = space("trials: 3\nseed: 4\nmodel: {name: vit_tiny_patch16_224}\n")
    settings = load_settings([word, "seed=5", "network.weights.uniform=[4]"])
    assert (settings.trials, settings.seed, settings.workers) == (3, 5, 0)
    assert settings.model.name == "vit_tiny_patch16_224"
    assert settings.network.weights == {"uniform": [4], "log2": [3, 4]}
    assert settings.study == "mine" and str(settings.run_dir) == "runs/mine"


def test_what_a_space_lists_replaces_the_default(space):
    settings = load_settings([space("objectives: {accuracy: max}\nconstraints: {}\n")])
    assert settings.objectives == {"accuracy": "max"}
    assert settings.constraints == {}


def test_dotted_keys_in_a_space(space):
    assert load_settings([space("distill.steps: 7\n")]).distill.steps == 7


@pytest.mark.parametrize("name", available_spaces())
def test_every_shipped_space_is_valid(name, monkeypatch, tmp_path):
    settings = load_settings([f"space={name}"])
    assert settings.study == name
    monkeypatch.chdir(tmp_path)
    assert load_settings([f"space={name}"]) == settings


def test_a_space_in_the_current_folder_is_found_by_name(monkeypatch, tmp_path):
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "search_spaces" / "local.yaml").write_text("trials: 9\n")
    monkeypatch.chdir(tmp_path)
    assert load_settings(["space=local"]).trials == 9
    assert {"local", "mobilevit_mixed"} <= set(available_spaces())


def test_resolved_settings_are_a_space_again(space, tmp_path):
    first = load_settings([space(), "seed=8", "constraints.accuracy.min=0.9"])
    again = tmp_path / "settings.yaml"
    again.write_text(yaml.safe_dump(first.to_json()))
    second = load_settings([f"space={again}"])
    expected = asdict(first) | {"space": str(again)}
    assert asdict(second) | {"space": str(again)} == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], r"which space\? Give space=NAME, one of: .*mobilevit_mixed"),
        (["space=mobilvit"], "unknown space 'mobilvit'. Spaces: .*mobilevit_mixed"),
        (["space=none/such.yaml"], "there is no such file"),
    ],
)
def test_spaces_that_do_not_exist(words, message):
    with pytest.raises(UserError, match=message):
        load_settings(words)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trials: [", "not readable YAML"),
        ("just words", "holds no settings"),
        ("", "holds no settings"),
        ("modl: {name: x}", "unknown key 'modl' in .*mine.yaml. Did you mean"),
        ("model: {nam: x}", "unknown key 'model.nam' in .*mine.yaml. Did you mean model.name"),
        ("network: {activations: {choice: [relu]}}", "Did you mean network.activations.choices"),
        ("model: mobilevit_xxs", "model in .* is a section"),
        ("trials: many", "trials in .* must be an integer"),
    ],
)
def test_bad_space_files(space, text, message):
    with pytest.raises(UserError, match=message):
        load_settings([space(text)])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("trials=0", "trials=0 must be at least 1"),
        ("workers=-1", "workers=-1 must be at least 0"),
        ("executor=dask", "executor: 'dask' is not one of ray, serial"),
        ("device=tpu", "device: 'tpu' is not one of auto, cpu, cuda"),
        ("sampler.name=cmaes", "sampler.name: 'cmaes' is not one of"),
        ("cost.batch=0", "cost.batch=0 must be at least 1"),
        ("cost.cycles=guess", "cost.cycles: 'guess' is not one of closed_form, scalesim"),
        ("study=a/b", "study='a/b'"),
        ("objectives={}", "objectives is empty"),
        ("objectives.accuracy=up", "objectives.accuracy: 'up' is not one of max, min"),
        ("constraints.fpga.dsp=few", "bound of fpga.dsp must be a number"),
        ("constraints={fpga.dsp: {about: 3}}", "fpga.dsp has 'about'"),
        ("network.weights.uniform=[4,9]", "network.weights.uniform: 9 is out of range, 2 to 8"),
        ("network.weights.log2=[6]", "network.weights.log2: 6 is out of range, 2 to 5"),
        ("network.weights.ternary=[2]", "'ternary' is not one of apot, log2"),
        ("network.weights={}", "network.weights is empty"),
        ("network.weights.mixed=[4]", "network.weights.mixed: mixed takes the share of output"),
        ("network.weights.log2std=[4@2]", "network.weights.log2std: log2std takes the share"),
        ("network.weights.log2std=[4@0.5,4@0.50]", "lists a choice twice"),
        ("network.weights.apot=[true]", "network.weights.apot: True is no width"),
        ("network.weights.apot=[8]", "network.weights.apot: 8 is out of range, 2 to 7"),
        ("quantize.reconstruction_drop=1", "quantize.reconstruction_drop must be"),
        ("network.activation_bits=[1]", "network.activation_bits: 1 is out of range"),
        ("network.activation_bits=[4,4]", "lists a choice twice"),
        ("network.first_and_last_bits=1", "network.first_and_last_bits=1 must be 2 to 8"),
        ("network.activations.choices=[]", "network.activations.choices is empty"),
        ("network.activations.per=layer", "network.activations.per: 'layer'"),
        ("accelerator.mac_rows=[0]", "accelerator.mac_rows: 0 is out of range"),
        ("accelerator.mac_rows=[-8]", "accelerator.mac_rows: -8 is out of range"),
        ("accelerator.dataflow=[ows]", "accelerator.dataflow: 'ows' is not one of os, ws, is"),
        ("accelerator.shift_rows=[8,65536]", "accelerator.shift_cols: 65536 x "),
        ("accelerator.vector_lanes=[1000001]", "1000001 is out of range, 1 to 1000000"),
        ("hardware.clock_mhz=0", "hardware.clock_mhz=0.0 must be a positive number"),
        ("distill.learning_rate=.nan", "distill.learning_rate=nan must be a positive number"),
        ("distill.judge_fraction=1", "distill.judge_fraction must be between 0 and 1"),
        ("timeout_s=-1", "timeout_s=-1.0 must be at least 0"),
        ("timeout_s=.nan", "timeout_s=nan must be at least 0"),
    ],
)
def test_values_that_make_no_sense(word, message):
    with pytest.raises(UserError) as caught:
        load_settings(["space=mobilevit_mixed", word])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "word", ["accelerator.shift_rows=[0,8]", "accelerator.depthwise_lanes=[0]"]
)
def test_engines_may_be_absent(word):
    load_settings(["space=mobilevit_mixed", word])


def test_limits():
    limits = parse_limits({"fpga.dsp": 100, "accuracy.min": "9e-1", "t": {"min": 1, "max": 2}})
    assert limits == (
        Limit("fpga.dsp", "max", 100.0),
        Limit("accuracy", "min", 0.9),
        Limit("t", "min", 1.0),
        Limit("t", "max", 2.0),
    )
    assert [limit.name for limit in limits] == ["fpga.dsp", "accuracy.min", "t.min", "t"]
    assert limits[0].excess(130) == 30 and limits[0].excess(100) == 0
    assert limits[1].excess(0.95) < 0 < limits[1].excess(0.8)
    assert limits[0].violation(130) == "fpga.dsp 130 > 100"
    assert limits[1].violation(0.8) == "accuracy 0.8 < 0.9"


def test_help_of_the_command(tmp_path):
    out = subprocess.run(
        [sys.executable, "-m", "codesign.search", "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
    ).stdout
    for key in dotted_keys(SearchSettings):
        assert f"\n  {key}=" in out
    assert "space=NAME" in out


def test_cfg_of_the_command_changes_nothing(tmp_path):
    shutil.copy(ROOT / "search_spaces" / "mobilevit_mixed.yaml", tmp_path / "copy.yaml")
    out = subprocess.run(
        [sys.executable, "-m", "codesign.search", "space=copy.yaml", "trials=5", "--cfg"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
    ).stdout
    assert yaml.safe_load(out)["trials"] == 5
    assert [path.name for path in tmp_path.iterdir()] == ["copy.yaml"]
