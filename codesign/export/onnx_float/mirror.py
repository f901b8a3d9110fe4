"""Build the two float files of an integer model."""

import onnx
from onnx import TensorProto, helper

from codesign.export.onnx_float import operations  # noqa: F401  (fills the registry)
from codesign.export.onnx_float.base import Mirror, Quantiser
from codesign.export.onnx_float.qdq import QDQ
from codesign.export.onnx_float.qonnx import DOMAIN, QONNX
from codesign.integer.model import IntegerModel

OPSET = 21
"""The first with INT4 and 16-bit codes in QuantizeLinear and DequantizeLinear."""
IR_VERSION = 10
INPUT, OUTPUT = "images", "logits"


def qdq_onnx(model: IntegerModel) -> onnx.ModelProto:
    """Return the float network of an integer model with QuantizeLinear/DequantizeLinear pairs.

    Its input "images", (batch, channels, height, width) float32 with any batch, is what the input
    quantiser receives; its output "logits", (batch, classes) float32, the codes' real values. The
    same model gives the same bytes.

    Args:
        model: The integer model.
    """
    return _build(model, QDQ(), "batch", {"": OPSET})


def qonnx_onnx(model: IntegerModel, *, quant_op: str = "IntQuant") -> onnx.ModelProto:
    """Return the float network of an integer model in QONNX, for a batch of one.

    QONNX's own executor wants fixed shapes. Input and output are those of `qdq_onnx`.

    Args:
        model: The integer model.
        quant_op: "IntQuant", or its older name "Quant", which FINN and hls4ml read.

    Raises:
        UserError: Another name.
    """
    return _build(model, QONNX(quant_op), 1, {"": OPSET, DOMAIN: 1})


def _build(
    model: IntegerModel, quantiser: Quantiser, batch: int | str, opsets: dict[str, int]
) -> onnx.ModelProto:
    b = Mirror(model, quantiser)
    last = model.nodes[-1].name
    for node in model.nodes:
        b.convert(node, OUTPUT if node.name == last else node.name)
    if b.reals[last].name != OUTPUT:
        b.add("Identity", [b.reals[last].name], OUTPUT)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *node.shape[1:]])
        for name, node in ((INPUT, model.nodes[0]), (OUTPUT, model.nodes[-1]))
    ]
    graph = helper.make_graph(b.nodes, model.name, ends[:1], ends[1:], b.initializers)
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    return helper.make_model(
        graph, opset_imports=imports, ir_version=IR_VERSION, producer_name="codesign"
    )
