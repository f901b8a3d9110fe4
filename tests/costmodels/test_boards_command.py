"""python -m costmodels.boards: every device with its figures and sources; mistakes are one line."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from costmodels import board as boards
from costmodels.board import board_names, gpu_names
from costmodels.boards.__main__ import main

FOLDER = Path(boards.__file__).parent


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def entries(folder: str, name: str) -> dict:
    return yaml.safe_load((FOLDER / folder / f"{name}.yaml").read_text())


def numbers(line: str) -> list[float]:
    return [float(text.replace(",", "")) for text in re.findall(r"\d[\d,]*\.?\d*", line)]


def line_of(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.split()[:1] == [name])


def test_the_list_has_the_figures_of_every_file(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "gpus=true")
    for name in board_names():
        found = numbers(line_of(text, name))
        file = entries("boards", name)
        for key in ("dsp", "lut", "ff", "bram36", "uram", "bandwidth_gb_s"):
            assert file[key]["value"] in found
        assert found[-5:] == [
            100 * file[f"{kind}_ceiling"]["value"] for kind in ("lut", "ff", "dsp", "bram", "uram")
        ]
    for name in gpu_names():
        found, file = numbers(line_of(text, name)), entries("gpus", name)
        assert {entry["value"] for entry in file.values()} <= set(found)


def test_a_star_marks_what_was_not_checked(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys)
    for name in board_names():
        source = entries("boards", name)["bandwidth_gb_s"]["source"]
        assert ("*" in line_of(text, name)) == ("recalled" in source)
    assert not set(gpu_names()) & {line.split()[0] for line in text.splitlines() if line.split()}


@pytest.mark.parametrize(("folder", "name"), [("boards", "u280"), ("gpus", "orin")])
def test_one_device_with_every_source(
    folder: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(capsys, f"board={name}")
    words = " ".join(re.sub(r"[\s]+", " ", text).split())
    for key, entry in entries(folder, name).items():
        if isinstance(entry, dict):
            assert entry["value"] in numbers(line_of(text, key))
            assert " ".join(entry["source"].split())[:40] in words
        else:
            assert entry in line_of(text, key)


def test_a_board_of_one_s_own_is_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    content = (FOLDER / "boards" / "kv260.yaml").read_text()
    path.write_text(content.replace("value: 1248", "value: 77", 1))
    assert 77 in numbers(line_of(printed(capsys, f"board={path}"), "dsp"))
    path.write_text(content.replace("value: 1248", "value: .nan", 1))
    assert main([f"board={path}"]) == 2
    assert capsys.readouterr().err == (
        f"error: {path}: dsp must be a positive whole number, not nan\n"
    )


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("board=zcu14", "unknown board 'zcu14'. Did you mean 'zcu104'?"),
        ("bord=zcu104", "unknown key 'bord'. Did you mean 'board'?"),
        ("gpus=maybe", "gpus must be true or false"),
        ("board=none.yaml", "none.yaml cannot be read"),
        ("zcu104", "unknown key 'zcu104'"),
    ],
)
def test_mistakes_are_one_line(
    argument: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([argument]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1 and error.startswith("error: ")


def test_runs_as_a_module_beside_the_data() -> None:
    command = [sys.executable, "-m", "costmodels.boards"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(name in found for name in board_names())
    help_text = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    assert "board (str" in help_text.stdout and "gpus (bool" in help_text.stdout
