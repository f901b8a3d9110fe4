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

ENGINES = ("mac_array", "shift_array", "mac_array+shift_array", "depthwise", "vector")
BOUNDS = ("array", "vector", "dram")


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
            "provenance": mapping(string(), "what backs a figure, by the longest prefix"),
            "trial_metrics": mapping({"type": "number"}, "what the search measured, by name"),
        },
    )


def operation_cost() -> dict[str, Schema]:
    """Return the properties of one operation's cost."""
    return {
        "name": string("the operation; timm module path of a layer"),
        "engine": choice(ENGINES, "what runs it"),
        "cycles": whole("clock cycles, the longest of array, vector and DRAM"),
        "compute_cycles": whole("clock cycles of the array or depthwise engine"),
        "vector_cycles": whole("clock cycles of the vector unit"),
        "dram_cycles": whole("clock cycles the DRAM needs for dram_bytes"),
        "dram_bytes": whole("bytes moved to and from DRAM"),
        "bound_by": choice(BOUNDS, "which of the three sets the cycles"),
        "utilisation": {
            "description": "multiply-accumulates over the engine's capacity in these cycles",
            "type": "number",
            "minimum": 0,
            "maximum": 1,
        },
    }
