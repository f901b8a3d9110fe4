"""How wide a layer's operands and sums are: as a multiplier and as a shift PE takes them."""

from functools import cache

from costmodels.fabric import (
    apot_exponent,
    apot_operand_bits,
    log2_operand_bits,
    log2_product_bits,
)
from costmodels.workload import MatrixLayer

MAX_ACCUMULATOR_BITS = 32


def operand_bits(layer: MatrixLayer) -> int:
    """Return the width of the layer's weights as a multiplier takes them."""
    if layer.weight_scheme == "uniform":
        return layer.weight_bits
    if layer.weight_scheme == "apot":
        return apot_operand_bits(layer.weight_bits)
    return log2_operand_bits(layer.weight_bits)


def shift_code_bits(layer: MatrixLayer) -> int:
    """Return the width of the sign and exponent that a shift PE takes.

    A term of an APoT weight has a log2 code wide enough for its largest exponent.
    """
    return _term_bits(layer.weight_bits) if layer.weight_scheme == "apot" else layer.weight_bits


@cache
def _term_bits(weight_bits: int) -> int:
    """Return the width of the log2 code of a term of APoT weights of so many bits."""
    return next(w for w in range(2, 6) if (1 << (w - 1)) - 2 >= apot_exponent(weight_bits))


def accumulator_bits(layer: MatrixLayer) -> int:
    """Return the width that holds any sum of the layer's products, at most 32 bits.

    Lowering proves that no layer overflows 32 bits, so no accumulator is wider.
    """
    if layer.weight_scheme == "log2":
        product = log2_product_bits(layer.weight_bits, layer.activation_bits)
    else:
        product = operand_bits(layer) + layer.activation_bits
    return min(MAX_ACCUMULATOR_BITS, product + (layer.k - 1).bit_length())
