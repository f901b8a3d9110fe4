"""Proves that an ONNX file holds integer tensors and standard operators only."""

from collections.abc import Iterator

import onnx
from onnx import TensorProto, checker, shape_inference

from codesign.errors import RunError

INTEGERS = frozenset(
    (
        *(TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64),
        *(TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64),
        TensorProto.BOOL,
    )
)
_GRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
_FLOATS = (onnx.AttributeProto.FLOAT, onnx.AttributeProto.FLOATS)


def check(proto: onnx.ModelProto) -> None:
    """Check that a model is valid ONNX, all of integers, in ONNX's own operators.

    ONNX's checker, and its shape inference in strict mode with data propagation, must pass and
    must give a type to every tensor; each type, and that of every constant, must be an integer
    or bool.

    Raises:
        RunError: Something is wrong; the message names it.
    """
    _check_domains(proto)
    try:
        checker.check_model(proto, full_check=True)
        inferred = shape_inference.infer_shapes(
            proto, check_type=True, strict_mode=True, data_prop=True
        )
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        raise RunError(f"invalid ONNX: {str(error).strip().splitlines()[0]}") from error
    types = dict(_types(inferred.graph))
    for name, kind in types.items():
        if kind not in INTEGERS:
            raise RunError(f"tensor {name} is of type {TensorProto.DataType.Name(kind)}.")
    for node in inferred.graph.node:
        untyped = [name for name in node.output if name and name not in types]
        if untyped:
            raise RunError(f"shape inference gives no type to tensor {untyped[0]}.")


def _check_domains(proto: onnx.ModelProto) -> None:
    foreign = [entry.domain for entry in proto.opset_import if entry.domain not in ("", "ai.onnx")]
    if foreign or proto.functions:
        raise RunError(f"the model imports the operator domain {foreign or 'of local functions'}.")
    for node in proto.graph.node:
        if node.domain not in ("", "ai.onnx"):
            raise RunError(f"operator {node.name} is {node.op_type} of domain {node.domain}.")
        for attribute in node.attribute:
            if attribute.type in _GRAPHS or attribute.type in _FLOATS:
                raise RunError(f"operator {node.name} has the attribute {attribute.name}.")


def _types(graph: onnx.GraphProto) -> Iterator[tuple[str, int]]:
    """Yield the name and the element type of every tensor, constants included."""
    for info in (*graph.value_info, *graph.input, *graph.output):
        yield info.name, info.type.tensor_type.elem_type
    for tensor in graph.initializer:
        yield tensor.name, tensor.data_type
    for sparse in graph.sparse_initializer:
        yield sparse.values.name, sparse.values.data_type
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield f"{node.name}:{attribute.name}", attribute.t.data_type
