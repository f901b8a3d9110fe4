"""python -m codesign.quantize: end to end on a tiny network, its file, its mistakes."""

import json
import math

import numpy as np
import pytest
import torch

from codesign.cli import exit_code
from codesign.data import load_data
from codesign.evaluate.__main__ import main as evaluate
from codesign.integer import replay
from codesign.integer.model import IntegerModel
from codesign.posttrain.measure import Energy
from codesign.posttrain.settings import load_posttrain_settings
from codesign.quantize.__main__ import main
from codesign.train.model import data_config, trained_model
from codesign.train.teacher import teacher_state

MODEL = [
    "model=vit_tiny_patch16_224",
    "model.kwargs={img_size: 32, depth: 1, embed_dim: 48, num_heads: 3}",
]
QUICK = ["teacher.epochs=0", "images=16", "measured_images=16", "compared_images=1"]
RANDOM = [*MODEL, *QUICK, "data=random", "data.image_size=32"]


@pytest.fixture
def quantise(tmp_path):
    """Run the command with its files in a folder of the test's own; return the exit code."""

    def run(*arguments):
        return exit_code(main, [f"runs_dir={tmp_path}", *map(str, arguments)])

    return run


def test_one_method_is_measured_printed_and_written(quantise, tmp_path, capsys):
    out, saved = tmp_path / "deep" / "result.json", tmp_path / "model.npz"
    assert quantise(*RANDOM, "method=minmax", f"out={out}", f"save={saved}") == 0
    said = capsys.readouterr().out
    written = json.loads(out.read_text())
    (result,) = written["results"]
    assert written["failed"] == {}
    assert written["model"] == "vit_tiny_patch16_224"
    assert result["method"] == "minmax"
    assert result["recipe"]["observer"] == "minmax"
    assert result["accuracy"] is None, "random labels have no accuracy"
    assert "random images have no true classes" in said
    assert f"same class as float: {100 * result['agreement']:.2f} % of 128 images" in said
    assert result["differing_integers"] == 0
    assert result["compared_integers"] > 10_000
    assert f"torch against NumPy: 0 of {result['compared_integers']:,} integers" in said
    errors = [layer["error_db"] for layer in result["layers"]]
    assert errors == sorted(errors, reverse=True)
    assert len(errors) == written["layers"] == 6
    worst = result["layers"][0]
    assert f"{worst['layer']}" in said
    assert f"{worst['error_db']:.1f}" in said
    assert f"written: {out}" in said
    assert not list(out.parent.glob(".*")), "no temporary file is left"
    assert IntegerModel.load(saved).name == "vit_tiny_patch16_224"
    assert exit_code(evaluate, [f"model={saved}"]) == 0
    assert capsys.readouterr().out.endswith("of 128 on validation: equal\n")


def test_figures_are_those_of_the_saved_model_and_of_timm(quantise, tmp_path):
    """Everything again from the saved integer model in NumPy and timm's own module in torch."""
    out, saved = tmp_path / "r.json", tmp_path / "m.npz"
    assert quantise(*RANDOM, "method=minmax", f"out={out}", f"save={saved}") == 0
    settings = load_posttrain_settings([*RANDOM, f"runs_dir={tmp_path}"])
    data = load_data(settings.data, data_config(settings.model))
    teacher = teacher_state(settings, data, tmp_path / ".cache" / "teachers")
    timm_model = trained_model(settings.model, data.num_classes, teacher.state)
    images, _ = data.split("validation").load(range(128))
    with torch.no_grad():
        wanted = timm_model(images).double().numpy()
    model = IntegerModel.load(saved)
    tensors = dict(model.tensors)
    codes = replay.run(model.graph_json(), tensors, model.quantize_input(images.numpy()))
    logits = codes * model.logits_format.scale
    ratio = (wanted**2).sum() / ((logits - wanted) ** 2).sum()
    (result,) = json.loads(out.read_text())["results"]
    assert result["logits_sqnr_db"] == pytest.approx(10 * math.log10(ratio), abs=0.01)
    assert result["agreement"] == (codes.argmax(1) == wanted.argmax(1)).mean()
    weights = [tensors[n.tensors["weight"]] for n in model.nodes if "weight" in n.tensors]
    assert result["weight_kb"] == pytest.approx(sum(w.size for w in weights) / 1024)
    zeros = sum(np.count_nonzero(w == 0) for w in weights)
    assert result["sparsity"] == pytest.approx(zeros / sum(w.size for w in weights))
    assert result["mean_weight_bits"] == 8
    head = next(layer for layer in result["layers"] if layer["layer"] == "head")
    assert math.isfinite(head["error_db"])


def test_layer_errors_are_those_of_the_float_network(quantise, tmp_path):
    """The patch embedding's error, from the module's own output on the first 16 images."""
    out, saved = tmp_path / "r.json", tmp_path / "m.npz"
    assert quantise(*RANDOM, f"out={out}", f"save={saved}") == 0
    settings = load_posttrain_settings([*RANDOM, f"runs_dir={tmp_path}"])
    data = load_data(settings.data, data_config(settings.model))
    teacher = teacher_state(settings, data, tmp_path / ".cache" / "teachers")
    timm_model = trained_model(settings.model, data.num_classes, teacher.state)
    images, _ = data.split("validation").load(range(16))
    with torch.no_grad():
        wanted = timm_model.patch_embed.proj(images).double().numpy()
    model, codes = IntegerModel.load(saved), {}
    replay.run(model.graph_json(), dict(model.tensors), model.quantize_input(images.numpy()), codes)
    node = next(n for n in model.nodes if n.name == "patch_embed.proj")
    got = (codes[node.name] - node.format.zero_point) * node.format.scale
    error = 10 * math.log10(((got - wanted) ** 2).sum() / (wanted**2).sum())
    (result,) = json.loads(out.read_text())["results"]
    found = next(x["error_db"] for x in result["layers"] if x["layer"] == node.name)
    assert found == pytest.approx(error, abs=0.01)


def test_fewer_bits_cost_more_error_and_less_space(quantise, tmp_path):
    figures = {}
    for bits in (8, 4):
        out = tmp_path / f"{bits}.json"
        assert quantise(*RANDOM, f"w_bits={bits}", f"a_bits={bits}", f"out={out}") == 0
        (figures[bits],) = json.loads(out.read_text())["results"]
    errors = {
        bits: {layer["layer"]: layer["error_db"] for layer in figure["layers"]}
        for bits, figure in figures.items()
    }
    for name in ("blocks.0.attn.qkv", "blocks.0.attn.proj", "blocks.0.mlp.fc1"):
        assert errors[4][name] > errors[8][name] + 6
    assert figures[4]["weight_kb"] < figures[8]["weight_kb"]
    assert 4 < figures[4]["mean_weight_bits"] < 8, "the first and last layer keep 8 bits"


def test_a_mean_width_narrows_the_layers_that_mind_least(quantise, tmp_path):
    out = tmp_path / "r.json"
    assert quantise(*RANDOM, "mean_bits=7.5", f"out={out}") == 0
    (result,) = json.loads(out.read_text())["results"]
    widths = {layer["layer"]: layer["weight"] for layer in result["layers"]}
    assert 7 < result["mean_weight_bits"] <= 7.5
    assert widths["patch_embed.proj"] == widths["head"] == "uniform_8", "ends keep their own"
    assert set(widths.values()) <= {"uniform_8", "uniform_6", "uniform_4"}
    assert quantise(*RANDOM, "mean_bits=3") == 2, "4 bits are the narrowest"


def test_several_methods_are_one_table(quantise, tmp_path, capsys):
    out = tmp_path / "r.json"
    assert quantise(*RANDOM, "method=[minmax, percentile,minmax]", f"out={out}") == 0
    said = capsys.readouterr().out
    results = json.loads(out.read_text())["results"]
    assert [r["method"] for r in results] == ["minmax", "percentile"]
    rows = [line.split() for line in said.splitlines() if line.lstrip().startswith("minmax ")]
    assert [f"{100 * results[0]['agreement']:.2f}"] == rows[-1][1:2]


def test_labelled_data_distillation_and_activations(quantise, tmp_path, capsys):
    out = tmp_path / "r.json"
    words = ["data.image_size=32", "activation=relu", "steps=2", "distill.batch_size=8"]
    assert quantise(*MODEL, *QUICK, *words, f"out={out}") == 0
    written = json.loads(out.read_text())
    (result,) = written["results"]
    assert written["data"] == "digits"
    assert result["images"] == 362
    drop = 100 * (result["float_accuracy"] - result["accuracy"])
    assert result["accuracy_drop_points"] == pytest.approx(drop)
    assert "accuracy on 362 validation images: float" in capsys.readouterr().out


def test_single_choices_reach_the_recipe(quantise, tmp_path):
    out = tmp_path / "r.json"
    words = ["method=minmax", "observer=percentile", "attention_bits=6", "quantize.scales=free"]
    assert quantise(*RANDOM, *words, f"out={out}") == 0
    recipe = json.loads(out.read_text())["results"][0]["recipe"]
    assert (recipe["observer"], recipe["attention_bits"]) == ("percentile", 6)


def test_a_space_gives_model_data_and_method(tmp_path):
    space = tmp_path / "mine.yaml"
    space.write_text(
        "{model: {name: deit_tiny_patch16_224, kwargs: {depth: 2}}, data: {name: random},"
        " teacher: {epochs: 3}, quantize: {method: minmax, attention_bits: 4},"
        " distill: {steps: 9, batch_size: 5}, network: {first_and_last_bits: 6}}"
    )
    settings = load_posttrain_settings([f"space={space}", "attention_bits=5", "teacher.epochs=1"])
    assert settings.model.name == "deit_tiny_patch16_224"
    assert settings.model.kwargs == {"depth": 2}
    assert (settings.data.name, settings.teacher.epochs) == ("random", 1)
    assert (settings.quantize.method, settings.quantize.attention_bits) == ("minmax", 5)
    assert (settings.distill.steps, settings.distill.batch_size) == (0, 5)
    assert settings.first_and_last_bits == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["method=minmax"], "which model? Give model=NAME"),
        ([*RANDOM, "method=nonesuch"], "unknown quantisation method 'nonesuch'. Known: "),
        ([*RANDOM, "method=[minmax,min_max]"], "Did you mean 'minmax'?"),
        ([*RANDOM, "method=[]"], "names none"),
        ([*RANDOM, "model=deit_tinny_patch16_224"], "Nearest: deit_tiny_patch16_224"),
        ([*RANDOM, "softmax=sharp"], "quantize.softmax=sharp: unknown. Known: "),
        ([*RANDOM, "method=all", "scales=odd"], "quantize.scales=odd: unknown. Known: "),
        ([*RANDOM, "w_bits=9"], "w_bits=9 must be from 2 to 8"),
        ([*RANDOM, "a_bits=1"], "a_bits=1 must be from 2 to 8"),
        ([*RANDOM, "scheme=log3"], "log2, "),
        ([*RANDOM, "activation=rellu"], "Did you mean 'relu'?"),
        ([*RANDOM, "compared_images=0"], "compared_images=0 must be at least 1"),
        ([*RANDOM, "metod=minmax"], "unknown key 'metod' on the command line. Did you mean"),
        ([*RANDOM, "out=."], "out=. is a folder: give the name of a file"),
        ([*RANDOM, "steps=-1"], "distill.steps=-1 must be at least 0"),
        (["space=nowhere"], "unknown space 'nowhere'"),
    ],
)
def test_mistakes_are_one_line_and_code_2(quantise, tmp_path, capsys, words, message):
    assert quantise(*words) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert not list(tmp_path.iterdir()), "nothing is trained or written"


def test_help_names_every_key_and_shorthand(quantise, capsys):
    with pytest.raises(SystemExit) as stopped:
        quantise("--help")
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    for word in ("method= takes a name, a list", "images=N is", "w_bits=8"):
        assert word in said


def test_energy_is_the_ratio_of_the_squares():
    energy = Energy()
    assert energy.error_db == -math.inf
    energy.add(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.5]))
    assert energy.error_db == pytest.approx(10 * math.log10(0.25 / 25))
    exact = Energy()
    exact.add(torch.ones(3), torch.ones(3))
    assert exact.error_db == -math.inf


def test_a_method_that_fails_leaves_the_others(monkeypatch, quantise, tmp_path, capsys):
    from codesign.errors import RunError
    from codesign.posttrain import bench

    def fail_percentile(network, real=bench.lower):
        if network.recipe.observer == "percentile":
            raise RunError("layer x: its accumulator can reach 9, above 2**31 - 1")
        return real(network)

    monkeypatch.setattr(bench, "lower", fail_percentile)
    out = tmp_path / "r.json"
    assert quantise(*RANDOM, "method=[percentile,minmax]", f"out={out}") == 1
    written = json.loads(out.read_text())
    assert [r["method"] for r in written["results"]] == ["minmax"]
    assert "accumulator" in written["failed"]["percentile"]
    assert "percentile" in capsys.readouterr().out
    assert quantise(*RANDOM, "method=percentile") == 1
    assert "error: layer x" in capsys.readouterr().err
