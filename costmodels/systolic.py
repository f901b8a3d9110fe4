"""Cycles of a systolic array in closed form, for the three classic dataflows.

A product (M x K) @ (K x N) is cut into folds that fill the R x C array; the folds run one after
another. One fold takes (Samajdar et al., SCALE-Sim, ISPASS 2020, and its release 3.0.0):

    output stationary   K + R + C - 2        M on the rows, N on the columns
    weight stationary   M + 2 R + C - 2      K on the rows, N on the columns
    input stationary    N + 2 R + C - 2      K on the rows, M on the columns

SCALE-Sim 3.0.0 reports the index of the last cycle, one less than the count of cycles.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from costmodels.errors import CostModelError

DATAFLOWS = ("os", "ws", "is")
Integers = NDArray[np.int64]


def cycles(
    m: Any,
    k: Any,
    n: Any,
    rows: Any,
    cols: Any,
    dataflow: str,
    *,
    drain: bool = False,
    overlap: bool = False,
) -> Integers:
    """Return the cycles of (m x k) @ (k x n) on a rows x cols array.

    All sizes broadcast as int64 arrays.

    Args:
        m: Rows of the product.
        k: Length of the reduction.
        n: Columns of the product.
        rows: Rows of the array.
        cols: Columns of the array.
        dataflow: "os", "ws" or "is".
        drain: Add the `rows` cycles an output-stationary array without a separate output path
            takes to shift a fold's results out (the textbook 2 R + C + K - 2).
        overlap: Hide the `rows` cycles that load the stationary operand behind the previous fold,
            as arrays with double-buffered registers do (Gemmini, TPU); the first fold pays.

    Returns:
        Number of cycles, of the broadcast shape.

    Raises:
        CostModelError: The dataflow is unknown, or a size is not a positive whole number.
    """
    sizes = {"m": m, "k": k, "n": n, "rows": rows, "cols": cols}
    m, k, n, rows, cols = (_whole(name, size) for name, size in sizes.items())
    return cycles_of_sound(m, k, n, rows, cols, dataflow, drain, overlap)


def cycles_of_sound(
    m: Any, k: Any, n: Any, rows: Any, cols: Any, dataflow: str, drain: bool, overlap: bool
) -> Integers:
    """Return `cycles` of sizes that are known to be positive int64 arrays.

    Raises:
        CostModelError: The dataflow is unknown.
    """
    folds = fold_count(m, k, n, rows, cols, dataflow)
    if dataflow == "os":
        return folds * (k + rows + cols - 2 + (rows if drain else 0))
    streamed = m if dataflow == "ws" else n
    load = rows if overlap else folds * rows
    return folds * (streamed + rows + cols - 2) + load


def _whole(name: str, sizes: Any) -> Integers:
    array = np.asarray(sizes)
    if array.size and (array.dtype.kind not in "iu" or array.min() < 1):
        raise CostModelError(f"array: {name} must be a positive whole number, not {sizes!r:.80}")
    return array.astype(np.int64, copy=False)


def fold_count(m: Any, k: Any, n: Any, rows: Any, cols: Any, dataflow: str) -> Integers:
    """Return the number of folds that `cycles` charges for; arguments as there.

    Raises:
        CostModelError: The dataflow is unknown.
    """
    on_rows, on_cols = mapped_axes(m, k, n, dataflow)
    return ceil_div(on_rows, rows) * ceil_div(on_cols, cols)


def mapped_axes(m: Any, k: Any, n: Any, dataflow: str) -> tuple[Any, Any]:
    """Return the sizes that the dataflow lays on the array's rows and columns.

    Raises:
        CostModelError: The dataflow is unknown.
    """
    axes = {"os": (m, n), "ws": (k, n), "is": (k, m)}
    if dataflow not in axes:
        raise CostModelError(f"unknown dataflow '{dataflow}'. Known: {', '.join(DATAFLOWS)}.")
    return axes[dataflow]


def reported_cycles(m: Any, k: Any, n: Any, rows: Any, cols: Any, dataflow: str) -> Integers:
    """Return what SCALE-Sim 3.0.0 reports: `cycles` without options, less one."""
    return cycles(m, k, n, rows, cols, dataflow) - 1


def ceil_div(a: Any, b: Any) -> Integers:
    """Return the ceiling of a / b for non-negative integers, as int64."""
    return -(-np.asarray(a, dtype=np.int64) // np.asarray(b, dtype=np.int64))
