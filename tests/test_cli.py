"""The command line: parsing, help, and exit codes."""

# ruff: noqa: RUF009 (`setting` makes a dataclass field)

import errno
from dataclasses import dataclass, field

import pytest

from codesign import cli
from codesign.cli import exit_code, help_text, read_settings
from codesign.errors import RunError, UserError
from codesign.settings_tree import SettingsTree, dotted_keys, setting
from costmodels.errors import CostModelError


@dataclass
class Engine:
    """What drives it."""

    power_kw: float = setting(80.0, "power in kW")
    fuels: list[str] = setting(["petrol"], "what it burns")
    serial: str | None = setting(None, "number, if any")


@dataclass
class Car:
    """A car to order."""

    doors: int = setting(5, "number of doors")
    name: str = setting("", "what it is called")
    electric: bool = setting(False, "whether it has a plug")
    engine: Engine = field(default_factory=Engine)
    prices: dict[str, float] = setting({"eu.net": 1.0}, "price by market")


def read(*words):
    return read_settings(Car, list(words), "car", "name=NAME")


def test_defaults_and_every_kind_of_value():
    assert read() == Car()
    car = read(
        "doors=3",
        "electric=true",
        "engine.power_kw=1e2",
        "engine.fuels=[gas, wood]",
        "engine.serial=0042",
        "name=null and void",
        "prices={us: 2}",
    )
    assert car == Car(3, "null and void", True, Engine(100.0, ["gas", "wood"], "0042"), {"us": 2.0})
    assert isinstance(car.prices["us"], float)


def test_mappings_take_dotted_keys_and_null_removes():
    assert read("prices.eu.gross=1.2").prices == {"eu.net": 1.0, "eu.gross": 1.2}
    assert read("prices.eu.net=null").prices == {}
    assert read("engine.serial=x", "engine.serial=null").engine.serial is None


def test_later_words_win():
    assert read("doors=3", "doors=4").doors == 4


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("dors=3", "unknown key 'dors' on the command line. Did you mean doors"),
        ("power_kw=3", "Did you mean engine.power_kw"),
        ("engine.powr_kw=3", "Did you mean engine.power_kw"),
        ("engine.colour=red", "Keys under engine: power_kw, fuels, serial"),
        ("colour=red", "Keys at the top level: doors, name, electric, engine, prices"),
        ("doors.left=1", "doors has no parts"),
        ("doors=many", "doors on the command line must be an integer, not 'many'"),
        ("doors=2.5", "must be an integer, not 2.5"),
        ("doors=true", "must be an integer, not True"),
        ("doors=null", "must be an integer, not None"),
        ("electric=maybe", "must be true or false, not 'maybe'"),
        ("engine.fuels=gas", "must be a list of words, not 'gas'"),
        ("engine.power_kw=[1]", "must be a number, not [1]"),
        ("engine=fast", "is a section with the keys power_kw, fuels, serial"),
        ("prices=high", "must be a mapping of text to a number, not 'high'"),
        ("prices.us=high", "must be a number, not 'high'"),
        ("doors=[1", "doors=[1 on the command line is not a readable value"),
        ("doors=${oc.env:HOME}", "must be an integer"),
        ("--doors=3", "write doors=3"),
        ("doors", "write doors=VALUE"),
        ("=3", "not key=value"),
    ],
)
def test_mistakes_are_named(word, message):
    with pytest.raises(UserError) as caught:
        read(word)
    assert message in str(caught.value)


def test_a_wrong_value_leaves_the_settings_as_they_were():
    tree = SettingsTree(Car)
    tree.assign("prices", {"us": 2}, "here")
    with pytest.raises(UserError):
        tree.assign_text("doors", "many", "here")
    assert tree.value().prices == {"us": 2.0}


def test_help_has_every_key_with_default_type_and_meaning(capsys):
    with pytest.raises(SystemExit) as left:
        read("--help")
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert shown == help_text(Car, "car", "name=NAME")
    assert "usage: python -m car name=NAME" in shown
    for key in dotted_keys(Car):
        assert f"\n  {key}=" in shown
    assert "engine.power_kw=80.0\n      power in kW (a number)" in shown
    assert "text or null" in shown and "What drives it." in shown


def test_cfg_prints_what_can_be_read_again(capsys):
    with pytest.raises(SystemExit):
        read("doors=2", "--cfg")
    import yaml

    assert yaml.safe_load(capsys.readouterr().out)["doors"] == 2


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("wrong\nkey"), 2, "error: wrong key"),
        (CostModelError("layer 'fc': m is 0"), 2, "error: layer 'fc': m is 0"),
        (RunError("no luck"), 1, "error: no luck"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), 2, "/x: No space left"),
        (PermissionError(errno.EACCES, "Permission denied", "/y"), 2, "/y: Permission denied"),
    ],
)
def test_exit_codes(error, code, message, capsys):
    def main(arguments):
        raise error

    assert exit_code(main, []) == code
    shown = capsys.readouterr().err
    assert message in shown and shown.count("\n") == 1


def test_a_defect_keeps_its_traceback():
    def main(arguments):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        exit_code(main, [])


def test_the_code_of_the_command_is_handed_on(monkeypatch):
    monkeypatch.setattr("sys.argv", ["car", "doors=1"])
    with pytest.raises(SystemExit) as left:
        cli.run_command(lambda arguments: len(arguments) + 6)
    assert left.value.code == 7
