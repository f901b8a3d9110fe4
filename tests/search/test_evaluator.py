"""The evaluator on a real (small) model and the real digits."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from random_networks import random_design

from codesign.design import LayerFormat
from codesign.errors import RunError, UserError
from codesign.integer import replay
from codesign.integer.model import IntegerModel
from codesign.search.evaluator import load_problem, prepare
from codesign.settings import SearchSettings
from codesign.space import SearchSpace
from costmodels.accelerator import Accelerator


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    s = SearchSettings(space="x", study="x", runs_dir=str(tmp_path_factory.mktemp("runs")))
    s.device = "cpu"
    s.model.name = "vit_tiny_patch16_224"
    s.model.kwargs = {"img_size": 16, "patch_size": 8, "depth": 1, "embed_dim": 24, "num_heads": 2}
    s.data.image_size = 16
    s.teacher.epochs = 2
    s.distill.steps = 3
    s.distill.batch_size = 32
    return s


@pytest.fixture(scope="module")
def problem(settings):
    prepare(settings)
    return load_problem(settings)


@pytest.fixture(scope="module")
def evaluated(problem):
    design = random_design(problem.graph, 0)
    return design, problem.evaluate(design)


def test_the_accuracy_is_that_of_the_numpy_replay_of_the_shipped_bytes(problem, evaluated):
    _, evaluation = evaluated
    model = IntegerModel.from_bytes(evaluation.model)
    images, labels = problem.data.split("validation").load(range(len(model_images(problem))))
    codes = replay.run(model.graph_json(), model.tensors, model.quantize_input(images.numpy()))
    correct = int((codes.argmax(axis=1) == labels.numpy()).sum())
    assert correct == evaluation.details["validation_correct"]
    assert correct / len(labels) == evaluation.metrics["accuracy"]


def model_images(problem):
    return problem.data.split("validation").labels


def test_the_trial_records_accuracies_and_seconds_of_every_stage(evaluated):
    metrics = evaluated[1].metrics
    for stage in ("calibrate", "distill", "convert", "score"):
        assert metrics[f"seconds.{stage}"] > 0
    for name in ("accuracy", "accuracy_post_training", "accuracy_distilled"):
        assert 0 <= metrics[name] <= 1
    assert len(evaluated[1].details["distill_losses"]) == 3


def test_the_same_design_gives_the_same_bytes(settings, evaluated):
    design, first = evaluated
    again = load_problem(settings).evaluate(design)
    assert again.model == first.model
    ours = {k: v for k, v in again.metrics.items() if not k.startswith("seconds.")}
    assert ours == {k: v for k, v in first.metrics.items() if not k.startswith("seconds.")}


def test_sensitivities_are_measured_on_the_teacher_and_kept(problem, settings):
    space = SearchSpace(settings, problem.outline)
    seen = []
    found = problem.sensitivities(space.single_choices, lambda *done: seen.append(done))
    assert set(found.damages) == {(n, c) for n, cs in space.single_choices.items() for c in cs}
    layer = problem.outline.layers[2].name
    assert 0 < found[layer, "uniform_8"].squared_error < found[layer, "uniform_3"].squared_error
    assert problem.sensitivities(space.single_choices, lambda *done: seen.append(done)) == found
    assert seen[-1][0] == seen[-1][1] == len(seen)  # the second time nothing was measured


def test_schemes_of_shifts_are_trained_scored_and_priced(problem):
    design = random_design(problem.graph, 0)
    formats = ["log2std_4@0.5", "mixed_4@0.5", "apot_4"]
    layers = tuple(
        (name, LayerFormat.parse(formats[i % 3], 8)) for i, (name, _) in enumerate(design.layers)
    )
    design = replace(design, layers=layers)
    evaluation = problem.evaluate(design)
    pruned = [name for name, layer in layers if layer.weight_scheme == "log2std"]
    sparsity = evaluation.details["weight_sparsity"]
    assert set(sparsity) == set(pruned)
    assert all(share == pytest.approx(0.5, abs=1e-2) for share in sparsity.values())
    model = IntegerModel.from_bytes(evaluation.model)
    mixed = [n for n in model.nodes if "log2_channels" in n.attributes]
    assert [n.name for n in mixed] == [n for n, f in layers if f.weight_scheme == "mixed"]
    for node in mixed:
        weight = model.tensors[node.tensors["weight"]]
        for i in node.attributes["log2_channels"]:
            magnitudes = set(np.abs(weight[i]).ravel().tolist())
            assert magnitudes <= {0, *(2**e for e in range(7))}
        others = set(range(len(weight))) - set(node.attributes["log2_channels"])
        assert max(int(np.abs(weight[i]).max()) for i in others) <= 7
    engines = {c.name: c.engine for c in problem.price(design).layers}
    assert {engines[n] for n in pruned} == {"shift_array"}
    assert {engines[n.name] for n in mixed} == {"mac_array+shift_array"}


def test_log2_layers_run_on_the_shift_array_without_dsps(problem):
    design = random_design(problem.graph, 0, Accelerator())
    layers = tuple(
        (name, replace(layer, weight_scheme="log2", weight_bits=4)) for name, layer in design.layers
    )
    cost = problem.price(replace(design, layers=layers))
    assert cost.metrics["fpga.shift_array_dsp"] == 0
    assert cost.metrics["fpga.shift_array_lut"] > 0
    assert {c.engine for c in cost.layers if c.name in dict(layers)} == {"shift_array"}


def test_the_test_split_is_scored_apart(problem, evaluated):
    accuracy = problem.test_accuracy(evaluated[1].model)
    images = len(problem.data.split("test"))
    assert np.isclose(accuracy * images, round(accuracy * images))


def test_an_unprepared_problem_says_so(settings, tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load_problem(replace(settings, runs_dir=str(tmp_path)))


def test_a_nan_in_the_teacher_fails_with_its_reason(problem):
    broken = load_problem(problem.settings)
    name = broken.graph.layers[0].parameters["weight"]
    broken.graph.tensors[name].fill_(float("nan"))
    with pytest.raises((RunError, ValueError)):
        broken.evaluate(random_design(problem.graph, 0))
    assert torch.isfinite(problem.graph.tensors[name]).all()
