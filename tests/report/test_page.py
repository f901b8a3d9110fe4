import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from studies import make_study

from codesign.report.page import report_page
from codesign.report.tables import backing
from codesign.report.trials import knee_number, panels

VOID = {"meta", "br"}
OPTIONAL = {"tr", "td", "th", "tbody", "thead", "p"}


class Reader(HTMLParser):
    """Checks that tags are balanced, and collects tables, links and text."""

    def __init__(self, page):
        super().__init__()
        self.open, self.links, self.rows, self.texts = [], [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.links += [v for k, v in attributes if k in ("src", "href", "xlink:href")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.links += [v for k, v in attributes if k in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    def row(self, title):
        return next(row for row in self.rows if row and row[0] == title)


CASES = {
    "usual": {},
    "one trial": {"trials": 1},
    "no trial": {"trials": 0},
    "no front": {"feasible": False},
    "one objective": {"objectives": 1},
    "two objectives": {"objectives": 2},
    "four objectives, 100 layers": {"objectives": 4, "layers": 100, "trials": 25},
}


@pytest.fixture(params=CASES, scope="module")
def study(request):
    return make_study(**CASES[request.param])


@pytest.fixture(scope="module")
def page(study):
    return report_page(study, "runs/demo")


def test_the_page_is_whole_and_needs_nothing_else(page):
    reader = Reader(page)
    # references within the page only: markers, clip paths and the heat maps' pixels
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in reader.links)
    assert "@import" not in page and not re.search(r"url\(['\"]?http", page)


def test_every_plot_is_well_formed(page):
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        ElementTree.fromstring(svg)


def test_every_trial_with_figures_is_in_every_plot(study, page):
    for i, panel in enumerate(panels(study.objectives)):
        drawn = {int(n) for n in re.findall(rf'id="trial-(\d+)-p{i}"', page)}
        axes = {panel.x, panel.y} - {None}
        able = {
            t.number
            for t in study.trials
            if t.state in ("complete", "refused") and axes <= {*t.values, *t.metrics}
        }
        assert drawn == able


def test_the_front_is_tabled_with_its_values(study, page):
    reader = Reader(page)
    if not study.front:
        assert any("there is no front" in text for text in reader.texts)
        return
    heads = next(row for row in reader.rows if row and row[0] == "Metric")
    numbers = [int(re.match(r"#(\d+)", text)[1]) for text in heads[2:-1]]
    assert sorted(numbers) == sorted(t.number for t in study.front)
    trials = {t.number: t for t in study.trials}
    shown = [float(text) for text in reader.row("Accuracy ↑")[2:-1]]
    expected = [100 * trials[n].metrics["accuracy"] for n in numbers]
    assert shown == pytest.approx(expected, abs=0.006)
    assert sum("knee" in text for text in heads) == 1
    assert f"trial={knee_number(study)}" in page


def test_trial_texts_are_readable_and_harmless():
    trial = make_study().trials[9]
    evil = "</script><b onload=x> & \"quotes\" 'too'"
    study = make_study()
    trials = [replace(t, reason=evil) if t.number == trial.number else t for t in study.trials]
    page = report_page(replace(study, trials=tuple(trials), name="<i>name"), "runs/demo")
    reader = Reader(page)
    assert "<b onload" not in page and "<i>name" not in page
    data = re.search(r'id="trials">(.*?)</script>', page, flags=re.DOTALL)[1]
    assert evil in json.loads(data)[str(trial.number)]
    assert any(evil in text for row in reader.rows for text in row)


def test_failures_are_counted_by_reason():
    study = make_study()
    reader = Reader(report_page(study, "runs/demo"))
    refused = [t for t in study.trials if t.state == "refused"]
    row = next(row for row in reader.rows if row and row[0] == "refused")
    # the reasons differ in their numbers only
    assert row[1] == str(len(refused))
    assert row[2] == refused[0].reason
    assert row[3] == ", ".join(f"#{t.number}" for t in refused)


def test_a_metric_that_was_not_measured_is_never_a_zero():
    study = make_study()
    first = study.front[0]
    metrics = {k: v for k, v in first.metrics.items() if k != "gpu.a100.latency_ms"}
    trials = [replace(t, metrics=metrics) if t is first else t for t in study.trials]
    reader = Reader(report_page(replace(study, trials=tuple(trials)), "runs/demo"))
    assert reader.row("GPU a100 latency").count("not measured") == 1


def test_the_longest_prefix_backs_a_metric():
    known = {"fpga": "a", "fpga.latency_ms": "b", "fpga.dsp": "c"}
    assert backing(known, "fpga.latency_ms") == "b"
    assert backing(known, "fpga.dsp_pct") == "a"
    assert backing(known, "gpu.a100.latency_ms") == ""


def test_a_long_front_is_thinned_and_says_so():
    study = make_study(trials=60, layers=4)
    trials = tuple(
        replace(t, on_front=t.state == "complete", values=t.values) for t in study.trials
    )
    page = report_page(replace(study, trials=trials), "runs/demo")
    assert re.search(r"of \d+ designs, evenly spaced|of \d+, evenly spaced", page)
