"""JSON Schemas (draft 2020-12) of a bundle's JSON files. One file a schema."""

from typing import Any

from codesign.export.schema.cost import cost_schema
from codesign.export.schema.design import design_schema
from codesign.export.schema.graph import graph_schema
from codesign.export.schema.hardware import hardware_schema
from codesign.export.schema.interchange import interchange_schema
from codesign.export.schema.workload import workload_schema

__all__ = ["bundle_schemas", "design_schema"]


def bundle_schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of each JSON file by the file's name.

    A bundle holds them as `schemas/<name>.schema.json`, for example
    `schemas/hardware.schema.json`.
    """
    return {
        "design.json": design_schema(),
        "hardware.json": hardware_schema(),
        "graph.json": graph_schema(),
        "cost.json": cost_schema(),
        "workload.json": workload_schema(),
        "interchange.json": interchange_schema(),
    }
