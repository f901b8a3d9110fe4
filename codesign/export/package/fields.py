"""What the package says of a layer: the fields of `layer_t`, and their values."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from codesign.graph.ir import resolve
from codesign.integer.model import IntegerNode
from codesign.numerics.fixed_point import Format
from codesign.numerics.weights.base import SCHEMES
from costmodels.engines import BOTH_ARRAYS, Placement
from costmodels.workload import VectorOperation

Values = dict[str, int | str]
Describe = Callable[["Layer"], Values]

ENGINES = {
    "mac_array": "EngineMacArray",
    "shift_array": "EngineShiftArray",
    BOTH_ARRAYS: "EngineBothArrays",
    "depthwise": "EngineDepthwise",
    "vector_unit": "EngineVectorUnit",
    "output_stage": "EngineOutputStage",
}
SCHEME_NAMES = {
    "none": "SchemeNone",
    "uniform": "SchemeUniform",
    "log2": "SchemeLog2",
    "apot": "SchemeApot",
    "mixed": "SchemeMixed",
}
MEMORY_ROLES = (
    *("weight", "weight_uniform", "weight_log2", "log2_channel", "bias", "multiplier", "shift"),
    *("offset", "scale", "mantissa", "exponent", "table", "thresholds", "codes"),
    *("channel_shift", "codebook", "value"),
)
_SIZE, _NUMBER, _WIDTH, _FLAG = "logic [31:0]", "logic signed [31:0]", "logic [7:0]", "logic"
FIELDS: dict[str, tuple[str, str]] = {
    "engine": ("engine_e", "where it runs"),
    "operation": ("operation_e", "what it computes"),
    "weight_scheme": ("scheme_e", "kind of the weights"),
    "array_rows": (_SIZE, "rows of the array as the layer sees it, or lanes"),
    "array_cols": (_SIZE, "columns of the array as the layer sees it"),
    "m": (_SIZE, "rows of the product"),
    "k": (_SIZE, "length of the reduction"),
    "n": (_SIZE, "columns of the product"),
    "repeats": (_SIZE, "products of that shape"),
    "elements": (_SIZE, "results for one image"),
    "row_length": (_SIZE, "elements of a row of a softmax, norm or pool"),
    "in_channels": (_SIZE, "of a window operation or linear layer"),
    "in_height": (_SIZE, "without padding"),
    "in_width": (_SIZE, "without padding"),
    "out_channels": (_SIZE, ""),
    "out_height": (_SIZE, ""),
    "out_width": (_SIZE, ""),
    "kernel_height": (_SIZE, ""),
    "kernel_width": (_SIZE, ""),
    "stride_height": (_SIZE, ""),
    "stride_width": (_SIZE, ""),
    "dilation_height": (_SIZE, ""),
    "dilation_width": (_SIZE, ""),
    "pad_top": (_SIZE, "rows of zeros in front"),
    "pad_bottom": (_SIZE, "and behind"),
    "pad_left": (_SIZE, "columns of zeros in front"),
    "pad_right": (_SIZE, "and behind"),
    "groups": (_SIZE, ""),
    "weight_bits": (_WIDTH, "of a weight's code"),
    "log2_channels": (_SIZE, "output channels that are log2, of mixed weights"),
    "input0_bits": (_WIDTH, ""),
    "input0_signed": (_FLAG, ""),
    "input0_zero_point": (_NUMBER, ""),
    "input1_bits": (_WIDTH, "second operand, 0 where there is none"),
    "input1_signed": (_FLAG, ""),
    "input1_zero_point": (_NUMBER, ""),
    "output_bits": (_WIDTH, ""),
    "output_signed": (_FLAG, ""),
    "output_zero_point": (_NUMBER, ""),
    "accumulator_bits": (_WIDTH, "holds any sum, by its proved bound"),
    "multiplier0": (_SIZE, "M, or the first operand's; 0 where a memory has it"),
    "multiplier1": (_SIZE, "the second operand's of an add"),
    "shift": (_WIDTH, "s, where it is one for all channels"),
    "epsilon": ("logic [63:0]", "E of a norm or division"),
    "unit": (_SIZE, "codes that make 1.0 (3.0 of a HardSwish)"),
    "levels": (_SIZE, "largest code of a softmax"),
    "distance_shift": (_WIDTH, "g of a softmax"),
    "limit": (_WIDTH, "n of a softmax"),
    "linear": (_SIZE, "b of log_int_softmax"),
    "constant": (_SIZE, "c of log_int_softmax"),
    "largest_exponent": (_WIDTH, "T of log_int_softmax"),
    "row_shift": (_WIDTH, "t of a group_norm or rms_norm"),
    "fused_layer": (_SIZE, "the activation in its output stage, 0 where there is none"),
    **{f"mem_{role}": ("logic [15:0]", "") for role in MEMORY_ROLES},
    "mem_value": ("logic [15:0]", "of an operand that is a constant"),
}
"""Field to its type and what it means. A field of no meaning for an operation is 0."""
_SCALARS = (
    *("shift", "epsilon", "unit", "levels", "distance_shift", "limit", "linear", "constant"),
    *("largest_exponent", "row_shift"),
)


@dataclass(frozen=True)
class Layer:
    """A node with what is known of it.

    Attributes:
        node: The integer operation.
        sources: The nodes it reads.
        placement: Its engine, of a matrix product.
        vector: What the vector unit does for it; None of a product, and of a requantisation that
            brings an operand of a concatenation to the common format.
        fused_layer: Index of the activation in its output stage, 0 where there is none.
        kernel: Height and width of a convolution's or pool's window, else empty.
        memories: Role to the identifier of its memory.
    """

    node: IntegerNode
    sources: tuple[IntegerNode, ...]
    placement: Placement | None
    vector: VectorOperation | None
    fused_layer: int
    kernel: tuple[int, ...]
    memories: Mapping[str, str]


def layer_values(layer: Layer) -> Values:
    """Return the fields of a layer that are not 0, in the order of FIELDS; enumerations always."""
    values: Values = {"fused_layer": layer.fused_layer}
    for describe in (_engine, _work, _formats, _scalars, _window, _memories):
        values.update(describe(layer))
    enumerations = ("engine", "operation", "weight_scheme")
    return {key: values[key] for key in FIELDS if key in enumerations or values.get(key)}


def operation_name(op: str) -> str:
    """Return the enumerator of an operation: "OpLayerNorm8bit" for "layer_norm_8bit"."""
    return "Op" + "".join(word.capitalize() for word in op.split("_"))


def _engine(layer: Layer) -> Values:
    fused = layer.vector is not None and layer.vector.fused_into is not None
    engine = "output_stage" if fused else "vector_unit"
    scheme = layer.node.attributes.get("weight_scheme")
    kind = SCHEMES.get(scheme).hardware if scheme else "none"
    values: Values = {
        "engine": ENGINES[layer.placement.engine if layer.placement else engine],
        "operation": operation_name(layer.node.op),
        "weight_scheme": SCHEME_NAMES[kind],
    }
    if layer.placement:
        values |= {"array_rows": layer.placement.rows, "array_cols": layer.placement.cols}
    return values


def _work(layer: Layer) -> Values:
    shape = resolve(layer.node.shape, 1)
    values: Values = {"elements": math.prod(shape)}
    if layer.placement:
        product = layer.placement.layer
        values |= {key: getattr(product, key) for key in ("m", "k", "n", "repeats")}
    elif layer.vector and layer.vector.row_length > 1:
        values["row_length"] = layer.vector.row_length
    return values


def _formats(layer: Layer) -> Values:
    values = _format("output", layer.node.format)
    for place, source in enumerate(layer.sources[:2]):
        values |= _format(f"input{place}", source.format)
    if "accumulator_bound" in layer.node.attributes:
        bound = int(layer.node.attributes["accumulator_bound"])
        values["accumulator_bits"] = bound.bit_length() + 1
    return values


def _format(name: str, fmt: Format) -> Values:
    return {
        f"{name}_bits": fmt.bits,
        f"{name}_signed": int(fmt.signed),
        f"{name}_zero_point": fmt.zero_point,
    }


def _scalars(layer: Layer) -> Values:
    a = layer.node.attributes
    values: Values = {key: int(a[key]) for key in _SCALARS if key in a}
    if "three" in a:
        values["unit"] = int(a["three"])
    factors = a.get("multipliers", [a.get("multiplier", 0)])
    values |= {f"multiplier{place}": int(m) for place, m in enumerate(factors)}
    values["weight_bits"] = int(a.get("weight_bits", 0))
    values["log2_channels"] = len(a.get("log2_channels", ()))
    return values


def _window(layer: Layer) -> Values:
    """Return the sizes of a convolution or pool, the channels of a linear layer."""
    before, after = resolve(layer.sources[0].shape, 1), resolve(layer.node.shape, 1)
    if layer.node.op == "linear":
        return {"in_channels": before[-1], "out_channels": after[-1]}
    if not layer.kernel:
        return {}
    return {
        **dict(zip(("in_channels", "in_height", "in_width"), before[-3:], strict=True)),
        **dict(zip(("out_channels", "out_height", "out_width"), after[-3:], strict=True)),
        **_kernel(layer),
    }


def _kernel(layer: Layer) -> Values:
    a = layer.node.attributes
    pairs = {"kernel": layer.kernel, "stride": a["stride"], "dilation": a["dilation"]}
    values: Values = {"groups": a.get("groups", 1)}
    for key, (height, width) in pairs.items():
        values |= {f"{key}_height": height, f"{key}_width": width}
    (top, bottom), (left, right) = a.get("pads") or [(p, p) for p in a["padding"]]
    return {**values, "pad_top": top, "pad_bottom": bottom, "pad_left": left, "pad_right": right}


def _memories(layer: Layer) -> Values:
    return {f"mem_{role}": layer.memories[role] for role in MEMORY_ROLES if role in layer.memories}
