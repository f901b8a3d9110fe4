"""What all plots share: the colour-blind palette, fonts, and the placing of point labels."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

# Okabe and Ito, "Color Universal Design", 2008
BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#9AA0A6"
INK = "#202124"
CONTINUOUS = "viridis"

RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#5f6368",
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8eaed",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "xtick.color": "#5f6368",
    "ytick.color": "#5f6368",
    "svg.fonttype": "none",
    "svg.hashsalt": "codesign",
    "axes.formatter.useoffset": False,
}
_SPOTS = ((5, 4), (5, -11), (-5, 4), (-5, -11), (0, 8), (0, -15), (12, 0), (-12, 0))


def label_points(ax: Axes, points: Sequence[tuple[float, float]], texts: Sequence[str]) -> None:
    """Write each text beside its point where it overlaps no earlier text, or not at all.

    The limits and the scale of the axes must be final.

    Args:
        ax: The axes.
        points: (x, y) in data units.
        texts: A text for each point, the most important first.
    """
    size = ax.figure.get_dpi() / 72
    frame = ax.get_window_extent()
    centres = [ax.transData.transform(point) for point in points]
    taken: list[tuple[float, ...]] = [
        (x - 4 * size, y - 4 * size, x + 4 * size, y + 4 * size) for x, y in centres
    ]
    taken += [tuple(text.get_window_extent().extents) for text in ax.texts]
    for i, text in enumerate(texts):
        for dx, dy in _SPOTS:
            width, height = 5.2 * len(text) * size, 9 * size
            left = centres[i][0] + dx * size - (width if dx < 0 else 0 if dx else width / 2)
            bottom = centres[i][1] + dy * size
            box = (left, bottom, left + width, bottom + height)
            inside = frame.x0 <= box[0] and box[2] <= frame.x1 + 12 * size
            inside = inside and frame.y0 <= box[1] and box[3] <= frame.y1 + 6 * size
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                _write(ax, text, points[i], (dx, dy))
                break


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _write(ax: Axes, text: str, point: tuple[float, float], offset: tuple[int, int]) -> None:
    side = "right" if offset[0] < 0 else "left" if offset[0] else "center"
    written = ax.annotate(
        text, point, offset, textcoords="offset points", ha=side, va="bottom", fontsize=7.5,
        color=INK, annotation_clip=False,
    )  # fmt: skip
    written.set_in_layout(False)
