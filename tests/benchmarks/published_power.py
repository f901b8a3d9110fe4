"""Published powers, and the calibration of the energy model to them."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from published_designs import Prediction

from costmodels.board import load_board
from costmodels.files import write_atomic
from costmodels.tables import REFERENCE, read_table

PARAMETERS = ("board_w", "rest_w_per_100k_lut", "on_chip_factor")


@dataclass(frozen=True)
class Power:
    """A published power and the terms that the model makes it of.

    Attributes:
        design: The group that a calibration leaves out as one.
        name: What the table calls it.
        watts: The published power.
        terms: What board_w, rest_w_per_100k_lut and on_chip_factor are multiplied by.
        dram_w: Power of the DRAM traffic, which is not fitted.
    """

    design: str
    name: str
    watts: float
    terms: tuple[float, float, float]
    dram_w: float

    def predicted(self, parameters: Sequence[float]) -> float:
        """Return the power in watts with the parameters of `PARAMETERS`."""
        return float(np.dot(self.terms, parameters)) + self.dram_w


def powers(predictions: Sequence[Prediction]) -> list[Power]:
    """Return the published powers with their terms."""
    priced = {(p.name, p.board, p.network): p for p in predictions}
    found = []
    for row in read_table("published_power"):
        p = priced.get((row["accelerator"], row["board"], row["network"]))
        fps = (float(row["fps"]) if row["fps"] else p.published_fps) if p else 0.0
        still = row["state"] != "increment"
        lut = load_board(row["board"]).lut / 1e5
        on_chip_w, dram_w = (p.on_chip_mj * fps / 1e3, p.dram_mj * fps / 1e3) if p else (0.0, 0.0)
        terms = (float(still), still * lut, on_chip_w)
        found.append(Power(row["design"], row["name"], float(row["watts"]), terms, dram_w))
    return found


def fit(points: Sequence[Power]) -> tuple[float, ...]:
    """Return `PARAMETERS`: least squares of the relative error, none negative.

    Of all subsets of the parameters, those left out zero, the best that has no negative one.
    """
    weight = np.array([1 / p.watts for p in points])
    terms = np.array([p.terms for p in points]) * weight[:, None]
    target = np.array([p.watts - p.dram_w for p in points]) * weight
    best = (math.inf, (0.0,) * len(PARAMETERS))
    for size in range(1, len(PARAMETERS) + 1):
        for kept in itertools.combinations(range(len(PARAMETERS)), size):
            found = np.zeros(len(PARAMETERS))
            found[list(kept)] = np.linalg.lstsq(terms[:, kept], target, rcond=None)[0]
            if (found >= 0).all():
                error = float(((terms @ found - target) ** 2).sum())
                best = min(best, (error, tuple(found.tolist())))
    return best[1]


def left_out(points: Sequence[Power]) -> list[float]:
    """Return the power of each design by a fit to all other designs."""
    return [p.predicted(fit([q for q in points if q.design != p.design])) for p in points]


def calibration_errors(points: Sequence[Power]) -> tuple[float, float]:
    """Return the mean relative error of the fit, and with each design left out of it."""
    parameters = fit(points)
    fitted = [abs(p.predicted(parameters) / p.watts - 1) for p in points]
    missed = [abs(other / p.watts - 1) for p, other in zip(points, left_out(points), strict=True)]
    return float(np.mean(fitted)), float(np.mean(missed))


def write_calibration(points: Sequence[Power]) -> None:
    """Store the fit where `costmodels.energy` reads it."""
    path = REFERENCE / "energy_calibration.csv"
    lines = [line for line in path.read_text().splitlines() if line.startswith("#")]
    lines.append("parameter,value")
    lines += [f"{n},{v:.4g}" for n, v in zip(PARAMETERS, fit(points), strict=True)]
    write_atomic(path, "\n".join(lines) + "\n")
