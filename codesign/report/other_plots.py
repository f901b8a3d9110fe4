"""The other plots: hypervolume over trials, bits per layer, resources against the board."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.patches import Patch, Polygon
from matplotlib.ticker import MaxNLocator

from codesign.design import LayerFormat
from codesign.numerics.weights.formats import scheme_of
from codesign.report.labels import words
from codesign.report.style import BLUE, CONTINUOUS, GREY, INK, VERMILION
from codesign.search.records import StudyRecord, TrialRecord

BITS = range(2, 9)


def draw_hypervolume(ax: Axes, record: StudyRecord) -> None:
    """Draw the hypervolume of the front so far against the number of trials."""
    ax.set_xlabel("Trial")
    ax.set_ylabel("Hypervolume")
    if not record.hypervolume:
        ax.text(0.5, 0.5, "no complete trial yet", ha="center", transform=ax.transAxes)
        return
    numbers, volumes = np.array(record.hypervolume, dtype=float).T
    ax.step(numbers, volumes, where="post", color=BLUE, linewidth=1.6)
    ax.plot(numbers, volumes, "o", color=BLUE, markersize=3)
    ax.fill_between(numbers, volumes, step="post", color=BLUE, alpha=0.08)
    top = volumes.max()
    ax.set_ylim(0, top * 1.08 if top > 0 else 1)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def layer_names(trials: Sequence[TrialRecord]) -> list[str]:
    """Return the names of the layers that the trials' designs format, in order."""
    names = (name for t in trials if t.design for name, _ in t.design.layers)
    return list(dict.fromkeys(names))


def draw_bits(ax: Axes, trials: Sequence[TrialRecord], of: str) -> None:
    """Draw a row for each design and a column for each layer, coloured by width.

    Args:
        ax: The axes to draw on.
        trials: Trials with designs.
        of: "weight" or "activation".
    """
    names = layer_names(trials)
    formats = [t.design.layer_formats if t.design else {} for t in trials]
    bits = np.array([[_bits(row.get(name), of) for name in names] for row in formats], dtype=float)
    norm = BoundaryNorm(np.arange(1.5, 9.5), colormaps[CONTINUOUS].N)
    columns, rows = np.arange(len(names) + 1) - 0.5, np.arange(len(trials) + 1) - 0.5
    ax.pcolormesh(columns, rows, bits, norm=norm, cmap=CONTINUOUS, edgecolors="white", linewidth=1)
    ax.set_ylim(len(trials) - 0.5, -0.5)
    for (i, j), width in np.ndenumerate(bits):
        if not np.isnan(width):
            _cell(ax, i, j, width, of == "weight" and of_powers(formats[i][names[j]]))
    ax.set_xticks(range(len(names)), names, rotation=90, fontsize=6.5)
    ax.set_yticks(range(len(trials)), [trial_name(t) for t in trials], fontsize=8)
    ax.grid(False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def of_powers(layer: LayerFormat) -> bool:
    """Return whether weights of the layer are powers of two, or sums of them."""
    return scheme_of(layer).hardware != "uniform"


def _bits(layer: LayerFormat | None, of: str) -> float:
    return float("nan") if layer is None else getattr(layer, f"{of}_bits")


def _cell(ax: Axes, row: int, column: int, width: float, powers: bool) -> None:
    colour = "white" if width < 6 else INK
    text = ax.text(
        column, row, f"{width:.0f}", ha="center", va="center", fontsize=6.5, color=colour
    )
    text.set_in_layout(False)  # laying out thousands of texts takes seconds
    if powers:
        left, top = column - 0.5, row - 0.5
        corner = [(left, top), (left + 0.5, top), (left, top + 0.45)]
        mark = Polygon(corner, closed=True, facecolor=VERMILION, edgecolor="none")
        ax.add_patch(mark).set_in_layout(False)


def bits_legend(powers: bool) -> list[Patch]:
    """Return the legend's entries for the widths, and for weights that are powers of two."""
    colours = colormaps[CONTINUOUS](np.linspace(0, 1, len(BITS)))
    entries = [
        Patch(facecolor=tuple(c), label=f"{b} bits") for b, c in zip(BITS, colours, strict=True)
    ]
    return entries + ([Patch(facecolor=VERMILION, label="corner: powers of two")] if powers else [])


def trial_name(trial: TrialRecord) -> str:
    """Return "#12", or "#12 all 8 bit" for a baseline."""
    return f"#{trial.number} {trial.label}" if trial.label else f"#{trial.number}"


def resources(record: StudyRecord, trials: Sequence[TrialRecord]) -> dict[str, list[float]]:
    """Return the share of each resource of the board that each trial uses, in percent.

    Resources that no trial has a figure of are left out.
    """
    found = {}
    for resource in record.board:
        shares = [_share(record, trial, resource) for trial in trials]
        if trials and not np.isnan(shares).all():
            found[resource] = shares
    return found


def _share(record: StudyRecord, trial: TrialRecord, resource: str) -> float:
    for name in (resource, resource.rstrip("0123456789")):
        if f"fpga.{name}_pct" in trial.metrics:
            return trial.metrics[f"fpga.{name}_pct"]
        if f"fpga.{name}" in trial.metrics and record.board[resource]:
            return 100 * trial.metrics[f"fpga.{name}"] / record.board[resource]
    return float("nan")


def ceiling(settings: Mapping[str, Any], resource: str) -> float | None:
    """Return the limit in percent that the settings put on a resource, or None."""
    limits = settings.get("constraints") or {}
    for name in (resource, resource.rstrip("0123456789")):
        limit = limits.get(f"fpga.{name}_pct")
        if isinstance(limit, Mapping):
            limit = limit.get("max")
        if limit is not None:
            return float(limit)
    return None


def draw_resource(
    ax: Axes, resource: str, shares: Sequence[float], limit: float | None, names: Sequence[str]
) -> None:
    """Draw the share of one resource that each design uses, against its ceiling."""
    places = np.arange(len(shares))
    over = [limit is not None and share > limit for share in shares]
    ax.barh(places, np.nan_to_num(shares), 0.7, color=[GREY if o else BLUE for o in over])
    for place, share in zip(places, shares, strict=True):
        text = "not measured" if np.isnan(share) else f"{share:.3g}"
        ax.annotate(
            text, (np.nan_to_num(share), place), (3, 0), textcoords="offset points",
            va="center", fontsize=7,
        )  # fmt: skip
    if limit is not None:
        ax.axvline(limit, color=VERMILION, linewidth=1.4, linestyle=(0, (4, 2)))
    ax.set_xlim(0, max(100, *(s * 1.15 for s in shares if s == s)))
    ax.set_yticks(places, names, fontsize=8)
    ax.set_ylim(len(shares) - 0.4, -0.6)
    ax.grid(False, axis="y")
    ceiling_text = f", ceiling {limit:g}" if limit is not None else ""
    # two lines: five panels stand side by side
    ax.set_title(f"{words(f'x.{resource}')[2:]}\n% of board{ceiling_text}", fontsize=8.5)
