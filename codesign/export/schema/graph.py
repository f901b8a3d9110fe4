"""The schema of graph.json: the attributes and tensors of every operation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from codesign.export.schema.terms import (
    Schema,
    bits,
    choice,
    closed,
    document,
    items,
    number_format,
    shape,
    string,
    whole,
)
from codesign.numerics.fixed_point import ACCUMULATOR_LIMIT, MAX_SHIFT
from codesign.numerics.weights import SCHEMES

_MULTIPLIER = whole("M of the requantisation", 0, 2**16 - 1)
_SHIFT = whole("s of the requantisation", 1, MAX_SHIFT)
_SCALAR = {"multiplier": _MULTIPLIER, "shift": _SHIFT}
_BOUND = whole("largest magnitude of the accumulator, proved", 0, ACCUMULATOR_LIMIT)
_PAIR = items(whole("", 1), "rows, columns", count=2)
_PADDING = items(whole(), "zeros on each side: rows, columns", count=2)
_PADS = items(items(whole(), count=2), "before and behind")
_DIMENSION = whole("dimension, from the first", None)
_DIMENSIONS = items(_DIMENSION)
_FLAG = {"description": "whether the dimensions stay, of size 1", "type": "boolean"}
_EPSILON = whole("added to the divisor or the variance")
_ROW_LIMIT = whole("bound on the sum of the whole numbers of a row")
_LIMIT = whole("largest exponent")
_UNIT = whole("the codes that make 1 (or ln 2)", 1)
_DISTANCE = whole("left shift of the distance to the largest code", 0)
_LAYER = {
    "weight_bits": bits("of a weight code", 8),
    "weight_scheme": choice(SCHEMES.names()),
    "log2_channels": items(whole(), "the output channels that are log2"),
    "weight_sparsity": {
        "description": "share of weights that are zero",
        "type": "number",
        "minimum": 0,
        "maximum": 1,
    },
    "accumulator_bound": _BOUND,
}
_CHOSEN = ("log2_channels", "weight_sparsity")
_WINDOW = {"stride": _PAIR, "dilation": _PAIR}
_POOL = {"kernel": _PAIR, **_WINDOW, "pads": _PADS}
_REDUCTION = {"dims": _DIMENSIONS, "keep": _FLAG, **_SCALAR}
_LAYER_TENSORS = ("weight", "bias", "multiplier", "shift")
_REQUANTISATION = ("multiplier", "shift")


@dataclass(frozen=True)
class Operation:
    """What a node of one operation carries.

    Attributes:
        attributes: Schema of each attribute.
        tensors: Roles of its tensors.
        optional: Attributes that need not be there.
        inputs: How many nodes it reads; None for any number from 1 on.
    """

    attributes: Mapping[str, Schema] = field(default_factory=dict)
    tensors: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    inputs: int | None = 1


OPERATIONS = {
    "input": Operation(inputs=0),
    "constant": Operation({}, ("value",), inputs=0),
    "conv2d": Operation(
        {**_WINDOW, "padding": _PADDING, "groups": whole("", 1), **_LAYER},
        _LAYER_TENSORS,
        _CHOSEN,
    ),
    "linear": Operation(_LAYER, _LAYER_TENSORS, _CHOSEN),
    "matmul": Operation({**_SCALAR, "accumulator_bound": _BOUND}, inputs=2),
    "add": Operation(
        {"multipliers": items(_MULTIPLIER, "of each operand", count=2), "shift": _SHIFT}, inputs=2
    ),
    "mul": Operation(_SCALAR, inputs=2),
    "requantize": Operation(_SCALAR),
    "affine": Operation({"axis": _DIMENSION}, ("multiplier", "offset", "shift")),
    "lookup": Operation({"function": string("f, by name")}, ("table",), ("function",)),
    "hardswish": Operation({"three": whole("the codes that make 3", 1), **_SCALAR}),
    "shift_swish": Operation({"unit": _UNIT, **_SCALAR}),
    "shift_gelu": Operation({"unit": _UNIT, **_SCALAR}),
    "softmax": Operation({"levels": whole("largest code", 1), "row_limit": _ROW_LIMIT}, ("table",)),
    "log_int_softmax": Operation(
        {
            "unit": _UNIT,
            "linear": whole(),
            "constant": whole(),
            "limit": _LIMIT,
            "largest_exponent": whole("largest code that is not zero"),
            "distance_shift": _DISTANCE,
            "row_limit": _ROW_LIMIT,
        }
    ),
    "shiftmax": Operation(
        {"unit": _UNIT, "limit": _LIMIT, "distance_shift": _DISTANCE, "row_limit": _ROW_LIMIT}
    ),
    "codebook_softmax": Operation({"row_limit": _ROW_LIMIT}, ("table", "thresholds", "codes")),
    "layer_norm": Operation({"epsilon": _EPSILON, "shift": whole("", 1, 30)}, ("scale", "offset")),
    "layer_norm_8bit": Operation({"epsilon": _EPSILON}, ("mantissa", "exponent", "offset")),
    "group_norm": Operation(
        {
            "groups": whole("", 1),
            "epsilon": _EPSILON,
            "row_shift": whole(),
            "shift": whole("", 1, MAX_SHIFT),
        },
        ("scale", "offset"),
    ),
    "rms_norm": Operation(
        {"epsilon": _EPSILON, "row_shift": whole(), "shift": whole("", 1, MAX_SHIFT)},
        ("scale", "offset"),
    ),
    "divide": Operation(
        {"multiplier": whole("M", 0, 2**31 - 1), "shift": _SHIFT, "epsilon": _EPSILON}, inputs=2
    ),
    "log2_divide": Operation(
        {"multiplier": whole("M", 0, 2**31 - 1), "shift": _SHIFT, "epsilon": _EPSILON}, inputs=2
    ),
    "mean": Operation(_REDUCTION),
    "max": Operation(_REDUCTION),
    "max_pool2d": Operation(_POOL, _REQUANTISATION),
    "avg_pool2d": Operation({**_POOL, "accumulator_bound": _BOUND}, _REQUANTISATION),
    "concat": Operation({"dim": _DIMENSION}, inputs=None),
    "reshape": Operation(),
    "expand": Operation(),
    "permute": Operation({"order": _DIMENSIONS}),
    "select": Operation({"dim": _DIMENSION, "index": whole("", None)}),
    "slice": Operation(
        {
            "dim": _DIMENSION,
            "start": whole("", None),
            "stop": whole("", None),
            "step": whole("", 1),
        }
    ),
    "gather": Operation({"dim": _DIMENSION, "indices": items(whole())}),
    "pad": Operation({"pads": _PADS, "value": whole("the code of zero", None)}),
}
"""Every operation of `codesign/numerics/README.md`."""


def graph_schema() -> dict[str, Any]:
    """Return the schema that `IntegerModel.graph_json` follows."""
    return document(
        "A network in integer operations",
        {
            "name": string("the model's name"),
            "info": {"description": "where the model comes from", "type": "object"},
            "nodes": {**items(_node(), "in execution order"), "minItems": 1},
        },
    )


def _node() -> Schema:
    """Return a node; which attributes and tensors it has depends on its operation."""
    node = closed(
        {
            "name": string("unique; timm module path of a layer or activation"),
            "op": choice(OPERATIONS, "codesign/numerics/README.md specifies each"),
            "inputs": items(string(), "names of the nodes it reads"),
            "format": number_format(),
            "shape": shape(),
            "attributes": {"type": "object"},
            "tensors": {"type": "object"},
        }
    )
    return {**node, "allOf": [_when(op, operation) for op, operation in OPERATIONS.items()]}


def _when(op: str, operation: Operation) -> Schema:
    keys = closed({role: string("key in weights.npz") for role in operation.tensors})
    count = operation.inputs
    sources = {"minItems": 1} if count is None else {"minItems": count, "maxItems": count}
    return {
        "if": {"properties": {"op": {"const": op}}, "required": ["op"]},
        "then": {
            "properties": {
                "attributes": closed(operation.attributes, operation.optional),
                "tensors": keys,
                "inputs": sources,
            }
        },
    }
