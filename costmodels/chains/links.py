"""Who reads whose result in a workload, of operations that have a cost of their own."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from costmodels.vector_unit import function_of
from costmodels.workload import MatrixLayer, VectorOperation, Workload

Operation = MatrixLayer | VectorOperation


@dataclass(frozen=True)
class Group:
    """An operation with what is fused into it, and its place in `latency.Timing`."""

    operation: Operation
    fused: tuple[VectorOperation, ...]
    index: int


def groups_of(workload: Workload) -> list[Group]:
    """Return the operations in execution order, each with the work fused into it."""
    fused: dict[str | None, list[VectorOperation]] = {}
    for work in workload.vector_operations:
        fused.setdefault(work.fused_into, []).append(work)
    groups: list[Group] = []
    layers, alone = 0, len(workload.layers)
    for operation in workload.operations:
        if isinstance(operation, MatrixLayer):
            groups.append(Group(operation, tuple(fused.get(operation.name, ())), layers))
            layers += 1
        elif operation.fused_into is None:
            groups.append(Group(operation, (), alone))
            alone += 1
    return groups


def links_of(groups: Sequence[Group]) -> dict[int, int]:
    """Return the operations that alone read the one before them, and as which operand."""
    owners: Counter[str] = Counter()
    owner: dict[str, int] = {}
    for place, group in enumerate(groups):
        for name in (group.operation.name, *(op.name for op in group.fused)):
            owner[name] = place
            owners[name] += 1
    readers: dict[int, list[int]] = {}
    for place, group in enumerate(groups):
        own = {group.operation.name, *(op.name for op in group.fused)}
        outside = [name for op in group.fused for name in op.inputs if name not in own]
        for name in (*group.operation.inputs, *outside):
            if name in owner:
                readers.setdefault(owner[name], []).append(place)
    links = {}
    for place in range(1, len(groups)):
        before, after = groups[place - 1], groups[place].operation
        names = [op.name for op in (before.operation, *before.fused)]
        given = [i for i, name in enumerate(after.inputs) if name in names]
        if (
            readers.get(place - 1) == [place]
            and len(given) == 1
            and all(owners[name] == 1 for name in names)
            and _read(after, given[0]) == _written(before.operation)
        ):
            links[place] = given[0]
    return links


def _read(operation: Operation, operand: int) -> int:
    if isinstance(operation, VectorOperation):
        return operation.elements
    return operation.weight_elements if operand else operation.input_elements


def _written(operation: Operation) -> int:
    if isinstance(operation, VectorOperation):
        return operation.elements // (operation.row_length if function_of(operation).reduces else 1)
    return operation.output_elements


def is_kind(group: Group, kind: str) -> bool:
    """Return whether it is a matrix layer of a kind."""
    return getattr(group.operation, "kind", None) == kind


def is_pointwise(group: Group) -> bool:
    """Return whether it is a layer that maps each row, a token or a pixel, by itself."""
    layer = group.operation
    return (
        isinstance(layer, MatrixLayer)
        and layer.kind in ("conv", "linear")
        and layer.kernel_height == layer.kernel_width == layer.repeats == 1
        and layer.stride_height == layer.stride_width == 1
    )


def is_element_wise(operation: Operation, row_length: int) -> bool:
    """Return whether each result depends on its own place, or row of that length, alone."""
    return (
        isinstance(operation, VectorOperation)
        and not function_of(operation).reduces
        and operation.function != "concat"
        and operation.row_length in (1, row_length)
    )
