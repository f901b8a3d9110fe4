"""The integer model as float networks: QuantizeLinear/DequantizeLinear pairs, and QONNX."""

from codesign.export.onnx_float.measure import MirrorReport, measure_differences
from codesign.export.onnx_float.mirror import qdq_onnx, qonnx_onnx
from codesign.export.onnx_float.qonnx import QUANT_OPS

__all__ = ["QUANT_OPS", "MirrorReport", "measure_differences", "qdq_onnx", "qonnx_onnx"]
