"""SettingsTree: settings under construction, each key checked against a dataclass schema."""

import copy
import dataclasses
import difflib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, field, is_dataclass
from typing import Any, Generic, TypeVar

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from codesign.errors import UserError

T = TypeVar("T")


def setting(default: Any, help: str) -> Any:
    """Return a dataclass field with its default and the meaning that `--help` prints."""
    metadata = {"help": help}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


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
            leaves = {leaf.name: leaf for leaf in fields_of(schema)}
            if part not in leaves:
                raise UserError(self._unknown(str(key), path, list(leaves), where))
            leaf, rest = leaves[part], ".".join(parts[position + 1 :])
            if not rest or typing.get_origin(leaf.type) is dict:
                return node, leaf, rest
            if not is_dataclass(leaf.type):
                raise UserError(f"unknown key '{key}' {where}: {path}{part} has no parts.")
            node, schema, path = node[part], leaf.type, f"{path}{part}."
        raise AssertionError("a key has at least one part")

    def _unknown(self, key: str, path: str, names: list[str], where: str) -> str:
        part, last = key[len(path) :].split(".")[0], key.split(".")[-1]
        close = [path + name for name in difflib.get_close_matches(part, names, n=3)]
        every = {k: k.split(".")[-1] for k in dotted_keys(self._schema)}
        tails = [last, *difflib.get_close_matches(last, every.values(), n=1, cutoff=0.75)]
        close += [k for tail in tails for k, v in every.items() if v == tail and k not in close]
        if close:
            nearest = " or ".join(list(dict.fromkeys(close))[:3])
            return f"unknown key '{key}' {where}. Did you mean {nearest}?"
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
    for leaf in fields_of(schema):
        if is_dataclass(leaf.type):
            yield from dotted_keys(leaf.type, f"{prefix}{leaf.name}.")
        else:
            yield prefix + leaf.name


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
        plural = {
            int: "integers",
            float: "numbers",
            str: "words",
            Any: "values",
            bool: "true and false",
        }
        return f"a list of {plural[typing.get_args(kind)[0]]}"
    return words[_plain(kind)] + (" or null" if _optional(kind) else "")


def fields_of(schema: Any) -> Iterator[Leaf]:
    """Yield the fields of a schema in order, sections included."""
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
