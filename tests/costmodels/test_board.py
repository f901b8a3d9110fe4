"""Boards: every figure there with its source; mistakes named."""

from pathlib import Path

import pytest

from costmodels import board as boards
from costmodels.board import board_names, load_board
from costmodels.errors import CostModelError


@pytest.mark.parametrize("name", board_names())
def test_every_figure_has_a_source(name: str) -> None:
    board = load_board(name)
    figures = {"dsp", "lut", "ff", "bram36", "uram", "bandwidth_gb_s", "bandwidth_efficiency"}
    figures |= {f"{kind}_ceiling" for kind in ("dsp", "lut", "ff", "bram", "uram")}
    figures |= {"memory_controllers"}
    figures |= {f"controller_{kind}" for kind in ("dsp", "lut", "ff", "bram18")}
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


def test_only_cards_without_a_processor_build_memory_controllers() -> None:
    soft = {name for name in board_names() if load_board(name).memory_controllers}
    assert soft == {"u50", "u250", "u280"}
    assert all(load_board(name).controller_lut > 0 for name in soft)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("value: 19.2", "value: .nan", "bandwidth_gb_s must be a finite positive number, not nan"),
        ("value: 1728", "value: -3", "dsp must be a positive whole number, not -3"),
        ("value: 0.7", "value: 7", "must be above 0 and at most 1, not 7"),
        ("dsp_type: DSP48E2", "dsp_type: DSP48E7", "unknown dsp_type 'DSP48E7'"),
        ("bram36:", "bram18:", "bram18 is not a figure of a board"),
        ("uram:", "memory:", "memory is not a figure of a board"),
    ],
)
def test_wrong_figure_is_named(
    old: str, new: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(boards.__file__).parent / "boards" / "zcu104.yaml").read_text()
    assert old in text
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards" / "mine.yaml").write_text(text.replace(old, new, 1))
    monkeypatch.setattr(boards, "_ROOT", tmp_path)
    with pytest.raises(CostModelError, match=rf"boards/mine.yaml: .*{message}"):
        load_board("mine")
