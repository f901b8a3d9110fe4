"""SCALE-Sim 3.0.0 as a source of cycles of equal rank with the closed forms, in process.

SCALE-Sim (Samajdar et al., ISPASS 2020) builds, for every cycle, the addresses an array asks for,
and plays them through a model of its memories. `simulate` asks its compute model alone, once for
each distinct fold, in about a millisecond; `full_run` and `report_placements` run the whole of it.
Both report the same cycles. What it reports is the index of the last cycle, one less than there
are; whatever is called `reported` is as it reports, everything else is the count.
"""

from costmodels.scalesim.count import (
    Parallel,
    simulate,
    simulate_all,
    simulate_layer,
    simulate_placements,
)
from costmodels.scalesim.full import REPORTS, FullRun, full_run
from costmodels.scalesim.reports import report_placements
from costmodels.scalesim.task import VERSION, Buffers, Task, layer_task

__all__ = [
    "REPORTS",
    "VERSION",
    "Buffers",
    "FullRun",
    "Parallel",
    "Task",
    "full_run",
    "layer_task",
    "report_placements",
    "simulate",
    "simulate_all",
    "simulate_layer",
    "simulate_placements",
]
