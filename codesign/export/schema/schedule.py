"""The schema of the schedule in hardware.json."""

from codesign.export.schema.cost import operation_cost
from codesign.export.schema.terms import (
    Schema,
    bits,
    choice,
    closed,
    items,
    string,
    whole,
)
from codesign.numerics.weights import SCHEMES

KINDS = ("conv", "depthwise", "linear", "matmul")
HARDWARE_SCHEMES = ("uniform", "log2", "apot", "mixed")
_PASSES = "times the array works through the product: a shift PE adds one power of two at a time"
_ARRAYS = ("mac_array", "shift_array")


def step() -> Schema:
    """Return one operation: of the vector unit, or a product of matrices on another engine."""
    vector = {"properties": {"engine": {"const": "vector"}}}
    return {"if": vector, "then": _vector_step(), "else": _matrix_step()}


def widths() -> dict[str, Schema]:
    """Return the properties of a layer's weights as the design names them."""
    return {"weight_scheme": choice(SCHEMES.names()), "weight_bits": whole("bits", 2, 8)}


def traffic() -> dict[str, Schema]:
    """Return the properties that say what moves to and from DRAM."""
    return {
        "input_bytes": whole("bytes read of the first operand, as often as tiles ask for it"),
        "weight_bytes": whole("bytes read of the weights, or of the second operand"),
        "constant_bytes": whole("bytes read of biases, multipliers and shifts"),
        "output_bytes": whole("bytes written"),
        "side_bytes": whole("bytes read of further operands of fused operations"),
    }


def _common() -> dict[str, Schema]:
    output = {"anyOf": [string(), {"type": "null"}]}
    note = "the tensor written; null where another operation's output stage does the work"
    return {
        **operation_cost(),
        "inputs": items(string(), "the tensors read"),
        "output": {"description": note, **output},
        "dram": closed(traffic(), text="adds up to dram_bytes"),
    }


def _work() -> dict[str, Schema]:
    return {
        "function": string("what the vector unit computes"),
        "elements": whole("elements processed"),
        "row_length": whole("elements of a row, 1 where rows do not matter", 1),
        "input_bits": bits("of an element read"),
        "output_bits": bits("of an element written"),
    }


def _vector_step() -> Schema:
    return closed({**_common(), **_work()})


def _matrix_step() -> Schema:
    return closed(
        {
            **_common(),
            "kind": choice(KINDS),
            "m": whole("rows of the product: output pixels or tokens", 1),
            "k": whole("length of the reduction: the window times channels of a group", 1),
            "n": whole("columns of the product: output channels of a group", 1),
            "repeats": whole("products of that size: groups, or heads x windows", 1),
            "weight_scheme": choice(HARDWARE_SCHEMES),
            "weight_bits": bits("of a weight, or of a code of the second operand"),
            "activation_bits": bits("of a code of the first operand"),
            "output_bits": bits("of a code stored"),
            "rows": whole("rows of the array, or lanes of the depthwise engine", 1),
            "cols": whole("columns of the array as this layer sees it", 1),
            "passes": whole(_PASSES, 1),
            "accumulator_bits": bits("of the accumulator by its proved bound, sign included"),
            "fused": items(
                closed({"name": string(), **_work()}), "work of the output stage, in order"
            ),
            "parts": items(_part(), "the share of each array, where two share the layer"),
            "tiling": {"oneOf": [_tiling(), _streaming(), _banding()]},
        }
    )


def _part() -> Schema:
    return closed(
        {
            "engine": choice(_ARRAYS),
            "rows": whole("", 1),
            "cols": whole("", 1),
            "passes": whole(_PASSES, 1),
            "weight_scheme": choice(HARDWARE_SCHEMES),
            "n": whole("output channels of a group", 1),
            "repeats": whole("", 1),
        }
    )


def _tiling() -> Schema:
    axes = ("m", "k", "n")
    orders = [["m", "n", "k"], ["n", "m", "k"]]
    buffers = {name: whole("bytes, at most half_bytes") for name in ("input", "weight", "output")}
    return closed(
        {
            "tile_m": whole("rows of a tile, in elements", 1),
            "tile_k": whole("reduction length of a tile, in elements", 1),
            "tile_n": whole("columns of a tile, in elements", 1),
            "tiles": closed({axis: whole("tiles along the axis", 1) for axis in axes}),
            "loop_order": choice(orders, "the loops over tiles, outermost first"),
            "buffer_bytes": closed(buffers, text="what a tile occupies in a half of each buffer"),
            "halo_bytes": whole("input bytes that neighbouring tiles of rows both read"),
        },
        text="the tiles of one of the `repeats` products; the last along an axis may be smaller",
    )


def _streaming() -> Schema:
    return closed(
        {
            "channels_at_once": whole("channels, one a lane", 1),
            "passes": whole("groups of channels worked off one after another", 1),
            "line_buffer_rows": whole("rows of pixels kept to see the whole window"),
        },
        text="depthwise engine: all pixels of some channels at once, each operand read once",
    )


def _banding() -> Schema:
    return closed(
        {
            "bands": whole("bands, of all heads and windows together", 1),
            "band_m": whole("rows of the product in the largest band", 1),
            "band_n": whole("columns of the product in the largest band", 1),
        },
        text="an operation of a chain: its share of each band, operands on chip",
    )
