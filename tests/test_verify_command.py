"""The verify command: what it prints, its exit codes, and forgeries with a right manifest."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

sys.path.append(str(Path(__file__).parent / "export"))
from parts import vit_shipment

from codesign.bundle.files import read_npz
from codesign.bundle.manifest import MANIFEST, manifest
from codesign.cli import exit_code
from codesign.errors import RunError
from codesign.export.bundle import write_bundle
from codesign.integer.model import pack_npz
from codesign.verify.__main__ import main
from codesign.verify.printer import Printer
from codesign.verify.registry import CHECKS
from codesign.verify.verify import check_written, verify_bundle


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("exports") / "a=b"
    write_bundle(vit_shipment(), out, golden=2)
    return out


@pytest.fixture
def copy(written, tmp_path):
    return shutil.copytree(written, tmp_path / "bundle")


def failures(folder):
    """Rewrite the manifest, verify, and return check to lines of what failed."""
    (folder / MANIFEST).write_text(manifest(folder))
    return {found.check: found.lines for found in verify_bundle(folder) if not found.passed}


@pytest.mark.parametrize("form", ["{}", "bundle={}", "{}/"])
def test_a_good_bundle_passes_every_check(written, capsys, form):
    assert exit_code(main, [form.format(written)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[8:20].strip() for line in lines if line.startswith("ok ")] == list(CHECKS)
    assert lines[-1] == f"{written}: all checks passed"


def test_a_changed_file_is_named_and_every_other_check_still_runs(copy, capsys):
    (copy / "README.md").write_text("lies")
    (copy / "cost.json").unlink()
    assert exit_code(main, [str(copy)]) == 1
    out = capsys.readouterr().out
    assert "FAILED  manifest      README.md was changed: its SHA-256 is another one" in out
    assert "FAILED  manifest      cost.json is missing" in out
    assert re.search(r"^FAILED  schemas       cost.json is missing", out, re.M)
    assert re.search(r"^ok      numpy ", out, re.M)
    assert out.splitlines()[-1] == f"{copy}: 3 of {len(CHECKS)} checks failed"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "which bundle? Give its folder"),
        (["nowhere"], "nowhere is no folder"),
        (["bundle=nowhere"], "nowhere is no folder"),
        (["{tmp}"], "is no export bundle: it holds neither MANIFEST.sha256 nor graph.json"),
        (["bundel=x"], "unknown key 'bundel' on the command line. Did you mean bundle?"),
        (["--fast"], "'--fast' is not key=value"),
    ],
)
def test_what_is_no_bundle_is_one_line_and_code_2(tmp_path, capsys, words, message):
    assert exit_code(main, [word.format(tmp=tmp_path) for word in words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_help_tells_what_is_run(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "usage: python -m codesign.verify BUNDLE" in text
    assert "its own verify.py is run" in text
    assert "Exit code 0: all is well; 1: a check failed; 2: no bundle" in text


def change_array(path, key, index, by=1):
    arrays = read_npz(path.parent, path.name)
    name = next(name for name in arrays if name.endswith(key))
    arrays[name] = arrays[name].copy()
    arrays[name][index] += by
    path.write_bytes(pack_npz(arrays))
    return name


def change_json(path, places, value):
    content = json.loads(path.read_text())
    node = content
    for place in places[:-1]:
        node = node[place]
    if isinstance(node, list) or places[-1] in node:
        assert node[places[-1]] != value
    node[places[-1]] = value
    path.write_text(json.dumps(content, indent=1, sort_keys=path.name != "design.json") + "\n")


def change_word(path):
    """Change the lowest digit of a memory file's last word."""
    text = path.read_text().rstrip("\n")
    path.write_text(text[:-1] + f"{int(text[-1], 16) ^ 1:x}\n")


def test_a_forged_weight_is_found_by_every_replay(copy):
    change_array(copy / "weights.npz", "qkv/weight", (3, 5), by=40)
    found = failures(copy)
    assert set(found) >= {"verify.py", "torch", "numpy", "onnxruntime", "mirrors", "memories"}
    for check in ("torch", "numpy"):
        (line,) = found[check]
        assert re.match(
            r"golden/golden.npz blocks.0.attn.qkv at \(\d+, \d+, 3\): expected -?\d+, got -?\d+ ",
            line,
        )
    assert re.match(r"verify.py: DIFFERS blocks.0.attn.qkv at ", found["verify.py"][0])
    assert "manifest" not in found


@pytest.mark.parametrize("seed", range(4))
def test_the_least_change_of_any_integer_is_found(copy, seed):
    rng = np.random.default_rng(seed)
    key = rng.choice(sorted(read_npz(copy, "weights.npz")))
    size = read_npz(copy, "weights.npz")[key].shape
    change_array(copy / "weights.npz", key, tuple(int(rng.integers(n)) for n in size))
    found = failures(copy)
    assert found["memories"][0].startswith("mem/")
    assert {"derived", "onnxruntime"} & set(found)


def test_a_forged_golden_code_is_found(copy):
    name = change_array(copy / "golden" / "golden.npz", "head", (1, 2))
    found = failures(copy)
    assert set(found) >= {"verify.py", "torch", "numpy", "onnxruntime", "golden mem"}
    assert found["torch"][0].startswith(f"golden/golden.npz {name} at (1, 2): expected ")
    assert "at (1, 2): expected" in found["onnxruntime"][0]


def test_a_forged_image_or_class_is_found(copy):
    change_array(copy / "golden" / "images.npz", "expected_classes", 0)
    assert "golden/images.npz expected_classes at (0,)" in failures(copy)["images"][0]
    change_array(copy / "golden" / "images.npz", "images", (0, 1, 2, 3), by=0.2)
    assert "golden/images.npz images at (0, 1, 2, 3)" in failures(copy)["images"][0]


@pytest.mark.parametrize(("folder", "check"), [("mem", "memories"), ("golden/mem", "golden mem")])
def test_a_forged_memory_is_found(copy, folder, check):
    files = sorted((copy / folder).iterdir())
    rng = np.random.default_rng(0)
    for path in rng.choice(files, 2, replace=False):
        whole = path.read_text()
        change_word(path)
        (line,) = failures(copy)[check]
        assert line.startswith(f"{folder}/{path.name}")
        path.write_text(whole.replace("//", "// forged:", 1))
        (line,) = failures(copy)[check]
        assert line == (
            f"{folder}/{path.name}: the words are right, the comments or the white space are not"
        )
        path.write_text(whole)
    (copy / folder / "more.mem").write_text("0\n")
    assert failures(copy)[check] == (f"{folder}/more.mem is no file of the model",)


def test_a_forged_onnx_weight_is_found(copy):
    for name, check in (
        ("model.integer.onnx", "onnxruntime"),
        ("model.qdq.onnx", "mirrors"),
        ("model.qonnx.onnx", "mirrors"),
    ):
        path = copy / name
        whole = path.read_bytes()
        proto = onnx.load_model_from_string(whole)
        largest = max(proto.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        data = bytearray(largest.raw_data)
        data[len(data) // 2] ^= 1
        largest.raw_data = bytes(data)
        path.write_bytes(proto.SerializeToString())
        assert set(failures(copy)) == {check}
        path.write_bytes(whole)


def test_an_onnx_file_of_another_version_is_judged_by_what_it_computes(copy):
    path = copy / "model.integer.onnx"
    proto = onnx.load_model_from_string(path.read_bytes())
    proto.producer_version = "0"
    path.write_bytes(proto.SerializeToString())
    assert failures(copy) == {}
    del proto.graph.node[-1].attribute[:]
    proto.graph.node.pop()
    path.write_bytes(proto.SerializeToString())
    assert set(failures(copy)) == {"onnxruntime"}


FORGED = [
    (("hardware.json", "clock_mhz", 100.0), ("derived", "hardware.json clock_mhz: expected 200")),
    (("hardware.json", "schedule", 1, "colour", 1), ("schemas", "hardware.json schedule[1]")),
    (("hardware.json", "board", []), ("schemas", "hardware.json board: [] is not")),
    (("hardware.json", "memories", 0, "lanes", 3), ("memories", "hardware.json, lanes of mem/")),
    (("cost.json", "layers", 0, "cycles", 1), ("derived", "hardware.json schedule[0].cycles")),
    (("cost.json", "layers", 0, "bright", 1), ("derived", "cost.json is damaged: TypeError")),
    (("design.json", "layers", "head", "weight_bits", 7), ("design", "design.json is design ")),
    (("design.json", "accelerator", "mac_rows", 16), ("derived", "hardware.json ")),
    (("graph.json", "info", "design", "0" * 16), ("design", "graph.json is of 0000000000000000")),
    (("workload.json", "operations", 0, "k", 7), ("design", "workload.json layer ")),
]


@pytest.mark.parametrize(("forged", "expected"), FORGED)
def test_a_forged_json_value_is_found(copy, forged, expected):
    file, *places, value = forged
    change_json(copy / file, places, value)
    check, line = expected
    found = failures(copy)
    assert any(line in text for text in found[check]), found


def test_a_forged_engine_is_found(copy):
    steps = json.loads((copy / "hardware.json").read_text())["schedule"]
    for number, step in list(enumerate(steps))[::12]:
        other = "mac_array" if step["engine"] == "shift_array" else "shift_array"
        change_json(copy / "hardware.json", ("schedule", number, "engine"), other)
        (line,) = failures(copy)["derived"]
        was = f"expected {step['engine']}, got {other}"
        assert line == f"hardware.json schedule[{number}].engine: {was}"
        change_json(copy / "hardware.json", ("schedule", number, "engine"), step["engine"])


def test_a_forged_format_is_found_by_the_replays(copy):
    nodes = json.loads((copy / "graph.json").read_text())["nodes"]
    number = next(i for i, node in enumerate(nodes) if node["name"] == "blocks.0.attn.qkv")
    was = nodes[number]["format"]["zero_point"]
    change_json(copy / "graph.json", ("nodes", number, "format", "zero_point"), was + 1)
    found = failures(copy)
    assert {"verify.py", "torch", "numpy", "onnxruntime"} <= set(found)
    assert found["torch"][0].startswith("golden/golden.npz blocks.0.attn.qkv at (0, ")


def test_a_forged_package_is_found(copy):
    path = copy / "rtl" / "accelerator_pkg.sv"
    lines = path.read_text().splitlines()
    number = next(i for i, text in enumerate(lines) if "parameter" in text)
    lines[number] += " // forged"
    path.write_text("\n".join(lines) + "\n")
    (line,) = failures(copy)["derived"]
    assert line.startswith(f"rtl/accelerator_pkg.sv line {number + 1}: expected ")


def test_a_script_that_fails_changes_files_or_is_missing_is_found(copy):
    script = copy / "verify.py"
    script.write_text("import sys; print('all is well'); sys.exit(3)\n")
    assert failures(copy)["verify.py"] == ("verify.py: all is well",)
    script.write_text("open('README.md', 'a').write('more')\n")
    assert failures(copy)["verify.py"] == ("verify.py changed files of the bundle",)
    script.unlink()
    assert "verify.py is missing" in failures(copy)["verify.py"][0]


@pytest.mark.parametrize(
    "name", ["graph.json", "weights.npz", "golden/golden.npz", "hardware.json"]
)
@pytest.mark.parametrize("content", [b"", b"{}", b"PK\x03\x04", b"\xff" * 99])
def test_damaged_files_are_told_in_one_line_a_check(copy, name, content):
    (copy / name).write_bytes(content)
    found = failures(copy)
    assert found
    assert all("\n" not in line and "Traceback" not in line for ls in found.values() for line in ls)
    assert any(name in line for lines in found.values() for line in lines)


def test_what_the_export_checks_is_what_is_verified(copy):
    (copy / MANIFEST).unlink()
    names = [found.check for found in check_written(copy)]
    assert ["manifest", *names] == list(CHECKS)
    change_word(sorted((copy / "mem").iterdir())[0])
    with pytest.raises(RunError, match=r"check 'memories' of the bundle failed: mem/.* exported"):
        check_written(copy)
    found = {finding.check: finding for finding in verify_bundle(copy)}
    assert found["manifest"].lines == ("MANIFEST.sha256 is missing: the export was not completed",)


def test_a_slow_check_says_that_it_is_running(capsys):
    printer = Printer(indent="> ", seconds=0.0)
    printer.begin("golden mem")
    printer._timer.join()
    printer.stop()
    assert capsys.readouterr().out == "> golden mem is running ...\n"


def test_the_module_runs_from_a_shell(written, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "codesign.verify", written],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("all checks passed\n")
