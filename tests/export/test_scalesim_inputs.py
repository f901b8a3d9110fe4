"""The SCALE-Sim files of a bundle, run by SCALE-Sim as the bundle's README says, in a shell."""

import os
import re
import subprocess
import sys
from functools import cache

import pytest
from random_networks import lowered
from small_networks import calibration_images, network

from codesign.design import Design, LayerFormat
from codesign.export.guides import scalesim_guide
from codesign.export.hardware import hardware_json
from codesign.export.scalesim_files import scalesim_files
from codesign.graph.workload import workload
from costmodels.accelerator import Accelerator
from costmodels.board import load_board
from costmodels.engines import place
from costmodels.estimate import estimate
from costmodels.workload import MatrixLayer, Workload

WEIGHTS = ("mixed_4@0.4", "uniform_3", "apot_4", "uniform_8", "mixed_3@0.5", "log2_4", "apot_6")
BASE = {"mac_rows": 8, "mac_cols": 4, "shift_rows": 4, "shift_cols": 8, "depthwise_lanes": 0}
CASES = {
    "os": Accelerator(**BASE, precision="reconfigurable"),
    "ws": Accelerator(**BASE, dataflow="ws"),
    "is": Accelerator(**BASE | {"depthwise_lanes": 4}, dataflow="is"),
}


@cache
def design_of(case):
    """Return (hardware.json, scalesim files) of a network of mixed, apot, log2, uniform layers."""
    accelerator, graph = CASES[case], network("relu")
    layers = tuple(
        (node.name, LayerFormat.parse(WEIGHTS[i % len(WEIGHTS)], 8 - 4 * (i % 2)))
        for i, node in enumerate(graph.layers)
    )
    functions = tuple((n.name, "relu") for n in graph.nodes if n.op == "activation")
    design = Design(layers, functions, accelerator)
    model, work = lowered(graph, design, calibration_images()), workload(graph, design)
    hardware = hardware_json(model, accelerator, estimate(work, accelerator), work)
    placements, _ = place(work, accelerator, load_board(accelerator.board).dsp_type)
    return hardware, scalesim_files(accelerator, placements, "small")


def write(files, folder):
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def run(command, folder):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def names_in(topology):
    return [line.split(",")[0] for line in topology.splitlines()[1:]]


def reported(folder):
    """Return the cycles without stalls of every layer, as SCALE-Sim reports them."""
    (report,) = folder.rglob("COMPUTE_REPORT.csv")
    header, *rows = report.read_text().strip().splitlines()
    columns = [name.strip() for name in header.split(",")]
    total, stall = columns.index("Total Cycles"), columns.index("Stall Cycles")
    cells = [[float(cell) for cell in row.split(",") if cell.strip()] for row in rows]
    return [int(row[total] - row[stall]) for row in cells]


def shares(step, suffix):
    """Return what of a step a topology holds: the layer, or one array's part of it."""
    if not step["parts"]:
        return step
    engine = "shift_array" if suffix == "_shift_array" else "mac_array"
    return next(part for part in step["parts"] if part["engine"] == engine)


@pytest.mark.parametrize("case", CASES)
def test_the_lines_of_the_readme_run_and_give_the_cycles_of_hardware_json(tmp_path, case):
    hardware, files = design_of(case)
    folder = write(files, tmp_path / "bundle")
    code = re.findall(r"^    (.*)$", scalesim_guide(files), re.M)
    run([sys.executable, "-c", "\n".join(code)], folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(files)
    steps = {step["name"]: step for step in hardware["schedule"]}
    found = {}
    for name, text in files.items():
        if not name.startswith("topology"):
            continue
        suffix = name.removeprefix("topology").removesuffix(".csv")
        cycles = reported(tmp_path / f"reports{suffix}")
        for layer, count in zip(names_in(text), cycles, strict=True):
            share = shares(steps[layer], suffix)
            taken = (count + 1) * share["repeats"] * share["passes"]
            found.setdefault(layer, []).append(taken)
    on_arrays = [s for s in steps.values() if "array" in s["engine"]]
    assert set(found) == {step["name"] for step in on_arrays}
    for step in on_arrays:
        assert len(found[step["name"]]) == max(len(step["parts"]), 1)
        assert max(found[step["name"]]) == step["compute_cycles"], step["name"]
    assert any(step["parts"] for step in on_arrays)
    assert any(step["passes"] > 1 for step in on_arrays)


def test_the_command_line_takes_the_files(tmp_path):
    hardware, files = design_of("is")
    (topology,) = (files[name] for name in files if name == "topology_shift_array.csv")
    header, *rows = topology.splitlines()
    few = {**files, "topology_shift_array.csv": "\n".join([header, *rows[-2:]]) + "\n"}
    layout = files["layout_shift_array.csv"].splitlines()
    few["layout_shift_array.csv"] = "\n".join([layout[0], *layout[-2:]]) + "\n"
    folder = write(few, tmp_path / "bundle")
    arguments = ["-c", "scalesim_shift_array.cfg", "-t", "topology_shift_array.csv"]
    arguments += ["-l", "layout_shift_array.csv", "-p", "../reports"]
    run([sys.executable, "-m", "scalesim.scale", *arguments], folder)
    steps = {step["name"]: step for step in hardware["schedule"]}
    counts = reported(tmp_path / "reports")
    for layer, count in zip(names_in(few["topology_shift_array.csv"]), counts, strict=True):
        share = shares(steps[layer], "_shift_array")
        taken = (count + 1) * share["repeats"] * share["passes"]
        assert taken <= steps[layer]["compute_cycles"]
        if not steps[layer]["parts"]:
            assert taken == steps[layer]["compute_cycles"]


def test_reconfigurable_arrays_have_a_configuration_for_each_width():
    hardware, files = design_of("os")
    widths = {(s["rows"], s["cols"]) for s in hardware["schedule"] if s["engine"] == "mac_array"}
    assert len(widths) > 1
    for rows, cols in widths - {(8, 4)}:
        text = files[f"scalesim_mac_array_{rows}x{cols}.cfg"]
        assert f"ArrayHeight = {rows}\nArrayWidth = {cols}\n" in text


def test_every_line_ends_in_a_comma_and_no_name_is_taken_for_depthwise():
    layer = {"kind": "linear", "m": 4, "k": 8, "n": 8, "repeats": 1, "weight_bits": 8}
    widths = {"weight_scheme": "uniform", "activation_bits": 8, "output_bits": 8}
    sizes = {"input_elements": 32, "output_elements": 32, "weight_elements": 64}
    names = ("head,DP", "line\nend", "DDP")
    work = Workload("x", tuple(MatrixLayer(n, **layer, **widths, **sizes) for n in names), 0)
    placements, _ = place(work, CASES["os"], "DSP48E2")
    files = scalesim_files(CASES["os"], placements, "x")
    for name, text in files.items():
        if name.endswith(".csv"):
            assert len(text.splitlines()) == 1 + len(names)
            assert all(line.endswith(",") and "DP" not in line for line in text.splitlines())
            assert len({line.count(",") for line in text.splitlines()}) == 1


@pytest.mark.parametrize("case", CASES)
def test_strides_are_trimmed_to_what_torch_computes(case):
    hardware, files = design_of(case)
    steps = {step["name"]: step for step in hardware["schedule"]}
    strided = 0
    for name, text in files.items():
        if not name.startswith("topology"):
            continue
        suffix = name.removeprefix("topology").removesuffix(".csv")
        for line in text.splitlines()[1:]:
            layer, *sizes = line.split(",")[:-1]
            height, width, kernel_h, kernel_w, channels, filters, stride = map(int, sizes)
            outputs = -(-(height - kernel_h + stride) // stride) * -(
                -(width - kernel_w + stride) // stride
            )
            step = steps[layer]
            expected = (step["m"], step["k"], shares(step, suffix)["n"])
            assert (outputs, kernel_h * kernel_w * channels, filters) == expected
            strided += stride > 1
    assert strided
