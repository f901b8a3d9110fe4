"""Workloads as JSON: what an export bundle's workload.json holds."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from costmodels.errors import CostModelError
from costmodels.workload import MatrixLayer, VectorOperation, Workload

_KINDS: dict[str, type[MatrixLayer] | type[VectorOperation]] = {
    "matrix": MatrixLayer,
    "vector": VectorOperation,
}


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        CostModelError: It cannot be read.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CostModelError(f"{path} cannot be read as JSON: {error}") from None


def load_workload(path: Path) -> Workload:
    """Read a workload from a JSON file.

    Raises:
        CostModelError: The file cannot be read or is no workload; the message says where.
    """
    return workload_from_json(read_json(path), str(path))


def workload_json(workload: Workload) -> dict[str, Any]:
    """Return a workload as JSON-able values."""
    names = {kind: name for name, kind in _KINDS.items()}
    return {
        "schema_version": 1,
        "name": workload.name,
        "parameter_bits": workload.parameter_bits,
        "operations": [{"is": names[type(op)], **asdict(op)} for op in workload.operations],
    }


def workload_from_json(values: Any, where: str = "workload") -> Workload:
    """Return the workload that JSON values hold; `check_workload` checks the figures.

    Raises:
        CostModelError: A key is missing or unknown; the message names it.
    """
    _check_keys(values, {"name", "parameter_bits", "operations"}, {"schema_version"}, where)
    if values.get("schema_version", 1) != 1 or not isinstance(values["operations"], list):
        raise CostModelError(f"{where}: schema_version must be 1 and operations a list")
    operations = tuple(
        _operation(entry, f"{where}: operation {i}") for i, entry in enumerate(values["operations"])
    )
    return Workload(values["name"], operations, values["parameter_bits"])


def _operation(values: Any, where: str) -> MatrixLayer | VectorOperation:
    kind = values.get("is") if isinstance(values, Mapping) else None
    if kind not in _KINDS:
        raise CostModelError(f"{where}: 'is' must be one of {', '.join(_KINDS)}, not {kind!r}")
    known = fields(_KINDS[kind])
    needed = {item.name for item in known if item.default is item.default_factory}
    _check_keys(values, needed, {item.name for item in known} | {"is"}, where)
    given = {key: value for key, value in values.items() if key != "is"}
    if isinstance(given.get("inputs"), list):
        given["inputs"] = tuple(given["inputs"])
    return _KINDS[kind](**given)


def _check_keys(values: Any, needed: set[str], allowed: set[str], where: str) -> None:
    if not isinstance(values, Mapping):
        raise CostModelError(f"{where} must be a mapping, not {values!r:.60}")
    missing, unknown = needed - set(values), set(values) - needed - allowed
    if missing or unknown:
        what = "lacks" if missing else "has the unknown key"
        raise CostModelError(f"{where} {what} {', '.join(sorted(missing or unknown))}")
