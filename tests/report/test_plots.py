import io
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from PIL import Image
from studies import BOARD, make_study

from codesign.report import write_report
from codesign.report.figures import chosen_front, report_png
from codesign.report.labels import label, number
from codesign.report.other_plots import ceiling, draw_bits, draw_resource, resources
from codesign.report.pareto_plot import draw_pareto
from codesign.report.style import GREY, VERMILION
from codesign.report.trials import Panel, panels


def drawn(study, panel):
    figure = Figure((5, 4))
    ax = figure.add_subplot()
    write_labels = draw_pareto(ax, study, panel, "p")
    figure.draw_without_rendering()
    write_labels()
    lines = {}
    for line in ax.get_lines():
        if (line.get_gid() or "").startswith("trial-"):
            lines[int(line.get_gid().split("-")[1])] = line
    return ax, lines


def test_points_stand_where_the_trials_are():
    study = make_study()
    _, lines = drawn(study, Panel("fpga.latency_ms", "accuracy", "fpga.dsp"))
    complete = [t for t in study.trials if t.state == "complete"]
    assert sorted(lines) == [t.number for t in complete]
    for trial in complete:
        (x,), (y,) = lines[trial.number].get_data()
        assert (x, y) == (trial.metrics["fpga.latency_ms"], 100 * trial.metrics["accuracy"])


def test_colour_orders_the_third_objective_and_grey_means_no_candidate():
    study = make_study(feasible=True)
    _, lines = drawn(study, Panel("fpga.latency_ms", "fpga.dsp", "accuracy"))
    brightness = []
    for trial in study.trials:
        if trial.number not in lines:
            assert trial.state == "failed"
            continue
        line = lines[trial.number]
        if trial.state == "refused":
            assert line.get_marker() == "x" and line.get_color() == GREY
        elif trial.label:
            assert line.get_marker() == "*"
        if trial.state == "complete" and max(trial.constraints.values()) <= 0:
            red, green, blue = Image.new("RGB", (1, 1), to_hex(line.get_color())).getpixel((0, 0))
            light = 0.2126 * red + 0.7152 * green + 0.0722 * blue
            brightness.append((trial.metrics["accuracy"], light))
    lights = [light for _, light in sorted(brightness)]
    assert len(lights) > 10
    # the map's lightness rises with the value (to within the rounding of 8-bit colours)
    assert all(after > before - 1.5 for before, after in pairwise(lights))
    assert lights[-1] > lights[0] + 100
    infeasible = make_study(feasible=False)
    _, lines = drawn(infeasible, Panel("fpga.latency_ms", "accuracy", "fpga.dsp"))
    assert {to_hex(line.get_color()).upper() for line in lines.values()} == {GREY.upper()}


def test_labels_name_the_front_and_do_not_overlap():
    study = make_study(trials=80)
    ax, _ = drawn(study, Panel("fpga.latency_ms", "accuracy", "fpga.dsp"))
    front = {str(t.number) for t in study.front if not t.label}
    labels = [t for t in ax.texts if t.get_text() in front]
    assert labels and len({t.get_text() for t in labels}) == len(labels)
    ax.figure.draw_without_rendering()
    boxes = [t.get_window_extent() for t in labels]
    for i, box in enumerate(boxes):
        assert not any(box.padded(-1.5).overlaps(other.padded(-1.5)) for other in boxes[:i])


@pytest.mark.parametrize("x_goal", ["min", "max"])
@pytest.mark.parametrize("y_goal", ["min", "max"])
def test_the_staircase_is_what_the_front_attains(x_goal, y_goal):
    goals = {"fpga.bram36": x_goal, "model.weight_kb": y_goal}
    study = make_study(trials=90, goals=goals)
    ax, _ = drawn(study, Panel(*goals, None))
    (line,) = [line for line in ax.get_lines() if line.get_gid() == "staircase"]
    front = [tuple(t.values[name] for name in goals) for t in study.front]
    assert len(front) > 2
    steps = line.get_drawstyle()
    xs, ys = line.get_data()
    for left, right, y_left, y_right in zip(xs, xs[1:], ys, ys[1:], strict=False):
        middle = (left + right) / 2
        able = [y for x, y in front if (x <= middle if x_goal == "min" else x >= middle)]
        best = min(able) if y_goal == "min" else max(able)
        assert (y_left if steps == "steps-post" else y_right) == best


def test_every_pair_of_objectives_has_a_panel_coloured_by_another():
    goals = dict.fromkeys("abcd", "min")
    found = panels(goals)
    assert {frozenset((p.x, p.y)) for p in found} == {
        frozenset(pair) for pair in ("ab", "ac", "ad", "bc", "bd", "cd")
    }
    assert all(p.colour not in (p.x, p.y) for p in found)
    assert panels({"accuracy": "max", "cost": "min"}) == [Panel("cost", "accuracy", None)]


@pytest.mark.parametrize("of", ["weight", "activation"])
def test_the_heat_map_shows_each_layers_bits_and_log2(of):
    trials = make_study(layers=17).front[:5]
    ax = Figure((8, 4)).add_subplot()
    draw_bits(ax, trials, of)
    cells = {t.get_position(): t.get_text() for t in ax.texts}
    marked = 0
    for row, trial in enumerate(trials):
        for column, (_, layer) in enumerate(trial.design.layers):
            assert cells[(column, row)] == str(getattr(layer, f"{of}_bits"))
            marked += layer.weight_scheme == "log2"
    corners = [p for p in ax.patches if isinstance(p, Polygon)]
    assert len(corners) == (marked if of == "weight" else 0)
    assert [t.get_text() for t in ax.get_xticklabels()][:2] == [
        n for n, _ in trials[0].design.layers[:2]
    ]


def test_bars_show_the_share_of_the_board_and_the_ceiling():
    study = make_study()
    trials = list(study.front)
    shares = resources(study, trials)
    assert list(shares) == ["dsp", "lut", "bram36", "uram"]  # no figure of ff was given
    expected = [100 * t.metrics["fpga.bram36"] / BOARD["bram36"] for t in trials]
    assert shares["bram36"] == pytest.approx(expected)
    assert shares["lut"] == [t.metrics["fpga.lut_pct"] for t in trials]
    assert [ceiling(study.settings, r) for r in ("lut", "dsp", "uram")] == [70, 80, None]
    ax = Figure().add_subplot()
    draw_resource(ax, "lut", [60.0, 75.0], 70.0, ["#1", "#2"])
    assert [bar.get_width() for bar in ax.patches] == [60, 75]
    assert [to_hex(bar.get_facecolor()).upper() == GREY for bar in ax.patches] == [False, True]
    assert ax.get_lines()[0].get_color() == VERMILION


@pytest.mark.parametrize(
    "case",
    [
        {"trials": 0},
        {"trials": 1},
        {"feasible": False},
        {"objectives": 1},
        {"objectives": 4, "layers": 100, "trials": 20},
    ],
)
def test_the_sheet_is_a_picture_with_something_on_it(case):
    picture = Image.open(io.BytesIO(report_png(make_study(**case)))).convert("L")
    assert picture.width >= 1000
    assert np.asarray(picture).std() > 5


def test_a_long_front_keeps_its_span():
    study = make_study(trials=200, objectives=4, layers=3)
    chosen = chosen_front(study)
    assert len(study.front) > 24 >= len(chosen) > 8
    assert chosen[0].values["accuracy"] == min(t.values["accuracy"] for t in study.front)


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        ("fpga.latency_ms", "FPGA latency (ms)"),
        ("accuracy_post_training", "Accuracy post training (%)"),
        ("accuracy", "Accuracy (%)"),
        ("fpga.lut_pct", "FPGA LUT (%)"),
        ("fpga.dsp", "FPGA DSP"),
        ("model.weight_kb", "Model weight (kB)"),
        ("gpu.a100.latency_ms", "GPU a100 latency (ms)"),
    ],
)
def test_metrics_are_named_with_their_units(metric, text):
    assert label(metric) == text


def test_numbers_keep_four_digits():
    assert number("accuracy", 0.98765) == "98.77"
    assert number("fpga.dsp", 1234.0) == "1,234"
    assert number("fpga.latency_ms", 0.00123456) == "0.001235"


def test_both_files_are_written(tmp_path):
    paths = write_report(make_study(trials=8, layers=5), tmp_path / "run")
    assert [p.name for p in paths] == ["report.html", "report.png"]
    assert paths[0].read_text().startswith("<!doctype html>")
    assert Image.open(paths[1]).format == "PNG"
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["report.html", "report.png"]
