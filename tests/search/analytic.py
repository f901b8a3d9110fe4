"""A problem with formulas for results, and faults on demand: what the search is tested on.

Run as a script it is `python -m codesign.search` on that problem:
    analytic.py '{"sleep_s": 0.1}' space=... key=value ...
"""

import json
import os
import sys
import time
from functools import partial
from pathlib import Path

from codesign.cli import run_command
from codesign.design import ActivationSite, LayerInfo, NetworkOutline
from codesign.search.problem import Evaluation
from costmodels.estimate import Cost
from costmodels.workload import MatrixLayer, Workload

OUTLINE = NetworkOutline(
    layers=tuple(
        LayerInfo(name, "conv", stage, weights, weights * 64)
        for name, stage, weights in [
            ("stem.conv", "stem", 432),
            ("stages.0.conv1", "stages.0", 2304),
            ("stages.0.conv2", "stages.0", 4608),
            ("stages.1.conv1", "stages.1", 9216),
            ("head.fc", "head", 480),
        ]
    ),
    activations=(
        ActivationSite("stem.act", "stem", "silu"),
        ActivationSite("stages.0.act", "stages.0", "silu"),
    ),
)
FUNCTION_LOSS = {"silu": 0.0, "hardswish": 0.004, "shift_swish": 0.002, "relu": 0.02}


def accuracy(design):
    """A smooth accuracy: a layer loses 4^-bits, more with log2 weights, and so do activations."""
    loss = sum(
        4.0 ** -(layer.weight_bits - (layer.weight_scheme == "log2"))
        + 0.5 * 4.0**-layer.activation_bits
        for _, layer in design.layers
    )
    loss += sum(FUNCTION_LOSS[function] for _, function in design.activations)
    return 1.0 - loss


class AnalyticProblem:
    """Implements `codesign.search.problem.Problem` with formulas.

    Args:
        folder: Every evaluation appends a line (design key, process number) to its "log".
        sleep_s: Seconds an evaluation takes.
        faults: Fault by design key, "*" for all others: "kill", "kill_once", "raise", "nan",
            "hang", "missing" or "start" (the problem cannot be built in a worker).
    """

    outline = OUTLINE

    def __init__(self, folder, sleep_s=0.0, faults=None):
        self.teacher = {"accuracy": 0.99, "test_accuracy": 0.98}
        self.folder, self.sleep_s, self.faults = Path(folder), sleep_s, faults or {}
        if "start" in self.faults.values() and "default_worker" in sys.argv[0]:
            raise ValueError("no such tensor")

    def workload(self, design):
        operations = tuple(
            MatrixLayer(
                name,
                "linear",
                64,
                24,
                info.weight_elements // 24,
                1,
                layer.weight_bits,
                layer.weight_scheme,
                layer.activation_bits,
                8,
                64 * 24,
                64 * info.weight_elements // 24,
                info.weight_elements,
            )
            for info, (name, layer) in zip(self.outline.layers, design.layers, strict=True)
        )
        return Workload("analytic", operations, 8 * sum(op.weight_elements for op in operations))

    def price(self, design):
        a = design.accelerator
        mac = a.mac_rows * a.mac_cols
        shift = a.shift_rows * a.shift_cols
        cycles = sum(
            info.macs / (shift if layer.weight_scheme == "log2" and shift else mac)
            for info, (_, layer) in zip(self.outline.layers, design.layers, strict=True)
        )
        bits = [layer.weight_bits for _, layer in design.layers]
        return Cost(
            metrics={
                "fpga.latency_ms": cycles / (a.clock_mhz * 1e3),
                "fpga.dsp": float(mac),
                "fpga.dsp_pct": 100 * mac / 1728,
                "fpga.lut_pct": 100 * (50 * shift + 20 * mac) / 230400,
                "fpga.bram_pct": 10.0,
                "fpga.uram_pct": 0.0,
                "model.mean_weight_bits": sum(bits) / len(bits),
            },
            layers=(),
            provenance={"fpga": "a formula of the tests"},
        )

    def evaluate(self, design):
        with (self.folder / "log").open("a") as log:
            log.write(f"{design.key} {os.getpid()}\n")
        time.sleep(self.sleep_s)
        value = accuracy(design)
        match self.faults.get(design.key, self.faults.get("*")):
            case "kill":
                os.kill(os.getpid(), 9)
            case "kill_once" if evaluations(self.folder).count(design.key) == 1:
                os.kill(os.getpid(), 9)
            case "raise":
                raise ArithmeticError("the matrix is singular")
            case "hang":
                time.sleep(600)
            case "nan":
                value = float("nan")
            case "missing":
                return Evaluation({"seconds.distil": 1.0}, b"")
        return Evaluation(
            {"accuracy": value, "accuracy_post_training": value - 0.01},
            json.dumps(design.to_json()).encode(),
            {"loss": [1.0, 0.5]},
        )

    def test_accuracy(self, model):
        from codesign.design import Design

        return accuracy(Design.from_json(json.loads(model))) - 0.005


def evaluations(folder):
    """Return the design keys evaluated so far, in order."""
    log = Path(folder) / "log"
    return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []


def prepare(settings, console):
    """There is nothing to prepare."""


def load(settings, **options):
    return AnalyticProblem(**options)


def source(folder, **options):
    from codesign.search.run import ProblemSource

    return ProblemSource(prepare, partial(load, folder=str(folder), **options))


def main(arguments):
    from codesign.search.run import run_search
    from codesign.settings import load_settings

    return run_search(load_settings(arguments[1:]), source(**json.loads(arguments[0])))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    import analytic

    run_command(analytic.main)
