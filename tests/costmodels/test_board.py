"""Boards: every figure there with its source; mistakes named."""

import pytest

from costmodels.board import board_names, load_board
from costmodels.errors import CostModelError


@pytest.mark.parametrize("name", board_names())
def test_every_figure_has_a_source(name: str) -> None:
    board = load_board(name)
    figures = {"dsp", "lut", "ff", "bram36", "uram", "bandwidth_gb_s", "bandwidth_efficiency"}
    assert figures <= set(board.sources)
    assert all(board.sources.values())
    assert board.ff == 2 * board.lut  # so in every family listed
    assert 0 < board.bandwidth_efficiency <= 1


def test_bytes_per_cycle() -> None:
    board = load_board("zcu104")
    per_second = board.bytes_per_cycle(200.0) * 200e6
    assert per_second == pytest.approx(board.bandwidth_gb_s * 1e9 * board.bandwidth_efficiency)


def test_unknown_board_lists_the_known() -> None:
    with pytest.raises(CostModelError, match=r"'zcu105'\. Did you mean 'zcu104'\?"):
        load_board("zcu105")
