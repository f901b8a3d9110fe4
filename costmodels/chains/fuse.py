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
    alike: dict[Any, list[int]] = {}
    for place, (_, nameless) in enumerate(chains):
        alike.setdefault(_shape(nameless, planned), []).append(place)
    fused = _Fused(timing, chains)
    for places in alike.values():
        price = price_chain(chains[places[0]][1], hardware)
        fused.add(places, price, hardware.bits_per_cycle)
    return fused.timing()


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

    def __init__(self, timing: Timing, chains: Sequence[tuple[Chain, Chain]]) -> None:
        self._old, self._chains = timing, chains
        self._prices: dict[int, ChainPrice] = {}
        self._compute, self._vector = timing.compute_cycles.copy(), timing.vector_cycles.copy()
        self._bytes, self._dram = timing.dram_bytes.copy(), timing.dram_cycles.copy()
        shape = timing.cycles.shape
        self._chain = np.full(shape, -1, dtype=np.int64)
        self._cycles, self._span = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        self._bound = np.zeros(shape, dtype=np.intp)

    def add(self, places: Sequence[int], price: ChainPrice, bits_per_cycle: Any) -> None:
        """Put chains that are alike in the place of their operations where that is better."""
        at = [stage.index for stage in self._chains[places[0]][0].stages]
        before = self._old.cycles[:, at].sum(axis=1)
        fewer = price.dram_bytes.sum(axis=1) < self._old.dram_bytes[:, at].sum(axis=1)
        taken = np.flatnonzero((price.cycles < before) | ((price.cycles == before) & fewer))
        rows = taken[:, None]
        compute, vector = price.compute_cycles[taken], price.vector_cycles[taken]
        moved, cycles, bound = price.dram_bytes[taken], price.cycles[taken], price.bound[taken]
        dram = np.ceil(moved * 8 / bits_per_cycle[taken, None]).astype(np.int64)
        shares = _shares(cycles, np.maximum(np.maximum(compute, vector), dram))
        for place in places:
            self._prices[place] = price
            at = [stage.index for stage in self._chains[place][0].stages]
            self._compute[rows, at], self._vector[rows, at] = compute, vector
            self._bytes[rows, at], self._dram[rows, at] = moved, dram
            self._chain[rows, at], self._cycles[rows, at] = place, shares
            self._span[rows, at], self._bound[rows, at] = cycles[:, None], bound[:, None]

    def timing(self) -> Timing:
        """Return the timing with the chains."""
        names = tuple(chain.name for chain, _ in self._chains)
        arrays = self._chain, self._cycles, self._span, self._bound
        return replace(
            self._old,
            compute_cycles=self._compute,
            vector_cycles=self._vector,
            dram_cycles=self._dram,
            dram_bytes=self._bytes,
            chained=Chained(names, *arrays, self._costs),
        )

    def _costs(self, accelerator: int) -> tuple[ChainCost, ...]:
        taken = sorted(set(self._chain[accelerator].tolist()) - {-1})
        return tuple(_chain_cost(self._chains[i], self._prices[i], accelerator) for i in taken)


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
