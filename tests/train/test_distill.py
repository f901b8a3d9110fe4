"""Distillation: it learns, it never leaves a design worse, and it repeats itself exactly."""

from dataclasses import replace

import pytest
import torch
from random_networks import random_design, random_images, small_vit, uniform_design

from codesign.data.memory import Jitter, MemorySplit
from codesign.design import LayerFormat
from codesign.errors import RunError
from codesign.graph.execute import run
from codesign.quantize.calibrate import calibrate
from codesign.quantize.network import QuantizedNetwork
from codesign.train.distill import Schedule, Teacher, batches, distill, divergence


@pytest.fixture(scope="module")
def graph():
    return small_vit()


@pytest.fixture(scope="module")
def split():
    pixels = random_images(64, 32).mean(dim=1, keepdim=True)
    return MemorySplit(pixels, torch.arange(64) % 10, 3, Jitter())


def teachers(graph, split):
    first, second = split.partition(0.25, 0)
    return Teacher(graph, second), Teacher(graph, first)


def network_of(graph, split, design):
    network = QuantizedNetwork.build(graph, design)
    calibrate(network, split.load(range(16))[0])
    return network


def test_a_damaged_network_comes_closer_to_its_teacher(graph, split):
    train, judge = teachers(graph, split)
    network = network_of(graph, split, random_design(graph, 0))
    before = divergence(network, judge)
    result = distill(network, train, judge, Schedule(12, 16, 1e-3), seed=0)
    assert result.kept_step > 0
    assert divergence(network, judge) < before
    assert len(result.losses) == 12


def test_steps_that_only_harm_are_undone(graph, split):
    train, judge = teachers(graph, split)
    network = network_of(graph, split, uniform_design(graph, 8))
    before = {name: tensor.detach().clone() for name, tensor in network.tensors.items()}
    result = distill(network, train, judge, Schedule(6, 16, 30.0), seed=0)
    assert result.kept_step == 0
    assert all(torch.equal(before[name], tensor) for name, tensor in network.tensors.items())


def test_the_same_seed_gives_the_same_weights(graph, split):
    found = []
    for _ in range(2):
        train, judge = teachers(graph, split)
        network = network_of(graph, split, random_design(graph, 1))
        distill(network, train, judge, Schedule(4, 16, 1e-3), seed=5)
        found.append(network.tensors)
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def learned_design(graph, weight="log2std_3@0.4"):
    layers = tuple((n.name, LayerFormat.parse(weight, 8)) for n in graph.layers)
    return replace(uniform_design(graph, 8), layers=layers)


def sparsity(network):
    codes = [
        network.scheme(n.name).integer(
            network.tensors[n.parameters["weight"]].detach(),
            network.weight_scale(n.name).detach(),
            network.layers[n.name].weight_bits,
        )
        for n in network.graph.layers
    ]
    return [float((c == 0).float().mean()) for c in codes]


def test_intervals_are_learned_and_kept_with_the_best_state(graph, split):
    train, judge = teachers(graph, split)
    network = network_of(graph, split, learned_design(graph))
    alphas = {name: float(alpha.detach()) for name, alpha in network.alphas.items()}
    assert set(alphas) == {n.name for n in graph.layers}
    before = divergence(network, judge)
    result = distill(network, train, judge, Schedule(12, 16, 1e-3), seed=0)
    assert result.kept_step > 0
    assert divergence(network, judge) == pytest.approx(min(d for _, d in result.judged))
    assert divergence(network, judge) < before
    assert all(float(network.alphas[name].detach()) != alpha for name, alpha in alphas.items())
    sizes = [network.tensors[n.parameters["weight"]].numel() for n in graph.layers]
    for share, size in zip(sparsity(network), sizes, strict=True):
        assert share == pytest.approx(0.4, abs=1 / size)


def test_intervals_alone_repair_a_poor_start(graph, split):
    train, judge = teachers(graph, split)
    network = network_of(graph, split, learned_design(graph, "uniformstd_3"))
    for alpha in network.alphas.values():
        alpha.data.mul_(0.5)
    for tensor in network.tensors.values():
        tensor.requires_grad_(False)
    before = divergence(network, judge)
    result = distill(network, train, judge, Schedule(24, 16, 0.1), seed=0)
    assert result.kept_step > 0
    assert divergence(network, judge) < 0.5 * before


def test_a_harmful_run_gives_the_intervals_back(graph, split):
    train, judge = teachers(graph, split)
    network = network_of(graph, split, learned_design(graph, "log2std_4"))
    before = {name: alpha.detach().clone() for name, alpha in network.alphas.items()}
    result = distill(network, train, judge, Schedule(6, 16, 30.0), seed=0)
    assert result.kept_step == 0
    assert all(torch.equal(before[name], alpha) for name, alpha in network.alphas.items())


def test_no_steps_leave_calibrations_state(graph, split):
    train, judge = teachers(graph, split)
    network = network_of(graph, split, random_design(graph, 0))
    result = distill(network, train, judge, Schedule(0, 16, 1e-3), seed=0)
    assert result.kept_step == 0 and result.losses == ()


def test_a_loss_that_is_not_finite_is_an_error_with_its_reason(graph, split):
    train, judge = teachers(graph, split)
    network = network_of(graph, split, uniform_design(graph, 8))
    name = graph.layers[0].parameters["weight"]
    with torch.no_grad():
        network.tensors[name].fill_(float("nan"))
    with pytest.raises(RunError, match=r"loss became nan|divergence.* nan"):
        distill(network, train, judge, Schedule(2, 16, 1e-3), seed=0)


def test_the_teacher_runs_once_for_each_image(graph, split, monkeypatch):
    seen = []

    def counted(self, images):
        seen.append(len(images))
        return original(self, images)

    original = Teacher._run
    monkeypatch.setattr(Teacher, "_run", counted)
    teacher = Teacher(graph, split)
    images, logits, features = teacher.batch([3, 1, 2])
    again = teacher.batch([2, 3])
    assert seen == [3]
    assert torch.equal(logits[[2, 0]], again[1]) and torch.equal(features[[2, 0]], again[2])
    torch.testing.assert_close(logits, run(graph, images))
    head = graph.layers[-1]
    weight, bias = (graph.tensors[head.parameters[role]] for role in ("weight", "bias"))
    torch.testing.assert_close(features @ weight.T + bias, logits)


def test_the_feature_term_brings_the_features_closer(graph, split):
    def distance(weight):
        train, judge = teachers(graph, split)
        network = network_of(graph, split, random_design(graph, 2))
        distill(network, train, judge, Schedule(12, 16, 1e-3, weight), seed=0)
        images, _, wanted = judge.batch(list(range(len(judge.split))))
        kept = {}
        network.forward(images, lambda node, result: kept.__setitem__(node.name, result))
        found = kept[network.graph.layers[-1].inputs[0]]
        return float((found - wanted).detach().square().mean())

    assert distance(10.0) < distance(0.0)


def test_batches_use_every_image_once_an_epoch():
    order = batches(10, 4, seed=0)
    drawn = [i for _ in range(5) for i in next(order)]
    assert sorted(drawn[:10]) == sorted(drawn[10:20]) == list(range(10))
