"""The schemas take what the exporter writes and nothing that differs from it."""

import copy
import json
from functools import cache

import jsonschema
import pytest
from mixed_networks import network
from parts import vit_shipment

from codesign.design import Design
from codesign.export.bundle import bundle_files
from codesign.export.golden import golden_vectors
from codesign.export.hardware import hardware_json
from codesign.export.memories import golden_files, memory_files
from codesign.export.schema import bundle_schemas
from costmodels.estimate import estimate

NAMES = ("design.json", "hardware.json", "graph.json", "cost.json", "workload.json")
FREE = {
    "design.json": {("layers",), ("activations",)},
    "hardware.json": {("tensors",)},
    "graph.json": {("info",)},
    "cost.json": {("metrics",), ("provenance",), ("trial_metrics",)},
    "workload.json": set(),
}
"""Objects whose keys are names."""
REACHED = {
    "design.json": {"mac_rows", "dataflow", "weight_bits", "weight_scheme", "activation_bits"},
    "hardware.json": {
        *("half_bytes", "bram36", "products_per_dsp", "scale", "log2_channels", "codebook"),
        *("tile_k", "loop_order", "halo_bytes", "channels_at_once", "constant_bytes", "row_length"),
        *("accumulator_bits", "fused", "parts", "inputs", "output", "lanes", "word_bits"),
    },
    "graph.json": {"three", "multipliers", "row_limit", "groups", "bias", "order", "table"},
    "workload.json": {"is", "m", "log2_share", "kernel_width", "row_length", "fused_into"},
    "cost.json": {"metrics", "utilisation", "bound_by", "dram_bytes", "accuracy"},
}
"""Keys that some mutation must have changed, at whatever depth."""
OPTIONAL = {"weight_option", "log2_channels", "weight_sparsity", "codebook", "description"}
FORMATS = {"format", "input", "logits", "output_format"}
SIGNED = {"zero_point", "axis", "dim", "dims", "order", "index", "start", "stop", "value"}
SIGNED |= {"codebook", "trial_metrics"}


@cache
def validator(name):
    schema = bundle_schemas()[name]
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@cache
def shipped():
    shipment = vit_shipment()
    golden = golden_vectors(shipment.model, shipment.validation, 1)
    return shipment, bundle_files(shipment, golden)


@cache
def documents():
    """Return one document of each kind, of networks that have as much as possible in them."""
    shipment, files = shipped()
    found = {name: json.loads(files[name]) for name in NAMES}
    model, work, accelerator = network("mobilenet", "mixed_4@0.5")
    other, *_ = network("vit", "log2_4")
    hardware = hardware_json(
        model,
        accelerator,
        estimate(work, accelerator),
        work,
        memories=memory_files(model).index,
        golden_memories=golden_files(
            shipment.model, golden_vectors(shipment.model, shipment.validation, 1).codes
        ).index,
    )
    graph = model.graph_json()
    graph["nodes"] += other.graph_json()["nodes"]
    found |= {"hardware.json": json.loads(json.dumps(hardware))}
    found |= {"graph.json": json.loads(json.dumps(graph))}
    return found


def kind_of(value):
    """Return what tells list elements of different form apart."""
    if not isinstance(value, dict):
        return type(value).__name__
    parts = bool(value.get("parts"))
    nested = ("tiling", "format", "attributes")
    forms = tuple(tuple(sorted(value.get(key, ()))) for key in nested)
    return (value.get("op"), value.get("encoding"), parts, forms, tuple(sorted(value)))


def variants(name, document):
    """Return small documents, with one element of every form a list has, and what is new in each.

    The first has everything else as well; of the others only the lists are new.
    """
    for (key,) in FREE[name]:
        document = {**document, key: dict(list(document[key].items())[:2])}
    lists = {
        key: list({str(kind_of(v)): v for v in value}.values())
        for key, value in document.items()
        if isinstance(value, list)
    }
    for i in range(max((len(values) for values in lists.values()), default=1)):
        small = {
            key: lists[key][i : i + 1] if key in lists else value for key, value in document.items()
        }
        if not small.get("nodes", True):
            continue
        keys = [key for key in lists if i < len(lists[key])]
        yield small, None if i == 0 else keys


def places(value, path=()):
    yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value[:2]):
            yield from places(inner, (*path, i))


def changed(document, path, change):
    """Return a document with `change(parent, key)` applied where the path leads."""
    result = {"": document}
    parent, key = result, ""
    for step in (*path, None):
        parent[key] = copy.copy(parent[key])
        if step is not None:
            parent, key = parent[key], step
    change(parent, key)
    return result[""]


def put(value):
    def change(parent, key):
        parent[key] = value

    return change


def remove(parent, key):
    del parent[key]


def add_unknown(parent, key):
    parent[key]["unknown_key"] = []


def mutations(name, document, roots):
    """Return (what was done, mutated document) for every change that must be refused."""
    for path, value in places(document):
        names = {step for step in path if isinstance(step, str)}
        if path[:1] == ("info",) and len(path) > 1:
            continue
        if path and roots is not None and path[0] not in roots:
            continue
        if isinstance(value, dict) and path != ("info",):
            yield ("unknown", path), changed(document, path, add_unknown)
        in_free = path[:-1] in FREE[name]
        optional = path and (
            path[-1] in OPTIONAL
            or (path[-1] in ("shifts", "axis") and path[-2] in FORMATS)
            or path[-2:] == ("attributes", "function")
            or isinstance(path[-1], int)
        )
        if path and not in_free and not optional:
            yield ("missing", path), changed(document, path, remove)
        wrong = {dict: [], list: {"key": 1}, str: 1.5, bool: "text", int: "text", float: "text"}
        if value is not None:
            yield ("type", path), changed(document, path, put(wrong[type(value)]))
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and not names & SIGNED:
            yield ("negative", path), changed(document, path, put(-(10**7)))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_valid(name):
    validator(name).validate(documents()[name])


@pytest.mark.parametrize("name", NAMES)
def test_nothing_else_is_valid(name):
    done = []
    for document, roots in variants(name, documents()[name]):
        validator(name).validate(document)
        for what, mutated in mutations(name, document, roots):
            assert not validator(name).is_valid(mutated), what
            done.append(what)
    assert {kind for kind, _ in done} == {"missing", "unknown", "type", "negative"}
    touched = {path[-1] for _, path in done if path}
    assert touched >= REACHED[name]


def test_every_operation_of_the_arithmetic_has_its_attributes_listed():
    from codesign.export.schema.graph import OPERATIONS
    from codesign.integer import replay

    assert set(OPERATIONS) == {"input", *replay.OPERATIONS}


def test_a_bundle_holds_its_schemas():
    shipment, files = shipped()
    for name in NAMES:
        schema = json.loads(files[f"schemas/{name.removesuffix('.json')}.schema.json"])
        assert schema == json.loads(json.dumps(bundle_schemas()[name]))
        jsonschema.validate(json.loads(files[name]), schema)
    assert Design.from_json(json.loads(files["design.json"])) == shipment.design


def test_an_attribute_of_another_operation_is_refused():
    graph = documents()["graph.json"]
    node = next(n for n in graph["nodes"] if n["op"] == "softmax")
    for key in ("three", "multiplier"):
        wrong = {**node, "attributes": {**node["attributes"], key: 3}}
        assert not validator("graph.json").is_valid({**graph, "nodes": [wrong]})
