"""Chains as priced against chains as played, on random networks and accelerators."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import played_chains
import pytest
from chain_workloads import mbconv
from drawn_chains import accelerators, blocks, heads, pairs
from hypothesis import given, settings
from hypothesis import strategies as st
from played_chains import played

from costmodels.accelerator import Accelerator
from costmodels.batch import batched
from costmodels.board import load_board
from costmodels.chains import find_chains
from costmodels.chains.bands import cut, cut_at
from costmodels.chains.busy import Hardware
from costmodels.chains.price import NEVER, price_chain
from costmodels.cost import Cost
from costmodels.engines import engine_sizes, plan
from costmodels.estimate import estimate
from costmodels.grid import Grid
from costmodels.latency import analytical_cycles
from costmodels.workload import Workload

SMALL = Accelerator(mac_rows=8, mac_cols=8, shift_rows=0, shift_cols=0, vector_lanes=4)
FUSED = replace(SMALL, fused_chains=True)


def both(workload: Workload, accelerator: Accelerator = SMALL, **options: Any) -> tuple[Cost, Cost]:
    fusing = replace(accelerator, fused_chains=True)
    return estimate(workload, accelerator, **options), estimate(workload, fusing, **options)


@settings(max_examples=400, deadline=None)
@given(st.one_of(blocks, pairs, heads), accelerators)
def test_every_cut_as_played(workload: Workload, accelerator: Accelerator) -> None:
    """Also those that are not the best: weights that do not stay, keys that come band by band."""
    (chain,) = find_chains(workload)
    board, grid = load_board(accelerator.board), Grid.of(accelerator)
    planned = plan(workload, accelerator, board.dsp_type)
    bits = np.array([8 * board.bytes_per_cycle(accelerator.clock_mhz)])
    sizes = engine_sizes(planned, grid)
    hardware = Hardware(planned, *sizes, grid, bits, analytical_cycles)
    for height in cut(chain).height.tolist():
        made = cut_at(chain, [height])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("costmodels.chains.price.cut", lambda _, made=made: made)
            found = price_chain(chain, hardware)
        total, size = played(workload, accelerator, height) or (NEVER, None)
        assert found.cycles[0] == total
        assert size is None or found.dram_bytes[0].sum() == size


@settings(max_examples=150, deadline=None)
@given(st.one_of(blocks, pairs, heads), accelerators)
def test_the_best_of_the_cuts_as_played(workload: Workload, accelerator: Accelerator) -> None:
    """Every cut is played; the quickest, of equal ones with the fewest bytes, is the price."""
    chain, before = (
        find_chains(workload)[0],
        estimate(workload, replace(accelerator, fused_chains=False)),
    )
    tried = [played(workload, accelerator, h) for h in cut(chain).height.tolist()]
    options = [found for found in tried if found is not None]
    alone = [x for x in before.layers if x.name in chain.operations]
    own = sum(x.cycles for x in alone), sum(x.dram_bytes for x in alone)
    best = min([own, *options])
    cost = estimate(workload, accelerator)
    layers = [x for x in cost.layers if x.name in chain.operations]
    assert (sum(x.cycles for x in layers), sum(x.dram_bytes for x in layers)) == best
    assert bool(cost.chains) == (best != own)
    assert all((x.chain == chain.name) == bool(cost.chains) for x in layers)


@settings(max_examples=60, deadline=None)
@given(st.one_of(blocks, pairs, heads), accelerators, st.sampled_from([1, 3]))
def test_never_slower_and_never_below_the_compulsory_traffic(
    workload: Workload, accelerator: Accelerator, batch: int
) -> None:
    plain, cost = both(workload, replace(accelerator, fused_chains=False), batch=batch)
    assert cost.metrics["fpga.cycles"] <= plain.metrics["fpga.cycles"]
    assert cost.metrics["fpga.cycles"] == sum(layer.cycles for layer in cost.layers)
    moved = sum(layer.dram_bytes for layer in cost.layers)
    images = batched(workload, batch).layers
    if cost.chains:
        least = images[0].input_elements + images[-1].output_elements
        least += sum(layer.weight_elements for layer in images if layer.kind != "matmul")
        assert moved >= least
        assert all(0 <= layer.utilisation <= 1 and layer.cycles > 0 for layer in cost.layers)
    for chain in cost.chains:
        for name in ("input", "weight", "output"):
            half = 1024 * getattr(accelerator, f"{name}_buffer_kb")
            assert 0 <= getattr(chain, f"{name}_bytes") <= half
    assert [layer.name for layer in cost.layers] == [layer.name for layer in plain.layers]


@pytest.mark.parametrize(("size", "stride"), itertools.product((8, 14, 28), (1, 2)))
def test_bands_by_powers_of_two_are_nearly_as_good_as_any(size: int, stride: int) -> None:
    """All heights, not those tried alone: none is more than 15 % quicker."""
    workload = mbconv(size, 16, 64, 16, stride=stride)
    for kilobytes, dataflow in itertools.product((2, 8, 64), ("os", "ws")):
        buffers = {f"{n}_buffer_kb": kilobytes for n in ("input", "weight", "output")}
        accelerator = replace(FUSED, mac_rows=16, mac_cols=16, dataflow=dataflow, **buffers)
        found = estimate(workload, accelerator).metrics["fpga.cycles"]
        assert found <= 1.15 * _best_of_all(workload, accelerator)


def _best_of_all(workload: Workload, accelerator: Accelerator) -> float:
    (chain,) = find_chains(workload)
    rows = chain.stages[-1].rows
    best = estimate(workload, replace(accelerator, fused_chains=False)).metrics["fpga.cycles"]
    for height in range(rows.lag + 1, rows.count + 1):
        one = played_at(workload, accelerator, height)
        best = min(best, one) if one else best
    return best


def played_at(workload: Workload, accelerator: Accelerator, height: int) -> int | None:
    """`played` for a height that is perhaps not tried."""
    made = cut_at(find_chains(workload)[0], [height])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(played_chains, "cut", lambda chain: made)
        found = played(workload, accelerator, height) if len(made.height) else None
    return found[0] if found else None
