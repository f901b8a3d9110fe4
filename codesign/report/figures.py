"""The figures of a report: each plot as an SVG for the page, all of them as one PNG."""

import io
import re
from collections.abc import Callable, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpecFromSubplotSpec

from codesign.report import other_plots as plots
from codesign.report.pareto_plot import draw_pareto, pareto_legend
from codesign.report.style import RC
from codesign.report.trials import panels
from codesign.search.records import StudyRecord, TrialRecord

_MOST_DESIGNS = 24  # rows of a heat map or bars; a longer front is thinned evenly


def chosen_front(record: StudyRecord) -> list[TrialRecord]:
    """Return the front, by its first objective, thinned evenly where it is long."""
    first = next(iter(record.objectives), "")
    front = [t for t in record.front if t.design is not None]
    front.sort(key=lambda t: t.values.get(first, 0.0))
    step = max(1, -(-len(front) // _MOST_DESIGNS))
    return front[::step]


def pareto_svgs(record: StudyRecord) -> list[str]:
    """Return one SVG per pair of objectives; each point is a group "trial-<number>-p<panel>"."""
    return [
        _svg(5.0, 3.7, lambda ax, i=i, p=p: draw_pareto(ax, record, p, f"p{i}"))  # type: ignore[misc]
        for i, p in enumerate(panels(record.objectives))
    ]


def hypervolume_svg(record: StudyRecord) -> str:
    """Return the plot of the hypervolume over the trials."""
    return _svg(5.0, 3.7, lambda ax: plots.draw_hypervolume(ax, record))


def legend_svg() -> str:
    """Return the legend of the Pareto plots."""

    def draw(ax: Axes) -> None:
        ax.set_axis_off()
        ax.legend(handles=pareto_legend(), loc="upper left", ncols=1, fontsize=9)

    return _svg(5.0, 1.6, draw)


def bits_svg(trials: Sequence[TrialRecord], of: str) -> str:
    """Return the heat map of the weights' or activations' bits of some designs."""
    names = plots.layer_names(trials)
    width = max(7.5, 0.9 + 0.17 * len(names))
    return _svg(width, _bits_height(trials), lambda ax: _bits(ax, trials, of))


def _bits_height(trials: Sequence[TrialRecord]) -> float:
    longest = max((len(name) for name in plots.layer_names(trials)), default=0)
    return 0.7 + 0.2 * len(trials) + 0.063 * longest


def _bits(ax: Axes, trials: Sequence[TrialRecord], of: str) -> None:
    plots.draw_bits(ax, trials, of)
    handles = plots.bits_legend(of == "weight")
    ax.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(handles), fontsize=7,
        handlelength=1, columnspacing=1, borderpad=0.2,
    )  # fmt: skip


def resource_svgs(record: StudyRecord, trials: Sequence[TrialRecord]) -> list[str]:
    """Return a bar plot per resource of the board that the trials have figures of."""
    return [
        _svg(3.4, 0.7 + 0.2 * len(trials), lambda ax, d=draw: d(ax))  # type: ignore[misc]
        for draw in _resource_plots(record, trials)
    ]


def _resource_plots(
    record: StudyRecord, trials: Sequence[TrialRecord]
) -> list[Callable[[Axes], None]]:
    names = [plots.trial_name(t) for t in trials]
    return [
        lambda ax, r=resource, s=shares: plots.draw_resource(  # type: ignore[misc]
            ax, r, s, plots.ceiling(record.settings, r), names
        )
        for resource, shares in plots.resources(record, trials).items()
    ]


def report_png(record: StudyRecord) -> bytes:
    """Return all plots on one sheet, as a PNG."""
    trials = chosen_front(record)
    pairs, bars = panels(record.objectives), _resource_plots(record, trials)
    columns = 3
    rows = -(-(len(pairs) + 2) // columns)
    names = plots.layer_names(trials)
    heights = [3.9] * rows + ([_bits_height(trials) + 0.5] * 2 if names else [])
    heights += [1.0 + 0.2 * len(trials)] if bars else []
    width = max(15.0, 1.5 + 0.15 * len(names))
    with matplotlib.rc_context(RC):
        figure = Figure((width, sum(heights) + 0.6), layout="constrained")
        figure.suptitle(f"Study {record.name}", fontsize=14, fontweight="bold", x=0.01, ha="left")
        grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
        labels = _png_pairs(figure, [grid[i].subgridspec(1, columns) for i in range(rows)], record)
        for i, of in enumerate(("weight", "activation") if names else ()):
            ax = figure.add_subplot(grid[rows + i])
            _bits(ax, trials, of)
            ax.set_ylabel(f"{of} bits", fontweight="bold")
        if bars:
            cells = grid[len(heights) - 1].subgridspec(1, len(bars))
            for i, draw in enumerate(bars):
                draw(figure.add_subplot(cells[i]))
        figure.draw_without_rendering()  # labels are placed by the final positions
        for write in labels:
            write()
        output = io.BytesIO()
        figure.savefig(output, format="png", dpi=110)
    return output.getvalue()


def _png_pairs(
    figure: Figure, rows: Sequence[GridSpecFromSubplotSpec], record: StudyRecord
) -> list[Callable[[], None]]:
    """Draw the pairs, the hypervolume and the legend; return what writes the points' labels."""
    cells = [row[0, i] for row in rows for i in range(3)]
    pairs = panels(record.objectives)
    axes = [figure.add_subplot(cell) for cell in cells[: len(pairs) + 2]]
    labels = [
        draw_pareto(ax, record, panel, f"p{i}")
        for i, (ax, panel) in enumerate(zip(axes, pairs, strict=False))
    ]
    plots.draw_hypervolume(axes[len(pairs)], record)
    axes[-1].set_axis_off()
    axes[-1].legend(handles=pareto_legend(), loc="center left", fontsize=9)
    return [label for label in labels if label]


def _svg(width: float, height: float, draw: Callable[[Axes], Callable[[], None] | None]) -> str:
    """Return a plot of `width` by `height` inches as an SVG element."""
    with matplotlib.rc_context(RC):
        figure = Figure((width, height), layout="constrained")
        ax = figure.add_subplot()
        write_labels = draw(ax)
        if write_labels:
            figure.draw_without_rendering()  # labels are placed by the final positions
            write_labels()
        output = io.StringIO()
        figure.savefig(output, format="svg", metadata={"Date": None})
    text = output.getvalue()
    return re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
