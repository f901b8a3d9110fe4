"""Published accelerators: prices reproduced, errors as stated, the energy's calibration."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

# The benchmark's modules are scripts: they import one another from their own folder.
sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from published_designs import (
    Prediction,
    array_shape,
    network,
    predict_design,
    predict_dpu,
    stored,
)
from published_power import PARAMETERS, Power, calibration_errors, fit, left_out, powers

from costmodels.board import board_names
from costmodels.energy import calibration
from costmodels.provenance import provenance
from costmodels.tables import read_table

# Networks that are quick to capture; between them every kind of layer.
SAMPLE = ("resnet18", "mobilenetv2_100", "vit_tiny_patch16_224")


def dpu(*, gated: bool) -> list[Prediction]:
    return [p for p in stored() if p.design == "dpu" and p.gated == gated]


def mean_error(predictions: Sequence[Prediction]) -> float:
    return float(np.mean([abs(p.error) for p in predictions]))


@pytest.fixture(scope="module")
def repriced() -> list[Prediction]:
    found = [predict_dpu(row) for row in read_table("published_dpu") if row["network"] in SAMPLE]
    rows = [row for row in read_table("published") if row["network"] in SAMPLE]
    return found + [predict_design(row) for row in rows]


def test_stored_prices_are_those_of_the_model(repriced: list[Prediction]) -> None:
    table = {(p.name, p.board, p.network): p for p in stored()}
    assert len(repriced) >= 10
    for p in repriced:
        old = table[p.name, p.board, p.network]
        for name in ("predicted_fps", "published_fps", "dsp", "lut", "on_chip_mj", "dram_mj"):
            assert getattr(p, name) == pytest.approx(getattr(old, name), rel=1e-5), (p.name, name)


def test_every_published_figure_is_priced() -> None:
    rows = len(read_table("published_dpu")) + len(read_table("published"))
    assert len(stored()) == rows >= 50
    for row in read_table("published"):
        assert row["source"] and row["mark"] in ("read", "follows")
        assert row["board"] in board_names()
        assert row["fps"] or row["gops"]


def test_images_a_second_of_amds_dpu(repriced: list[Prediction]) -> None:
    """Measured by AMD on three boards; the model has no parameter fitted to them."""
    plain = dpu(gated=False)
    assert len(plain) == 33
    assert mean_error(plain) < 0.08
    assert max(abs(p.error) for p in plain) < 0.26
    order = [np.argsort(np.argsort([getattr(p, f"{kind}_fps") for p in plain]))
             for kind in ("predicted", "published")]  # fmt: skip
    assert np.corrcoef(*order)[0, 1] > 0.98
    live = [p for p in repriced if p.design == "dpu"]
    assert live and all(abs(p.error) < 0.26 for p in live)


def test_what_the_model_misses_is_said() -> None:
    """The provenance of a latency states the errors of the stored table."""
    text = provenance("closed forms")["fpga.latency_ms"]
    plain, gated = dpu(gated=False), dpu(gated=True)
    others = [p.error for p in stored() if p.design != "dpu"]
    assert f"{len({p.network for p in plain})} networks without" in text
    assert f"mean error {100 * mean_error(plain):.0f} %" in text
    assert f"at most {100 * max(abs(p.error) for p in plain):.0f} %" in text
    assert f"up to {100 * max(p.error for p in gated):.0f} % too fast" in text
    assert f"from {-100 * min(others):.0f} % below to {100 * max(others):.0f} % above" in text


def test_gates_are_found_in_the_network() -> None:
    multiplies = [op.function == "mul" for op in network("efficientnet_b0", 224, 8, 8).operations
                  if hasattr(op, "function")]  # fmt: skip
    assert any(multiplies)
    assert {p.network for p in dpu(gated=True)} == {"efficientnet_b0", "tf_mobilenetv3_small_100"}


@pytest.mark.parametrize("macs", [1, 2, 7, 100, 1024, 2048, 3413, 4184])
def test_array_shape_is_the_largest_that_is_nearly_square(macs: int) -> None:
    rows, cols = array_shape(macs)
    best = max(r * c for r in range(1, macs + 1) for c in range(r, 2 * r + 1) if r * c <= macs)
    assert rows <= cols <= 2 * rows
    assert rows * cols == best


def test_the_stored_calibration_is_the_fit_and_its_error_is_stated() -> None:
    points = powers(stored())
    assert len(points) == len(read_table("published_power"))
    assert list(calibration().values()) == pytest.approx(fit(points), rel=1e-3)
    fitted, missed = calibration_errors(points)
    text = provenance("closed forms")["fpga.energy_mj"]
    assert f"{len(points)} published powers of {len({p.design for p in points})} designs" in text
    assert f"mean error {100 * fitted:.0f} %, a design left out {100 * missed:.0f} %" in text


def test_a_fit_finds_the_parameters_that_made_the_powers() -> None:
    truth, draw = (4.0, 1.5, 0.4), np.random.default_rng(0)
    points = []
    for i in range(8):
        terms = (1.0, float(draw.uniform(0.5, 13)), float(draw.uniform(0, 20)))
        dram = float(draw.uniform(0, 2))
        watts = float(np.dot(terms, truth)) + dram
        points.append(Power(f"design {i}", "", watts, terms, dram))
    assert len(truth) == len(PARAMETERS)
    assert fit(points) == pytest.approx(truth)
    assert left_out(points) == pytest.approx([p.watts for p in points])
    falling = [Power(p.design, "", 20 - p.terms[2] / 2, p.terms, 0.0) for p in points]
    assert min(fit(falling)) == 0  # no energy is negative
