"""CycleModel: where the arrays' cycles come from, the closed forms or SCALE-Sim."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from costmodels.accelerator import Accelerator
from costmodels.engines import Placement
from costmodels.errors import CostModelError
from costmodels.latency import ArrayCycles, analytical_cycles
from costmodels.scalesim import Parallel, report_placements, simulate_placements
from costmodels.systolic import Integers

CYCLE_MODELS = ("closed_form", "scalesim")


@dataclass(frozen=True)
class CycleModel:
    """How the cycles of layers on systolic arrays are found.

    Attributes:
        name: "closed_form", or "scalesim" for SCALE-Sim 3.0.0 itself. The two are equal.
        drain: Closed form only: output-stationary arrays shift each fold's results out, `rows`
            cycles a fold.
        overlap: Closed form only: weight- and input-stationary arrays load the next fold's operand
            while they work on this one, in double-buffered registers.
        cache_dir: Folder for SCALE-Sim's cycles, one small file a shape; None keeps none.
        reports_dir: Folder for SCALE-Sim's reports. Every shape is then run in full, memories
            included, which takes seconds to minutes a layer; what is there is not run again.
        parallel: Maps a function over simulations in other processes, results in order; None
            simulates in this one.
    """

    name: str = "closed_form"
    drain: bool = False
    overlap: bool = False
    cache_dir: Path | None = None
    reports_dir: Path | None = None
    parallel: Parallel | None = None

    def check(self) -> None:
        """Check the fields.

        Raises:
            CostModelError: The name is unknown, or an option does not go with it.
        """
        if self.name not in CYCLE_MODELS:
            known = ", ".join(CYCLE_MODELS)
            raise CostModelError(f"unknown cycles '{self.name}'. Known: {known}.")
        for option in ("drain", "overlap"):
            if getattr(self, option) and self.name == "scalesim":
                raise CostModelError(
                    f"{option}: SCALE-Sim has no such option; use cycles='closed_form' with it"
                )
        if self.reports_dir is not None and self.name != "scalesim":
            raise CostModelError("reports_dir: only cycles='scalesim' has reports to keep")

    @property
    def backing(self) -> str:
        """What backs the cycles, in words."""
        if self.name == "scalesim":
            how = "its compute model by fold" if self.reports_dir is None else "in full"
            return f"SCALE-Sim 3.0.0, {how}, plus one a product (it reports the last cycle's index)"
        options = " and ".join(name for name in ("drain", "overlap") if getattr(self, name))
        if options:
            return f"closed form with {options}, equal to an array simulated register by register"
        return (
            "closed form, equal to SCALE-Sim 3.0.0 plus one a product (it reports the last cycle's "
            "index)"
        )

    def array_cycles(self, accelerator: Accelerator, network: str) -> ArrayCycles:
        """Return the function from placed layers and dataflow to cycles, repeats included.

        Args:
            accelerator: Gives the sizes of the buffers for full runs.
            network: The network's name, for the reports.
        """
        if self.name == "closed_form":
            return partial(analytical_cycles, drain=self.drain, overlap=self.overlap)
        if self.reports_dir is None:
            simulate = partial(
                simulate_placements, cache_dir=self.cache_dir, parallel=self.parallel
            )
            return partial(_sized, simulate)
        reported = partial(_reported, self.reports_dir, accelerator, network, self.parallel)
        return partial(_sized, reported)


def _sized(
    simulate: Callable[[Sequence[Placement], str], Sequence[int]],
    placements: Sequence[Placement],
    rows: Integers,
    cols: Integers,
    dataflow: str,
) -> Integers:
    """Return what `simulate` says of the layers with the rows and columns of each accelerator."""
    sized = [
        replace(placement, rows=height, cols=width)
        for sizes in np.stack([rows, cols], axis=2).tolist()
        for placement, (height, width) in zip(placements, sizes, strict=True)
    ]
    return np.array(simulate(sized, dataflow), dtype=np.int64).reshape(rows.shape)


def _reported(
    folder: Path,
    accelerator: Accelerator,
    network: str,
    parallel: Parallel | None,
    placements: Sequence[Placement],
    dataflow: str,
) -> list[int]:
    assert dataflow == accelerator.dataflow
    return report_placements(placements, accelerator, folder, network, parallel=parallel)
