"""The schema of design.json, made from the classes it describes."""

import inspect
import re
from dataclasses import fields
from typing import Any

from codesign.export.schema.terms import choice, closed, document, mapping, whole
from codesign.numerics.activation import ACTIVATIONS
from codesign.numerics.weights import SCHEMES
from costmodels.accelerator import Accelerator
from costmodels.systolic import DATAFLOWS

PRECISIONS = ("static", "reconfigurable")
_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}
_CHOICES = {
    "dataflow": list(DATAFLOWS),
    "precision": list(PRECISIONS),
    "mac_pe": ["dsp", "lut"],
}
_POSITIVE = ("mac_rows", "mac_cols", "clock_mhz", "vector_lanes")


def design_schema() -> dict[str, Any]:
    """Return the schema that `Design.to_json` follows."""
    functions = choice(ACTIVATIONS.names())
    return document(
        "A quantised network and the accelerator it runs on",
        {
            "layers": mapping(
                _layer(), "timm module path of a layer with weights to its number formats"
            ),
            "activations": mapping(
                functions, "timm module path of an activation to the function computed there"
            ),
            "accelerator": _accelerator(),
        },
    )


def _layer() -> dict[str, Any]:
    option = {
        "description": "the scheme's own number: a pruning ratio, or a share of log2 channels",
        "type": "number",
        "minimum": 0,
        "exclusiveMaximum": 1,
    }
    properties = {
        "weight_bits": whole("bits of a weight code", 2, 8),
        "weight_scheme": choice(SCHEMES.names()),
        "activation_bits": whole("bits of the codes that enter", 2, 8),
        "weight_option": option,
    }
    return closed(properties, optional=["weight_option"])


def _accelerator() -> dict[str, Any]:
    texts = _texts(Accelerator.__doc__ or "")
    properties: dict[str, Any] = {}
    for item in fields(Accelerator):
        kind = _TYPES[item.type] if isinstance(item.type, type) else "string"
        schema: dict[str, Any] = {"description": texts[item.name], "type": kind}
        if item.name in _CHOICES:
            schema = choice(_CHOICES[item.name], texts[item.name])
        elif kind in ("integer", "number"):
            bound = "exclusiveMinimum" if item.name in _POSITIVE else "minimum"
            schema[bound] = 0
        properties[item.name] = schema
    return closed(properties)


def _texts(documentation: str) -> dict[str, str]:
    """Return what a docstring says of each attribute; units are stated there."""
    section = inspect.cleandoc(documentation).partition("Attributes:\n")[2]
    found = re.findall(r"^    (\w+): (.+(?:\n     .+)*)", section, re.M)
    return {name: " ".join(text.split()) for name, text in found}
