"""The schema of cost.json."""

from typing import Any

from codesign.export.schema.terms import (
    Schema,
    choice,
    closed,
    document,
    items,
    mapping,
    real,
    string,
    whole,
)
from costmodels.cost import BOUNDS

ENGINES = ("mac_array", "shift_array", "mac_array+shift_array", "depthwise", "vector")
CHAINS = ("attention", "separable", "mlp")


def cost_schema() -> dict[str, Any]:
    """Return the schema of the cost, by operation and in all."""
    return document(
        "What the cost models say of a design",
        {
            "batch": whole("images that run together", 1),
            "metrics": mapping(
                real("value in the unit that ends the name: ms, mj, kb, mb (1e6 bytes), pct"),
                "figure by dotted name; times and bytes of the batch, energy of one image",
            ),
            "layers": items(
                closed(operation_cost()), "the operations in the order in which they run"
            ),
            "chains": items(closed(chain_cost()), "the chains that run, in that order"),
            "provenance": mapping(string(), "what backs a figure, by the longest prefix"),
            "trial_metrics": mapping({"type": "number"}, "what the search measured, by name"),
        },
    )


def operation_cost() -> dict[str, Schema]:
    """Return the properties of one operation's cost."""
    return {
        "name": string("the operation; timm module path of a layer"),
        "engine": choice(ENGINES, "what runs it"),
        "cycles": whole("clock cycles, the longest of array, vector and DRAM; of a chain a share"),
        "compute_cycles": whole("clock cycles of the array or depthwise engine"),
        "vector_cycles": whole("clock cycles of the vector unit"),
        "dram_cycles": whole("clock cycles the DRAM needs for dram_bytes"),
        "dram_bytes": whole("bytes moved to and from DRAM"),
        "bound_by": choice(BOUNDS, "which of the three sets the cycles, of a chain all of them"),
        "utilisation": {
            "description": "multiply-accumulates over the engine's capacity in these cycles",
            "type": "number",
            "minimum": 0,
            "maximum": 1,
        },
        "chain": {
            "description": "the chain it runs in, null where it runs alone",
            "anyOf": [string(), {"type": "null"}],
        },
    }


def chain_cost() -> dict[str, Schema]:
    """Return the properties of a chain."""
    held = "bytes of codes, and of weights that stay, in each half of the buffer"
    return {
        "name": string("its first operation"),
        "kind": choice(CHAINS, "what is fused"),
        "operations": items(string(), "what runs in it, in order, fused work with its layer"),
        "bands": whole("bands, of all heads and windows together", 1),
        "rows": whole("rows (pixels), tokens or queries of the result in a band", 1),
        "resident": {
            "description": "weights, or keys and values of a head, are read once; else every band",
            "type": "boolean",
        },
        "cycles": whole("clock cycles of all bands", 1),
        "bound_by": choice(BOUNDS, "which is busy longest"),
        **{f"{name}_bytes": whole(held) for name in ("input", "weight", "output")},
    }
