"""Checks of the JSON files and of the files that follow from them."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema

from codesign.bundle.files import read_bytes, read_json
from codesign.export.derived import ONNX_FILES, derived_files
from codesign.export.schema import bundle_schemas
from codesign.files import content_key
from codesign.verify.opened import Opened
from codesign.verify.registry import check, report
from costmodels.workload import MatrixLayer

_ELSEWHERE = ("mem/", "golden/mem/", *ONNX_FILES)
"""Derived files that have checks of their own."""


@check("schemas")
def schemas(opened: Opened) -> str:
    """Every JSON file keeps to its schema."""
    faults = [
        f"{name} {_place(error.absolute_path)}: {error.message[:200]}"
        for name, schema in bundle_schemas().items()
        for error in list(_errors(read_json(opened.folder, name), schema))[:1]
    ]
    report(*faults)
    return f"{', '.join(bundle_schemas())} keep to their schemas"


@check("design")
def design(opened: Opened) -> str:
    """design.json is the design whose model and workload these are."""
    model, found = opened.model, opened.design
    faults = []
    recorded = model.info.get("design")
    key = content_key(read_json(opened.folder, "design.json"))  # as written, whatever is new since
    if key != recorded:
        faults.append(f"design.json is design {key}, graph.json is of {recorded}")
    formats = {
        node.name: (node.attributes.get("weight_scheme"), node.attributes.get("weight_bits"))
        for node in model.nodes
        if "weight" in node.tensors
    }
    wanted = {name: (layer.weight_scheme, layer.weight_bits) for name, layer in found.layers}
    faults += _differing("graph.json layer", wanted, formats)
    products = {
        op.name: op.k * op.n * op.repeats
        for op in opened.workload.operations
        if isinstance(op, MatrixLayer) and op.kind != "matmul"
    }
    sizes = {
        node.name: int(model.tensors[node.tensors["weight"]].size)
        for node in model.nodes
        if "weight" in node.tensors
    }
    faults += _differing("workload.json layer", sizes, products)
    report(*faults)
    return f"{key}: {len(formats)} layers with their schemes, bits and sizes"


@check("derived")
def derived(opened: Opened) -> str:
    """hardware.json, schemas, SCALE-Sim's files and the package are what the others make them."""
    made = derived_files(opened.model, opened.design, opened.cost, opened.workload, opened.golden)
    names = [name for name in made if not name.startswith(_ELSEWHERE)]
    faults = []
    for name in names:
        expected, got = made[name], read_bytes(opened.folder, name)
        if (expected.encode() if isinstance(expected, str) else expected) != got:
            faults.append(_text_difference(opened, name, str(expected), got))
    report(*faults)
    return f"{len(names)} files are what model, design, cost and workload make them"


def _errors(
    value: Any, schema: Mapping[str, Any]
) -> Iterator[jsonschema.exceptions.ValidationError]:
    return iter(jsonschema.Draft202012Validator(schema).iter_errors(value))


def _differing(what: str, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    names = [*wanted, *(name for name in found if name not in wanted)]
    return [
        f"{what} {name}: expected {wanted.get(name)}, got {found.get(name)}"
        for name in names
        if wanted.get(name) != found.get(name)
    ][:1]


def _text_difference(opened: Opened, name: str, expected: str, got: bytes) -> str:
    """Return where a file differs: the place in a JSON file, else the line."""
    if name.endswith(".json"):
        place = _json_difference(json.loads(expected), read_json(opened.folder, name), ())
        return f"{name} {place or 'is written differently'}"
    pairs = zip(expected.encode().split(b"\n"), got.split(b"\n"), strict=False)
    for number, (one, other) in enumerate(pairs, 1):
        if one != other:
            return f"{name} line {number}: expected {one[:80]!r}, got {other[:80]!r}"
    return f"{name}: expected {len(expected)} characters, got {len(got)}"


def _json_difference(expected: Any, got: Any, path: tuple[Any, ...]) -> str | None:
    """Return the first place where two JSON values differ, None where they are equal."""
    if isinstance(expected, dict) and isinstance(got, dict):
        for key in [*expected, *(key for key in got if key not in expected)]:
            if key not in expected or key not in got:
                return f"{_place((*path, key))}: {'unknown' if key in got else 'missing'}"
            if found := _json_difference(expected[key], got[key], (*path, key)):
                return found
        return None
    if isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        pairs = enumerate(zip(expected, got, strict=True))
        found_in = (_json_difference(one, other, (*path, i)) for i, (one, other) in pairs)
        return next((found for found in found_in if found), None)
    if type(expected) is not type(got) or expected != got:
        return f"{_place(path)}: expected {str(expected)[:80]}, got {str(got)[:80]}"
    return None


def _place(path: Any) -> str:
    """Return a path into a JSON value as one writes it: schedule[3].engine."""
    words = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return "".join(words).lstrip(".") or "as a whole"
