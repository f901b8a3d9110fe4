"""Energy for one image: relative figures, to rank designs with, not to size a supply by.

Energies per event are rules of thumb for 16 nm devices, recalled from the literature and not
measured on a board: a DSP cycle 2 to 4 pJ, a BRAM36 access 10 to 20 pJ for 72 bits, DDR4 with
controller and PHY 15 to 20 pJ a bit, a Zynq UltraScale+ 2.5 to 4 W at rest.
"""

from collections.abc import Sequence

from costmodels.cost import LayerCost
from costmodels.engines import Placement, lane_widths
from costmodels.fabric import log2_product_bits
from costmodels.operands import operand_bits, shift_code_bits
from costmodels.vector_unit import function_of
from costmodels.workload import VectorOperation

DSP_PJ = 3.0
BUFFER_PJ_PER_BIT = 15.0 / 72
DRAM_PJ_PER_BIT = 17.0
STATIC_W = 3.0


def energy_mj(
    placements: Sequence[Placement],
    layers: Sequence[LayerCost],
    operations: Sequence[VectorOperation],
    dataflow: str,
    seconds: float,
) -> float:
    """Return the energy in millijoules of one image that takes `seconds`."""
    cost = {layer.name: layer for layer in layers if layer.engine != "vector"}
    picojoules = 0.0
    for placement in placements:
        layer = cost[placement.layer.name]
        read = sum(lane_widths(placement, dataflow)[:2]) * layer.compute_cycles / placement.passes
        written = placement.layer.output_elements * placement.accumulator_bits
        for part in placement.parts or (placement,):
            picojoules += part.layer.macs * mac_pj(part)
        picojoules += (read + written) * BUFFER_PJ_PER_BIT
    for operation in operations:
        picojoules += operation.elements * function_of(operation).passes * DSP_PJ
    picojoules += sum(layer.dram_bytes for layer in layers) * 8 * DRAM_PJ_PER_BIT
    return picojoules * 1e-9 + STATIC_W * seconds * 1e3


def mac_pj(placement: Placement) -> float:
    """Return the picojoules of one multiply-accumulate.

    A DSP's energy is shared by the products packed into it; a shift-add costs in proportion to the
    width of its product, set against the 16 bits of an 8 x 8 product, and there is one a term. A
    multiplier in LUTs costs in proportion to its partial products, 64 of an 8 x 8 product.
    """
    layer = placement.layer
    if placement.in_luts:
        return DSP_PJ * operand_bits(layer) * layer.activation_bits / 64
    if placement.packed.products == 0:
        product = log2_product_bits(shift_code_bits(layer), layer.activation_bits)
        return placement.passes * DSP_PJ * product / 16
    return DSP_PJ / placement.packed.products
