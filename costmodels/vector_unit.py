"""The vector unit: which circuit does each function, what a lane of it costs, how long it takes.

Every lane holds one circuit of each function the workload uses. The circuits are those of
`reference/vector_unit/*.v`, which compute the integers of `codesign/numerics/README.md` (the tests
simulate them); their resources (`vector_unit.csv`) are synthesis results.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np

from costmodels.errors import CostModelError
from costmodels.systolic import Integers, ceil_div
from costmodels.tables import read_table
from costmodels.workload import VectorOperation


@dataclass(frozen=True)
class Function:
    """How the vector unit does a function.

    Attributes:
        circuit: Module of `reference/vector_unit/*.v`.
        passes: Times each element goes through a lane.
        row_cycles: Extra cycles a row costs its lane (a serial division or root), where rows of
            different lanes proceed together.
        wide_circuit: Module in place of `circuit` for codes of more than 4 bits.
        operands: Streams read from memory when the operation stands alone.
        reduces: One element is written a row, not one an element.
    """

    circuit: str
    passes: int = 1
    row_cycles: int = 0
    operands: int = 1
    reduces: bool = False
    wide_circuit: str = ""


# row_cycles are those of the simulated circuits: a serial root takes a cycle for each bit of the
# root, a serial divider one for each bit of the quotient. Shift-Swish and ShiftGELU are one
# circuit: only the constant `unit`, the codes that make 1.0, differs. A hard sigmoid is a rescaling
# whose result the clamp cuts off.
FUNCTIONS = {
    "requantize": Function("requantize"),
    "requantize_shift": Function("requantize_shift"),
    "affine": Function("affine"),
    "table": Function("table_lookup"),
    "relu": Function("relu"),
    "relu6": Function("clip"),
    "clip": Function("clip"),
    "hardswish": Function("hardswish"),
    "hardsigmoid": Function("rescale"),
    "shift_swish": Function("shift_swish"),
    "shift_gelu": Function("shift_swish"),
    "softmax": Function("softmax", passes=3),
    "log_int_softmax": Function("log_int_softmax", passes=3),
    "codebook_softmax": Function(
        "codebook_softmax", passes=3, wide_circuit="codebook_softmax_wide"
    ),
    "shiftmax": Function("shiftmax", passes=3, row_cycles=15),
    "layer_norm": Function("layer_norm", passes=2, row_cycles=68),
    "layer_norm_ptf": Function("layer_norm_ptf", passes=2, row_cycles=71),
    "group_norm": Function("group_norm", passes=2, row_cycles=68),
    "rms_norm": Function("rms_norm", passes=2, row_cycles=68),
    "layer_norm_8bit": Function("layer_norm_8bit", passes=2, row_cycles=93),
    "add": Function("add", operands=2),
    "mul": Function("multiply", operands=2),
    "divide": Function("divide", operands=2),
    "log2_divide": Function("log2_divide", operands=2),
    "rescale": Function("rescale"),
    "concat": Function("rescale"),
    "pool": Function("mean_pool", reduces=True),
    "mean": Function("mean_pool", reduces=True),
    "max_pool": Function("max_pool", reduces=True),
}


@dataclass(frozen=True)
class Fabric:
    """Fabric resources: numbers, or arrays with one for each of several accelerators."""

    lut: Any = 0.0
    ff: Any = 0.0
    dsp: Any = 0.0

    def __add__(self, other: "Fabric") -> "Fabric":
        """Return the sum, resource by resource."""
        return Fabric(self.lut + other.lut, self.ff + other.ff, self.dsp + other.dsp)

    def __mul__(self, count: Any) -> "Fabric":
        """Return `count` copies."""
        return Fabric(self.lut * count, self.ff * count, self.dsp * count)


def function_of(operation: VectorOperation) -> Function:
    """Return how the vector unit does the operation.

    Raises:
        CostModelError: The function is not one the vector unit has.
    """
    try:
        return FUNCTIONS[operation.function]
    except KeyError:
        raise CostModelError(
            f"operation '{operation.name}': the vector unit has no function "
            f"'{operation.function}'. Known: {', '.join(sorted(FUNCTIONS))}."
        ) from None


def operation_cycles(operation: VectorOperation, lanes: int) -> int:
    """Return the cycles of one operation on `lanes` lanes, each taking one element a cycle.

    Raises:
        CostModelError: The function is not one the vector unit has.
    """
    return int(cycles_by_lanes([operation], np.array([lanes]))[0, 0])


def cycles_by_lanes(operations: Sequence[VectorOperation], lanes: Integers) -> Integers:
    """Return the cycles of operations on vector units of several sizes.

    Args:
        operations: The operations.
        lanes: Lanes of each vector unit, shape (units,).

    Returns:
        Cycles, shape (units, operations).

    Raises:
        CostModelError: A function is not one the vector unit has.
    """
    columns: list[int] = []
    for operation in operations:
        function = function_of(operation)
        count = -(-operation.elements // operation.row_length)
        columns += [operation.elements, function.passes, count, function.row_cycles]
    elements, passes, rows, row_cycles = np.array(columns, dtype=np.int64).reshape(-1, 4).T
    each = lanes[:, None]
    return ceil_div(elements, each) * passes + ceil_div(rows, each) * row_cycles


def fused_cycles(operations: Sequence[VectorOperation], lanes: int) -> int:
    """Return the cycles of work fused into one layer; see `fused_cycles_by_lanes`."""
    return int(fused_cycles_by_lanes([operations], np.array([lanes]))[0, 0])


def fused_cycles_by_lanes(works: Sequence[Sequence[VectorOperation]], lanes: Integers) -> Integers:
    """Return the cycles of the work fused into each of several layers.

    Element-wise circuits form one pipeline, so the longest counts; functions of several passes
    must wait for whole rows and add up.

    Args:
        works: The operations fused into each layer.
        lanes: Lanes of each vector unit, shape (units,).

    Returns:
        Cycles, shape (units, layers).
    """
    taken = np.zeros((len(lanes), len(works)), dtype=np.int64)
    once: list[VectorOperation] = []
    several: list[VectorOperation] = []
    starts: tuple[dict[int, int], dict[int, int]] = {}, {}  # first operation of each layer
    for i, work in enumerate(works):
        for operation in work:
            waits = function_of(operation).passes > 1
            chosen = several if waits else once
            starts[waits].setdefault(i, len(chosen))
            chosen.append(operation)
    cycles = cycles_by_lanes(once + several, lanes)
    parts = cycles[:, : len(once)], cycles[:, len(once) :]
    for part, first, total in zip(parts, starts, (np.maximum, np.add), strict=True):
        if first:
            taken[:, list(first)] += total.reduceat(part, list(first.values()), axis=1)
    return taken


def operation_bits(operation: VectorOperation) -> tuple[int, int]:
    """Return the DRAM bits that an operation standing alone reads and writes."""
    function = function_of(operation)
    read = operation.elements * function.operands * operation.input_bits
    written = operation.elements // (operation.row_length if function.reduces else 1)
    return read, written * operation.output_bits


def operation_bytes(operation: VectorOperation) -> int:
    """Return the DRAM bytes of an operation that stands alone: operands read, results written."""
    return -(-sum(operation_bits(operation)) // 8)


def lane_cost(operations: Iterable[VectorOperation]) -> Fabric:
    """Return the resources of one lane that does all the operations."""
    operations = list(operations)
    circuits = {circuit_of(op) for op in operations} - {"table_lookup"}
    if "requantize_shift" not in circuits:
        circuits.add("requantize")  # every matrix layer ends in one
    total = _cost_of_all(frozenset(circuits))
    tables = [op.output_bits << op.input_bits for op in operations if op.function == "table"]
    return total + circuit_cost("table_lookup") * (max(tables, default=0) / (8 << 8))


def circuit_of(operation: VectorOperation) -> str:
    """Return the module of `reference/vector_unit/*.v` that does the operation.

    Raises:
        CostModelError: The function is not one the vector unit has.
    """
    function = function_of(operation)
    wide = function.wide_circuit if operation.output_bits > 4 else ""
    return wide or function.circuit


@lru_cache(maxsize=256)
def _cost_of_all(circuits: frozenset[str]) -> Fabric:
    return sum(map(circuit_cost, sorted(circuits)), start=Fabric())


@cache
def circuit_cost(circuit: str) -> Fabric:
    """Return the circuit of one lane by the name of its module, for codes of 8 bits."""
    for row in read_table("vector_unit"):
        if row["module"] == circuit:
            return Fabric(float(row["lut"]), float(row["ff"]), float(row["dsp"]))
    raise KeyError(circuit)
