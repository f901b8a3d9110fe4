"""Take one model of every timm family to integers: the smallest, with random weights.

    python tests/benchmarks/families.py [families=a,b] [models=a,b] [image_limit=1] [seed=0]
        [parameter_limit=450e6] [seconds=900] [gigabytes=18] [out=tests/benchmarks/families.csv]

Each model is captured, quantised by the default recipe with 8-bit weights and activations on four
random images, lowered, and replayed: every node's codes in the torch executor against those of the
NumPy executor, on `image_limit` other images. Norms, layer scales and zero-initialised tensors get
random values, so that no branch of a network is switched off. The signal-to-noise ratio of the
logits is against the float model. Each model has a process of its own, with limits of time and
memory, so that a failure is one row of the table. Exits 1 if any integer differs.
"""

import csv
import io
import multiprocessing
import resource
import sys
import time
import warnings
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import nn

from codesign.design import Design, LayerFormat
from codesign.errors import RunError, UserError
from codesign.files import write_atomic
from codesign.graph.capture import capture
from codesign.graph.execute import run
from codesign.graph.ir import Graph
from codesign.graph.workload import workload
from codesign.integer import replay
from codesign.integer.model import IntegerModel
from codesign.integer.torch_executor import TorchExecutor
from codesign.quantize.lower import lower
from codesign.quantize.quantize import quantize
from codesign.quantize.recipe import Recipe
from costmodels.accelerator import Accelerator

CALIBRATION_IMAGES = 4
DEFAULTS = {
    "families": "",
    "models": "",
    "image_limit": "1",
    "seed": "0",
    "parameter_limit": "450e6",
    "seconds": "900",
    "gigabytes": "18",
    "out": str(Path(__file__).with_suffix(".csv")),
}
COLUMNS = (
    *("family", "model", "parameters_m", "pixels", "result", "sqnr_db", "integers", "differing"),
    *("float_error", "nodes", "seconds", "reason"),
)


def randomise(model: nn.Module, seed: int) -> nn.Module:
    """Give constant parameters and batch statistics random values of their kind."""
    generator = torch.Generator().manual_seed(seed)

    def draw(tensor: torch.Tensor, low: float, high: float) -> None:
        tensor.copy_(low + (high - low) * torch.rand(tensor.shape, generator=generator))

    with torch.no_grad():
        for parameter in model.parameters():
            first = float(parameter.reshape(-1)[0]) if parameter.numel() else 0.0
            if not parameter.is_floating_point() or not bool((parameter == first).all()):
                continue
            if parameter.dim() > 1 and first == 0:
                draw(parameter, -0.05, 0.05)
            elif first == 0:
                draw(parameter, -0.2, 0.2)
            else:  # a factor: of a norm, or a layer scale, which starts near zero
                size = 1.0 if abs(first) < 0.1 else first
                draw(parameter, 0.5 * size, 1.5 * size)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                draw(buffer, -0.2, 0.2)
            elif name.endswith("running_var"):
                draw(buffer, 0.5, 1.5)
    return model.eval()


def smallest(family: str) -> tuple[str, int]:
    """Return the family's model with the fewest parameters, and how many it has."""
    counts: dict[str, int] = {}
    for name in timm.list_models(module=family):
        try:
            with torch.device("meta"):
                model = timm.create_model(name)
        except Exception:  # a model that cannot be built without data says nothing here
            continue
        counts[name] = sum(p.numel() for p in model.parameters())
    best = min(counts, key=lambda name: (counts[name], name))
    return best, counts[best]


def w8a8(graph: Graph) -> Design:
    """Return the design with 8 bits everywhere and the model's own functions."""
    layers = tuple((node.name, LayerFormat(8, "uniform", 8)) for node in graph.layers)
    functions = tuple(
        (n.name, n.attributes["function"]) for n in graph.nodes if n.op == "activation"
    )
    return Design(layers, functions, Accelerator())


class Comparison(dict[str, np.ndarray]):
    """Takes every node's codes from the NumPy executor, compares them and forgets them."""

    def __init__(self, fast: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.fast = fast
        self.compared = self.differing = 0

    def __setitem__(self, name: str, expected: np.ndarray) -> None:
        got = self.fast.pop(name).numpy()
        same = got.shape == expected.shape
        self.differing += int((got != expected).sum()) if same else expected.size
        self.compared += expected.size


def differing(model: IntegerModel, codes: np.ndarray) -> tuple[int, int, np.ndarray]:
    """Return (integers that differ, integers compared, the logits' codes), image by image."""
    executor, graph, tensors = TorchExecutor(model), model.graph_json(), dict(model.tensors)
    bad = compared = 0
    logits = []
    for image in codes:
        fast: dict[str, torch.Tensor] = {}
        executor.run(torch.from_numpy(image[None]), keep=fast)
        comparison = Comparison(fast)
        logits.append(replay.run(graph, tensors, image[None], keep=comparison))
        bad, compared = bad + comparison.differing, compared + comparison.compared
    return bad, compared, np.concatenate(logits)


def measure(name: str, options: Mapping[str, str]) -> dict[str, Any]:
    """Take one model all the way; return its row."""
    seed = int(options["seed"])
    torch.manual_seed(seed)
    model = randomise(timm.create_model(name), seed)
    size = model.pretrained_cfg["input_size"]
    generator = torch.Generator().manual_seed(seed)
    count = CALIBRATION_IMAGES + int(options["image_limit"])
    images = torch.randn(count, *size, generator=generator)
    row: dict[str, Any] = {"pixels": size[-1]}
    graph = capture(model, size, name)
    tests = images[CALIBRATION_IMAGES:]
    with torch.no_grad():
        wanted = model(tests)
        row["float_error"] = _relative(run(graph, tests), wanted)
    del model
    design = w8a8(graph)
    workload(graph, design)
    network = quantize(graph, design, Recipe(), images[:CALIBRATION_IMAGES])
    integer = lower(network)
    del network
    row["nodes"] = len(integer.nodes)
    bad, compared, codes = differing(integer, integer.quantize_input(tests.numpy()))
    logits = integer.logits_format.dequantize(torch.from_numpy(codes))
    noise = (logits - wanted).square().sum()
    row["sqnr_db"] = round(float(10 * torch.log10(wanted.double().square().sum() / noise)), 1)
    return {**row, "integers": compared, "differing": bad, "result": "differs" if bad else "ok"}


def _relative(got: torch.Tensor, wanted: torch.Tensor) -> str:
    return f"{float((got - wanted).abs().max() / wanted.abs().max()):.1e}"


def child(family: str, model: str, options: Mapping[str, str]) -> dict[str, Any]:
    """Return a row, whatever happens short of the limits."""
    limit = int(float(options["gigabytes"]) * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    name, count = (model, 0) if model else smallest(family)
    if model:
        with torch.device("meta"):
            count = sum(p.numel() for p in timm.create_model(model).parameters())
    row: dict[str, Any] = {"model": name, "parameters_m": round(count / 1e6, 1)}
    if count > float(options["parameter_limit"]):
        return {**row, "result": "fails", "reason": "more parameters than the limit"}
    try:
        return {**row, **measure(name, options)}
    except (UserError, RunError) as error:
        return {**row, "result": "fails", "reason": str(error)}
    except Exception as error:
        return {**row, "result": "fails", "reason": f"{type(error).__name__}: {error}"[:300]}


def row_of(family: str, model: str, options: Mapping[str, str]) -> dict[str, Any]:
    """Return the row of a family, measured in a process of its own."""
    started = time.monotonic()
    row: dict[str, Any] = {"family": family, "model": model, "result": "fails"}
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_send_row, args=(send, family, model, options))
    process.start()
    send.close()
    try:
        in_time = receive.poll(float(options["seconds"]))
        row |= receive.recv() if in_time else {"reason": f"longer than {options['seconds']} s"}
    except EOFError:
        process.join()
        row["reason"] = f"the process ended with code {process.exitcode}"
    process.kill()
    process.join()
    return {**row, "seconds": round(time.monotonic() - started)}


def _send_row(send: Connection, family: str, model: str, options: Mapping[str, str]) -> None:
    send.send(child(family, model, options))


def family_of(model: str) -> str:
    """Return the timm module that defines a model."""
    return timm.model_entrypoint(model).__module__.split(".")[-1]


def main() -> int:
    """Print the table row by row and write it as CSV."""
    options = {**DEFAULTS, **dict(argument.split("=", 1) for argument in sys.argv[1:])}
    torch.set_num_threads(1)  # processes are forked
    warnings.filterwarnings("ignore")  # timm's caches, named at length by torch.export
    models = [m for m in options["models"].split(",") if m]
    pairs = [(family_of(model), model) for model in models]
    if not models:
        chosen = [f for f in options["families"].split(",") if f]
        pairs = [(family, "") for family in chosen or timm.list_modules()]
    rows = []
    for index, (family, model) in enumerate(pairs, start=1):
        row = row_of(family, model, options)
        rows.append(row)
        shown = "  ".join(str(row.get(key, "")) for key in COLUMNS[1:])
        print(f"[{index}/{len(pairs)}] {family}: {shown}", flush=True)
        write(rows, Path(options["out"]))
    good = sum(row["result"] == "ok" for row in rows)
    total = sum(row.get("integers", 0) for row in rows)
    print(f"{good} of {len(rows)} families; {total} integers compared (timm {timm.__version__})")
    return int(any(row["result"] == "differs" for row in rows))


def write(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the table as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue().encode())


if __name__ == "__main__":
    sys.exit(main())
