"""`key=value` options of the measuring commands, read into a dataclass of defaults."""

import difflib
import sys
from collections.abc import Callable, Sequence
from dataclasses import Field, fields
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from costmodels.errors import CostModelError

Options = TypeVar("Options")

_TRUTH = {"true": True, "false": False}


def parse_options(kind: type[Options], arguments: Sequence[str]) -> Options:
    """Return the options that `key=value` arguments give.

    Args:
        kind: A dataclass of str, int, float, bool and list fields, each with a default and with
            its meaning in the metadata "help".
        arguments: The command's arguments; a list is written [a,b].

    Raises:
        CostModelError: A key is unknown or a value is not of its type; the message names it.
    """
    types, known = get_type_hints(kind), [field.name for field in _fields(kind)]
    values: dict[str, Any] = {}
    for argument in arguments:
        key, separator, text = argument.partition("=")
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise CostModelError(f"unknown key '{key}'.{hint} Known: {', '.join(known)}.")
        if not separator:
            raise CostModelError(f"'{key}' has no value: write {key}=value")
        values[key] = _value(key, types[key], text)
    return kind(**values)


def run_command(
    kind: type[Options],
    arguments: Sequence[str] | None,
    description: str,
    work: Callable[[Options], str],
) -> int:
    """Run a command; return its exit code: 0 done, 2 wrong input, 130 interrupted, said in a line.

    Args:
        kind: Its options.
        arguments: What was given, None for the process's own arguments.
        description: What `--help` prints above the options.
        work: Does the work and returns what is printed in the end.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if "--help" in given:
        print(f"{description}\nOptions, as key=value:\n{describe_options(kind)}")
        return 0
    try:
        print(work(parse_options(kind, given)))
    except CostModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: nothing is written", file=sys.stderr)
        return 130
    return 0


def describe_options(kind: type[Any]) -> str:
    """Return a line for each option: key, type, default, meaning."""
    types = get_type_hints(kind)
    lines = []
    for field in _fields(kind):
        default = getattr(kind(), field.name)
        shown = f"[{','.join(map(str, default))}]" if isinstance(default, list) else default
        name = getattr(types[field.name], "__name__", str(types[field.name]))
        lines.append(f"  {field.name} ({name}, default {shown}): {field.metadata['help']}")
    return "\n".join(lines)


def _fields(kind: type[Any]) -> tuple[Field[Any], ...]:
    return fields(kind)


def _value(key: str, kind: Any, text: str) -> Any:
    if get_origin(kind) is list:
        if not (text.startswith("[") and text.endswith("]")):
            raise CostModelError(f"{key} must be a list: write {key}=[a,b], not '{text}'")
        items = [item.strip() for item in text[1:-1].split(",") if item.strip()]
        return [_value(key, get_args(kind)[0], item) for item in items]
    if kind is bool:
        if text.lower() not in _TRUTH:
            raise CostModelError(f"{key} must be true or false, not '{text}'")
        return _TRUTH[text.lower()]
    try:
        return kind(text)
    except ValueError:
        raise CostModelError(f"{key} must be of type {kind.__name__}, not '{text}'") from None
