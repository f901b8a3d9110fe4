"""The command line of every command: key=value settings, help, and exit codes."""

import copy
import dataclasses
import difflib
import errno
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, field, is_dataclass
from textwrap import wrap
from typing import Any, Generic, NoReturn, TypeVar

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from codesign.errors import RunError, UserError

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


def setting(default: Any, help: str) -> Any:
    """Return a dataclass field with its default and the meaning that `--help` prints."""
    metadata = {"help": help}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


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


class SettingsTree(Generic[T]):
    """Settings under construction: a dataclass schema filled key by key, each one checked.

    Args:
        schema: A dataclass; nested dataclasses are sections, mappings are free-form.
    """

    def __init__(self, schema: type[T]) -> None:
        self._schema = schema
        self._config = OmegaConf.structured(schema)

    def assign_text(self, key: str, text: str, where: str) -> None:
        """Set a dotted key to a value written as YAML, as on a command line."""
        _, leaf, rest = self._find(key, where)
        if _plain(leaf.type) is str and not rest:
            value: Any = None if text == "null" and _optional(leaf.type) else text
        else:
            try:
                value = yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise UserError(f"{key}={text} {where} is not a readable value.") from error
        self.assign(key, value, where)

    def assign(self, key: str, value: Any, where: str) -> None:
        """Set a dotted key; a mapping given for a section sets the keys it holds.

        Raises:
            UserError: The key is unknown (the message names the nearest ones) or the value does
                not have the key's type.
        """
        node, leaf, rest = self._find(key, where)
        if is_dataclass(leaf.type):
            if not isinstance(value, Mapping):
                keys = ", ".join(f.name for f in dataclasses.fields(leaf.type))
                raise UserError(f"{key} {where} is a section with the keys {keys}.")
            for name, item in value.items():
                self.assign(f"{key}.{name}", item, where)
        elif rest and value is None:
            node[leaf.name].pop(rest, None)
        else:
            self._store(
                node[leaf.name] if rest else node, rest or leaf.name, leaf, key, value, where
            )

    def value(self) -> T:
        """Return the settings as an instance of the schema."""
        try:
            return typing.cast(T, OmegaConf.to_object(self._config))
        except OmegaConfBaseException as error:
            raise UserError(f"settings: {' '.join(str(error).split())}") from error

    def _store(self, node: Any, name: str, leaf: "Leaf", key: str, value: Any, where: str) -> None:
        inside = name != leaf.name
        kind = typing.get_args(leaf.type)[1] if inside else leaf.type
        wrong = UserError(f"{key} {where} must be {describe(kind)}, not {value!r}.")
        if isinstance(value, bool) and _plain(kind) not in (bool, Any):
            raise wrong
        before = copy.deepcopy(self._config)
        try:
            node[name] = _coerce(kind, value)
            OmegaConf.to_object(self._config)
        except (OmegaConfBaseException, TypeError, ValueError) as error:
            self._config = before
            raise wrong from error

    def _find(self, key: str, where: str) -> tuple[Any, "Leaf", str]:
        """Return the section's node, the field, and what of the key is left for a mapping."""
        node: Any = self._config
        schema: Any = self._schema
        path = ""
        parts = str(key).split(".")
        for position, part in enumerate(parts):
            leaves = {leaf.name: leaf for leaf in _leaves(schema)}
            if part not in leaves:
                raise UserError(self._unknown(key, path, list(leaves), where))
            leaf, rest = leaves[part], ".".join(parts[position + 1 :])
            if not rest or typing.get_origin(leaf.type) is dict:
                return node, leaf, rest
            if not is_dataclass(leaf.type):
                raise UserError(f"unknown key '{key}' {where}: {path}{part} has no parts.")
            node, schema, path = node[part], leaf.type, f"{path}{part}."
        raise AssertionError("a key has at least one part")

    def _unknown(self, key: str, path: str, names: list[str], where: str) -> str:
        every = list(dotted_keys(self._schema))
        wanted = str(key)
        last = wanted.split(".")[-1]
        close = difflib.get_close_matches(wanted, every, n=3, cutoff=0.6)
        close += [k for k in every if k.split(".")[-1] == last and k not in close]
        tails = difflib.get_close_matches(last, {k.split(".")[-1] for k in every}, n=1, cutoff=0.75)
        close += [k for k in every if k.split(".")[-1] in tails and k not in close]
        if close:
            return f"unknown key '{key}' {where}. Did you mean {' or '.join(close[:3])}?"
        level = f"under {path[:-1]}" if path else "at the top level"
        return f"unknown key '{key}' {where}. Keys {level}: {', '.join(names)}."


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One field of a schema with its type resolved."""

    name: str
    type: Any
    default: Any
    help: str


def dotted_keys(schema: Any, prefix: str = "") -> Iterator[str]:
    """Yield every key of a schema in order, dotted."""
    for leaf in _leaves(schema):
        if is_dataclass(leaf.type):
            yield from dotted_keys(leaf.type, f"{prefix}{leaf.name}.")
        else:
            yield prefix + leaf.name


def help_text(schema: Any, program: str, usage: str) -> str:
    """Return the usage and every key with its type, default and meaning."""
    lines = [f"usage: python -m {program} {usage} [key=value ...] [--cfg] [--help]", ""]
    lines += [*wrap((schema.__doc__ or "").strip().splitlines()[0]), ""]
    lines += _help_lines(schema, "")
    lines += ["", "Lists are written [a,b]. --cfg prints the resolved settings and leaves."]
    return "\n".join(lines) + "\n"


def _help_lines(schema: Any, prefix: str) -> list[str]:
    lines, sections = [], []
    for leaf in _leaves(schema):
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


def describe(kind: Any) -> str:
    """Return a type in a user's words."""
    words = {
        int: "an integer",
        float: "a number",
        str: "text",
        bool: "true or false",
        Any: "a value",
    }
    if typing.get_origin(kind) is dict:
        return f"a mapping of text to {describe(typing.get_args(kind)[1])}"
    if typing.get_origin(kind) is list:
        plural = {int: "integers", float: "numbers", str: "words"}
        return f"a list of {plural[typing.get_args(kind)[0]]}"
    return words[_plain(kind)] + (" or null" if _optional(kind) else "")


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
    except UserError as error:
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


def _leaves(schema: Any) -> Iterator[Leaf]:
    hints = typing.get_type_hints(schema)
    for item in dataclasses.fields(schema):
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        yield Leaf(item.name, hints[item.name], default, item.metadata.get("help", ""))


def _coerce(kind: Any, value: Any) -> Any:
    """Return numbers where YAML leaves text ("1e-3") and text where it makes numbers."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is list and isinstance(value, list):
        return [_coerce(arguments[0], item) for item in value]
    if origin is dict and isinstance(value, dict):
        return {str(name): _coerce(arguments[1], item) for name, item in value.items()}
    plain = _plain(kind)
    if plain is float and isinstance(value, str | int):
        return float(value)
    return str(value) if plain is str and isinstance(value, int | float) else value


def _optional(kind: Any) -> bool:
    return isinstance(kind, types.UnionType) and type(None) in typing.get_args(kind)


def _plain(kind: Any) -> Any:
    """Return X for `X | None`, else the type itself."""
    if not _optional(kind):
        return kind
    return next(k for k in typing.get_args(kind) if k is not type(None))
