"""Sensitivities: the damage of one choice alone, and bits assigned by it."""

import itertools
import json
from dataclasses import replace
from math import prod

import pytest
import torch
from random_networks import captured, random_images, small_vit

from codesign.design import LayerInfo, NetworkOutline
from codesign.errors import UserError
from codesign.graph.execute import run
from codesign.numerics.weights import SCHEMES
from codesign.quantize import sensitivity
from codesign.quantize.observers import observe
from codesign.quantize.sensitivity import Damage, Sensitivities, assign_bits, measure


@pytest.fixture(scope="module")
def vit():
    return small_vit()


@pytest.fixture(scope="module")
def x():
    return random_images(6, 32)


def damage_by_hand(logits, wanted):
    """Both figures image by image, in plain Python sums over float64 probabilities."""
    total, error = 0.0, 0.0
    for got, real in zip(logits.double(), wanted.double(), strict=True):
        p, q = (torch.softmax(row / 2, dim=0).tolist() for row in (real, got))
        total += sum(a * (torch.tensor(a / b).log().item()) for a, b in zip(p, q, strict=True))
        error += float((got - real).square().mean())
    return total / len(logits), error / len(logits)


def check(found, logits, wanted):
    divergence, error = damage_by_hand(logits, wanted)
    assert found.squared_error == pytest.approx(error, rel=1e-3)
    assert found.divergence == pytest.approx(divergence, rel=0.05, abs=1e-7)


@pytest.mark.parametrize("choice", ["uniform_3", "log2_3", "log2std_4@0.5", "mixed_3@0.5"])
@pytest.mark.parametrize("layer", ["patch_embed.proj", "blocks.0.mlp.fc1", "head"])
def test_weights_damage_as_the_whole_network_with_them(vit, x, layer, choice):
    found = measure(vit, x, {layer: [choice]})
    key = vit[layer].parameters["weight"]
    name, _, rest = choice.partition("_")
    bits, _, option = rest.partition("@")
    scheme = SCHEMES.get(name).fitted(
        vit.tensors[key], int(bits), float(option) if option else None
    )
    scale = scheme.search_scale(vit.tensors[key], int(bits))
    weight = scheme.twin(vit.tensors[key], scale, int(bits)).detach()
    changed = replace(vit, tensors={**vit.tensors, key: weight})
    check(found[layer, choice], run(changed, x), run(vit, x))


def test_an_input_width_damages_as_the_rounded_input(vit, x):
    layer = vit["blocks.0.mlp.fc2"]
    found = measure(vit, x, {layer.name: [3]})

    def narrow(node, result):  # fc2 alone reads its activation
        if node.name == layer.inputs[0]:
            return observe(sensitivity.OBSERVER, [result]).format(3).fake_quantize(result)
        return None

    check(found[layer.name, 3], run(vit, x, hook=narrow), run(vit, x))


def test_an_input_width_spares_the_inputs_other_readers():
    graph = captured("resnet10t", 32)
    images = random_images(4, 32)
    readers = graph.consumers()
    shared = next(n for n in graph.layers if len(readers[n.inputs[0]]) > 1)
    found = measure(graph, images, {shared.name: [2]})

    def everywhere(node, result):
        if node.name == shared.inputs[0]:
            return observe(sensitivity.OBSERVER, [result]).format(2).fake_quantize(result)
        return None

    all_readers = damage_by_hand(run(graph, images, hook=everywhere), run(graph, images))
    assert 0 < found[shared.name, 2].squared_error != pytest.approx(all_readers[1], rel=1e-3)


def test_a_function_damages_as_the_graph_with_it(vit, x):
    site = next(n for n in vit.nodes if n.op == "activation")
    found = measure(vit, x, {site.name: ["relu", "gelu"]})
    other = replace(site, attributes={**site.attributes, "function": "relu"})
    changed = replace(vit, nodes=tuple(other if n is site else n for n in vit.nodes))
    check(found[site.name, "relu"], run(changed, x), run(vit, x))
    assert found[site.name, "gelu"] == Damage(0.0, 0.0)  # the model's own


CHOICES = {"blocks.0.mlp.fc1": ["uniform_4", 4], "head": ["uniform_8", "log2_3"]}


def test_batches_add_up(vit, x, monkeypatch):
    whole = measure(vit, x, {"head": ["uniform_3"]})["head", "uniform_3"]
    monkeypatch.setattr(sensitivity, "batch_size", lambda graph: 4)
    parts = measure(vit, x, {"head": ["uniform_3"]})["head", "uniform_3"]
    assert parts.squared_error == pytest.approx(whole.squared_error, rel=1e-4)
    assert parts.divergence == pytest.approx(whole.divergence, rel=1e-2)


def test_the_memory_for_values_bounds_the_batch():
    assert sensitivity.batch_size(captured("resnet10t", 32)) == 64
    large = captured("resnet10t", 256)
    each = 4 * sum(prod(dim for dim in n.shape if isinstance(dim, int)) for n in large.nodes)
    count = sensitivity.batch_size(large)
    assert count * each <= 512 * 2**20 < (count + 1) * each


def test_an_interrupted_measurement_goes_on(vit, x, tmp_path, monkeypatch):
    monkeypatch.setattr(sensitivity, "batch_size", lambda graph: 2)
    monkeypatch.setattr(sensitivity, "_SAVE_SECONDS", 0.0)
    expected = measure(vit, x, CHOICES)
    seen = []

    def stop(done, total):
        seen.append((done, total))
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(vit, x, CHOICES, tmp_path, stop)
    assert seen == [(i, 12) for i in range(1, 8)]
    later = []
    found = measure(vit, x, CHOICES, tmp_path, lambda done, total: later.append(done))
    assert later == list(range(8, 13))
    assert found == expected
    again = []
    assert measure(vit, x, CHOICES, tmp_path, lambda *d: again.append(d)) == expected
    assert again == []


def test_more_choices_reuse_what_is_known(vit, x, tmp_path):
    measure(vit, x, {"head": ["uniform_4"]}, tmp_path)
    seen = []
    measure(vit, x, {"head": ["uniform_4", "log2_4"]}, tmp_path, lambda *d: seen.append(d))
    assert len(seen) == 1


def test_other_images_or_weights_are_measured_afresh(vit, x, tmp_path):
    first = measure(vit, x, {"head": ["uniform_3"]}, tmp_path)
    other = measure(vit, x + 0.1, {"head": ["uniform_3"]}, tmp_path)
    key = vit["head"].parameters["weight"]
    changed = replace(vit, tensors={**vit.tensors, key: vit.tensors[key] * 2})
    third = measure(changed, x, {"head": ["uniform_3"]}, tmp_path)
    assert len({d["head", "uniform_3"].squared_error for d in (first, other, third)}) == 3
    assert len(list(tmp_path.iterdir())) == 3


def test_a_damaged_file_is_measured_afresh(vit, x, tmp_path):
    first = measure(vit, x, CHOICES, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text()[:40])
    assert measure(vit, x, CHOICES, tmp_path) == first


def test_json_round_trip(vit, x):
    found = measure(vit, x, CHOICES)
    assert Sensitivities.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"nowhere": ["uniform_4"]}, "'nowhere' is no layer"),
        ({"head": ["uniform_9"]}, "sensitivities of head: 9 is out of range"),
        ({"blocks.0.mlp.act": ["swoosh"]}, "swoosh"),
    ],
)
def test_wrong_choices_are_named(vit, x, choices, message):
    with pytest.raises(UserError, match=message):
        measure(vit, x, choices)


SIZES = {"a": 1000, "b": 400, "c": 50, "d": 20}
OUTLINE = NetworkOutline(tuple(LayerInfo(n, "linear", n, s, s) for n, s in SIZES.items()), ())
FORMATS = ("uniform_4", "uniform_8", "uniform_6")


def made_up(seed=0):
    generator = torch.Generator().manual_seed(seed)
    damages = {}
    for name in SIZES:
        worst = float(torch.rand((), generator=generator)) + 0.05
        for choice, part in (("uniform_8", 0.0), ("uniform_6", 0.2), ("uniform_4", 1.0)):
            damages[name, choice] = Damage(worst * part, 0.0)
    return Sensitivities(damages, 1)


def mean(chosen):
    return sum(int(chosen[n][-1]) * size for n, size in SIZES.items()) / sum(SIZES.values())


@pytest.mark.parametrize("target", [7.9, 7.0, 5.0, 4.0])
def test_the_mean_asked_for_is_reached_and_barely(target):
    chosen = assign_bits(OUTLINE, made_up(), FORMATS, target)
    assert mean(chosen) <= target
    for name in SIZES:  # the last step at least was needed
        wider = {"uniform_4": "uniform_6", "uniform_6": "uniform_8"}.get(chosen[name])
        if name == "a" and wider:
            assert mean(chosen | {name: wider}) > target


@pytest.mark.parametrize("seed", range(4))
def test_the_assignment_is_close_to_the_best_of_all(seed):
    found = made_up(seed)
    chosen = assign_bits(OUTLINE, found, FORMATS, 6.0)

    def damage(assignment):
        return sum(found[name, choice].divergence for name, choice in assignment.items())

    every = [dict(zip(SIZES, c, strict=True)) for c in itertools.product(FORMATS, repeat=4)]
    best = min(damage(a) for a in every if mean(a) <= 6.0)
    everything = damage(dict.fromkeys(SIZES, "uniform_4"))
    assert best <= damage(chosen) <= best + 0.5 * (everything - best)


def test_the_layer_that_hurts_least_goes_first():
    damages = {(n, c): Damage(0.0, 0.0) for n in SIZES for c in ("uniform_8", "uniform_4")}
    for name in SIZES:
        damages[name, "uniform_4"] = Damage(1.0 if name != "b" else 0.01, 0.0)
    chosen = assign_bits(OUTLINE, Sensitivities(damages, 1), ["uniform_8", "uniform_4"], 7.0)
    assert chosen == {"a": "uniform_8", "b": "uniform_4", "c": "uniform_8", "d": "uniform_8"}


def test_fixed_layers_keep_their_format_and_count():
    chosen = assign_bits(OUTLINE, made_up(), FORMATS, 7.0, {"a": "uniform_8"})
    assert chosen["a"] == "uniform_8" and mean(chosen) <= 7.0
    with pytest.raises(UserError, match=r"6\.5 weight bits cannot be reached.*it is 6\.72"):
        assign_bits(OUTLINE, made_up(), FORMATS, 6.5, {"a": "uniform_8"})


def test_a_mean_that_cannot_be_is_named():
    with pytest.raises(
        UserError, match=r"3 weight bits cannot be reached: with uniform_4 .* it is 4;"
    ):
        assign_bits(OUTLINE, made_up(), FORMATS, 3.0)
