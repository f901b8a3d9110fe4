"""The closed forms against SCALE-Sim on every matrix layer of the five spaces, and their speed.

    python tests/benchmarks/cycles.py [spaces=[mobilevit_mixed]] [array=32x32] [full=true]

For each space and dataflow: distinct shapes, layers whose cycles differ, and the seconds of the
closed form, of SCALE-Sim's compute model by fold and, with full=true, of SCALE-Sim in full
(minutes a space). Exits 1 where a layer differs.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch

from codesign.data import load_data
from codesign.graph.capture import capture
from codesign.graph.outline import outline
from codesign.graph.workload import workload
from codesign.search.evaluator import recipe_of
from codesign.settings import load_settings
from codesign.space import SearchSpace
from codesign.train.model import build_model, data_config
from costmodels.scalesim import layer_task, simulate
from costmodels.systolic import DATAFLOWS, cycles
from costmodels.workload import MatrixLayer

FOLDER = Path(__file__).parents[2] / "search_spaces"


def layers_of(name: str) -> tuple[MatrixLayer, ...]:
    """Return the matrix layers of a space's model at the size that the space has."""
    settings = load_settings([f"space={FOLDER / name}.yaml"])
    data = load_data(settings.data, data_config(settings.model))
    torch.manual_seed(0)
    model = build_model(settings.model, data.num_classes)
    graph = capture(model, data.input_shape, settings.model.name)
    ((_, design), *_) = SearchSpace(settings, outline(graph)).baselines()
    return workload(graph, design, recipe_of(settings.quantize)).layers


def closed_form(
    layers: tuple[MatrixLayer, ...], rows: int, cols: int, dataflow: str
) -> tuple[list[int], float]:
    """Return the cycles of one product of each layer, and the median seconds they all take."""
    times = []
    for _ in range(20):
        start = time.perf_counter()
        m, k, n = np.array([(layer.m, layer.k, layer.n) for layer in layers]).T
        found = [int(c) for c in cycles(m, k, n, rows, cols, dataflow)]
        times.append(time.perf_counter() - start)
    return found, float(np.median(times))


def simulated(
    layers: tuple[MatrixLayer, ...], rows: int, cols: int, dataflow: str, full: bool
) -> tuple[list[int], float]:
    """Return the same by SCALE-Sim, each distinct shape once."""
    tasks = [layer_task(layer, rows, cols, dataflow) for layer in layers]
    start = time.perf_counter()
    reported = {task: simulate(task, full=full) for task in dict.fromkeys(tasks)}
    return [reported[task] + 1 for task in tasks], time.perf_counter() - start


def main() -> int:
    """Print a row a space and dataflow; return 1 where a layer differs."""
    options = dict(argument.split("=", 1) for argument in sys.argv[1:])
    names = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    names = options["spaces"].strip("[]").split(",") if "spaces" in options else names
    rows, cols = (int(side) for side in options.get("array", "32x32").split("x"))
    kinds = (False, True) if options.get("full") == "true" else (False,)
    differing = 0
    print(f"{'space':22s} {'df':3s} {'layers':>6s} {'shapes':>6s} {'differ':>6s} "
          f"{'closed ms':>9s} {'folds s':>8s}{' full s' if len(kinds) > 1 else ''}")  # fmt: skip
    for name in names:
        layers = layers_of(name)
        for dataflow in DATAFLOWS:
            ours, seconds = closed_form(layers, rows, cols, dataflow)
            peers = [simulated(layers, rows, cols, dataflow, full) for full in kinds]
            differ = sum(
                len({*found}) > 1 for found in zip(ours, *(p[0] for p in peers), strict=True)
            )
            differing += differ
            shapes = len({layer_task(layer, rows, cols, dataflow) for layer in layers})
            times = " ".join(f"{peer[1]:8.2f}" for peer in peers)
            print(f"{name:22s} {dataflow:3s} {len(layers):6d} {shapes:6d} {differ:6d} "
                  f"{seconds * 1e3:9.3f} {times}", flush=True)  # fmt: skip
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())
