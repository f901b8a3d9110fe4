"""Widths of the operands of shift PEs, and the fabric besides PEs: control, reconfiguration."""

from functools import cache

import numpy as np

from costmodels.tables import read_table
from costmodels.vector_unit import Fabric

# LUTs of one level of multiplexers on the operand ports of a DSP48E2 (27 + 18 bits).
_PORT_MUX_LUT = 45
# Largest exponent of a term and largest weight of the APoT codes, by their bits.
_APOT_EXPONENT = {2: 0, 3: 2, 4: 3, 5: 5, 6: 6, 7: 8}
_APOT_LARGEST = {2: 1, 3: 4, 4: 10, 5: 48, 6: 100, 7: 448}


def reconfiguration_lut(modes: int) -> int:
    """Return the LUTs a DSP takes to switch among packings: a multiplexer level for each."""
    return _PORT_MUX_LUT * max(0, modes - 1)


def log2_product_bits(weight_bits: int, activation_bits: int) -> int:
    """Return the width of an activation shifted by the largest exponent.

    The weight is a sign and an exponent of weight_bits - 1 bits, one code of which means zero.
    """
    return activation_bits + (1 << (weight_bits - 1)) - 2


def log2_operand_bits(weight_bits: int) -> int:
    """Return the width of a log2 weight decoded to a signed integer, for use on a multiplier."""
    return 1 << (weight_bits - 1) if weight_bits > 2 else 2


def apot_terms(weight_bits: int) -> int:
    """Return the powers of two that add up to a weight of the APoT code: one a bit pair."""
    return weight_bits // 2


def apot_exponent(weight_bits: int) -> int:
    """Return the largest exponent of a term, in steps of the weight's scale.

    From the level sets of Li, Dong and Wang (ICLR 2020), scaled to whole numbers.
    """
    return _APOT_EXPONENT[weight_bits]


def apot_operand_bits(weight_bits: int) -> int:
    """Return the width of the largest APoT weight as a signed integer, for use on a multiplier."""
    return _APOT_LARGEST[weight_bits].bit_length() + 1


@cache
def control_cost() -> Fabric:
    """Return scheduler, instruction fetch and DMA: what AMD's DPU has besides its array.

    The constant of the least-squares plane through the LUTs and FFs of the eight DPUCZDX8G
    architectures (PG338 v1.2, table 9, low DSP usage) over pixel parallelism and MACs a cycle.
    """
    rows = read_table("dpuczdx8g")
    pixels = np.array([float(row["pixels"]) for row in rows])
    channels = np.array(
        [float(row["input_channels"]) * float(row["output_channels"]) for row in rows]
    )
    design = np.stack([np.ones_like(pixels), pixels, pixels * channels], axis=1)
    resources = np.array([[float(row["lut_low"]), float(row["ff_low"])] for row in rows])
    constant = np.linalg.lstsq(design, resources, rcond=None)[0][0]
    return Fabric(float(constant[0]), float(constant[1]), 2)  # the 2 DSPs beyond the array
