"""The chains of a design in hardware.json: what runs in them, band by band, and what they move."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from costmodels.chains import Chain, find_chains
from costmodels.chains.bands import band_sizes, moved_bits, side_bits
from costmodels.estimate import Cost
from costmodels.tiling import Traffic, whole_bytes
from costmodels.workload import MatrixLayer, Workload

Json = dict[str, Any]


def chain_entries(cost: Cost, steps: Sequence[Mapping[str, Any]]) -> list[Json]:
    """Return the chains that run, each with the tensors that never go to DRAM.

    Args:
        cost: The design's cost, which says how each chain is cut.
        steps: The schedule.
    """
    written = {step["name"]: step["output"] for step in steps}
    entries = []
    for chain in cost.chains:
        kept = [written[name] for name in chain.operations[:-1] if written[name] is not None]
        operations = list(chain.operations)
        entries.append({**asdict(chain), "operations": operations, "on_chip": kept})
    return entries


class ChainedSteps:
    """Says of each operation in a chain how bands cut it and what it moves.

    Args:
        workload: What the network asks of hardware, of the whole batch.
        cost: Its cost; says which chains run, and how they are cut.
    """

    def __init__(self, workload: Workload, cost: Cost) -> None:
        found = {chain.name: chain for chain in find_chains(workload)} if cost.chains else {}
        self._traffic: dict[str, tuple[Traffic, int]] = {}
        self._bands: dict[str, Json] = {}
        for priced in cost.chains:
            chain = found[priced.name]
            reads = 1 if priced.resident else priced.bands // chain.units
            sizes = band_sizes(chain, priced.rows)
            for place, stage in enumerate(chain.stages):
                name, operation = stage.operation.name, stage.operation
                self._traffic[name] = _traffic(chain, place, reads)
                if isinstance(operation, MatrixLayer):
                    shape = {"m": operation.m, "n": operation.n, stage.rows.along: sizes[place]}
                    band = {f"band_{axis}": size for axis, size in shape.items()}
                    self._bands[name] = {"bands": priced.bands, **band}

    def __contains__(self, name: str) -> bool:
        return name in self._traffic

    def traffic(self, name: str) -> tuple[Traffic, int]:
        """Return the DRAM bytes of an operation, and those of its fused work's own operands."""
        return self._traffic[name]

    def bands(self, name: str) -> Json:
        """Return how the bands cut a matrix layer."""
        return self._bands[name]


def _traffic(chain: Chain, place: int, reads: int) -> tuple[Traffic, int]:
    side = sum(-(-bits // 8) for bits in side_bits(chain.stages[place]))
    read, weights, constants, written = whole_bytes(moved_bits(chain, place, reads))
    return Traffic(read, weights, constants, written, None), side
