"""The integer model as float networks: QuantizeLinear/DequantizeLinear pairs, and QONNX."""

from codesign.export.onnx_float.measure import MirrorReport, measure_differences
from codesign.export.onnx_float.mirror import qdq_onnx, qonnx_onnx

__all__ = ["MirrorReport", "measure_differences", "qdq_onnx", "qonnx_onnx"]
