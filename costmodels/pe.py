"""LUTs, flip-flops and DSPs of one PE, or of one DSP and the PEs it serves.

The PEs are those of `reference/pe/*.v`. `python -m costmodels.characterize` synthesised them for
every width pair from 2 to 8 bits (`reference/pe.csv`); what the table does not hold comes from
fits to it. An accumulator bit more is a LUT and a flip-flop more. Two profiles price a multiplier
in LUTs: "yosys" as synthesised, "finn" by the formula of FINN-R, made for Vivado.
"""

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache

import numpy as np

from costmodels.checks import check_sizes
from costmodels.errors import CostModelError
from costmodels.fabric import log2_product_bits
from costmodels.packing import Packing, port_adder_bits
from costmodels.tables import read_table
from costmodels.vector_unit import Fabric

PROFILES = ("yosys", "finn")


@lru_cache(maxsize=None, typed=True)  # what only equals a width is checked too
def dsp_pe_group(
    weight_bits: int,
    activation_bits: int,
    accumulator_bits: int,
    packed: Packing,
    dsp_type: str = "DSP48E2",
) -> Fabric:
    """Return the fabric of one DSP and the PEs it serves.

    Alone, a product accumulates inside the DSP and only the operand registers remain. Packed, the
    values are added up on the ports, and each product is separated, given back its borrow by the
    carry and accumulated in fabric. Equal to Yosys 0.70 (xc7) in every case of `reference/pe.csv`;
    Yosys leaves the pre-adder and the result register of a DSP48E2 unused, which is not counted.

    Raises:
        CostModelError: A width is not a positive whole number.
    """
    _check_widths(weight_bits, activation_bits, accumulator_bits)
    operands = packed.weights * weight_bits + packed.activations * activation_bits
    if packed.products == 1:
        return Fabric(0, operands, 1)
    sums = packed.products * accumulator_bits
    adders = port_adder_bits(packed, weight_bits, activation_bits, dsp_type)
    return Fabric(sums + adders, operands + sums, 1)


@lru_cache(maxsize=None, typed=True)  # what only equals a width is checked too
def lut_pe(
    weight_bits: int, activation_bits: int, accumulator_bits: int, profile: str = "yosys"
) -> Fabric:
    """Return one PE with its multiplier in LUTs: two operands, product and sum are registered.

    Args:
        weight_bits: Width of the weight.
        activation_bits: Width of the activation.
        accumulator_bits: Width of the sum.
        profile: "yosys", or "finn": (2 ceil((w + a) / 6) - 1) (w + a) LUTs for the product (Blott
            et al., FINN-R, ACM TRETS 2018, as FINN's resource estimation has it).

    Raises:
        CostModelError: The profile is unknown, or a width is not a positive whole number.
    """
    check_profile(profile)
    _check_widths(weight_bits, activation_bits, accumulator_bits)
    product = weight_bits + activation_bits
    if profile == "finn":
        multiplier: float = (2 * -(-product // 6) - 1) * product
    else:
        multiplier = _logic("uniform", weight_bits, activation_bits)
    return Fabric(multiplier + accumulator_bits, 2 * product + accumulator_bits, 0)


@lru_cache(maxsize=None, typed=True)  # what only equals a width is checked too
def log2_pe(weight_bits: int, activation_bits: int, accumulator_bits: int) -> Fabric:
    """Return one PE that multiplies by zero or a power of two: a shifter and an accumulator.

    FINN has no such PE, so that there is one figure for both profiles.

    Raises:
        CostModelError: The code is below 2 bits, or a width is not a positive whole number.
    """
    _check_widths(weight_bits, activation_bits, accumulator_bits)
    if weight_bits < 2:
        raise CostModelError("log2 weights take at least 2 bits: a sign and an exponent")
    lut = _logic("log2", weight_bits, activation_bits) + accumulator_bits
    return Fabric(lut, accumulator_bits + activation_bits + weight_bits, 0)


def _check_widths(weight_bits: int, activation_bits: int, accumulator_bits: int) -> None:
    check_sizes(
        "PE",
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        accumulator_bits=accumulator_bits,
    )


def check_profile(profile: str) -> None:
    """Check the name of a profile.

    Raises:
        CostModelError: It is unknown.
    """
    if profile not in PROFILES:
        raise CostModelError(f"unknown fabric '{profile}'. Known: {', '.join(PROFILES)}.")


def fit_logic(kind: str, luts: Mapping[tuple[int, int], float]) -> tuple[float, ...]:
    """Return the coefficients of the least squares fit to LUTs less the accumulator's bits.

    Errors count in proportion. Multipliers ("uniform") are a plane over w a and w + a; shifters
    ("log2") over the product's width, a, and (w - 1) a, the multiplexer levels times a.

    Args:
        kind: "uniform" or "log2".
        luts: LUTs by width of weight and activation.
    """
    rows = np.array([_features(kind, *widths) for widths in luts], dtype=float)
    values = np.array(list(luts.values()), dtype=float)
    found = np.linalg.lstsq(rows / values[:, None], np.ones_like(values), rcond=None)[0]
    return tuple(float(value) for value in found)


def fitted_logic(kind: str, weight_bits: int, activation_bits: int, fit: Sequence[float]) -> float:
    """Return the LUTs of a PE without its accumulator by coefficients of `fit_logic`."""
    return max(0.0, float(np.dot(_features(kind, weight_bits, activation_bits), fit)))


@cache
def synthesised_logic(kind: str) -> dict[tuple[int, int], float]:
    """Return the LUTs less the accumulator's bits by width of weight and activation.

    Of the output-stationary PEs with accumulators of the product and ten bits, at most 32.
    """
    found = {}
    for row in read_table("pe"):
        w, a, bits = (int(row[f"{name}_bits"]) for name in ("weight", "activation", "accumulator"))
        product = log2_product_bits(w, a) if kind == "log2" else w + a
        single = row["dataflow"] == "os" and row["rows"] == "0" and row["kind"] == kind
        if single and bits == min(32, product + 10) and w <= 8:
            found[w, a] = float(row["lut"]) - bits
    return found


def _features(kind: str, weight_bits: int, activation_bits: int) -> tuple[float, ...]:
    w, a = weight_bits, activation_bits
    if kind == "uniform":
        return w * a, w + a, 1.0
    return log2_product_bits(w, a), a, (w - 1) * a, 1.0


@cache
def _fit(kind: str) -> tuple[float, ...]:
    return fit_logic(kind, synthesised_logic(kind))


@cache
def _logic(kind: str, weight_bits: int, activation_bits: int) -> float:
    known = synthesised_logic(kind).get((weight_bits, activation_bits))
    if known is not None:
        return known
    return fitted_logic(kind, weight_bits, activation_bits, _fit(kind))
