"""The roofline and the utilisation of an explanation, as PNG."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from costmodels.explain.explanation import Explanation

# Okabe and Ito, "Color Universal Design", 2008
COLOURS = {"array": "#009E73", "vector": "#E69F00", "dram": "#D55E00"}
MARKERS = {"mac_array": "o", "shift_array": "s", "depthwise": "^", "mac_array+shift_array": "D"}
_NAMES = {"mac_array": "MAC array", "shift_array": "shift array", "depthwise": "depthwise engine"}
_NAMES["mac_array+shift_array"] = "both arrays"
_INK, _GREY = "#202124", "#5f6368"
_LABELS = 6
# Where a name may stand, in points from what it names; the nearest first.
_SPOTS = sorted(
    [
        (dx, dy)
        for dx in (0, 8, -8, 30, -30, 60, -60)
        for dy in (9, -9, 20, -20, 32, -32, 45, -45, 58)
    ],
    key=lambda spot: abs(spot[0]) + abs(spot[1]),
)
_LEADER = {"arrowstyle": "-", "color": "#5f6368", "lw": 0.5, "shrinkA": 0, "shrinkB": 2}
_DPI = 150


def roofline_png(explanation: Explanation) -> bytes:
    """Return the roofline: each layer's operations a second over its operations a byte."""
    figure, ax = _figure(explanation, 8.0, 5.2)
    rows = [row for row in explanation.rows if row.macs and row.ops_per_byte]
    left, right = _span([row.ops_per_byte or 1.0 for row in rows])
    roofs = explanation.roofs
    peaks = [*roofs.engines.values(), roofs.board_gops or 0.0]
    ceiling = 2.2 * max(peaks) or 1.0  # a network without products has no roof but the DRAM's
    floor = min([row.gops for row in rows] + [ceiling / 4.4]) / 2
    ax.set(xscale="log", yscale="log", xlim=(left, right), ylim=(floor, ceiling))
    ax.set_xlabel("operations for each byte of DRAM traffic")
    ax.set_ylabel("10⁹ operations a second (a multiply-accumulate is two)")
    _draw_roofs(ax, explanation, left, right)
    for row in rows:
        size = 18 + 600 * row.share
        ax.scatter(
            row.ops_per_byte or 0.0, row.gops, s=size, marker=MARKERS[row.engine],
            color=COLOURS[row.bound_by], alpha=0.75, linewidths=0.6, edgecolors=_INK, zorder=3,
        )  # fmt: skip
    engines = [
        Line2D([], [], ls="", marker=MARKERS[name], color=_GREY, label=_NAMES[name])
        for name in dict.fromkeys(row.engine for row in rows)
    ]
    _legend(figure, engines, "a point a layer, its area the layer's time; bound by")
    points = [(row.ops_per_byte or 1.0, row.gops) for row in rows]
    _label(ax, points, [row.name for row in rows], [row.cycles for row in rows])
    return _png(figure)


def _draw_roofs(ax: Axes, explanation: Explanation, left: float, right: float) -> None:
    roofs = explanation.roofs
    xs = np.geomspace(left, right, 400)
    for name, peak in roofs.engines.items():
        ax.plot(xs, np.minimum(peak, xs * roofs.sustained_gb_s), color=_INK, lw=1.2)
        text = f"{_NAMES[name]} {peak:,.4g}"
        ax.annotate(text, (right, peak), (-4, 3), textcoords="offset points", ha="right",
                    fontsize=8, color=_INK)  # fmt: skip
    most = max([*roofs.engines.values(), roofs.board_gops or 0.0])
    ax.plot(xs, np.minimum(most or np.inf, xs * roofs.peak_gb_s), ":", color=_GREY, lw=1)
    if roofs.board_gops is not None:
        ax.plot(
            xs, np.minimum(roofs.board_gops, xs * roofs.sustained_gb_s), "--", color=_GREY, lw=1
        )
        text = f"all usable DSPs of the board {roofs.board_gops:,.4g}"
        ax.annotate(text, (right, roofs.board_gops), (-4, 3), textcoords="offset points",
                    ha="right", fontsize=8, color=_GREY)  # fmt: skip
    text = f"DRAM {roofs.sustained_gb_s:.4g} GB/s sustained (dotted: {roofs.peak_gb_s:g} peak)"
    ax.annotate(text, (0.015, 0.975), xycoords="axes fraction", va="top", fontsize=8, color=_GREY)


def utilisation_png(explanation: Explanation) -> bytes:
    """Return the utilisation over the time of an image: a bar a layer, as wide as its time."""
    figure, ax = _figure(explanation, 10.0, 4.4)
    rows = explanation.rows
    to_ms = 1 / (explanation.accelerator.clock_mhz * 1e3)
    widths = np.array([row.cycles for row in rows]) * to_ms
    starts = np.cumsum(widths) - widths
    colours = [COLOURS[row.bound_by] for row in rows]
    heights = [100 * row.utilisation for row in rows]
    ax.bar(starts, heights, widths, align="edge", color=colours, edgecolor="white", linewidth=0.2)
    ax.bar(starts, -4.0, widths, align="edge", color=colours)  # time without multiplications too
    ax.axhline(0, color=_INK, lw=0.8)
    ax.set(xlim=(0, float(widths.sum())), ylim=(-4, 140), yticks=range(0, 101, 20))
    batch = explanation.cost.batch
    ax.set_xlabel(f"time of {'one image' if batch == 1 else f'{batch} images'} in ms")
    ax.set_ylabel("utilisation of the engine in %")
    _legend(figure, [], "a bar a layer; below, all of its time; bound by")
    tops = [(float(s + w / 2), h) for s, w, h in zip(starts, widths, heights, strict=True)]
    bars = [Bbox.from_bounds(s, 0, w, h) for s, w, h in zip(starts, widths, heights, strict=True)]
    _label(ax, tops, [row.name for row in rows], [row.cycles for row in rows], bars)
    return _png(figure)


def _figure(explanation: Explanation, width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    ax = figure.add_subplot()
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, which="major", color="#e8eaed")
    ax.set_axisbelow(True)
    a = explanation.accelerator
    images = explanation.cost.batch
    batch = f", batch of {images}" if images > 1 else ""
    title = f"{explanation.title}\n{a.board} at {a.clock_mhz:g} MHz{batch}"
    ax.set_title(title, loc="left", fontsize=10, fontweight="bold", color=_INK)
    return figure, ax


def _span(values: list[float]) -> tuple[float, float]:
    """Return limits of a logarithmic axis with room on both sides."""
    return (min(values, default=1.0) / 2, max(values, default=1.0) * 3)


def _label(
    ax: Axes,
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    weights: Sequence[float],
    bars: Sequence[Bbox] = (),
) -> None:
    """Name the heaviest points, where a name covers no point, no bar (in data units) and no name.

    The layout of the figure must be final.
    """
    figure: Any = ax.figure
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer, size = canvas.get_renderer(), figure.dpi / 72
    taken: list[Any] = [text.get_window_extent() for text in ax.texts]
    taken += [Bbox.from_bounds(x - 3, y - 3, 6, 6) for x, y in ax.transData.transform(points)]
    taken += [bar.transformed(ax.transData) for bar in bars]
    frame = ax.get_window_extent()
    for i in sorted(range(len(points)), key=lambda i: -weights[i])[:_LABELS]:
        for dx, dy in _SPOTS:
            side = "left" if dx > 0 else "right" if dx < 0 else "center"
            text = ax.annotate(
                names[i], points[i], (dx, dy), textcoords="offset points", ha=side, va="center",
                fontsize=7.5, color=_INK, zorder=5, arrowprops=_LEADER,
            )  # fmt: skip
            text.set_in_layout(False)
            text.update_positions(renderer)
            # Without its leader, which may cross what the words may not.
            box = Text.get_window_extent(text).padded(size)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1
            inside = inside and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()


def _legend(figure: Figure, extra: list[Line2D], title: str) -> None:
    bounds = [Patch(color=colour, label=name) for name, colour in COLOURS.items()]
    handles: list[Any] = [*bounds, *extra]
    figure.legend(
        handles=handles, title=title, title_fontsize=8, fontsize=8, frameon=False,
        loc="outside lower center", ncols=len(handles),
    )  # fmt: skip


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
