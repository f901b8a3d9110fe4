"""Float tensors with IntQuant (or Quant) nodes: QONNX.

Pappalardo et al., "QONNX: Representing Arbitrary-Precision Quantized Neural Networks"
(arXiv 2206.07527). IntQuant divides by the scale, adds the zero point, clamps, rounds, and goes
back. The rounding mode HALF_UP takes halves away from zero: for unsigned codes, which are positive
where they round, that is the integer model's half up; for signed ones negative halves differ.
"""

import numpy as np

from codesign.errors import UserError
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

DOMAIN = "qonnx.custom_op.general"
QUANT_OPS = ("IntQuant", "Quant")
ROUNDING = "HALF_UP"


class QONNX:
    """Scale, zero point and width as float initializers of an IntQuant.

    Args:
        quant_op: "IntQuant", or "Quant", its older name.

    Raises:
        UserError: Another name.
    """

    def __init__(self, quant_op: str = "IntQuant") -> None:
        if quant_op not in QUANT_OPS:
            raise UserError(f"quant_op={quant_op}: choose {' or '.join(QUANT_OPS)}.")
        self.quant_op = quant_op

    def activation(self, b: Mirror, value: str, node: IntegerNode, result: str) -> None:
        """Add an IntQuant of the format's width."""
        fmt = node.format
        numbers = steps(fmt), fmt.zero_point, fmt.bits
        self._quantise(b, value, numbers, result, signed=fmt.signed, narrow=False)

    def moved(self, b: Mirror, value: str, node: IntegerNode, result: str) -> str:
        """Add nothing."""
        return value

    def stored(self, b: Mirror, codes: Values, node: IntegerNode, result: str) -> str:
        """Add the real values as they are."""
        return b.number(real_values(codes, node.format), "value")

    def weight(self, b: Mirror, codes: Values, scale: Values, axis: int, source: Format) -> str:
        """Add integers, cast and scaled, and an IntQuant of the width that holds them."""
        peak = int(np.abs(codes).max())
        stored = b.constant(narrowest(codes), "weight_codes")
        factors = channelwise(positive(scale), codes.ndim, axis)
        real = b.cast_and_scaled(stored, factors)
        numbers = factors, 0, max(peak.bit_length() + 1, 2)
        name = f"{b.current.name}/weight"
        narrow = int(codes.min()) > -(2 ** (numbers[2] - 1))
        self._quantise(b, real, numbers, name, signed=True, narrow=narrow)
        return name

    def bias(self, b: Mirror, codes: Values, scale: Values) -> str:
        """Add the real biases as they are."""
        return b.number(codes * scale, "bias")

    def _quantise(
        self,
        b: Mirror,
        value: str,
        numbers: tuple[Values, int, int],
        result: str,
        *,
        signed: bool,
        narrow: bool,
    ) -> None:
        scale, zero, bits = numbers
        names = [b.number(scale, "scale"), b.shared(zero, "zero_point"), b.shared(bits, "bits")]
        b.add(
            self.quant_op,
            [value, *names],
            result,
            domain=DOMAIN,
            signed=int(signed),
            narrow=int(narrow),
            rounding_mode=ROUNDING,
        )
