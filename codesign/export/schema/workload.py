"""The schema of workload.json: what a network asks of hardware."""

from typing import Any

from codesign.export.schema.schedule import HARDWARE_SCHEMES, KINDS
from codesign.export.schema.terms import (
    Schema,
    bits,
    choice,
    closed,
    document,
    items,
    string,
    whole,
)


def workload_schema() -> dict[str, Any]:
    """Return the schema of the operations that the cost models price."""
    matrix = {"properties": {"is": {"const": "matrix"}}}
    return document(
        "What a network asks of hardware, for one image",
        {
            "name": string("the model's name"),
            "parameter_bits": whole("bits of weights, biases, constants and tables"),
            "operations": items(
                {"if": matrix, "then": _matrix(), "else": _vector()}, "in execution order"
            ),
        },
    )


def _matrix() -> Schema:
    return closed(
        {
            "is": {"const": "matrix"},
            "name": string("timm module path"),
            "kind": choice(KINDS),
            "m": whole("rows of the product", 1),
            "k": whole("length of the reduction", 1),
            "n": whole("columns of the product", 1),
            "repeats": whole("products of that size: groups, or heads x windows", 1),
            "weight_bits": bits("of a weight, or of a code of the second operand"),
            "weight_scheme": choice(HARDWARE_SCHEMES),
            "activation_bits": bits("of a code of the first operand"),
            "output_bits": bits("of a code stored"),
            "input_elements": whole("elements of the first operand, each counted once"),
            "output_elements": whole("elements written"),
            "weight_elements": whole("weights, or elements of the second operand"),
            "in_height": whole("input height in pixels, padding included; 0 without"),
            "in_width": whole("input width in pixels, padding included; 0 without"),
            "kernel_height": whole("in pixels, dilation included", 1),
            "kernel_width": whole("in pixels, dilation included", 1),
            "stride_height": whole("in pixels", 1),
            "stride_width": whole("in pixels", 1),
            "in_channels": whole("of the whole layer"),
            "out_channels": whole("of the whole layer"),
            "log2_share": {
                "description": "share of the output channels that are log2, of a mixed layer",
                "type": "number",
                "minimum": 0,
                "maximum": 1,
            },
            "inputs": _inputs(),
        }
    )


def _vector() -> Schema:
    return closed(
        {
            "is": {"const": "vector"},
            "name": string("the node it comes from"),
            "function": string("what the vector unit computes"),
            "elements": whole("elements processed"),
            "row_length": whole("elements of a row, 1 where rows do not matter", 1),
            "input_bits": bits("of an element read"),
            "output_bits": bits("of an element written"),
            "fused_into": {
                "description": "the layer whose output stage does it, null where none does",
                "anyOf": [string(), {"type": "null"}],
            },
            "inputs": _inputs(),
        }
    )


def _inputs() -> Schema:
    return items(string(), "what gives the operands: operations, the network's input, constants")
