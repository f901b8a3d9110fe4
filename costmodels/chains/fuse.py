"""Chains on a grid's accelerators: each is taken where it is quicker than layer by layer."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from costmodels.board import Board
from costmodels.chains.bands import cut
from costmodels.chains.busy import Hardware
from costmodels.chains.detect import Chain, Stage, find_chains
from costmodels.chains.price import ChainPrice, price_chain
from costmodels.cost import BOUNDS, ChainCost
from costmodels.engines import Plan
from costmodels.grid import Grid
from costmodels.latency import ArrayCycles, Chained, Timing
from costmodels.systolic import Integers
from costmodels.workload import Workload


def fuse_chains(
    timing: Timing,
    workload: Workload,
    planned: Plan,
    sizes: tuple[Integers, Integers],
    grid: Grid,
    board: Board,
    array_cycles: ArrayCycles,
) -> Timing:
    """Return the timing with each chain where it is quicker than its operations one by one.

    Or as quick with fewer bytes. The operations of a chain share its cycles in proportion to what
    each would wait for alone, one cycle each at least; their engines' cycles and their bytes are
    what they are in the chain.

    Args:
        timing: Cycles and bytes of every operation, layer by layer.
        workload: The network.
        planned: Its layers on their engines.
        sizes: Rows and columns of each piece's engine (`engines.engine_sizes`).
        grid: The accelerators.
        board: Their board.
        array_cycles: Cycles of layers on arrays.
    """
    per_cycle = [board.bytes_per_cycle(clock) for clock in grid.clock_mhz.tolist()]
    hardware = Hardware(planned, *sizes, grid, 8 * np.array(per_cycle), array_cycles)
    chains = _nameless_chains(workload)
    fused = _Fused(timing)
    prices: dict[Any, ChainPrice] = {}
    for place, (chain, nameless) in enumerate(chains):
        key = _shape(nameless, planned)
        if key not in prices:
            prices[key] = price_chain(nameless, hardware)
        fused.add(place, chain, prices[key], hardware.bits_per_cycle)
    return fused.timing(chains, [prices[_shape(nameless, planned)] for _, nameless in chains])


@lru_cache(maxsize=64)
def _nameless_chains(workload: Workload) -> tuple[tuple[Chain, Chain], ...]:
    """Return the chains of a workload, each also without names: networks repeat their blocks."""
    return tuple((chain, _nameless(chain)) for chain in find_chains(workload))


def _nameless(chain: Chain) -> Chain:
    stages = tuple(
        replace(
            stage,
            operation=replace(stage.operation, name="", inputs=()),
            fused=tuple(replace(op, name="", inputs=(), fused_into="") for op in stage.fused),
        )
        for stage in chain.stages
    )
    return replace(chain, name="", stages=stages)


def _shape(chain: Chain, planned: Plan) -> tuple[Any, ...]:
    """Return what the price of a nameless chain depends on."""
    parts: list[Any] = [chain.kind, chain.units]
    for stage in chain.stages:
        parts += [stage.operation, stage.fused, stage.rows, stage.operand, _engine(stage, planned)]
    return tuple(parts)


def _engine(stage: Stage, planned: Plan) -> Any:
    if stage.index >= len(planned.placements):
        return None
    placement = planned.placements[stage.index]
    return placement.engine, placement.packed


class _Fused:
    """Collects what chains change in a timing."""

    def __init__(self, timing: Timing) -> None:
        self._old = timing
        self._compute, self._vector = timing.compute_cycles.copy(), timing.vector_cycles.copy()
        self._bytes, self._dram = timing.dram_bytes.copy(), timing.dram_cycles.copy()
        self._chain = np.full(timing.cycles.shape, -1, dtype=np.int64)
        self._cycles, self._span = np.zeros_like(self._compute), np.zeros_like(self._compute)
        self._bound = np.zeros(timing.cycles.shape, dtype=np.intp)

    def add(self, place: int, chain: Chain, price: ChainPrice, bits_per_cycle: Any) -> None:
        """Put a chain in the place of its operations on the accelerators where it is better."""
        at = [stage.index for stage in chain.stages]
        before = self._old.cycles[:, at].sum(axis=1)
        fewer = price.dram_bytes.sum(axis=1) < self._old.dram_bytes[:, at].sum(axis=1)
        taken = (price.cycles < before) | ((price.cycles == before) & fewer)
        where = np.ix_(np.flatnonzero(taken), np.array(at, dtype=np.intp))
        dram = np.ceil(price.dram_bytes * 8 / bits_per_cycle[:, None]).astype(np.int64)
        self._compute[where] = price.compute_cycles[taken]
        self._vector[where] = price.vector_cycles[taken]
        self._bytes[where], self._dram[where] = price.dram_bytes[taken], dram[taken]
        self._chain[where] = place
        alone = np.maximum(np.maximum(price.compute_cycles, price.vector_cycles), dram)
        self._cycles[where] = _shares(price.cycles[taken], alone[taken])
        self._span[where] = price.cycles[taken, None]
        self._bound[where] = price.bound[taken, None]

    def timing(self, chains: Sequence[tuple[Chain, Chain]], prices: list[ChainPrice]) -> Timing:
        """Return the timing with the chains."""

        def costs(accelerator: int) -> tuple[ChainCost, ...]:
            taken = set(self._chain[accelerator].tolist()) - {-1}
            return tuple(_chain_cost(chains[i], prices[i], accelerator) for i in sorted(taken))

        names = tuple(chain.name for chain, _ in chains)
        chained = Chained(names, self._chain, self._cycles, self._span, self._bound, costs)
        return replace(
            self._old,
            compute_cycles=self._compute,
            vector_cycles=self._vector,
            dram_cycles=self._dram,
            dram_bytes=self._bytes,
            chained=chained,
        )


def _shares(cycles: Integers, weights: Integers) -> Integers:
    """Return whole shares of the cycles, (accelerators,), by weights, (accelerators, stages)."""
    count = weights.shape[1]
    ends = np.cumsum(weights, axis=1)
    parts = np.floor((cycles - count)[:, None] * (ends / ends[:, -1:])).astype(np.int64)
    return 1 + np.diff(parts, axis=1, prepend=0)


def _chain_cost(pair: tuple[Chain, Chain], price: ChainPrice, accelerator: int) -> ChainCost:
    """Return what a chain, with names and without, is on one accelerator."""
    chain, nameless = pair
    cuts, choice = cut(nameless), int(price.choice[accelerator])
    resident = bool(price.resident[accelerator])
    held = cuts.held_bits[choice] + resident * cuts.static_bits
    in_input, in_weight, in_output = (-(-bits // 8) for bits in held.tolist())
    return ChainCost(
        chain.name,
        chain.kind,
        chain.operations,
        int(cuts.bands[choice]) * chain.units,
        int(cuts.height[choice]),
        resident,
        int(price.cycles[accelerator]),
        BOUNDS[int(price.bound[accelerator])],
        in_input,
        in_weight,
        in_output,
    )
