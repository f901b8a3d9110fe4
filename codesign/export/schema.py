"""The JSON Schema (draft 2020-12) of design.json, made from the classes it describes."""

from dataclasses import fields
from typing import Any

from codesign.numerics.activation import ACTIVATIONS
from codesign.numerics.weights import SCHEMES
from costmodels.accelerator import Accelerator

_TYPES = {str: "string", int: "integer", float: "number"}
_CHOICES = {"dataflow": ["os", "ws", "is"], "precision": ["static", "reconfigurable"]}
_POSITIVE = ("mac_rows", "mac_cols", "clock_mhz", "vector_lanes")


def design_schema() -> dict[str, Any]:
    """Return the schema that `Design.to_json` follows."""
    properties = {
        "schema_version": {"const": 1},
        "layers": {
            "description": "timm module path of a layer with weights to its number formats",
            "type": "object",
            "additionalProperties": _layer(),
        },
        "activations": {
            "description": "timm module path of an activation to the function computed there",
            "type": "object",
            "additionalProperties": {"enum": ACTIVATIONS.names()},
        },
        "accelerator": _accelerator(),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A quantised network and the accelerator it runs on",
        **_closed(properties),
    }


def _layer() -> dict[str, Any]:
    width = {"type": "integer", "minimum": 2, "maximum": 8}
    layer = _closed(
        {
            "weight_bits": {"description": "bits of a weight code", **width},
            "weight_scheme": {"enum": SCHEMES.names()},
            "activation_bits": {"description": "bits of the codes that enter", **width},
        }
    )
    layer["properties"]["weight_option"] = {
        "description": "the scheme's own number: a pruning ratio, or a share of log2 channels",
        "type": "number",
        "minimum": 0,
        "exclusiveMaximum": 1,
    }
    return layer


def _accelerator() -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for item in fields(Accelerator):
        kind = _TYPES[item.type] if isinstance(item.type, type) else "string"
        properties[item.name] = {"type": kind}
        if item.name in _CHOICES:
            properties[item.name] = {"enum": _CHOICES[item.name]}
        elif kind != "string":
            bound = "exclusiveMinimum" if item.name in _POSITIVE else "minimum"
            properties[item.name][bound] = 0
    return _closed(properties)


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
