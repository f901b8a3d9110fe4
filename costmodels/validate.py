"""Checks on what the cost models are given: clear errors instead of meaningless figures."""

import math
from collections.abc import Collection, Sequence
from dataclasses import fields
from operator import attrgetter, ge

from costmodels.accelerator import Accelerator
from costmodels.board import load_board
from costmodels.errors import CostModelError
from costmodels.systolic import DATAFLOWS
from costmodels.vector_unit import function_of
from costmodels.workload import MatrixLayer, VectorOperation, Workload

PRECISIONS = ("static", "reconfigurable")
MAC_PES = ("dsp", "lut")
KINDS = ("conv", "depthwise", "linear", "matmul")
SCHEMES = ("uniform", "log2", "apot", "mixed")
APOT_BITS = (2, 7)

_MAY_BE_ZERO = {"mac_rows", "mac_cols", "shift_rows", "shift_cols", "depthwise_lanes"}
_MAY_BE_ZERO |= {"in_height", "in_width", "in_channels", "out_channels"}
_MAX_BITS = 32


class _Sizes:
    """The fields of an operation that are whole numbers, read at once."""

    def __init__(self, kind: type, words: Collection[str]) -> None:
        self.names = tuple(item.name for item in fields(kind) if item.name not in words)
        self.read = attrgetter(*self.names)
        self.least = tuple(0 if name in _MAY_BE_ZERO else 1 for name in self.names)

    def sound(self, operation: object) -> bool:
        """Return whether all are whole numbers and none is below its least."""
        values = self.read(operation)
        return set(map(type, values)) == {int} and all(map(ge, values, self.least))


# Fields that are checked together are a pair.
_ACCELERATOR_PAIRS = tuple(
    attrgetter(*pair)
    for pair in (
        ("mac_rows", "mac_cols"),
        ("shift_rows", "shift_cols"),
        ("input_buffer_kb", "weight_buffer_kb"),
        ("output_buffer_kb", "vector_lanes"),
        ("depthwise_lanes", "clock_mhz"),
        ("board", "dataflow"),
        ("precision", "mac_pe"),
    )
)
_LAYER_SIZES = _Sizes(MatrixLayer, ("name", "kind", "weight_scheme", "log2_share"))
_VECTOR_SIZES = _Sizes(VectorOperation, ("name", "function", "fused_into"))


def check_accelerator(accelerator: Accelerator) -> None:
    """Check every field of an accelerator.

    Raises:
        CostModelError: A size is not a positive whole number, the clock is not positive and
            finite, or the dataflow, precision or board is unknown.
    """
    for field in fields(accelerator):
        if field.name not in ("board", "dataflow", "precision", "clock_mhz", "mac_pe"):
            _check_size("accelerator", field.name, getattr(accelerator, field.name))
    clock = accelerator.clock_mhz
    if not isinstance(clock, int | float) or not math.isfinite(clock) or clock <= 0:
        raise CostModelError(f"accelerator: clock_mhz must be positive and finite, not {clock!r}")
    _check_choice("accelerator", "dataflow", accelerator.dataflow, DATAFLOWS)
    _check_choice("accelerator", "precision", accelerator.precision, PRECISIONS)
    _check_choice("accelerator", "mac_pe", accelerator.mac_pe, MAC_PES)
    for array in ("mac", "shift"):
        rows, cols = (getattr(accelerator, f"{array}_{side}") for side in ("rows", "cols"))
        if (rows == 0) != (cols == 0):
            raise CostModelError(
                f"accelerator: {array}_rows is {rows} and {array}_cols is {cols}; "
                "give both, or 0 for both to leave the array out"
            )
    load_board(accelerator.board)


def check_accelerators(accelerators: Sequence[Accelerator]) -> None:
    """Check every field of every accelerator, as `check_accelerator` does.

    Raises:
        CostModelError: There is no accelerator, or one is wrong; the message says which.
    """
    if not accelerators:
        raise CostModelError("accelerators: there are none; give at least one")
    # A grid holds few values of each field: only an accelerator with a new one needs a look.
    fresh: set[int] = set()
    for read in _ACCELERATOR_PAIRS:
        known: set[tuple[object, ...]] = set()
        for i, (one, other) in enumerate(map(read, accelerators)):
            key = one, other, type(one), type(other)
            if key not in known:
                known.add(key)
                fresh.add(i)
    for i in sorted(fresh):
        _check_one_of(i, accelerators[i])


def _check_one_of(index: int, accelerator: Accelerator) -> None:
    try:
        check_accelerator(accelerator)
    except CostModelError as error:
        raise CostModelError(f"accelerators[{index}]: {error}") from None


def check_workload(workload: Workload) -> None:
    """Check every operation of a workload.

    Raises:
        CostModelError: A size or width is not a positive whole number, a kind, scheme or function
            is unknown, two layers share a name, or work is fused into a layer there is not.
    """
    if not workload.operations:
        raise CostModelError(f"workload '{workload.name}' has no operations")
    names = [layer.name for layer in workload.layers]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise CostModelError(f"workload '{workload.name}': two layers are called '{twice}'")
    known = set(names)
    for operation in workload.operations:
        if isinstance(operation, MatrixLayer):
            _check_layer(operation)
        else:
            _check_vector(operation, known)
    bits = workload.parameter_bits
    if not isinstance(bits, int) or bits < 0:
        raise CostModelError(f"workload: parameter_bits must be a whole number, not {bits!r}")


def _check_layer(layer: MatrixLayer) -> None:
    where = f"layer '{layer.name}'"
    _check_choice(where, "kind", layer.kind, KINDS)
    _check_choice(where, "weight_scheme", layer.weight_scheme, SCHEMES)
    _check_sizes(where, layer, _LAYER_SIZES)
    _check_bits(where, layer, ("weight_bits", "activation_bits", "output_bits"))
    _check_scheme(where, layer)
    if layer.in_height and (
        layer.in_height < layer.kernel_height or layer.in_width < layer.kernel_width
    ):
        raise CostModelError(f"{where}: in_height x in_width is smaller than the kernel")


def _check_scheme(where: str, layer: MatrixLayer) -> None:
    least, most = APOT_BITS
    if layer.weight_scheme == "apot" and not least <= layer.weight_bits <= most:
        raise CostModelError(f"{where}: apot weights have {least} to {most} bits")
    if layer.kind == "matmul" and layer.weight_scheme not in ("uniform", "log2"):
        raise CostModelError(f"{where}: a matmul is uniform or log2, not {layer.weight_scheme}")
    share = layer.log2_share
    if not 0 <= share < 1 or (share and layer.weight_scheme != "mixed"):
        raise CostModelError(
            f"{where}: log2_share must be from 0 to below 1, and 0 unless mixed, not {share!r}"
        )


def _check_vector(operation: VectorOperation, layers: set[str]) -> None:
    where = f"operation '{operation.name}'"
    function_of(operation)
    _check_sizes(where, operation, _VECTOR_SIZES)
    _check_bits(where, operation, ("input_bits", "output_bits"))
    if operation.fused_into is not None and operation.fused_into not in layers:
        raise CostModelError(f"{where}: fused_into names '{operation.fused_into}', not a layer")


def _check_sizes(where: str, operation: object, sizes: "_Sizes") -> None:
    """Check whole numbers; one look at all of them, since nearly all workloads are sound."""
    if sizes.sound(operation):
        return
    for name in sizes.names:
        _check_size(where, name, getattr(operation, name))


def _check_size(where: str, name: str, value: object) -> None:
    least = 0 if name in _MAY_BE_ZERO else 1
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < least:  # type: ignore[operator]
        kind = "zero or a positive whole number" if least == 0 else "a positive whole number"
        raise CostModelError(f"{where}: {name} must be {kind}, not {value!r}")


def _check_bits(where: str, operation: object, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(operation, name) > _MAX_BITS:
            raise CostModelError(f"{where}: {name} must be at most {_MAX_BITS}")


def _check_choice(where: str, name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise CostModelError(f"{where}: unknown {name} '{value}'. Known: {', '.join(known)}.")
