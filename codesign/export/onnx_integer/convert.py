"""From an integer model to an ONNX file of integer tensors alone."""

from typing import Any

import numpy as np
import onnx
from onnx import helper

from codesign.errors import RunError
from codesign.export.onnx_integer.builder import Builder
from codesign.export.onnx_integer.operations import CONVERT
from codesign.export.onnx_integer.values import Codes, Value, storage
from codesign.graph.ir import SHAPE_OPERATIONS
from codesign.integer.model import IntegerModel, IntegerNode

OPSET = 21
IR_VERSION = 10
"""ONNX 1.16's, the first with opset 21: ONNX Runtime reads it from version 1.18 on."""
LOGITS = "logits"


def integer_onnx(model: IntegerModel, *, every_node: bool = False) -> onnx.ModelProto:
    """Return the model as ONNX: input codes to logit codes, integer tensors and nothing else.

    Only operators of ONNX's own domain occur (ONNX operator specification, opset 21). Tensors and
    operators bear the names of the model's nodes: "stem.conv" has the codes of the layer
    stem.conv, "stem.conv/acc" its accumulators. Codes are of the narrowest type that has their
    format's range. The first dimension is symbolic ("batch").

    Args:
        model: The integer model.
        every_node: Whether the codes of every node are outputs too, under the nodes' names.

    Returns:
        The file's content; the same for equal models, to the byte when serialised
        deterministically. `metadata_props` hold the formats of input and logits.

    Raises:
        RunError: An operation is unknown, or 64 bits do not hold an intermediate result.
    """
    source = model.nodes[0]
    b = Builder(source.name, [*(node.name for node in model.nodes), LOGITS])
    results = {source.name: _codes(source)}
    for node in model.nodes[1:]:
        results[node.name] = _convert(b, model, node, results)
    last = model.nodes[-1].name
    if last != LOGITS:
        b.nodes.append(helper.make_node("Identity", [last], [LOGITS], name=LOGITS))
    kept = [node for node in model.nodes[1:] if every_node and node.name != LOGITS]
    outputs = [_info(LOGITS, model.nodes[-1]), *(_info(node.name, node) for node in kept)]
    graph = helper.make_graph(
        b.nodes, model.name, [_info(source.name, source)], outputs, b.initializers
    )
    graph.value_info.extend(_info(n.name, n) for n in model.nodes[1:] if n not in kept)
    return _file(model, graph)


def _codes(node: IntegerNode) -> Codes:
    f = node.format
    return Codes(Value(node.name, storage(f), f.low, f.high), node)


def _convert(
    b: Builder, model: IntegerModel, node: IntegerNode, results: dict[str, Codes]
) -> Codes:
    if node.op not in CONVERT:
        raise RunError(f"node {node.name}: the operation {node.op} is not known in ONNX.")
    tensors = {role: model.tensors[key] for role, key in node.tensors.items()}
    b.enter(node.name)
    result = CONVERT[node.op](b, node, tensors, [results[name] for name in node.inputs])
    if node.op in SHAPE_OPERATIONS:  # codes pass unchanged, and fit the format they arrive in
        result = result.within(node.format.low, node.format.high)
    b.leave(b.cast(result, storage(node.format)))
    return _codes(node)


def _info(name: str, node: IntegerNode) -> onnx.ValueInfoProto:
    dtype = helper.np_dtype_to_tensor_dtype(np.dtype(storage(node.format)))
    return helper.make_tensor_value_info(name, dtype, [_dimension(size) for size in node.shape])


def _dimension(size: int | str) -> int | str:
    if isinstance(size, int):
        return size
    factor = size.removesuffix("*B")
    return "batch" if factor == "1" else f"{factor}*batch"


def _file(model: IntegerModel, graph: onnx.GraphProto) -> onnx.ModelProto:
    proto = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="codesign",
        doc_string="Input: codes. Output: the logits' codes. Every tensor is of integers.",
    )
    proto.ir_version = IR_VERSION
    helper.set_model_props(proto, {key: str(value) for key, value in _facts(model).items()})
    return proto


def _facts(model: IntegerModel) -> dict[str, Any]:
    first, last = model.input_format, model.logits_format
    facts = {"model": model.name, "design": model.info.get("design", "")}
    for name, fmt in (("input", first), ("logits", last)):
        facts |= {
            f"{name}.scale": fmt.scale,
            f"{name}.zero_point": fmt.zero_point,
            f"{name}.bits": fmt.bits,
        }
    return facts
