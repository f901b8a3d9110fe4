"""A bundle's README followed by hand: numbers are read from its text and from nothing else."""

import json
import re
from fnmatch import fnmatchcase

import pytest
import torch
from first_layers import CASES, SMALL, example
from parts import vit_shipment

from codesign.data.memory import Jitter, MemorySplit
from codesign.errors import RunError
from codesign.export.bundle import bundle_files
from codesign.export.golden import golden_vectors
from codesign.export.worked_example import worked_example


def number(pattern, text):
    found = re.search(pattern, text, re.M)
    assert found, pattern
    return [int(group) for group in found.groups()]


def whole_numbers(cell):
    return [int(word) for word in cell.split()]


def element(files, index, path, line, lane):
    """Return the bits of an element: a line of the file, counted from 1, and a lane of the word."""
    bits = index[path]["element_bits"]
    word = int(files[path].splitlines()[line - 1], 16)
    return word >> (lane * bits) & (2**bits - 1)


def signed(code, entry):
    bits = entry["element_bits"]
    return code - 2**bits if entry["signed"] and code >> (bits - 1) else code


def parts_of(text):
    """Return (introduction, examples)."""
    introduction, *examples = re.split(r"^### Example \d+: ", text, flags=re.M)
    return introduction, examples


def table_of(example):
    """Return the window as one dict a line, by column."""
    block = example.split("```")[1].strip("\n").split("\n\n")[0]
    header, *rows = [[cell.strip() for cell in line.split("|")] for line in block.splitlines()]
    return [dict(zip(["line", *header[1:]], row, strict=True)) for row in rows]


def weight_of(sign_exponent, bits):
    """Return what a sign and an exponent stand for, as the README says."""
    sign, exponent = map(int, sign_exponent.split(":"))
    return 0 if exponent == 2 ** (bits - 1) - 1 else (-1) ** sign * 2**exponent


def follow(introduction, example):
    """Work an example out from its text alone; return (code, whether it rounds down, parts)."""
    zero_point = number(r"zero point (-?\d+)\.", introduction)[0]
    total = 0
    for row in table_of(example):
        codes, weights = whole_numbers(row["codes"]), whole_numbers(row["weights"])
        if "s:e" in row:
            bits = number(r"are (\d+)-bit log2", example)[0]
            assert [weight_of(word, bits) for word in row["s:e"].split()] == weights
        line = sum((q - zero_point) * w for q, w in zip(codes, weights, strict=True))
        assert line == int(row["sum of x * weight"])
        total += line
    (bias,) = number(r"\+ bias (-?\d+) =", example)
    (multiplier,) = number(r"\* multiplier (\d+) =", example)
    half, shift = number(r"\+ 2\^(\d+)\) >> (\d+) =", example)
    target, low, high = number(
        r"code        = clamp\((-?\d+) \+ -?\d+, (-?\d+), (-?\d+)\)", example
    )
    assert half == shift - 1
    numerator = (total + bias) * multiplier + 2**half
    code = min(max(target + numerator // 2**shift, low), high)
    floors = numerator < 0 and numerator % 2**shift != 0
    assert number(r"code        = .* = (-?\d+)$", example) == [code]
    return code, floors, (bias, multiplier, shift)


@pytest.mark.parametrize(("kind", "weight"), CASES)
def test_the_examples_can_be_followed_by_hand(kind, weight):
    text, golden, files, index, model = example(kind, weight)
    introduction, examples = parts_of(text)
    floors = []
    for part in examples:
        code, floor, _ = follow(introduction, part)
        floors.append(floor)
        name, place, held, path, line, lane = re.search(
            r"^`(.+?)`\[([\d, ]+)\] of golden/golden.npz holds (-?\d+)"
            r"(?:; (\S+): line (\d+) lane (\d+))?\.$",
            part,
            re.M,
        ).groups()
        where = tuple(map(int, place.split(",")))
        assert golden[name][where] == code == int(held)
        if path:
            raw = element(files, index, path, int(line), int(lane))
            assert signed(raw, index[path]) == code
    assert any(floors)
    assert name == next(n.name for n in model.nodes if n.op in ("conv2d", "linear"))


@pytest.mark.parametrize(("kind", "weight"), CASES)
def test_every_number_lies_where_the_readme_says(kind, weight):
    text, _, files, index, model = example(kind, weight)
    introduction, examples = parts_of(text)
    for part in examples:
        _, _, (bias, multiplier, shift) = follow(introduction, part)
        rows = dict(re.findall(r"^\| ([\w' ]+) \| .+? \| (.+?) \|$", part, re.M))
        constants = {}
        for what in ("bias", "multiplier", "shift", "shift of the output's channel"):
            if what in rows:
                path, line, lane = re.match(r"(\S+): line (\d+) lane (\d+)$", rows[what]).groups()
                raw = element(files, index, path, int(line), int(lane))
                constants[what] = signed(raw, index[path])
        assert constants["bias"] == bias
        assert constants["multiplier"] == multiplier
        extra = constants.get("shift of the output's channel", 0)
        assert constants["shift"] + extra == shift
        check_arrays(part, model, bias, multiplier)
        check_weights(part, rows["weights"], files, index)
        check_inputs(introduction, part, rows["input codes"], files, index)
    assert (kind == "swin") == bool(model.nodes[1].format.shifts)


def check_arrays(part, model, bias, multiplier):
    for role, value in (("bias", bias), ("multiplier", multiplier)):
        key, channel = re.search(rf"\| `(\S+/{role})`\[(\d+)\]", part).groups()
        assert model.tensors[key][int(channel)] == value
    key, channel = re.search(r"\| `(\S+/weight)`\[(\d+)\]", part).groups()
    weights = [w for row in table_of(part) for w in whole_numbers(row["weights"])]
    assert model.tensors[key][int(channel)].reshape(-1).tolist() == weights


def check_weights(part, cell, files, index):
    found = re.match(r"(\S+): line (\d+) lane (\d+), to line (\d+) lane (\d+)$", cell).groups()
    path, (line, lane, last_line, last_lane) = found[0], map(int, found[1:])
    lanes, entry = index[path]["lanes"], index[path]
    codes = []
    while (line, lane) <= (last_line, last_lane):
        codes.append(element(files, index, path, line, lane))
        line, lane = (line, lane + 1) if lane + 1 < lanes else (line + 1, 0)
    rows = table_of(part)
    weights = [w for row in rows for w in whole_numbers(row["weights"])]
    if "s:e" in rows[0]:
        bits = entry["element_bits"]
        written = [word for row in rows for word in row["s:e"].split()]
        assert [f"{c >> (bits - 1)}:{c & (2 ** (bits - 1) - 1)}" for c in codes] == written
    elif "weight codes" in rows[0]:
        written = [word for row in rows for word in row["weight codes"].split()]
        assert [format(code, f"0{entry['element_bits']}b") for code in codes] == written
        assert [entry["codebook"][code] for code in codes] == weights
    else:
        assert [signed(code, entry) for code in codes] == weights


def check_inputs(introduction, part, cell, files, index):
    """Walk from a line's first code that is not padding; what is not walked is the zero point."""
    path = cell.split(":")[0]
    zero_point = number(r"zero point (-?\d+)\.", introduction)[0]
    padding = "On the padding" in introduction
    found = re.search(r"dilation \[\d+, (\d+)\]", introduction)
    step = int(found.group(1)) if found else 1
    shown = 0
    for row in table_of(part):
        codes = whole_numbers(row["codes"])
        if row["line:lane"] == "-":
            assert padding and codes == [zero_point] * len(codes)
            continue
        line, lane = map(int, row["line:lane"].split(":"))
        fits = []
        for start in range(len(codes) if padding else 1):
            for stop in range(start + 1, len(codes) + 1) if padding else [len(codes)]:
                outside = codes[:start] + codes[stop:]
                walked = walk(files, index[path], line, lane, step, stop - start)
                fits.append(outside == [zero_point] * len(outside) and walked == codes[start:stop])
        assert any(fits)
        shown += 1
    assert shown


def walk(files, entry, line, lane, step, count):
    """Return codes from a place on, `step` lanes apart, going on in the next line."""
    text, width = files[entry["path"]].splitlines(), entry["lanes"]
    codes = []
    for i in range(count):
        further, at = divmod(lane + i * step, width)
        if line - 1 + further >= len(text):
            return None
        raw = element(files, {entry["path"]: entry}, entry["path"], line + further, at)
        codes.append(signed(raw, entry))
    return codes


@pytest.mark.parametrize(("kind", "weight"), CASES)
def test_mixed_layers_show_both_kinds_of_channels(kind, weight):
    text, *_ = example(kind, weight)
    _, examples = parts_of(text)
    kinds = {"s:e" in table_of(part)[0] for part in examples}
    assert kinds == ({True, False} if weight.startswith("mixed") else {weight.startswith("log2")})


@pytest.mark.parametrize(("kind", "weight"), CASES)
def test_the_activation_behind_is_worked_out_too(kind, weight):
    text, golden, *_ = example(kind, weight)
    _, examples = parts_of(text)
    for part in examples:
        stored = re.search(r"^stored      = .* = (-?\d+)$", part, re.M)
        assert (stored is not None) == (kind in ("conv", "gelu", "tokens"))
        if stored:
            name, place = re.findall(r"^`(.+?)`\[([\d, ]+)\] of golden", part, re.M)[-1]
            where = tuple(map(int, place.split(",")))
            assert golden[name][where] == int(stored.group(1))
            three = re.search(r"clamp\((-?\d+) \+ three (\d+), 0, (\d+)\) = (\d+)", part)
            if three:
                x, step, top, gate = map(int, three.groups())
                assert gate == min(max(x + step, 0), top)


def test_a_wrong_golden_code_stops_the_example():
    *_, model = example("conv", "uniform_8")
    images = torch.rand(2, *SMALL["conv"][1])
    split = MemorySplit(images, torch.arange(2), 3, Jitter())
    golden = golden_vectors(model, split, 1)
    golden.codes[model.nodes[1].name][...] ^= 1
    with pytest.raises(RunError, match="worked example of conv"):
        worked_example(model, golden)


@pytest.fixture(scope="module")
def bundle():
    shipment = vit_shipment()
    files = bundle_files(shipment, golden_vectors(shipment.model, shipment.validation, 2))
    return shipment, files


def test_every_file_is_described(bundle):
    _, files = bundle
    rows = re.findall(
        r"^\| (\S+?)(?: \((\d+) files\))? \| (.+?) \|$", section(bundle, "Files"), re.M
    )
    described = {pattern: (int(count or 1), text) for pattern, count, text in rows[1:]}
    assert described.pop("MANIFEST.sha256")[1]
    for pattern, (count, text) in described.items():
        assert sum(fnmatchcase(path, pattern) for path in files) == count, pattern
        assert len(text) > 8
    for path in files:
        assert sum(fnmatchcase(path, pattern) for pattern in described) == 1, path


def section(bundle, title):
    return bundle[1]["README.md"].split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_the_onnx_lines_run_as_they_are(bundle, tmp_path, monkeypatch, capsys):
    _, files = bundle
    for path, content in files.items():
        if path.endswith((".onnx", ".npz")):
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_bytes(content)
    code = re.findall(r"^    (.*)$", section(bundle, "ONNX"), re.M)
    monkeypatch.chdir(tmp_path)
    exec("\n".join(code), {})
    assert capsys.readouterr().out.strip() == "0"


def test_the_memory_example_is_one_of_the_bundles_files(bundle):
    _, files = bundle
    text = section(bundle, "Memory files")
    (path,) = re.findall(r'\$readmemh\("(\S+)", words\)', text)
    width, last = number(r"logic \[(\d+):0\] words \[0:(\d+)\];", text)
    words = [line for line in files[path].splitlines() if not line.startswith("//")]
    assert len(words) == last + 1
    assert max(int(word, 16) for word in words) < 2 ** (width + 1)
    assert {len(word) for word in words} == {-(-(width + 1) // 4)}


def test_bytes_and_tiles_are_those_of_hardware_json(bundle):
    _, files = bundle
    hardware = json.loads(files["hardware.json"])
    text = section(bundle, "Tiling and DRAM")
    total, *kinds = map(int, re.findall(r"(\d+)(?= bytes:| of )", text)[:5])
    assert total == sum(kinds) == sum(step["dram_bytes"] for step in hardware["schedule"])
    assert max(kinds) == kinds[1]  # weights
