"""Energy for one image: relative figures, to rank designs with, not to size a supply by.

Energies per event are rules of thumb for 16 nm devices, recalled from the literature and not
measured on a board: a DSP cycle 2 to 4 pJ, a BRAM36 access 10 to 20 pJ for 72 bits, DDR4 with
controller and PHY 15 to 20 pJ a bit, a Zynq UltraScale+ 2.5 to 4 W at rest.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from costmodels.engines import Placement, Plan
from costmodels.fabric import log2_product_bits
from costmodels.latency import Timing
from costmodels.operands import operand_bits, shift_code_bits
from costmodels.systolic import Integers
from costmodels.vector_unit import function_of
from costmodels.workload import VectorOperation

DSP_PJ = 3.0
BUFFER_PJ_PER_BIT = 15.0 / 72
DRAM_PJ_PER_BIT = 17.0
STATIC_W = 3.0


def energy_mj(
    planned: Plan,
    widths: Integers,
    timing: Timing,
    operations: Sequence[VectorOperation],
    seconds: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the energy in millijoules of one image on every accelerator of a grid.

    Args:
        planned: The layers on their engines.
        widths: Bits a cycle that each layer reads and writes, shape (accelerators, layers, 3).
        timing: Cycles and bytes of every operation.
        operations: All vector operations.
        seconds: Time of an image, shape (accelerators,).
    """
    placements = planned.placements
    passes = np.array([placement.passes for placement in placements], dtype=np.int64)
    compute = timing.compute_cycles[:, : len(placements)]
    read = ((widths[..., 0] + widths[..., 1]) * compute / passes).sum(axis=1)
    written = sum(p.layer.output_elements * p.accumulator_bits for p in placements)
    macs = sum(piece.layer.macs * mac_pj(piece) for piece in planned.pieces)
    vector = sum(op.elements * function_of(op).passes * DSP_PJ for op in operations)
    moved = timing.dram_bytes.sum(axis=1) * 8 * DRAM_PJ_PER_BIT
    picojoules = macs + vector + (read + written) * BUFFER_PJ_PER_BIT + moved
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
