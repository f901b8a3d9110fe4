"""Cost: what the models say a workload takes on an accelerator, as plain values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass  # not frozen: every estimate makes one an operation, and frozen ones are slow to make
class LayerCost:
    """The cost of one operation on the FPGA template, for all images of the batch.

    Attributes:
        name: Name of the operation; fused vector work is counted in its matrix layer.
        engine: "mac_array", "shift_array", "depthwise" or "vector".
        cycles: Clock cycles from first to last, max of compute and DRAM (double buffered).
        compute_cycles: Cycles of the engine alone.
        vector_cycles: Cycles of the vector unit for the work fused into the layer.
        dram_cycles: Cycles the DRAM needs for `dram_bytes`.
        dram_bytes: Bytes moved to and from DRAM.
        bound_by: "array", "vector" or "dram": which of the three sets `cycles`.
        utilisation: Multiply-accumulates over the engine's capacity in `cycles`, 0 to 1 (0 where
            the operation has none).
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


@dataclass(frozen=True)
class Cost:
    """Every cost figure of one workload on one accelerator, with how good each is.

    Attributes:
        metrics: Value by dotted name, for example "fpga.latency_ms"; the unit ends the name.
        layers: Cost of each operation, in execution order.
        provenance: What backs the figures, by the longest matching prefix of the metric's name.
        batch: Images that run together.
    """

    metrics: Mapping[str, float]
    layers: tuple[LayerCost, ...]
    provenance: Mapping[str, str]
    batch: int = 1

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
            "provenance": dict(self.provenance),
        }


def _covers(prefix: str, metric: str) -> bool:
    return metric == prefix or metric.startswith(prefix + ".")
