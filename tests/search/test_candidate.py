"""Candidates without training: the workload is the trained network's; mistakes are named."""

import json
from dataclasses import replace

import pytest
import torch
from analytic import AnalyticProblem
from rich.console import Console

from codesign.data import load_data
from codesign.errors import UserError
from codesign.graph.capture import capture
from codesign.graph.outline import outline
from codesign.graph.workload import workload
from codesign.search.candidate import candidate_of_run, candidate_of_space
from codesign.search.evaluator import recipe_of
from codesign.search.read import choose_trial, read_study
from codesign.search.run import ProblemSource, run_search
from codesign.settings import load_settings
from codesign.space import SearchSpace
from codesign.train.model import build_model, data_config
from costmodels.estimate import estimate
from costmodels.explain.__main__ import main

SPACE = """
executor: serial
trials: 5
device: cpu
report: false
model: {name: vit_tiny_patch16_224,
        kwargs: {img_size: 16, patch_size: 8, depth: 1, embed_dim: 24, num_heads: 2}}
data: {image_size: 16}
network: {weights: {uniform: [4, 8], log2: [4]}, activations: {choices: [relu, hardswish]}}
"""


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    path = tmp_path_factory.mktemp("spaces") / "tiny.yaml"
    path.write_text(SPACE)
    return path


@pytest.fixture(scope="module")
def graph(space):
    """The network as a search has it, with weights of its own."""
    settings = load_settings([f"space={space}"])
    data = load_data(settings.data, data_config(settings.model))
    torch.manual_seed(123)
    model = build_model(settings.model, data.num_classes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return capture(model, data.input_shape, settings.model.name)


@pytest.fixture(scope="module")
def study(space, graph, tmp_path_factory):
    """The folder of a study of that network, whose accuracies are a formula."""
    runs = tmp_path_factory.mktemp("runs")

    class Problem(AnalyticProblem):
        pass

    Problem.outline = outline(graph)
    settings = load_settings([f"space={space}", f"runs_dir={runs}"])
    source = ProblemSource(lambda *_: None, lambda _: Problem(runs))
    assert run_search(settings, source, Console(quiet=True)) == 0
    return settings.run_dir


def test_baselines_of_a_space(space, graph):
    settings = load_settings([f"space={space}"])
    baselines = SearchSpace(settings, outline(graph)).baselines()
    assert len(baselines) >= 3
    for label, design in [("", baselines[0][1]), *baselines]:
        found = candidate_of_space(str(space), label)
        assert found.design == design
        assert found.workload == workload(graph, design, recipe_of(settings.quantize))
        assert found.title == f"baseline '{label or baselines[0][0]}' of space tiny"


def test_settings_of_the_space_change(space):
    changed = candidate_of_space(
        str(space), changes=["hardware.board=u50", "quantize.method=minmax"]
    )
    assert changed.design.accelerator.board == "u50"
    wider = candidate_of_space(str(space), changes=["model.kwargs={img_size: 16, patch_size: 4}"])
    assert wider.workload.layers[0].m == 16 * changed.workload.layers[0].m // 4


def test_the_batch_of_the_space_is_explained(space, tmp_path, capsys):
    assert candidate_of_space(str(space)).batch == 1
    found = candidate_of_space(str(space), changes=["cost.batch=4"])
    assert found.batch == 4
    assert main([f"space={space}", "cost.batch=4", f"out={tmp_path}"]) == 0
    values = json.loads((tmp_path / "explain.json").read_text())
    wanted = estimate(found.workload, found.design.accelerator, batch=4).metrics
    assert values["batch"] == 4 and values["metrics"] == wanted


def test_designs_from_files(space, study, tmp_path, graph):
    record = read_study(study)
    trial = choose_trial(record, "3")
    alone = tmp_path / "design.json"
    alone.write_text(json.dumps(trial.design.to_json()))
    of_trial = study / "designs" / "3.json"
    for path in (alone, of_trial):
        found = candidate_of_space(str(space), str(path))
        assert found.design == trial.design
        assert found.workload == workload(graph, trial.design)


@pytest.mark.parametrize("which", ["knee", "2", "best:accuracy"])
def test_trials_of_a_study(study, graph, which):
    trial = choose_trial(read_study(study), which)
    found = candidate_of_run(study, which)
    assert found.design == trial.design
    assert found.workload == workload(graph, trial.design)
    assert found.title == f"trial {trial.number} of study tiny"


def test_global_random_numbers_are_left_alone(space):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    candidate_of_space(str(space))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_command_explains_trials_and_baselines(space, study, tmp_path, capsys):
    trial = choose_trial(read_study(study), "2")
    found = candidate_of_run(study, "2")
    words = ["accelerator.board=kv260", f"out={tmp_path}"]
    assert main([f"run={study}", "trial=2", *words]) == 0
    accelerator = replace(trial.design.accelerator, board="kv260")
    values = json.loads((tmp_path / "explain.json").read_text())
    assert values["metrics"] == estimate(found.workload, accelerator).metrics
    assert "trial 2 of study tiny, board=kv260" in capsys.readouterr().out
    assert main([f"space={space}", "design=4-bit log2", "out=none"]) == 0
    assert "baseline '4-bit log2' of space tiny" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["design=5-bit"], "design='5-bit' is no baseline of tiny. Baselines: '8-bit uniform'"),
        (["design={tmp}/none.json"], "cannot be read as JSON"),
        (["design={tmp}/other.json"], "holds no design"),
        (["design={tmp}/another.json"], "another network than vit_tiny_patch16_224: layer 'fc9'"),
        (["data.image_sise=3"], "image_sise"),
        (["model.name=vit_tinny"], "vit_tinny is not a timm model"),
    ],
)
def test_mistakes_are_one_line(words, message, space, study, tmp_path, capsys):
    (tmp_path / "other.json").write_text("{}")
    design = choose_trial(read_study(study), "2").design
    another = replace(design, layers=(*design.layers, ("fc9", design.layers[0][1])))
    (tmp_path / "another.json").write_text(json.dumps(another.to_json()))
    assert main([f"space={space}", *(word.format(tmp=tmp_path) for word in words)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_studies_that_are_not_there(tmp_path):
    with pytest.raises(UserError):
        candidate_of_run(tmp_path)
