"""Chains in hardware.json: what is priced is what is shipped."""

import json
from dataclasses import asdict, replace
from functools import cache

import jsonschema
import pytest
from mixed_networks import network
from parts import make_shipment
from random_networks import captured

from codesign.export.bundle import write_bundle
from codesign.export.derived import as_written, cost_json, json_text, read_cost
from codesign.export.hardware import hardware_json
from codesign.export.schema import bundle_schemas
from codesign.graph.ir import SHAPE_OPERATIONS
from codesign.quantize.recipe import Recipe
from costmodels.accelerator import Accelerator
from costmodels.estimate import estimate

FUSED = Accelerator(
    mac_rows=8, mac_cols=8, shift_rows=4, shift_cols=8, depthwise_lanes=4, fused_chains=True
)
LITTLE = replace(FUSED, input_buffer_kb=2, weight_buffer_kb=2, output_buffer_kb=1)
CASES = [
    ("mobilenet", FUSED, 1), ("mobilenet", LITTLE, 3), ("vit", FUSED, 1), ("vit", LITTLE, 2),
    ("log_int", FUSED, 1),
]  # fmt: skip


@cache
def described(kind, accelerator, batch):
    recipe = Recipe(softmax="log_int", attention_bits=4) if kind == "log_int" else None
    name = "vit" if recipe else kind
    model, work, _ = network(name, accelerator=accelerator, recipe=recipe)
    cost = estimate(work, accelerator, batch=batch)
    return hardware_json(as_written(model), accelerator, cost, work), cost, model


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1].input_buffer_kb}kb-{case[2]}")
def case(request):
    return described(*request.param)


def test_the_chains_are_those_of_the_cost(case):
    hardware, cost, _ = case
    assert hardware["fused_chains"] and hardware["chains"]
    for entry, chain in zip(hardware["chains"], cost.chains, strict=True):
        assert {**entry, "operations": tuple(entry["operations"])} == {
            **asdict(chain), "on_chip": entry["on_chip"],
        }  # fmt: skip
    chained = {step["name"]: step["chain"] for step in hardware["schedule"] if step["chain"]}
    assert chained == {n: c["name"] for c in hardware["chains"] for n in c["operations"]}


def test_cycles_and_bytes_add_up(case):
    hardware, cost, _ = case
    steps = {step["name"]: step for step in hardware["schedule"]}
    for step in steps.values():
        assert sum(step["dram"].values()) == step["dram_bytes"]
        if step["chain"] is None:
            busy = (step[f"{kind}_cycles"] for kind in ("compute", "vector", "dram"))
            assert step["cycles"] == max(busy)
    for chain in hardware["chains"]:
        assert sum(steps[name]["cycles"] for name in chain["operations"]) == chain["cycles"]
    total = hardware["dram"]["bytes_per_inference"]
    assert total == round(cost.metrics["fpga.dram_mb"] * 1e6)


def test_only_the_ends_of_a_chain_go_through_dram(case):
    hardware, _, _ = case
    steps = {step["name"]: step for step in hardware["schedule"]}
    for chain in hardware["chains"]:
        first, *_, last = (steps[name]["dram"] for name in chain["operations"])
        assert first["input_bytes"] > 0 and last["output_bytes"] > 0
        for name in chain["operations"]:
            step = steps[name]
            if name != chain["operations"][-1]:
                assert step["dram"]["output_bytes"] == 0
            if step["engine"] == "vector":
                assert step["dram"]["input_bytes"] == step["dram"]["weight_bytes"] == 0
                continue
            m, n = step["tiling"]["band_m"], step["tiling"]["band_n"]
            assert m <= step["m"] and n <= step["n"]
            bands = step["tiling"]["bands"]
            assert bands == chain["bands"]
            units = step["repeats"] if chain["kind"] == "attention" else 1
            assert m * n * bands >= step["m"] * step["n"] * units
            if step["kind"] != "matmul":
                times = 1 if chain["resident"] else bands
                weights = step["k"] * step["n"] * step["repeats"] * step["weight_bits"] / 8
                assert abs(step["dram"]["weight_bytes"] - times * weights) < 1
        for name, half in hardware["buffers"].items():
            assert "half_bytes" not in half or chain[f"{name}_bytes"] <= half["half_bytes"]


def test_what_stays_on_chip_is_read_in_the_chain_alone(case):
    hardware, _, model = case
    nodes = {node.name: node for node in model.nodes}
    steps = {step["name"]: step for step in hardware["schedule"]}
    readers = {}
    for node in model.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node.name)

    def ends(name):
        """The computing nodes that read a tensor, moves seen through."""
        for reader in readers.get(name, []):
            if nodes[reader].op in SHAPE_OPERATIONS:
                yield from ends(reader)
            else:
                yield reader

    for chain in hardware["chains"]:
        assert len(chain["on_chip"]) == len(chain["operations"]) - 1
        for tensor, following in zip(chain["on_chip"], chain["operations"][1:], strict=True):
            assert list(ends(tensor)) == [following]
            assert steps[following]["chain"] == chain["name"]


def test_they_keep_to_the_schemas_and_come_back(case):
    hardware, cost, _ = case
    schemas = bundle_schemas()
    jsonschema.validate(json.loads(json_text(hardware)), schemas["hardware.json"])
    values = json.loads(json_text(cost_json(cost, {})))
    jsonschema.validate(values, schemas["cost.json"])
    assert read_cost(values) == cost


def test_a_bundle_of_a_batch_with_chains_verifies(tmp_path):
    shipment = make_shipment(
        captured("mobilenetv3_small_050", 32), 32, seed=3, accelerator=FUSED, images=4, batch=2
    )
    assert shipment.cost.chains and shipment.cost.batch == 2
    write_bundle(shipment, tmp_path / "bundle", golden=1)
    text = (tmp_path / "bundle" / "README.md").read_text()
    assert "## Chains" in text and "A batch of 2 images moves" in text
