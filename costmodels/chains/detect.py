"""Which operations of a workload can form chains: a pure function of the workload.

Three kinds, each of operations that follow one another in execution order, every result but the
last one's read by the next operation alone:

    attention   Q K^T, softmax, P V         by query rows of each head and window
    separable   pointwise, depthwise, pointwise (or two of them)    by rows of pixels
    mlp         two layers that map each row (token, pixel) by itself       by rows

Element-wise vector operations may stand between the layers; a result that anything else reads as
well (a residual, a gate) ends the chain before its reader. Who reads what is as `inputs` of the
operations says; that a result is not cut, repeated or widened on its way is seen in the sizes.
Rows that are only permuted on their way are taken to arrive in order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from costmodels.chains.links import (
    Group,
    groups_of,
    is_element_wise,
    is_kind,
    is_pointwise,
    links_of,
)
from costmodels.chains.rows import Rows, attention_rows, row_by_row, separable_rows
from costmodels.vector_unit import function_of
from costmodels.workload import MatrixLayer, VectorOperation, Workload

SOFTMAXES = frozenset({"softmax", "log_int_softmax", "codebook_softmax", "shiftmax"})


@dataclass(frozen=True)
class Stage:
    """One operation of a chain, with the work fused into its output stage.

    Attributes:
        operation: The layer, or the vector unit's operation between layers.
        fused: The vector operations fused into it.
        index: Where the operation is among all that have a cost of their own: the layers of the
            workload, then the vector operations that stand alone, as `latency.Timing` has them.
        operand: Which operand of a layer the chain gives, 0 or 1; 1 where P V is computed as its
            transpose, V^T P^T.
        rows: How the bands cut it.
    """

    operation: MatrixLayer | VectorOperation
    fused: tuple[VectorOperation, ...]
    index: int
    operand: int
    rows: Rows

    @property
    def works(self) -> tuple[VectorOperation, ...]:
        """What the vector unit does in the stage."""
        operation = self.operation
        return (operation,) if isinstance(operation, VectorOperation) else self.fused


@dataclass(frozen=True)
class Chain:
    """Operations that can run as one, band by band.

    Attributes:
        name: Name of the first operation.
        kind: "attention", "separable" or "mlp".
        units: Independent repetitions, whose bands follow one another: heads x windows.
        stages: Its operations.
    """

    name: str
    kind: str
    units: int
    stages: tuple[Stage, ...]

    @property
    def operations(self) -> tuple[str, ...]:
        """Names of its operations that have a cost of their own."""
        return tuple(stage.operation.name for stage in self.stages)


def find_chains(workload: Workload) -> tuple[Chain, ...]:
    """Return the chains of a workload in execution order; no operation is in two.

    Layers around a depthwise one are taken before pairs of pointwise ones.
    """
    search = _Search(groups_of(workload))
    for find in (search.attention, search.separable, search.mlp):
        for start in range(len(search.groups)):
            find(start)
    return tuple(chain for _, chain in sorted(search.found.items()))


class _Search:
    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = groups
        self.found: dict[int, Chain] = {}
        self._used: set[int] = set()
        self._links = links_of(groups)

    def attention(self, start: int) -> None:
        """Add the chain that begins with a product of queries and keys."""
        if not is_kind(self.groups[start], "matmul"):
            return
        end = self._skip(start, 1, row_length=self._layer(start).n)
        functions = {getattr(g.operation, "function", "") for g in self.groups[start:end]}
        if end in self._links and functions & SOFTMAXES and is_kind(self.groups[end], "matmul"):
            first, second = self._layer(start), self._layer(end)
            operand = self._links[end]
            found = attention_rows(first, second, operand)
            if found:
                rows = [found[0]] * (end - start) + [found[1]]
                self._add("attention", start, end, rows, first.repeats)

    def separable(self, at: int) -> None:
        """Add the chain around a depthwise layer."""
        if not is_kind(self.groups[at], "depthwise"):
            return
        start, end = self._pointwise(at, -1), self._pointwise(at, 1)
        if start == end:
            return
        before = self._layer(start) if start < at else None
        after = self._layer(end) if end > at else None
        found = separable_rows(before, self._layer(at), after)
        if found:
            rows = [found[0]] * (at - start) + [found[1]] + [found[2]] * (end - at)
            self._add("separable", start, end, rows)

    def mlp(self, start: int) -> None:
        """Add the pair of pointwise layers that begins at a place."""
        if start in self._used or not is_pointwise(self.groups[start]):
            return
        end = self._pointwise(start, 1)
        if end != start:
            rows = row_by_row(self._layer(start), self._layer(end))
            if rows:
                self._add("mlp", start, end, [rows] * (end - start + 1))

    def _layer(self, place: int) -> MatrixLayer:
        operation = self.groups[place].operation
        assert isinstance(operation, MatrixLayer)
        return operation

    def _pointwise(self, place: int, step: int) -> int:
        """Return the pointwise layer linked to a place, element-wise work between; else it."""
        end = self._skip(place, step)
        linked = (end if step > 0 else end + 1) in self._links and 0 <= end < len(self.groups)
        found = linked and end not in self._used and is_pointwise(self.groups[end])
        return end if found else place

    def _skip(self, place: int, step: int, row_length: int = 1) -> int:
        """Return the next place, linked element-wise operations passed over."""
        place += step
        while (place if step > 0 else place + 1) in self._links and 0 <= place < len(self.groups):
            if not is_element_wise(self.groups[place].operation, row_length):
                break
            place += step
        return place

    def _add(self, kind: str, start: int, end: int, rows: Sequence[Rows], units: int = 1) -> None:
        places = range(start, end + 1)
        if self._used & set(places):
            return
        stages = tuple(
            Stage(group.operation, group.fused, group.index, self._links[place] if i else 0, cut)
            for i, (place, group, cut) in enumerate(
                zip(places, self.groups[start : end + 1], rows, strict=True)
            )
        )
        if all(_divides(stage, units) for stage in stages):
            self._used |= set(places)
            self.found[start] = Chain(stages[0].operation.name, kind, units, stages)


def _divides(stage: Stage, units: int) -> bool:
    """Return whether all fused work falls evenly on the rows of the bands."""
    rows = units * stage.rows.count * stage.rows.width
    return all(
        op.elements % rows == 0
        and op.elements // rows % op.row_length == 0
        and not function_of(op).reduces
        for op in stage.works
    )
