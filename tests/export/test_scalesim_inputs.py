"""The SCALE-Sim files of a bundle, run by SCALE-Sim's own top-level class."""

import pytest
from parts import convolutional_shipment, vit_shipment
from scalesim.scale_sim import scalesim

from codesign.export.scalesim_files import scalesim_files
from costmodels.board import load_board
from costmodels.engines import place


def run_scalesim(folder, suffix):
    """Return layer index to the compute cycles SCALE-Sim reports (total less stall)."""
    simulation = scalesim(
        save_disk_space=True,
        verbose=False,
        config=str(folder / f"scalesim{suffix}.cfg"),
        topology=str(folder / f"topology{suffix}.csv"),
        layout=str(folder / f"layout{suffix}.csv"),
    )
    simulation.run_scale(top_path=str(folder / f"reports{suffix}"))
    (report,) = (folder / f"reports{suffix}").rglob("COMPUTE_REPORT.csv")
    header, *rows = report.read_text().strip().splitlines()
    columns = [name.strip() for name in header.split(",")]
    total, stall = columns.index("Total Cycles"), columns.index("Stall Cycles")
    cells = [[float(cell) for cell in row.split(",") if cell.strip()] for row in rows]
    return [int(row[total] - row[stall]) for row in cells]


def write(shipment, folder):
    accelerator = shipment.design.accelerator
    placements, _ = place(shipment.workload, accelerator, load_board(accelerator.board).dsp_type)
    for name, text in scalesim_files(accelerator, placements, "small").items():
        (folder / name).write_text(text)
    return placements


@pytest.mark.parametrize("kind", ["vit", "os", "ws", "is"])
def test_scalesim_runs_the_files_and_reports_the_cycles_of_the_cost(tmp_path, kind):
    shipment = vit_shipment() if kind == "vit" else convolutional_shipment(kind)
    placements = write(shipment, tmp_path)
    priced = {layer.name: layer.compute_cycles for layer in shipment.cost.layers}
    suffixes = [path.stem.removeprefix("topology") for path in tmp_path.glob("topology*.csv")]
    assert "" in suffixes
    compared = 0
    for suffix in suffixes:
        names = [
            line.split(",")[0]
            for line in (tmp_path / f"topology{suffix}.csv").read_text().splitlines()[1:]
        ]
        cycles = run_scalesim(tmp_path, suffix)
        assert len(cycles) == len(names)
        repeats = {p.layer.name: p.layer.repeats for p in placements}
        for name, reported in zip(names, cycles, strict=True):
            # SCALE-Sim reports the index of the last cycle, one less than their number
            assert (reported + 1) * repeats[name] == priced[name], name
            compared += 1
    assert compared == sum(p.engine != "depthwise" for p in placements)
    assert kind == "vit" or len(suffixes) > 1


def test_every_line_ends_in_a_comma_and_no_name_is_taken_for_depthwise(tmp_path):
    write(convolutional_shipment(), tmp_path)
    for path in tmp_path.glob("*.csv"):
        for line in path.read_text().splitlines():
            assert line.endswith(",")
            assert "DP" not in line


def test_strides_are_trimmed_to_what_torch_computes(tmp_path):
    shipment = convolutional_shipment(depthwise_lanes=0)
    placements = write(shipment, tmp_path)
    layers = {p.layer.name: p.layer for p in placements}
    strided = 0
    for path in tmp_path.glob("topology*.csv"):
        for line in path.read_text().splitlines()[1:]:
            name, *sizes = line.split(",")[:-1]
            height, width, kernel_h, kernel_w, channels, filters, stride = map(int, sizes)
            outputs = -(-(height - kernel_h + stride) // stride) * -(
                -(width - kernel_w + stride) // stride
            )
            layer = layers[name]
            assert (outputs, kernel_h * kernel_w * channels, filters) == (layer.m, layer.k, layer.n)
            strided += stride > 1
    assert strided
