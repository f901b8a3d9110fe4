"""The command line of every command: key=value settings, help, and exit codes."""

import dataclasses
import errno
import sys
from collections.abc import Callable
from dataclasses import is_dataclass
from textwrap import wrap
from typing import Any, NoReturn, TypeVar

import yaml

from codesign.errors import RunError, UserError
from codesign.settings_tree import SettingsTree, describe, fields_of, setting
from costmodels.errors import CostModelError

__all__ = ["exit_code", "help_text", "leave", "read_settings", "run_command", "setting"]

T = TypeVar("T")
OPTIONS = {"--help": "--help", "-h": "--help", "help": "--help", "--cfg": "--cfg"}
_FILE_ERRORS = {
    errno.ENOSPC,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EDQUOT,
    errno.EFBIG,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
}


def read_settings(schema: type[T], arguments: list[str], program: str, usage: str) -> T:
    """Return the settings of a command that takes only `key=value` words.

    Args:
        schema: Dataclass whose fields are made by `setting`.
        arguments: The command line without the program's name.
        program: Module that `python -m` runs, for the help text.
        usage: The words that are required or usual, for example "run=DIR trial=knee".

    Raises:
        UserError: A key is unknown or a value has the wrong type.
    """
    options, overrides = split_options(arguments)
    if "--help" in options:
        leave(help_text(schema, program, usage))
    tree = SettingsTree(schema)
    for key, text in overrides:
        tree.assign_text(key, text, "on the command line")
    settings = tree.value()
    if "--cfg" in options:
        leave(yaml.safe_dump(dataclasses.asdict(settings), sort_keys=False))  # type: ignore[call-overload]
    return settings


def split_options(arguments: list[str]) -> tuple[set[str], list[tuple[str, str]]]:
    """Return the options (`--help`, `--cfg`) and the (key, text) pairs of a command line.

    Raises:
        UserError: A word is neither.
    """
    options, overrides = set(), []
    for word in arguments:
        key, equals, text = word.partition("=")
        if word in OPTIONS:
            options.add(OPTIONS[word])
        elif not equals or not key.strip() or key.startswith("-"):
            hint = key.lstrip("-").replace("-", "_")
            example = f"{hint}={text}" if equals and hint else f"{hint or 'key'}=VALUE"
            raise UserError(f"'{word}' is not key=value: write {example}, or --help for the keys.")
        else:
            overrides.append((key.strip(), text))
    return options, overrides


def help_text(schema: Any, program: str, usage: str) -> str:
    """Return the usage and every key with its type, default and meaning."""
    lines = [f"usage: python -m {program} {usage} [key=value ...] [--cfg] [--help]", ""]
    lines += [*wrap((schema.__doc__ or "").strip().splitlines()[0]), ""]
    lines += _help_lines(schema, "")
    lines += ["", "Lists are written [a,b]. --cfg prints the resolved settings and leaves."]
    return "\n".join(lines) + "\n"


def _help_lines(schema: Any, prefix: str) -> list[str]:
    lines, sections = [], []
    for leaf in fields_of(schema):
        if is_dataclass(leaf.type):
            sections += ["", f"{prefix}{leaf.name}: {(leaf.type.__doc__ or '').strip()}"]
            sections += _help_lines(leaf.type, f"{prefix}{leaf.name}.")
        else:
            lines.append(f"  {prefix}{leaf.name}={_shown(leaf.default)}")
            lines.append(f"      {leaf.help} ({describe(leaf.type)})")
    return lines + sections


def _shown(default: Any) -> str:
    text = yaml.safe_dump(default, default_flow_style=True, width=1000, sort_keys=False)
    return text.replace("\n...", "").strip() if default != "" else ""


def leave(text: str) -> NoReturn:
    """Print `text` and leave with code 0."""
    sys.stdout.write(text)
    raise SystemExit(0)


def run_command(main: Callable[[list[str]], int]) -> NoReturn:
    """Run a command on `sys.argv` and leave with its exit code.

    Codes: 0 done, 1 failed run, 2 wrong input (or a folder that cannot be written), 130
    interrupted. A user's mistake is one line on standard error; a defect keeps its traceback.
    """
    sys.exit(exit_code(main, sys.argv[1:]))


def exit_code(main: Callable[[list[str]], int], arguments: list[str]) -> int:
    """Return the exit code of `main(arguments)`, with expected errors printed as one line."""
    try:
        return main(arguments)
    except (UserError, CostModelError) as error:
        return _complain(str(error), 2)
    except RunError as error:
        return _complain(str(error), 1)
    except KeyboardInterrupt:
        return _complain("interrupted: nothing is lost, the same command goes on from here", 130)
    except OSError as error:
        if error.errno not in _FILE_ERRORS:
            raise
        name = f": {error.filename}" if error.filename else ""
        return _complain(f"cannot write or read{name}: {error.strerror}", 2)


def _complain(message: str, code: int) -> int:
    print(f"error: {' '.join(message.split())}" if code != 130 else message, file=sys.stderr)
    return code
