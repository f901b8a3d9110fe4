"""The words the schemas are made of."""

from collections.abc import Iterable, Mapping
from typing import Any

Schema = dict[str, Any]


def document(title: str, properties: Mapping[str, Schema]) -> Schema:
    """Return the schema of a file; it carries the version of its form."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **closed({"schema_version": {"const": 1}, **properties}),
    }


def closed(
    properties: Mapping[str, Schema], optional: Iterable[str] = (), text: str = ""
) -> Schema:
    """Return an object with these keys and no others; all but the optional ones are required."""
    left_out = set(optional)
    return described(
        {
            "type": "object",
            "properties": dict(properties),
            "required": [key for key in properties if key not in left_out],
            "additionalProperties": False,
        },
        text,
    )


def mapping(values: Schema, text: str) -> Schema:
    """Return an object with any keys and values of one kind."""
    return {"description": text, "type": "object", "additionalProperties": values}


def whole(text: str = "", minimum: int | None = 0, maximum: int | None = None) -> Schema:
    """Return a whole number."""
    limits = {"minimum": minimum, "maximum": maximum}
    bounds = {key: value for key, value in limits.items() if value is not None}
    return described({"type": "integer", **bounds}, text)


def bits(text: str, most: int = 32) -> Schema:
    """Return a width in bits, at least 1."""
    return whole(f"bits {text}", 1, most)


def real(text: str, *, positive: bool = False) -> Schema:
    """Return a number of at least 0, or above it."""
    return {"description": text, "type": "number", "exclusiveMinimum" if positive else "minimum": 0}


def string(text: str = "") -> Schema:
    """Return a text of at least one character."""
    return described({"type": "string", "minLength": 1}, text)


def choice(values: Iterable[Any], text: str = "") -> Schema:
    """Return one of some values."""
    return described({"enum": list(values)}, text)


def items(of: Schema, text: str = "", *, count: int | None = None) -> Schema:
    """Return a list, perhaps of a fixed length."""
    length = {} if count is None else {"minItems": count, "maxItems": count}
    return described({"type": "array", "items": of, **length}, text)


def described(schema: Schema, text: str) -> Schema:
    """Return a schema with a description, if there is one."""
    return {"description": text, **schema} if text else schema


def number_format() -> Schema:
    """Return a format of codes, as `Format.to_json` writes it."""
    return closed(
        {
            "bits": bits("of a code"),
            "scale": real("real value of one step", positive=True),
            "zero_point": whole("the code that stands for zero", None),
            "signed": {"description": "two's complement, else unsigned", "type": "boolean"},
            "shifts": items(whole("", 0, 44), "left shift of each channel, in bits"),
            "axis": whole("dimension of the channels of `shifts`, from the last", None, -1),
            "codebook": items(whole("", None), "the whole number of every code"),
        },
        optional=("shifts", "axis", "codebook"),
        text="a code q stands for scale * (q - zero_point), that times 2^shift, or codebook[q]",
    )


def shape() -> Schema:
    """Return the sizes of a tensor."""
    size = {"anyOf": [whole("", 0), {"type": "string", "pattern": r"^[1-9][0-9]*\*B$"}]}
    return items(size, 'sizes; "4*B" is 4 x batch')
