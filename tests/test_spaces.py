"""The spaces that ship: each loads, captures, prices, quantises, and grows to full size."""

import random
import shlex
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from codesign.data import load_data
from codesign.graph.capture import capture
from codesign.graph.outline import outline
from codesign.graph.workload import workload
from codesign.posttrain.measure import differing_integers
from codesign.quantize.lower import lower
from codesign.quantize.quantize import quantize
from codesign.search.evaluator import recipe_of
from codesign.settings import load_settings
from codesign.space import SearchSpace
from codesign.train.model import build_model, data_config
from costmodels.chains import find_chains
from costmodels.cycles import CYCLE_MODELS
from costmodels.estimate import estimate
from costmodels.many import estimate_many
from costmodels.scalesim import layer_task, simulate_all
from costmodels.systolic import DATAFLOWS, reported_cycles

FOLDER = Path(__file__).parents[1] / "search_spaces"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
MARK = "# At full size, add:"


def settings_of(name, *words):
    return load_settings([f"space={FOLDER / name}.yaml", *words])


def full_size_words(name):
    """Return the key=value words of the comment that says how to grow the space."""
    lines = (FOLDER / f"{name}.yaml").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.strip() == MARK)
    comment = []
    for line in lines[start + 1 :]:
        if not line.startswith("#   "):
            break
        comment += shlex.split(line[1:])
    return comment


@pytest.fixture(scope="module", params=NAMES)
def space(request):
    """A space's name, settings, data, captured network (random weights) and SearchSpace."""
    settings = settings_of(request.param)
    data = load_data(settings.data, data_config(settings.model))
    torch.manual_seed(0)
    model = build_model(settings.model, data.num_classes)
    graph = capture(model, data.input_shape, settings.model.name)
    return request.param, settings, data, graph, SearchSpace(settings, outline(graph))


def write_images(folder, count):
    """Write small images of noise."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(generator.integers(0, 256, (32, 40, 3), np.uint8)).save(folder / f"{i}.png")


def random_design(space, seed):
    rng = random.Random(seed)
    return space.decode({name: rng.choice(choices) for name, choices in space.genes.items()})


def test_the_five_spaces_are_there():
    assert set(NAMES) >= {
        *("mobilevit_mixed", "mobilevit_shiftswish", "swin_relu"),
        *("deit_fqvit", "efficientvit_trio"),
    }


def test_designs_survive_encoding(space):
    *_, search_space = space
    for seed in range(5):
        design = random_design(search_space, seed)
        assert search_space.decode(search_space.encode(design)) == design


def test_objectives_and_constraints_are_metrics_there_are(space):
    _, settings, _, graph, search_space = space
    design = random_design(search_space, 0)
    recipe = recipe_of(settings.quantize)
    work = workload(graph, design, recipe)
    cost = estimate(work, design.accelerator, gpus=tuple(settings.cost.gpus))
    wanted = {*settings.objectives, *settings.constraints} - {"accuracy"}
    assert wanted <= set(cost.metrics)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize(("rows", "cols"), [(4, 4), (8, 32), (27, 16), (32, 32), (64, 128)])
def test_cycles_equal_scale_sims_on_every_matrix_layer(space, dataflow, rows, cols):
    _, settings, _, graph, search_space = space
    work = workload(graph, random_design(search_space, 0), recipe_of(settings.quantize))
    tasks = {layer.name: layer_task(layer, rows, cols, dataflow) for layer in work.layers}
    reported = simulate_all(list(tasks.values()))
    assert {node.name for node in graph.layers} < set(tasks)  # and products of attention
    for layer in work.layers:
        ours = int(reported_cycles(layer.m, layer.k, layer.n, rows, cols, dataflow))
        assert ours == reported[tasks[layer.name]], layer.name


def test_designs_cost_the_same_by_scale_sim(space):
    _, settings, _, graph, search_space = space
    for seed in range(3):
        design = random_design(search_space, seed)
        work = workload(graph, design, recipe_of(settings.quantize))
        closed, simulated = (
            estimate(work, design.accelerator, cycles=model) for model in CYCLE_MODELS
        )
        assert simulated.layers == closed.layers


def test_a_random_design_is_one_integer_model(space):
    _, settings, data, graph, search_space = space
    design = random_design(search_space, 1)
    images = data.split("train").load(range(16))[0]
    model = lower(quantize(graph, design, recipe_of(settings.quantize), images))
    differing, compared = differing_integers(model, images[:1], "cpu")
    assert compared > 10_000
    assert differing == 0


def test_a_third_of_random_designs_keep_the_constraint_on_the_mean(space):
    """Refused designs are never trained; too many of them would leave nothing to learn from."""
    name, settings, _, graph, search_space = space
    limit = settings.constraints.get("model.mean_weight_bits")
    if name != "mobilevit_shiftswish":
        assert limit is None
        return
    sizes = {node.name: graph.tensors[node.parameters["weight"]].numel() for node in graph.layers}
    kept = 0
    for seed in range(100):
        formats = random_design(search_space, seed).layer_formats
        bits = sum(sizes[layer] * f.weight_bits for layer, f in formats.items())
        kept += limit["min"] <= bits / sum(sizes.values()) <= limit["max"]
    assert kept >= 33


@pytest.mark.parametrize("name", NAMES)
def test_full_size_is_what_the_comment_says(name, tmp_path):
    """The comment's keys, on a folder of images; weights stay random, so nothing is fetched."""
    words = full_size_words(name)
    keys = {word.partition("=")[0] for word in words}
    assert {"data.name", "data.path", "data.image_size", "model.pretrained"} <= keys
    assert settings_of(name, *words).model.pretrained
    for split in ("train", "validation"):
        for kind in ("cat", "dog", "eel"):
            write_images(tmp_path / split / kind, 4)
    settings = settings_of(name, *words, f"data.path={tmp_path}", "model.pretrained=false")
    assert settings.model.kwargs == {}
    config = data_config(settings.model)
    data = load_data(settings.data, config)
    assert data.input_shape == tuple(config["input_size"])
    assert data.input_shape[1] >= 224
    model = build_model(settings.model, data.num_classes)
    with torch.no_grad():
        assert model(data.split("validation").load([0, 1])[0]).shape == (2, 3)
    reduced = settings_of(name)
    assert asdict(reduced.network) == asdict(settings.network)


CHAINS = {
    "mobilevit_mixed": {"separable": 7, "attention": 9, "mlp": 9},
    "mobilevit_shiftswish": {"separable": 7, "attention": 9, "mlp": 9},
    "deit_fqvit": {"attention": 4, "mlp": 4},
    "swin_relu": {"attention": 4, "mlp": 4},
    "efficientvit_trio": {"separable": 11},
}
"""Blocks of each kind that the networks of the spaces have."""


def test_every_block_of_a_network_is_a_chain(space):
    name, settings, _, graph, search_space = space
    _, design = search_space.baselines()[0]
    work = workload(graph, design, recipe_of(settings.quantize))
    chains = find_chains(work)
    assert Counter(chain.kind for chain in chains) == CHAINS[name]
    layers = {node.name for node in graph.layers}
    for chain in chains:
        inside = [operation for operation in chain.operations if operation in layers]
        if chain.kind == "separable":  # MBConv, or a depthwise-separable stem
            assert len(inside) in (2, 3)
            assert (
                len({operation.rpartition(".conv")[0].rpartition(".")[0] for operation in inside})
                == 1
            )
        elif chain.kind == "mlp":
            assert [operation.rpartition(".")[2] for operation in inside] == ["fc1", "fc2"]
        else:
            assert not inside and any("softmax" in operation for operation in chain.operations)
            block = chain.name.rpartition(".")[0]
            assert all(operation.startswith(f"{block}.") for operation in chain.operations)


def test_chains_make_no_design_slower_and_most_quicker(space):
    _, settings, _, graph, search_space = space
    for _, design in search_space.baselines():
        work = workload(graph, design, recipe_of(settings.quantize))
        fused = replace(design.accelerator, fused_chains=True)
        plain, chained = estimate(work, design.accelerator), estimate(work, fused)
        assert chained.metrics["fpga.latency_ms"] < plain.metrics["fpga.latency_ms"]
        assert chained.metrics["fpga.dram_mb"] < plain.metrics["fpga.dram_mb"]
        many = estimate_many(work, [design.accelerator, fused]).metrics
        assert many["fpga.latency_ms"].tolist() == [
            cost.metrics["fpga.latency_ms"] for cost in (plain, chained)
        ]
        assert chained.metrics["fpga.dsp"] == plain.metrics["fpga.dsp"]


def test_chains_are_a_choice_of_the_accelerator(space):
    name, *_, graph, _ = space
    settings = settings_of(name, "accelerator.fused_chains=[false,true]")
    found = SearchSpace(settings, outline(graph))
    assert found.genes["accelerator.fused_chains"] == (False, True)
    assert not any(design.accelerator.fused_chains for _, design in found.baselines())
    design = random_design(found, 1)
    assert found.decode(found.encode(design)) == design
