"""SCALE-Sim's own compute model, asked once for each distinct fold of a product.

An array works its folds off one after another, and all but those at the edges are alike: at most
four shapes of fold, however large the product. Full runs give the same cycles (the tests hold the
two equal); they spend their time on the memories, which without stalls do not change them.
"""

from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np

from costmodels.scalesim.full import configure
from costmodels.scalesim.task import Task
from costmodels.systolic import mapped_axes


def reported_by_folds(task: Task) -> int:
    """Return the cycles that SCALE-Sim would report for the task: the index of the last one.

    Raises:
        CostModelError: SCALE-Sim is not installed.
    """
    config, topology = configure(task)
    out_height, out_width = topology.get_layer_ofmap_dims(0)
    m = int(out_height) * int(out_width)
    k, n = int(topology.get_layer_window_size(0)), int(topology.get_layer_num_filters(0))
    on_rows, on_cols = mapped_axes(m, k, n, task.dataflow)
    total = 0
    for row_size, row_folds in _blocks(on_rows, task.rows):
        for col_size, col_folds in _blocks(on_cols, task.cols):
            shape = {
                "os": (row_size, k, col_size),
                "ws": (m, row_size, col_size),
                "is": (col_size, row_size, n),
            }[task.dataflow]
            total += row_folds * col_folds * _demand_cycles(config, *shape)
    return total - 1


def demand_elements(task: Task) -> int:
    """Return about how many addresses the compute model makes for the task, a measure of work."""
    m, k, n = task.product
    streamed = {"os": k, "ws": m, "is": n}[task.dataflow]
    on_rows, on_cols = mapped_axes(m, k, n, task.dataflow)
    folds = len(_blocks(on_rows, task.rows)) * len(_blocks(on_cols, task.cols))
    side = task.rows + task.cols
    return folds * (streamed + 2 * side) * side


def _blocks(size: int, block: int) -> list[tuple[int, int]]:
    """Return (size, count) of the whole blocks and of the ragged one, those that there are."""
    whole, ragged = divmod(size, block)
    return [(s, c) for s, c in ((block, whole), (ragged, 1 if ragged else 0)) if c]


def _demand_cycles(config: Any, m: int, k: int, n: int) -> int:
    """Return the cycles in the output demand of one product, by SCALE-Sim's compute model."""
    from scalesim.compute.systolic_compute_is import systolic_compute_is
    from scalesim.compute.systolic_compute_os import systolic_compute_os
    from scalesim.compute.systolic_compute_ws import systolic_compute_ws

    models = {"os": systolic_compute_os, "ws": systolic_compute_ws, "is": systolic_compute_is}
    dataflow = config.get_dataflow()
    model = models[dataflow]()
    first, second, result = _addresses(m, k), _addresses(k, n), _addresses(m, n)
    sparsity = (
        {"ifmap_op_mat_original": first, "sparsity_filter_array": second}
        if dataflow == "ws"
        else {}
    )
    model.set_params(
        config_obj=config,
        ifmap_op_mat=first,
        filter_op_mat=second,
        ofmap_op_mat=result,
        **sparsity,
    )
    with redirect_stdout(StringIO()):
        model.create_ofmap_demand_mat()
    return int(model.ofmap_demand_matrix.shape[0])


def _addresses(rows: int, cols: int) -> np.ndarray:
    # The demand's length does not depend on the addresses: one zero stands for all of them.
    return np.broadcast_to(np.zeros(1, dtype=np.int64), (rows, cols))
