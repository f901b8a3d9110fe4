"""What a chain takes on every accelerator of a grid, cut as is best there."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.chains.bands import FIRST, LAST, MIDDLE, cut, moved_bits, side_bits
from costmodels.chains.busy import VECTOR, Hardware, busy_cycles
from costmodels.chains.detect import Chain
from costmodels.chains.pipeline import pipeline_cycles
from costmodels.systolic import Integers, ceil_div

NEVER = np.int64(2**62)


@dataclass(frozen=True)
class ChainPrice:
    """A chain on every accelerator; arrays of shape (accelerators,) or (accelerators, stages).

    Attributes:
        cycles: Clock cycles of all bands, NEVER where no cut fits the buffers.
        choice: The cut that is taken, an index into `bands.cut`.
        resident: Whether weights (keys and values) stay on chip from band to band.
        compute_cycles: Cycles of each stage's array or depthwise engine, all bands together.
        vector_cycles: Likewise of the vector unit.
        dram_bytes: Bytes that each stage moves.
        bound: Which of array, vector and DRAM is busy longest: 0, 1 or 2, the first where equal.
    """

    cycles: Integers
    choice: NDArray[np.intp]
    resident: NDArray[np.bool_]
    compute_cycles: Integers
    vector_cycles: Integers
    dram_bytes: Integers
    bound: NDArray[np.intp]


def price_chain(chain: Chain, hardware: Hardware) -> ChainPrice:
    """Return what a chain takes: the quickest cut that fits, of equal ones the least DRAM traffic.

    Weights stay on chip where they fit beside the bands, and are read for every band elsewhere.
    """
    cuts, halves = cut(chain), hardware.half_bits[:, None]
    fits = np.all(cuts.held_bits <= halves, axis=2)
    resident = np.all(cuts.held_bits + cuts.static_bits <= halves, axis=2)
    busy = busy_cycles(chain, cuts, resident, hardware)
    bands = np.broadcast_to(cuts.bands * chain.units, fits.shape)
    first, middle, last = ([stage[kind] for stage in busy] for kind in (FIRST, MIDDLE, LAST))
    cycles = np.where(fits, pipeline_cycles(first, middle, last, bands), NEVER)
    moved = _moved_bytes(chain, np.where(resident, 1, cuts.bands))
    least = cycles == cycles.min(axis=1, keepdims=True)
    choice = np.where(least, moved.sum(axis=2), NEVER).argmin(axis=1)
    at = np.arange(len(choice)), choice
    totals = [_totals(stage[..., at[0], at[1]], bands[at]) for stage in busy]
    compute = np.stack([total[:VECTOR].max(axis=0) for total in totals], axis=1)
    vector = np.stack([total[VECTOR] for total in totals], axis=1)
    engines = np.sum(totals, axis=0)
    dram = np.ceil(moved[at].sum(axis=1) * 8 / hardware.bits_per_cycle)
    rivals = np.stack([engines[:VECTOR].max(axis=0), engines[VECTOR], dram])
    return ChainPrice(
        cycles[at], choice, resident[at], compute, vector, moved[at], rivals.argmax(axis=0)
    )


def _moved_bytes(chain: Chain, reads: Integers) -> Integers:
    """Return the bytes of each stage where weights are read so many times, with a last axis."""
    made = []
    for place, stage in enumerate(chain.stages):
        fixed = sum(moved_bits(chain, place, 0))
        static = sum(moved_bits(chain, place, 1)) - fixed
        side = sum(-(-bits // 8) for bits in side_bits(stage))
        made.append(ceil_div(fixed + static * reads, 8) + side)
    return np.stack(made, axis=-1)


def _totals(stage: Integers, bands: Integers) -> Integers:
    """Return the cycles of all bands, shape (engines, accelerators)."""
    several = stage[FIRST] + np.maximum(bands - 2, 0) * stage[MIDDLE] + stage[LAST]
    return np.where(bands == 1, stage[LAST], several)
