"""Pareto plots: two objectives against each other, coloured by a third."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize, to_hex
from matplotlib.lines import Line2D

from codesign.report.labels import label, shown
from codesign.report.style import (
    BLUE,
    CONTINUOUS,
    GREEN,
    GREY,
    INK,
    VERMILION,
    label_points,
)
from codesign.report.trials import DOMINATED, FRONT, INFEASIBLE, REFUSED, Panel, kind, value
from codesign.search.records import StudyRecord, TrialRecord

Point = tuple[TrialRecord, float, float]
_LOG_RATIO = 20  # a cost that spans more than this is drawn on a logarithmic axis


def draw_pareto(
    ax: Axes, record: StudyRecord, panel: Panel, name: str
) -> Callable[[], None] | None:
    """Draw one panel.

    Args:
        ax: The axes to draw on.
        record: The study.
        panel: What is drawn.
        name: Suffix of the points' group ids, "trial-<number>-<name>".

    Returns:
        What writes the points' labels once the figure is laid out, or None without points.
    """
    points = _points(record, panel)
    _axes(ax, points, panel)
    if not points:
        ax.text(0.5, 0.5, "no trial has both figures", ha="center", transform=ax.transAxes)
        return None
    _teacher(ax, record, panel)
    colours = _Colours(ax, points, panel.colour)
    for point in sorted(points, key=_order):
        _draw_point(ax, point, colours, name)
    if len(record.objectives) == 2:
        _staircase(ax, points, record.objectives.get(panel.x or "", "min"))
    return lambda: _label(ax, points)


def _points(record: StudyRecord, panel: Panel) -> list[Point]:
    found = []
    for trial in record.trials:
        x = float(trial.number) if panel.x is None else value(trial, panel.x)
        y = value(trial, panel.y)
        if kind(trial) is not None and x is not None and y is not None:
            found.append((trial, shown(panel.x or "", x), shown(panel.y, y)))
    return found


def _axes(ax: Axes, points: Sequence[Point], panel: Panel) -> None:
    ax.set_xlabel(label(panel.x) if panel.x else "Trial")
    ax.set_ylabel(label(panel.y))
    for values, scale, limits in (
        ([x for _, x, _ in points], ax.set_xscale, ax.set_xlim),
        ([y for _, _, y in points], ax.set_yscale, ax.set_ylim),
    ):
        if not values:
            continue
        low, high = min(values), max(values)
        if low > 0 and high / low > _LOG_RATIO:
            scale("log")
            margin = (high / low) ** 0.08
            limits(low / margin, high * margin)
        else:
            margin = 0.08 * (high - low) or max(abs(high) * 0.05, 0.5)
            limits(low - margin, high + margin)


def _teacher(ax: Axes, record: StudyRecord, panel: Panel) -> None:
    """Mark the float teacher's accuracy where an axis shows accuracy."""
    if panel.y != "accuracy" or "accuracy" not in record.teacher:
        return
    accuracy = shown("accuracy", record.teacher["accuracy"])
    low, high = ax.get_ylim()
    ax.set_ylim(low, max(high, accuracy + 0.04 * (high - low)))
    ax.axhline(accuracy, color=VERMILION, linewidth=1, linestyle=(0, (5, 3)), zorder=1)
    ax.annotate(
        "float teacher", (1, accuracy), (0, 2), xycoords=("axes fraction", "data"),
        textcoords="offset points", ha="right", fontsize=7.5, color=VERMILION,
    )  # fmt: skip


class _Colours:
    """The colours of the points, with a colour bar where a metric decides them."""

    def __init__(self, ax: Axes, points: Sequence[Point], metric: str | None) -> None:
        self._metric = metric
        found = [v for t, _, _ in points if (v := self._value(t)) is not None]
        self._map: ScalarMappable | None = None
        if metric is None or len(set(found)) < 2:
            return
        low, high = min(found), max(found)
        spread = low > 0 and high / low > _LOG_RATIO
        norm = LogNorm(low, high) if spread else Normalize(low, high)
        self._map = ScalarMappable(norm, colormaps[CONTINUOUS])
        bar = ax.figure.colorbar(self._map, ax=ax, pad=0.02, fraction=0.05)
        bar.set_label(label(metric))
        bar.outline.set_visible(False)

    def _value(self, trial: TrialRecord) -> float | None:
        found = value(trial, self._metric) if self._metric else None
        if found is None or kind(trial) not in (FRONT, DOMINATED):
            return None
        return shown(self._metric or "", found)

    def of(self, trial: TrialRecord) -> str:
        found = self._value(trial)
        if self._map is None or found is None:
            return BLUE
        return to_hex(self._map.to_rgba(np.array([found]))[0])


def _order(point: Point) -> tuple[bool, int]:
    """Draw the front last and baselines above all."""
    order = {REFUSED: 0, INFEASIBLE: 1, DOMINATED: 2, FRONT: 3}
    return point[0].label is not None, order[kind(point[0]) or REFUSED]


def _draw_point(ax: Axes, point: Point, colours: _Colours, name: str) -> None:
    trial, x, y = point
    sort = kind(trial)
    style: dict[str, Any] = {
        "marker": "o",
        "markersize": 5.0,
        "markeredgewidth": 0.5,
        "markeredgecolor": "white",
    }
    style["color"] = colours.of(trial) if sort in (FRONT, DOMINATED) else GREY
    if sort == FRONT:
        style |= {"markersize": 8.0, "markeredgewidth": 1.2, "markeredgecolor": INK}
    elif sort == REFUSED:
        style |= {"marker": "x", "markersize": 4.5, "markeredgecolor": GREY, "markeredgewidth": 1}
    elif sort == INFEASIBLE:
        style |= {"markerfacecolor": "white", "markeredgecolor": GREY, "markeredgewidth": 1.2}
    if trial.label is not None:
        style |= {"marker": "*", "markersize": 13.0 if sort != REFUSED else 10.0}
    ax.plot([x], [y], linestyle="none", gid=f"trial-{trial.number}-{name}", **style)


def _staircase(ax: Axes, points: Sequence[Point], x_direction: str) -> None:
    """Draw what the front of two objectives, of which the plot is the whole, attains."""
    front = sorted([(x, y) for t, x, y in points if t.on_front])
    if len(front) > 1:
        xs, ys = np.array(front).T
        where: Literal["pre", "post"] = "post" if x_direction == "min" else "pre"
        ax.step(xs, ys, where=where, color=GREEN, linewidth=1.2, zorder=1.5, gid="staircase")


def _label(ax: Axes, points: Sequence[Point]) -> None:
    """Label baselines by name and the front by number."""
    named = [p for p in points if p[0].label is not None]
    front = [p for p in points if p[0].label is None and kind(p[0]) == FRONT]
    chosen = named + front
    texts = [p[0].label or str(p[0].number) for p in chosen]
    label_points(ax, [(x, y) for _, x, y in chosen], texts)


def pareto_legend() -> list[Line2D]:
    """Return the legend's entries for the kinds of points."""

    def mark(text: str, **style: Any) -> Line2D:
        return Line2D([], [], linestyle="none", label=text, **style)

    ring: dict[str, Any] = {"markeredgecolor": INK, "markeredgewidth": 1.2}
    hollow: dict[str, Any] = {"markerfacecolor": "white", "markeredgecolor": GREY}
    return [
        mark("Pareto front, with trial number", marker="o", color=BLUE, markersize=8, **ring),
        mark("dominated", marker="o", color=BLUE, markersize=5),
        mark("over a limit", marker="o", markersize=5, **hollow),
        mark("refused before training", marker="x", color=GREY, markersize=5),
        mark("baseline", marker="*", color=BLUE, markersize=12),
    ]
