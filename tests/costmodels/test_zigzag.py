"""DRAM traffic, energy and cycles beside what ZigZag found for a dozen layers, as stored.

`python tests/benchmarks/zigzag_peer.py write=true` makes the table, and says why they differ.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from costmodels import systolic
from costmodels.tables import read_table

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "zigzag_peer.py"


@pytest.fixture(scope="module")
def compared():
    """Ours and ZigZag's: arrays of (bytes, picojoules, cycles) by layer; and the least bytes."""
    spec = importlib.util.spec_from_file_location("zigzag_peer", SCRIPT)
    peer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(peer)
    rows = {row["layer"]: row for row in read_table("zigzag")}
    assert list(rows) == [layer.name for layer in peer.LAYERS]
    ours, theirs = [], []
    for layer in peer.LAYERS:
        cost, energy = peer.ours(layer)
        cycles = systolic.cycles(
            layer.m, layer.k, layer.n, peer.SIDE, peer.SIDE, "ws", overlap=True
        )
        ours.append((cost.dram_bytes - peer.constant_bytes(layer), energy, int(cycles)))
        row = rows[layer.name]
        theirs.append([float(row[name]) for name in ("dram_bytes", "energy_pj", "cycles")])
    least = np.array([peer.least_bytes(layer) for layer in peer.LAYERS])
    return np.array(ours), np.array(theirs), least


def ranks(values):
    return values.argsort().argsort()


def test_traffic_is_zigzags_or_less_where_its_tiles_are_coarser(compared):
    ours, theirs, least = compared
    ratio = ours[:, 0] / theirs[:, 0]
    assert (ours[:, 0] >= least).all()  # no schedule moves less
    assert (ratio <= 1.01).all()  # the least over all tilings is never worse than a search's
    assert (ratio >= 0.7).all()
    assert (ratio >= 0.99).sum() >= 10


def test_energies_rank_as_zigzags(compared):
    ours, theirs, _ = compared
    ratio = ours[:, 1] / theirs[:, 1]
    assert ratio.min() > 0.7 and ratio.max() < 1.1
    assert np.corrcoef(ranks(ours[:, 1]), ranks(theirs[:, 1]))[0, 1] > 0.97


def test_overlapped_cycles_are_near_zigzags_and_rank_alike(compared):
    ours, theirs, _ = compared
    ratio = ours[:, 2] / theirs[:, 2]
    assert ratio.min() > 0.85
    assert np.sort(ratio)[-2] < 1.25  # all but the classifier of one row, which is all fill
    assert np.corrcoef(ranks(ours[:, 2]), ranks(theirs[:, 2]))[0, 1] > 0.97
