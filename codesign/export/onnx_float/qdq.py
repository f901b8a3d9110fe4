"""QuantizeLinear and DequantizeLinear pairs, for ONNX Runtime, TensorRT and their like.

ONNX operator specifications, QuantizeLinear and DequantizeLinear of opset 21 (the first with 4-bit
and 16-bit types): results are saturate(round(x / scale) + zero point), halves to even, where the
integer model rounds halves up.
"""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from codesign.export.onnx_float.base import (
    Mirror,
    Values,
    channelwise,
    narrowest,
    positive,
    real_values,
    steps,
)
from codesign.integer.model import IntegerNode
from codesign.numerics.fixed_point import Format


class QDQ:
    """Codes of 8 or 16 bits; weights of 4, 8, 16 or 32; int32 biases."""

    def activation(self, b: Mirror, value: str, node: IntegerNode, result: str) -> None:
        """Add QuantizeLinear and DequantizeLinear, behind a clip for codes of other widths.

        Runtimes fuse activations of one scale only. The powers of two of channels with shifts of
        their own are taken out in front and put back behind.
        """
        fmt = node.format
        if fmt.bits not in (8, 16):
            low, high = ((end - fmt.zero_point) * steps(fmt) for end in (fmt.low, fmt.high))
            value = _clip(b, value, low, high)
        self._pair(b, value, node, result)

    def _pair(self, b: Mirror, value: str, node: IntegerNode, result: str) -> None:
        fmt = node.format
        if fmt.shifts:
            factors = b.number(steps(fmt) / fmt.scale, "channel_factor")
            value = b.add("Div", [value, factors])
        names = self._step(b, node)
        codes = b.add("QuantizeLinear", [value, *names], f"{node.name}/codes")
        self._dequantise(b, [codes, *names], node, result)

    def moved(self, b: Mirror, value: str, node: IntegerNode, result: str) -> str:
        """Repeat the pair, which changes no value: runtimes then move codes, and see them read."""
        if node.format.codebook:
            return value
        self._pair(b, value, node, result)
        return result

    def stored(self, b: Mirror, codes: Values, node: IntegerNode, result: str) -> str:
        """Add the codes and a DequantizeLinear; of a codebook, the real values."""
        fmt = node.format
        if fmt.codebook:
            return b.number(real_values(codes, fmt), "value")
        name = b.constant(_stored(codes, fmt), "codes")
        self._dequantise(b, [name, *self._step(b, node)], node, result)
        return result

    def _step(self, b: Mirror, node: IntegerNode) -> list[str]:
        fmt = node.format
        zero = _stored(np.array(fmt.zero_point), fmt)
        return [b.number(fmt.scale, "scale"), b.constant(zero, "zero_point")]

    def _dequantise(self, b: Mirror, names: list[str], node: IntegerNode, result: str) -> None:
        fmt = node.format
        if not fmt.shifts:
            b.add("DequantizeLinear", names, result)
            return
        real = b.add("DequantizeLinear", names)
        b.add("Mul", [real, b.number(steps(fmt) / fmt.scale, "channel_factor")], result)

    def weight(self, b: Mirror, codes: Values, scale: Values, axis: int, source: Format) -> str:
        """Add the narrowest integers that hold the weights, and a DequantizeLinear.

        Where no DequantizeLinear gives the other operand, a Cast and a Mul take its place: ONNX
        Runtime would fuse the one with the MatMul and round the operand to 8 bits of its own.
        """
        name = f"{b.current.name}/weight_codes"
        b.initializers.append(_integers(codes, name))
        if source.codebook or source.shifts:
            return b.cast_and_scaled(name, channelwise(positive(scale), codes.ndim, axis))
        factors = b.number(positive(scale), "weight_scale")
        return b.add("DequantizeLinear", [name, factors], f"{b.current.name}/weight", axis=axis)

    def bias(self, b: Mirror, codes: Values, scale: Values) -> str:
        """Add int32 biases and a DequantizeLinear."""
        name = b.constant(codes.astype(np.int32), "bias_codes")
        factors = b.number(positive(scale), "bias_scale")
        return b.add("DequantizeLinear", [name, factors], f"{b.current.name}/bias", axis=0)


def _clip(b: Mirror, value: str, low: Values, high: Values) -> str:
    """Limit real values; ONNX's Clip takes limits of a number each."""
    bounds = [b.number(low, "smallest"), b.number(high, "largest")]
    if not np.ndim(low):
        return b.add("Clip", [value, *bounds])
    return b.add("Min", [b.add("Max", [value, bounds[0]]), bounds[1]])


def _stored(codes: Values, fmt: Format) -> Values:
    """Return codes as uint8, signed ones moved up by half the range, or as 16 bits.

    ONNX Runtime turns signed activations of 8 bits into unsigned ones itself, and fails where that
    meets its fusions of Add and of AveragePool.
    """
    if fmt.bits <= 8:
        return (codes - fmt.low).astype(np.uint8)
    return codes.astype(np.int16 if fmt.signed else np.uint16)


def _integers(codes: Values, name: str) -> TensorProto:
    """Return weights as INT4 (two a byte), INT8, INT16 or INT32, the narrowest that holds them."""
    if codes.min() >= -8 and codes.max() <= 7:
        return helper.make_tensor(name, TensorProto.INT4, codes.shape, _pairs(codes), raw=True)
    return numpy_helper.from_array(np.ascontiguousarray(narrowest(codes)), name)


def _pairs(codes: Values) -> bytes:
    """Pack codes of 4 bits, the first in the low half of a byte (onnx.proto, INT4)."""
    flat = np.pad(codes.reshape(-1), (0, codes.size % 2)).astype(np.int8).view(np.uint8) & 15
    return (flat[::2] | flat[1::2] << 4).astype(np.uint8).tobytes()
