"""Checks on what the cost models are given: clear errors instead of meaningless figures."""

from collections.abc import Sequence
from dataclasses import fields
from itertools import chain
from operator import attrgetter
from typing import Any

from costmodels.accelerator import Accelerator
from costmodels.board import load_board
from costmodels.checks import check_choice, check_number, check_whole, check_word
from costmodels.errors import CostModelError
from costmodels.systolic import DATAFLOWS
from costmodels.vector_unit import function_of
from costmodels.workload import MatrixLayer, VectorOperation, Workload

PRECISIONS = ("static", "reconfigurable")
MAC_PES = ("dsp", "lut")
KINDS = ("conv", "depthwise", "linear", "matmul")
SCHEMES = ("uniform", "log2", "apot", "mixed")
APOT_BITS = (2, 7)

LOG2_BITS = (2, 9)
MAX_PES = 10**6
"""Above the largest arrays there are by a factor of ten: a slip of the keyboard."""
MAX_SIZE = 2**40
MAX_MACS = 10**15
"""So that no count of cycles, bits or partial sums leaves 64 bits."""
MAX_READS = 64 * MAX_MACS
"""Elements of both operands read once for each row and column of the product, for the same reason;
of a layer whose counts agree they are its multiply-accumulates times its strides."""

_MAX_BITS = 32
_WORDS = ("board", "dataflow", "precision", "mac_pe")
_LANES = ("vector_lanes", "depthwise_lanes")
_MAX_KB = 2**20
_MAY_BE_ZERO = {"mac_rows", "mac_cols", "shift_rows", "shift_cols", "depthwise_lanes"}
_GEOMETRY = ("in_height", "in_width", "in_channels", "out_channels")
_LAYER_WORDS = ("name", "kind", "weight_scheme", "log2_share", "inputs")
_SIZES = tuple(f.name for f in fields(MatrixLayer) if f.name not in (*_LAYER_WORDS, *_GEOMETRY))
_OPERATIONS = (MatrixLayer, VectorOperation)
_VECTOR_SIZES = ("elements", "row_length", "input_bits", "output_bits")
_LAYER_BITS = ("weight_bits", "activation_bits", "output_bits")
_VECTOR_BITS = ("input_bits", "output_bits")
_layer_sizes, _layer_geometry = attrgetter(*_SIZES), attrgetter(*_GEOMETRY)
_vector_sizes = attrgetter(*_VECTOR_SIZES)
_layer_bits, _vector_bits = attrgetter(*_LAYER_BITS), attrgetter(*_VECTOR_BITS)


def check_accelerator(accelerator: Accelerator) -> None:
    """Check every field of an accelerator.

    An array larger than its board is no error, for its cost is meaningful and says by how much;
    one of more than a million PEs is.

    Raises:
        CostModelError: A size is not a positive whole number or absurdly large, the clock is not
            positive and finite, or the dataflow, precision or board is unknown.
    """
    for name, value in vars(accelerator).items():
        if name == "clock_mhz":
            check_number("accelerator", name, value)
        elif name == "fused_chains":
            _check_truth(name, value)
        elif name not in _WORDS:
            most = MAX_PES if name in _LANES else _MAX_KB if name.endswith("_kb") else None
            check_whole("accelerator", name, value, zero=name in _MAY_BE_ZERO, most=most)
    check_choice("accelerator", "dataflow", accelerator.dataflow, DATAFLOWS)
    check_choice("accelerator", "precision", accelerator.precision, PRECISIONS)
    check_choice("accelerator", "mac_pe", accelerator.mac_pe, MAC_PES)
    for array in ("mac", "shift"):
        _check_array(array, *(getattr(accelerator, f"{array}_{side}") for side in ("rows", "cols")))
    check_word("accelerator", "board", accelerator.board)
    load_board(accelerator.board)


def _check_truth(name: str, value: Any) -> None:
    if type(value) is not bool:
        raise CostModelError(f"accelerator: {name} must be true or false, not {value!r}")


def _check_array(array: str, rows: int, cols: int) -> None:
    if (rows == 0) != (cols == 0):
        raise CostModelError(
            f"accelerator: {array}_rows is {rows} and {array}_cols is {cols}; "
            "give both, or 0 for both to leave the array out"
        )
    if rows * cols > MAX_PES:
        raise CostModelError(
            f"accelerator: {array}_rows x {array}_cols is {rows:,} x {cols:,} = {rows * cols:,} "
            f"PEs; no board holds more than {MAX_PES:,}"
        )


def check_accelerators(accelerators: Sequence[Accelerator]) -> None:
    """Check every field of every accelerator, as `check_accelerator` does.

    Raises:
        CostModelError: There is no accelerator, or one is wrong; the message says which.
    """
    if not accelerators:
        raise CostModelError("accelerators: there are none; give at least one")
    # A grid holds few values of each field: only an accelerator with a new one needs a look.
    fresh: set[int] = set()
    for field in fields(Accelerator):
        known: set[tuple[object, type]] = set()
        for i, value in enumerate(map(attrgetter(field.name), accelerators)):
            if (value, type(value)) not in known:
                known.add((value, type(value)))
                fresh.add(i)
    for i in sorted(fresh):
        _check_one_of(i, accelerators[i])
    for i, a in enumerate(accelerators):
        for rows, cols in ((a.mac_rows, a.mac_cols), (a.shift_rows, a.shift_cols)):
            if not 0 < rows * cols <= MAX_PES and (rows or cols):
                _check_one_of(i, a)


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
    if not isinstance(workload.operations, tuple):
        kind = type(workload.operations).__name__
        raise CostModelError(f"workload '{workload.name}': operations must be a tuple, not {kind}")
    if not workload.operations:
        raise CostModelError(f"workload '{workload.name}' has no operations")
    for i, operation in enumerate(workload.operations):
        if not isinstance(operation, _OPERATIONS):
            raise CostModelError(f"workload: operation {i} is a {type(operation).__name__}")
        if not isinstance(operation.name, str):
            check_word(f"workload: operation {i}", "name", operation.name)
    names = [layer.name for layer in workload.layers]
    known = set(names)
    if len(known) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise CostModelError(f"workload '{workload.name}': two layers are called '{twice}'")
    sizes_are_sound = _sizes_are_sound(workload)
    for layer in workload.layers:
        _check_layer(layer, sizes_are_sound)
    for operation in workload.vector_operations:
        _check_vector(operation, known, sizes_are_sound)
    check_word("workload", "name", workload.name)
    check_whole("workload", "parameter_bits", workload.parameter_bits, zero=True)


def _sizes_are_sound(workload: Workload) -> bool:
    # An estimate takes a millisecond and has a thousand sizes: one by one only if one is wrong.
    layers, operations = workload.layers, workload.vector_operations
    sizes = chain(*map(_layer_sizes, layers), *map(_vector_sizes, operations))
    bits = chain(*map(_layer_bits, layers), *map(_vector_bits, operations))
    geometry = chain(*map(_layer_geometry, layers))
    return (
        _are_within(list(sizes), least=1)
        and _are_within(list(geometry), least=0)
        and max(bits) <= _MAX_BITS
        and sum([layer.macs for layer in layers]) <= MAX_MACS
        and sum(map(_reads, layers)) <= MAX_READS
    )


def _reads(layer: MatrixLayer) -> int:
    return layer.m * layer.weight_elements + layer.n * layer.input_elements


def _are_within(values: list[Any], least: int) -> bool:
    # Where none is negative, none is larger than their sum, which is quicker to find.
    return not values or (
        set(map(type, values)) == {int} and min(values) >= least and sum(values) <= MAX_SIZE
    )


def _check_layer(layer: MatrixLayer, sizes_are_sound: bool) -> None:
    if layer.kind not in KINDS or layer.weight_scheme not in SCHEMES:
        check_choice(_named(layer), "kind", layer.kind, KINDS)
        check_choice(_named(layer), "weight_scheme", layer.weight_scheme, SCHEMES)
    if not sizes_are_sound:
        _check_layer_sizes(layer)
    _check_scheme(layer)
    _check_inputs(layer)
    if layer.in_height and (
        layer.in_height < layer.kernel_height or layer.in_width < layer.kernel_width
    ):
        raise CostModelError(f"{_named(layer)}: in_height x in_width is smaller than the kernel")


def _named(operation: MatrixLayer | VectorOperation) -> str:
    kind = "layer" if isinstance(operation, MatrixLayer) else "operation"
    return f"{kind} '{operation.name}'"


def _check_layer_sizes(layer: MatrixLayer) -> None:
    where = _named(layer)
    _check_sizes(where, _SIZES, _layer_sizes(layer), least=1)
    _check_sizes(where, _GEOMETRY, _layer_geometry(layer), least=0)
    _check_bits(where, layer, _LAYER_BITS)
    if layer.macs > MAX_MACS:
        raise CostModelError(
            f"{where}: m x k x n x repeats is {layer.macs:,}, more than {MAX_MACS:,}"
        )
    if _reads(layer) > MAX_READS:
        raise CostModelError(
            f"{where}: m x weight_elements + n x input_elements is {_reads(layer):,}, more than "
            f"{MAX_READS:,}: do the sizes belong together?"
        )


def _check_scheme(layer: MatrixLayer) -> None:
    scheme, share = layer.weight_scheme, layer.log2_share
    least, most = APOT_BITS
    if scheme == "apot" and not least <= layer.weight_bits <= most:
        raise CostModelError(
            f"{_named(layer)}: weight_bits of apot weights must be {least} to {most}, not "
            f"{layer.weight_bits}"
        )
    least, most = LOG2_BITS
    if scheme in ("log2", "mixed") and not least <= layer.weight_bits <= most:
        raise CostModelError(
            f"{_named(layer)}: weight_bits of log2 weights must be {least} to {most}, not "
            f"{layer.weight_bits}"
        )
    if layer.kind == "matmul" and scheme not in ("uniform", "log2"):
        raise CostModelError(
            f"{_named(layer)}: weight_scheme of a matmul must be uniform or log2, not {scheme}"
        )
    if share or type(share) is not float:
        check_number(_named(layer), "log2_share", share, zero=True)
    if share >= 1 or (share and scheme != "mixed"):
        raise CostModelError(
            f"{_named(layer)}: log2_share must be from 0 to below 1, and 0 unless mixed, "
            f"not {share!r}"
        )


def _check_vector(operation: VectorOperation, layers: set[str], sizes_are_sound: bool) -> None:
    if not isinstance(operation.function, str):
        check_word(_named(operation), "function", operation.function)
    function_of(operation)
    if not sizes_are_sound:
        _check_sizes(_named(operation), _VECTOR_SIZES, _vector_sizes(operation), least=1)
        _check_bits(_named(operation), operation, _VECTOR_BITS)
    if operation.row_length > operation.elements:
        raise CostModelError(
            f"{_named(operation)}: row_length must be at most elements, {operation.elements}, not "
            f"{operation.row_length}"
        )
    _check_inputs(operation)
    fused = operation.fused_into
    if fused is not None and not (isinstance(fused, str) and fused in layers):
        raise CostModelError(f"{_named(operation)}: fused_into names '{fused}', not a layer")


def _check_inputs(operation: MatrixLayer | VectorOperation) -> None:
    inputs = operation.inputs
    if type(inputs) is not tuple or not all([isinstance(name, str) for name in inputs]):
        raise CostModelError(
            f"{_named(operation)}: inputs must be a tuple of names, not {inputs!r}"
        )


def _check_sizes(where: str, names: tuple[str, ...], values: Any, least: int) -> None:
    for name, value in zip(names, values, strict=True):
        check_whole(where, name, value, zero=least == 0, most=MAX_SIZE)


def _check_bits(where: str, operation: object, names: tuple[str, ...]) -> None:
    for name in names:
        check_whole(where, name, getattr(operation, name), most=_MAX_BITS)
