"""The whole of SCALE-Sim on one task, memories included, in process, and its three reports."""

import csv
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from costmodels.errors import CostModelError
from costmodels.scalesim.task import VERSION, Buffers, Task

REPORTS = ("COMPUTE_REPORT.csv", "BANDWIDTH_REPORT.csv", "DETAILED_ACCESS_REPORT.csv")


@dataclass(frozen=True)
class FullRun:
    """What a full run gives.

    Attributes:
        reported: Cycles as reported, total less stall: the index of the last cycle.
        reports: Name to text of SCALE-Sim's reports, `REPORTS`.
    """

    reported: int
    reports: Mapping[str, str]


def full_run(task: Task, buffers: Buffers | None = None) -> FullRun:
    """Run SCALE-Sim as its command line does, with memories that never stall ("CALC").

    It takes about a second for each 10,000 cycles, and some 100 bytes a cycle and array side.

    Args:
        task: What to simulate.
        buffers: Sizes of the memories; they change the bandwidths and DRAM accesses in the reports.

    Raises:
        CostModelError: SCALE-Sim is not installed.
    """
    config, topology = configure(task, buffers or Buffers())
    with redirect_stdout(StringIO()):
        layer = _run_layer(config, topology)
        reports = _reports(config, layer)
    return FullRun(reported_in(reports[REPORTS[0]]), reports)


def reported_in(compute_report: str) -> int:
    """Return total less stall cycles of the one layer of a COMPUTE_REPORT.csv.

    Raises:
        ValueError: It is not such a report.
    """
    rows = list(csv.reader(StringIO(compute_report), skipinitialspace=True))
    if len(rows) != 2:
        raise ValueError("not a compute report of one layer")
    values = dict(zip(rows[0], rows[1], strict=True))
    try:
        total, stall = (float(values[name]) for name in ("Total Cycles", "Stall Cycles"))
    except KeyError as error:
        raise ValueError(f"no column {error} in the compute report") from error
    return int(total - stall)


def configure(task: Task, buffers: Buffers | None = None) -> tuple[Any, Any]:
    """Return SCALE-Sim's configuration and topology objects for a task.

    Raises:
        CostModelError: SCALE-Sim is not installed.
    """
    try:
        from scalesim.scale_config import scale_config
        from scalesim.topology_utils import topologies
    except ImportError as error:
        raise CostModelError(
            f"SCALE-Sim cannot be imported ({error}): install scalesim=={VERSION}, "
            'or use cycles="closed_form"'
        ) from error
    sizes = buffers or Buffers()
    config = scale_config()
    config.set_arr_dims(task.rows, task.cols)
    config.set_dataflow(task.dataflow)
    config.set_buffer_sizes_kb(sizes.input, sizes.weight, sizes.output)
    config.force_valid()
    topology = topologies()
    shape = [task.height, task.width, task.kernel_height, task.kernel_width, task.channels]
    strides = [task.stride_height, task.stride_width]
    dense = [1, 1]  # N:M sparsity
    topology.append_topo_arrays("layer", ["layer", *shape, task.filters, *strides, *dense])
    topology.num_layers, topology.topo_load_flag = 1, True
    topology.topo_calc_hyperparams()
    return config, topology


def _run_layer(config: Any, topology: Any) -> Any:
    from scalesim.layout_utils import layouts
    from scalesim.single_layer_sim import single_layer_sim

    layout = layouts()
    layout.layout_arrays = [["layer"] + [1] * 20]  # unused, but it must exist
    layout.num_layers, layout.layout_load_flag = 1, True
    layer = single_layer_sim()
    layer.set_params(
        layer_id=0, config_obj=config, topology_obj=topology, layout_obj=layout, verbose=False
    )
    layer.run()
    return layer


def _reports(config: Any, layer: Any) -> dict[str, str]:
    """Return the reports as SCALE-Sim writes them."""
    from scalesim.simulator import simulator

    writer = simulator()
    writer.conf, writer.single_layer_sim_object_list = config, [layer]
    writer.all_layer_run_done = True
    with TemporaryDirectory() as folder:
        writer.top_path = folder
        writer.generate_reports()
        return {name: (Path(folder) / name).read_text() for name in REPORTS}
