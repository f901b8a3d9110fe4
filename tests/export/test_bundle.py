import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from parts import replace, vit_shipment

from codesign.design import Design
from codesign.errors import RunError, UserError
from codesign.export import bundle as bundle_module
from codesign.export.bundle import write_bundle
from codesign.export.checks import MANIFEST, load_bundle_model, manifest
from codesign.integer import replay
from codesign.integer.model import pack_npz


@pytest.fixture(scope="module")
def shipment():
    return vit_shipment()


@pytest.fixture(scope="module")
def written(shipment, tmp_path_factory):
    out = tmp_path_factory.mktemp("exports") / "7"
    lines: list[str] = []
    summary = write_bundle(shipment, out, golden=3, say=lines.append)
    return out, summary, lines


@pytest.fixture
def copy(written, tmp_path):
    return shutil.copytree(written[0], tmp_path / "bundle")


def verify(folder):
    return subprocess.run(
        [sys.executable, "-I", "verify.py"], cwd=folder, capture_output=True, text=True, check=False
    )


def test_summary_tells_what_was_verified(written, shipment):
    out, summary, lines = written
    assert summary.nodes == len(shipment.model.nodes)
    assert summary.golden_images == 3
    assert summary.images == 12
    assert summary.correct == round(shipment.accuracy * 12)
    total = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    assert summary.size_kb == pytest.approx(total / 1024)
    assert len(lines) == 4
    assert [path.name for path in out.parent.iterdir()] == ["7"]  # nothing temporary is left


def test_manifest_lists_every_file_with_its_hash(written):
    out = written[0]
    entries = dict(
        reversed(line.split("  ", 1)) for line in (out / MANIFEST).read_text().splitlines()
    )
    files = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()} - {MANIFEST}
    assert set(entries) == files
    for name, digest in entries.items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    checked = subprocess.run(
        ["sha256sum", "-c", "--strict", MANIFEST], cwd=out, capture_output=True, check=False
    )
    assert checked.returncode == 0


def test_the_bundle_verifies_itself_anywhere_and_changes_nothing(copy, written):
    done = verify(copy)
    assert done.returncode == 0
    assert re.search(r"^0 differing integers in \d+ nodes over 3 images$", done.stdout, re.M)
    assert manifest(copy) == (copy / MANIFEST).read_text()


def test_verify_needs_numpy_alone():
    source = Path(replay.__file__).read_text()
    modules = set(re.findall(r"^(?:import|from) (\w+)", source, re.M))
    assert modules <= {"json", "sys", "collections", "pathlib", "typing", "numpy"}


@pytest.mark.parametrize("seed", range(6))
def test_one_wrong_integer_anywhere_is_found(copy, seed):
    rng = np.random.default_rng(seed)
    with np.load(copy / "golden" / "golden.npz") as file:
        golden = {key: file[key].copy() for key in file.files}
    nodes = json.loads((copy / "graph.json").read_text())["nodes"]
    node = nodes[int(rng.integers(1, len(nodes)))]
    name = node["name"]
    index = tuple(int(rng.integers(0, n)) for n in golden[name].shape)
    before = int(golden[name][index])
    golden[name][index] = before ^ 1
    (copy / "golden" / "golden.npz").write_bytes(pack_npz(golden))
    done = verify(copy)
    assert done.returncode == 1
    last = done.stdout.strip().splitlines()[-1]
    assert last == f"DIFFERS {name} at {index}: expected {before ^ 1}, got {before}"


def test_a_wrong_weight_image_or_class_is_found(copy):
    with np.load(copy / "weights.npz") as file:
        tensors = {key: file[key].copy() for key in file.files}
    key = next(key for key in tensors if key.endswith("qkv/bias"))
    tensors[key][0] += 10**6
    whole = (copy / "weights.npz").read_bytes()
    (copy / "weights.npz").write_bytes(pack_npz(tensors))
    assert "DIFFERS blocks.0.attn.qkv" in verify(copy).stdout
    (copy / "weights.npz").write_bytes(whole)
    path = copy / "golden" / "images.npz"
    with np.load(path) as file:
        images = {key: file[key].copy() for key in file.files}
    path.write_bytes(pack_npz({**images, "images": images["images"] + 0.1}))
    assert "DIFFERS input" in verify(copy).stdout
    wrong = (images["expected_classes"] + 1) % 10
    path.write_bytes(pack_npz({**images, "expected_classes": wrong}))
    assert "DIFFERS classes" in verify(copy).stdout


def test_files_hold_the_model_and_the_design(written, shipment):
    out = written[0]
    again = load_bundle_model(out)
    assert again.to_bytes() == shipment.model.to_bytes()
    design = json.loads((out / "design.json").read_text())
    assert Design.from_json(design) == shipment.design
    schema = json.loads((out / "schemas" / "design.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(design, schema)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("layers", "head", "weight_bits"), 9),
        (("layers", "head", "weight_scheme"), "float"),
        (("accelerator", "dataflow"), "rs"),
        (("accelerator", "mac_rows"), 0),
        (("accelerator", "voltage"), 1),
        (("activations", "blocks.0.mlp.act"), "unknown"),
    ],
)
def test_schema_refuses_what_is_no_design(written, path, value):
    out = written[0]
    design = json.loads((out / "design.json").read_text())
    place = design
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    schema = json.loads((out / "schemas" / "design.schema.json").read_text())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(design, schema)


def test_golden_images_are_real_validation_images(written, shipment):
    with np.load(written[0] / "golden" / "images.npz") as file:
        indices = file["indices"].tolist()
        images, labels = shipment.validation.load(indices)
        np.testing.assert_array_equal(file["images"], images.numpy())
        np.testing.assert_array_equal(file["labels"], labels.numpy())
    assert indices == [0, 4, 8]


def test_hardware_json_agrees_with_cost_and_model(written, shipment):
    hardware = json.loads((written[0] / "hardware.json").read_text())
    cost = json.loads((written[0] / "cost.json").read_text())
    assert [s["name"] for s in hardware["schedule"]] == [c["name"] for c in cost["layers"]]
    for step, layer in zip(hardware["schedule"], cost["layers"], strict=True):
        assert {key: step[key] for key in layer} == layer
    matrices = {s["name"]: s for s in hardware["schedule"] if "kind" in s}
    for name, layer in shipment.design.layers:
        assert matrices[name]["weight_bits"] == layer.weight_bits
        assert matrices[name]["activation_bits"] == layer.activation_bits
    for layer in hardware["layers"]:
        bits = layer["accumulator_bits"]
        assert 2 ** (bits - 2) <= layer["accumulator_bound"] < 2 ** (bits - 1)
        assert bits <= 32
    assert hardware["number_formats"]["accumulator_bits"] >= max(
        layer["accumulator_bits"] for layer in hardware["layers"]
    )
    macs = sum(s["m"] * s["k"] * s["n"] * s["repeats"] for s in matrices.values())
    assert macs == cost["metrics"]["model.macs"]


def test_readme_explains_every_operation_of_the_model(written, shipment):
    text = (written[0] / "README.md").read_text()
    for op in {node.op for node in shipment.model.nodes}:
        assert re.search(rf"^- \*\*(\w+, )*{op}(, \w+)*\*\*: ", text, re.M), op
    for name, _ in shipment.design.layers:
        assert f"\n| {name} |" in text


def test_equal_exports_are_equal_bytes(written, shipment, tmp_path):
    write_bundle(shipment, tmp_path / "elsewhere", golden=3)
    assert (tmp_path / "elsewhere" / MANIFEST).read_text() == (written[0] / MANIFEST).read_text()


def test_a_bundle_is_replaced_and_stays_whole(copy, shipment):
    write_bundle(shipment, copy, golden=1)
    assert verify(copy).returncode == 0
    assert manifest(copy) == (copy / MANIFEST).read_text()
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]


def test_other_folders_are_not_overwritten(copy, shipment, tmp_path):
    (copy / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"notes\.txt, which is not part of the bundle"):
        write_bundle(shipment, copy)
    assert (copy / "notes.txt").read_text() == "mine"
    other = tmp_path / "thesis"
    other.mkdir()
    write_bundle(shipment, other, golden=1)  # empty: fine
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_text("meow")
    (tmp_path / "file").write_text("text")
    for target in ("photos", "file"):
        with pytest.raises(UserError, match="is not an export bundle"):
            write_bundle(shipment, tmp_path / target)
    assert (tmp_path / "photos" / "cat.png").read_text() == "meow"


@pytest.mark.parametrize("step", ["golden_vectors", "check_written", "rescore_bundle", "manifest"])
def test_an_interrupted_export_leaves_the_old_bundle_or_nothing(
    copy, shipment, tmp_path, monkeypatch, step
):
    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(bundle_module, "check_written", lambda *args, **kwargs: [])
    monkeypatch.setattr(bundle_module, step, fail)
    before = manifest(copy)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(shipment, copy)
    assert manifest(copy) == before
    with pytest.raises(KeyboardInterrupt):
        write_bundle(shipment, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == [copy.name]


def test_another_accuracy_than_the_trials_is_an_error(shipment, tmp_path):
    wrong = replace(shipment, accuracy=shipment.accuracy + 1 / 12)
    with pytest.raises(RunError, match=r"classifies \d+ of 12 .*, the trial \d+"):
        write_bundle(wrong, tmp_path / "7")
    assert not list(tmp_path.iterdir())


def test_executors_that_disagree_stop_the_export(shipment, tmp_path, monkeypatch):
    def corrupted(*args, **kwargs):
        found = golden_vectors(*args, **kwargs)
        name = shipment.model.nodes[-1].name
        codes = found.codes[name].copy()
        codes[0, 0] += 1
        return replace(found, codes={**found.codes, name: codes})

    golden_vectors = bundle_module.golden_vectors
    monkeypatch.setattr(bundle_module, "golden_vectors", corrupted)
    with pytest.raises(RunError, match=r"DIFFERS head at \(0, 0\)"):
        write_bundle(shipment, tmp_path / "7")
    assert not list(tmp_path.iterdir())


def test_no_golden_image_is_refused(shipment, tmp_path):
    with pytest.raises(UserError, match="golden=0"):
        write_bundle(shipment, tmp_path / "7", golden=0)


def test_nothing_of_this_machine_is_in_a_bundle(written, tmp_path):
    for path in written[0].rglob("*"):
        if path.suffix in (".json", ".md", ".csv", ".cfg", ".py"):
            text = path.read_text()
            assert str(written[0].parent) not in text
            assert "/home/" not in text
            assert "/tmp/" not in text
