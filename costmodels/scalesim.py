"""SCALE-Sim 3.0.0 as a cycle counter: in process, without files, cached on disk.

SCALE-Sim (Samajdar et al., ISPASS 2020) builds, for every cycle, the addresses the array asks for,
and plays them through a model of its memories; the cycles it reports without stalls are those of
its compute model alone. A full run spends its time on the memories (6 to 11 thousand cycles a
second). `simulate` therefore asks only the compute model, once for each distinct fold: an array
works its folds off one after another, and all but those at the edges are alike. The tests hold
this equal to full runs.
"""

import json
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from costmodels.cache import read_entry, write_entry
from costmodels.errors import CostModelError
from costmodels.systolic import DATAFLOWS, mapped_axes
from costmodels.workload import MatrixLayer

VERSION = "3.0.0"


@dataclass(frozen=True)
class Task:
    """One product or convolution on one array: all that the simulated cycles depend on.

    Attributes:
        height: Input height with padding, trimmed to what the stride reaches (M for a product).
        width: Input width likewise (1 for a product).
        kernel_height: Kernel height.
        kernel_width: Kernel width.
        channels: Input channels of a group (K for a product).
        filters: Output channels of a group (N for a product).
        stride_height: Vertical stride.
        stride_width: Horizontal stride.
        rows: Rows of the array.
        cols: Columns of the array.
        dataflow: "os", "ws" or "is".
    """

    height: int
    width: int
    kernel_height: int
    kernel_width: int
    channels: int
    filters: int
    stride_height: int
    stride_width: int
    rows: int
    cols: int
    dataflow: str

    @property
    def key(self) -> str:
        """Hex digits that identify the task by content, SCALE-Sim's version included."""
        text = json.dumps({"scalesim": VERSION, **asdict(self)}, sort_keys=True)
        return sha256(text.encode()).hexdigest()[:24]


def layer_task(layer: MatrixLayer, rows: int, cols: int, dataflow: str) -> Task:
    """Return the simulation of one of the layer's `repeats` products.

    Convolutions are given as such, with their padded input cut to what the stride reaches, since
    SCALE-Sim rounds a partial step up. Everything else, pointwise and dilated convolutions
    included, is a product: SCALE-Sim has no dilation.
    """
    window = layer.kernel_height * layer.kernel_width
    channels = layer.in_channels // layer.repeats
    if layer.in_height == 0 or window == 1 or layer.k != window * channels:
        return Task(layer.m, 1, 1, 1, layer.k, layer.n, 1, 1, rows, cols, dataflow)
    return Task(
        _trimmed(layer.in_height, layer.kernel_height, layer.stride_height),
        _trimmed(layer.in_width, layer.kernel_width, layer.stride_width),
        layer.kernel_height,
        layer.kernel_width,
        channels,
        layer.n,
        layer.stride_height,
        layer.stride_width,
        rows,
        cols,
        dataflow,
    )


def _trimmed(size: int, kernel: int, stride: int) -> int:
    return size - (size - kernel) % stride


def simulate_layer(
    layer: MatrixLayer, rows: int, cols: int, dataflow: str, cache_dir: Path | None = None
) -> int:
    """Return SCALE-Sim's compute cycles for all of the layer's products on a rows x cols array.

    Picklable, for use in worker processes; arguments and errors as `simulate`.
    """
    return _remembered(layer_task(layer, rows, cols, dataflow), cache_dir) * layer.repeats


def simulate(task: Task, cache_dir: Path | None = None, *, full: bool = False) -> int:
    """Return the cycles SCALE-Sim reports for the task, total less stall.

    Args:
        task: What to simulate.
        cache_dir: Folder of cached results, one JSON file each; None simulates anew. A file that
            is not what this function writes is replaced.
        full: Run the whole of SCALE-Sim, memories included, as its command line does.

    Raises:
        CostModelError: SCALE-Sim is not installed, or the task has an unknown dataflow.
    """
    if task.dataflow not in DATAFLOWS:
        raise CostModelError(f"unknown dataflow '{task.dataflow}'. Known: {', '.join(DATAFLOWS)}.")
    path = Path(cache_dir) / f"{task.key}.json" if cache_dir is not None else None
    known = read_entry(path, asdict(task)) if path is not None else None
    if known is not None:
        return known
    with redirect_stdout(StringIO()):
        cycles = _full_run(task) if full else _compute_model(task)
    if path is not None:
        write_entry(path, asdict(task), cycles)
    return cycles


@lru_cache(maxsize=1 << 16)
def _remembered(task: Task, cache_dir: Path | None) -> int:
    return simulate(task, cache_dir)


def _compute_model(task: Task) -> int:
    """Return the reported cycles from SCALE-Sim's compute model, each distinct fold once."""
    config, topology = _configure(task)
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
    return total - 1  # SCALE-Sim reports the index of the last cycle


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
    model.create_ofmap_demand_mat()
    return int(model.ofmap_demand_matrix.shape[0])


def _addresses(rows: int, cols: int) -> np.ndarray:
    # The demand's length does not depend on the addresses: one zero stands for all of them.
    return np.broadcast_to(np.zeros(1, dtype=np.int64), (rows, cols))


def _full_run(task: Task) -> int:
    from scalesim.layout_utils import layouts
    from scalesim.single_layer_sim import single_layer_sim

    config, topology = _configure(task)
    layout = layouts()
    layout.layout_arrays = [["layer"] + [1] * 20]  # unused, but it must exist
    layout.num_layers, layout.layout_load_flag = 1, True
    layer = single_layer_sim()
    layer.set_params(
        layer_id=0, config_obj=config, topology_obj=topology, layout_obj=layout, verbose=False
    )
    layer.run()
    _, total, stall, *_ = layer.get_compute_report_items()
    return int(total - stall)


def _configure(task: Task) -> tuple[Any, Any]:
    try:
        from scalesim.scale_config import scale_config
        from scalesim.topology_utils import topologies
    except ImportError as error:
        raise CostModelError(
            f"SCALE-Sim cannot be imported ({error}): install scalesim=={VERSION}, "
            'or use cycles="analytical"'
        ) from error
    config = scale_config()
    config.set_arr_dims(task.rows, task.cols)
    config.set_dataflow(task.dataflow)
    config.set_buffer_sizes_kb(64, 64, 64)
    config.force_valid()
    topology = topologies()
    sizes = [task.height, task.width, task.kernel_height, task.kernel_width, task.channels]
    strides = [task.stride_height, task.stride_width]
    dense = [1, 1]  # N:M sparsity
    topology.append_topo_arrays("layer", ["layer", *sizes, task.filters, *strides, *dense])
    topology.num_layers, topology.topo_load_flag = 1, True
    topology.topo_calc_hyperparams()
    return config, topology
