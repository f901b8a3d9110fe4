"""Cost: what the models say a workload takes on an accelerator, as plain values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

BOUNDS = ("array", "vector", "dram")
"""What can set the time of an operation: its array or depthwise engine, vector unit or DRAM."""


@dataclass  # not frozen: every estimate makes one an operation, and frozen ones are slow to make
class LayerCost:
    """The cost of one operation on the FPGA template, for all images of the batch.

    Attributes:
        name: Name of the operation; fused vector work is counted in its matrix layer.
        engine: "mac_array", "shift_array", "depthwise" or "vector".
        cycles: Clock cycles from first to last, max of compute and DRAM (double buffered); of an
            operation in a chain its share of the chain's, so that all operations add up.
        compute_cycles: Cycles of the engine alone.
        vector_cycles: Cycles of the vector unit for the work fused into the layer.
        dram_cycles: Cycles the DRAM needs for `dram_bytes`.
        dram_bytes: Bytes moved to and from DRAM.
        bound_by: "array", "vector" or "dram": which of the three sets `cycles`, those of the whole
            chain in a chain.
        utilisation: Multiply-accumulates over the engine's capacity in `cycles`, in a chain in the
            cycles of all of it, 0 to 1 (0 where the operation has none).
        chain: Name of the chain that it runs in, None where it runs alone.
    """

    name: str
    engine: str
    cycles: int
    compute_cycles: int
    vector_cycles: int
    dram_cycles: int
    dram_bytes: int
    bound_by: str
    utilisation: float
    chain: str | None = None


@dataclass(frozen=True)
class ChainCost:
    """Operations that run as one chain, band of rows by band (`costmodels.chains`).

    Attributes:
        name: Name of its first operation.
        kind: "attention", "separable" or "mlp".
        operations: Names of its operations, in order; work fused into a layer goes with it.
        bands: Bands, of all heads and windows together.
        rows: Rows of the last result (of pixels, tokens or queries) that a band has; the first and
            the last band may have others.
        resident: Whether weights, or the keys and values of a head, are read from DRAM once and
            stay on chip; else they are read for every band.
        cycles: Clock cycles of all its bands.
        bound_by: Which of array, vector unit and DRAM is busy longest.
        input_bytes: What the chain holds in each half of the input buffer.
        weight_bytes: Likewise in the weight buffer.
        output_bytes: Likewise in the output buffer, partial sums aside.
    """

    name: str
    kind: str
    operations: tuple[str, ...]
    bands: int
    rows: int
    resident: bool
    cycles: int
    bound_by: str
    input_bytes: int
    weight_bytes: int
    output_bytes: int


@dataclass(frozen=True)
class Cost:
    """Every cost figure of one workload on one accelerator, with how good each is.

    Attributes:
        metrics: Value by dotted name, for example "fpga.latency_ms"; the unit ends the name.
        layers: Cost of each operation, in execution order.
        provenance: What backs the figures, by the longest matching prefix of the metric's name.
        batch: Images that run together.
        chains: The chains that the design runs, in execution order.
    """

    metrics: Mapping[str, float]
    layers: tuple[LayerCost, ...]
    provenance: Mapping[str, str]
    batch: int = 1
    chains: tuple[ChainCost, ...] = ()

    def source(self, metric: str) -> str:
        """Return what backs `metric`: the provenance under the longest prefix of its name.

        Raises:
            KeyError: No prefix of the name has a provenance.
        """
        prefixes = [prefix for prefix in self.provenance if _covers(prefix, metric)]
        if not prefixes:
            raise KeyError(metric)
        return self.provenance[max(prefixes, key=len)]

    def to_json(self) -> dict[str, Any]:
        """Return the cost as JSON-able values."""
        return {
            "batch": self.batch,
            "metrics": dict(self.metrics),
            "layers": [asdict(layer) for layer in self.layers],
            "chains": [
                asdict(chain) | {"operations": list(chain.operations)} for chain in self.chains
            ],
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Cost":
        """Rebuild a cost from `to_json`'s values; older ones are of one image, without chains.

        Raises:
            KeyError: A key is missing.
            TypeError: A layer or a chain has other keys.
        """
        layers = tuple(LayerCost(**layer) for layer in values["layers"])
        chains = tuple(
            ChainCost(**{**chain, "operations": tuple(chain["operations"])})
            for chain in values.get("chains", ())
        )
        batch = values.get("batch", 1)
        return cls(values["metrics"], layers, values["provenance"], batch, chains)


def _covers(prefix: str, metric: str) -> bool:
    return metric == prefix or metric.startswith(prefix + ".")
