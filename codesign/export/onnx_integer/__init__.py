"""The integer model as an ONNX file of integer tensors and standard operators, and its executor."""

from codesign.export.onnx_integer.check import check
from codesign.export.onnx_integer.convert import integer_onnx
from codesign.export.onnx_integer.executor import OnnxExecutor

__all__ = ["OnnxExecutor", "check", "integer_onnx"]
