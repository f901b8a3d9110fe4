"""Count differing integers between all executors, on designs of the search spaces.

    python tests/benchmarks/agreement.py [space=all] [designs=4] [inputs=2540] [nodes=48]
        [out=tests/benchmarks/agreement.csv] [key=value ...]

Draws random designs of each space, calibrates and lowers each on the (cached) teacher by the
space's own recipe and exports it. The first design has formats of the space's genes; in the others
most layers have any weight scheme, share and width there is and 2- to 8-bit inputs, and the last of
them has power-of-two scales, which meet many exact ties. Each design gets `inputs` inputs (real
digits, moved, noisy and faded ones, uniform codes, patterns of the extremes). The logits of all of
them, and every node's codes for `nodes` of them, are compared between the NumPy executor, the torch
executor, the bundle's own verify.py on the bundle's own files, and ONNX Runtime on the bundle's
model.integer.onnx (every node: on the same graph with every node as an output). The bundle's model
must be the one exported, and verify.py the NumPy executor, to the byte. Exact ties and saturations
are counted over the `nodes` inputs. Exits 1 if any integer differs.
"""

import csv
import hashlib
import io
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fuzz"))

from agreement_inputs import design_inputs
from executors import Values, bundle_replay, differing, first_difference, onnx, onnx_file, torch_cpu
from random_designs import random_formats
from roundings import count_roundings

from codesign.design import Design
from codesign.errors import RunError
from codesign.evaluate.accuracy import score
from codesign.export.bundle import Shipment, write_bundle
from codesign.export.checks import load_bundle_model
from codesign.files import write_atomic
from codesign.integer import replay
from codesign.integer.model import IntegerModel
from codesign.integer.torch_executor import TorchExecutor
from codesign.quantize.calibrate import mean_outputs
from codesign.quantize.lower import lower
from codesign.quantize.quantize import quantize
from codesign.search.evaluator import EvaluationProblem, load_problem, prepare, recipe_of
from codesign.settings import load_settings
from codesign.space import SearchSpace

SPACES = (
    *("mobilevit_mixed", "mobilevit_shiftswish", "swin_relu", "deit_fqvit", "efficientvit_trio"),
)
DEFAULTS = {
    "space": "all",
    "designs": "4",
    "inputs": "2540",
    "nodes": "48",
    "out": str(Path(__file__).with_suffix(".csv")),
}
CALIBRATION_IMAGES, CHUNK_IMAGES, DRAWS = 128, 32, 10
EXECUTORS = ("torch", "verify", "onnx")
Logits = Callable[[NDArray[np.int64]], NDArray[Any]]


def random_design(space: SearchSpace, seed: int, draw: int) -> Design:
    """Return a design of random genes; from the second on most layers are of any format."""
    rng = random.Random(1000 * draw + seed)
    design = space.decode({name: rng.choice(choices) for name, choices in space.genes.items()})
    if seed == 0:
        return design
    free = dict(random_formats([n for n, _ in design.layers if rng.random() < 0.7], rng))
    return replace(design, layers=tuple((n, free.get(n, layer)) for n, layer in design.layers))


def model_of(
    problem: EvaluationProblem, space: SearchSpace, seed: int, *, last: bool
) -> tuple[Design, IntegerModel]:
    """Return a design and its integer model; what could overflow is drawn again."""
    images = problem.data.split("train").load(range(CALIBRATION_IMAGES))[0]
    recipe = recipe_of(problem.settings.quantize)
    recipe = replace(recipe, scales="power_of_two") if last else recipe
    means = mean_outputs(problem.graph, images) if recipe.bias_correction else None
    for draw in range(DRAWS):
        design = random_design(space, seed, draw)
        try:
            network = quantize(problem.graph, design, recipe, images, layer_means=means)
            return design, lower(network).with_info(design=design.key)
        except RunError as error:
            print(f"  refused, drawn again: {error}", flush=True)
    raise RunError(f"{DRAWS} designs in a row were refused")


def export(problem: EvaluationProblem, design: Design, model: IntegerModel, bundle: Path) -> None:
    """Write a bundle of the model, which is checked and scored again."""
    validation = problem.data.split("validation")
    accuracy = score(model, validation).accuracy
    cost, work = problem.price(design), problem.workload(design)
    write_bundle(Shipment("random design", model, design, cost, work, validation, accuracy), bundle)


def is_the_model(bundle: Path, model: IntegerModel) -> bool:
    """Return whether a bundle holds this model and the NumPy executor, both to the byte."""
    same_code = (bundle / "verify.py").read_bytes() == Path(replay.__file__).read_bytes()
    return same_code and load_bundle_model(bundle).to_bytes() == model.to_bytes()


def logits_of(model: IntegerModel, bundle: Path) -> dict[str, Logits]:
    """Return executor to what gives the logits of input codes."""
    graph, tensors, last = model.graph_json(), dict(model.tensors), model.nodes[-1].name
    fast, file = TorchExecutor(model), onnx_file(bundle / "model.integer.onnx")
    shipped = bundle_replay(bundle)
    return {
        "numpy": lambda codes: replay.run(graph, tensors, codes),
        "torch": lambda codes: fast.run(torch.from_numpy(codes)).double().numpy(),
        "verify": lambda codes: shipped(codes)[last],
        "onnx": file,
    }


def compare_logits(model: IntegerModel, bundle: Path, codes: NDArray[np.int64]) -> dict[str, Any]:
    """Return integers compared, those that differ, and milliseconds an input, by executor."""
    runs, row = logits_of(model, bundle), Counter[str]()
    for start in range(0, len(codes), CHUNK_IMAGES):
        part, found = codes[start : start + CHUNK_IMAGES], {}
        for name, run in runs.items():
            begun = time.perf_counter()
            found[name] = run(part)
            row[f"ms_{name}"] += 1000 * (time.perf_counter() - begun) / len(codes)
        row["logits"] += found["numpy"].size
        for name in EXECUTORS:
            row[f"differ_{name}"] += _differing("logits", found["numpy"], found[name])
    return dict(row)


def _differing(what: str, expected: NDArray[Any], got: NDArray[Any]) -> int:
    pair = ({what: expected}, {what: got})
    if count := differing(*pair):
        print(f"  {first_difference(*pair)}", flush=True)
    return count


def compare_nodes(model: IntegerModel, bundle: Path, codes: NDArray[np.int64]) -> dict[str, int]:
    """Return the same for every node's codes, and the roundings that were met."""
    row = Counter[str]()
    runs = {
        "torch": torch_cpu(model, bundle),
        "verify": bundle_replay(bundle),
        "onnx": onnx(model, bundle),
    }
    for start in range(0, len(codes), CHUNK_IMAGES):
        part = codes[start : start + CHUNK_IMAGES]
        expected: Values = {}
        replay.run(model.graph_json(), dict(model.tensors), part, expected)
        row["integers"] += sum(v.size for v in expected.values())
        for name, run in runs.items():
            got = run(part)
            row[f"differ_{name}"] += differing(expected, got)
            if text := first_difference(expected, got):
                print(f"  {name}: {text}", flush=True)
        row.update(count_roundings(model, part).totals())
    return dict(row)


def some_of_each(inputs: Mapping[str, NDArray[np.int64]], count: int) -> NDArray[np.int64]:
    """Return about `count` inputs, evenly from every kind."""
    each = -(-count // len(inputs))
    parts = [v[:: max(len(v) // each, 1)][:each] for v in inputs.values()]
    return np.concatenate(parts)[:count]


def one_design(
    problem: EvaluationProblem, space: SearchSpace, seed: int, options: Mapping[str, str]
) -> tuple[dict[str, Any], list[bytes]]:
    """Return the row of one design, and what tells its inputs apart."""
    designs, count = int(options["designs"]), int(options["inputs"])
    design, model = model_of(problem, space, seed, last=0 < seed == designs - 1)
    inputs = design_inputs(model, problem.data, seed, designs, count)
    codes = np.concatenate(list(inputs.values()))
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "bundle"
        begun = time.perf_counter()
        export(problem, design, model, bundle)
        seconds = time.perf_counter() - begun
        size = sum(f.stat().st_size for f in bundle.rglob("*") if f.is_file())
        row = Counter(compare_logits(model, bundle, codes))
        row.update(compare_nodes(model, bundle, some_of_each(inputs, int(options["nodes"]))))
        row["bundle_differs"] = int(not is_the_model(bundle, model))
    met = {
        "design": seed,
        "schemes": " ".join(sorted({_scheme(layer) for _, layer in design.layers})),
        "weight_bits": _range({layer.weight_bits for _, layer in design.layers}),
        "activation_bits": _range({layer.activation_bits for _, layer in design.layers}),
        "operations": len({node.op for node in model.nodes}),
        "inputs": len(codes),
        "export_seconds": round(seconds, 1),
        "bundle_mb": round(size / 1e6, 1),
    }
    return met | dict(row), [hashlib.sha256(image.tobytes()).digest() for image in codes]


def _scheme(layer: Any) -> str:
    pruned = layer.weight_scheme in ("log2std", "uniformstd") and layer.weight_option
    return f"{layer.weight_scheme}{'@' if pruned else ''}"


def _range(values: set[int]) -> str:
    return " ".join(map(str, sorted(values)))


def one_space(name: str, options: Mapping[str, str], rest: list[str]) -> list[dict[str, Any]]:
    """Return a row for each design of a space."""
    settings = load_settings([f"space={name}", *rest])
    settings.device = "cpu"
    prepare(settings)
    problem = load_problem(settings)
    space = SearchSpace(settings, problem.outline)
    rows, seen = [], set()
    for seed in range(int(options["designs"])):
        row, inputs = one_design(problem, space, seed, options)
        row = {"space": name, **row, "distinct_inputs": len(set(inputs) - seen)}
        seen |= set(inputs)
        rows.append(row)
        print("  " + ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}"
                               for k, v in row.items()), flush=True)  # fmt: skip
    return rows


def main(arguments: list[str]) -> int:
    """Compare the executors on random designs; return 1 if any integer differs."""
    given = dict(a.split("=", 1) for a in arguments if "=" in a)
    options = {key: given.get(key, value) for key, value in DEFAULTS.items()}
    rest = [a for a in arguments if a.partition("=")[0] not in DEFAULTS]
    spaces = SPACES if options["space"] == "all" else options["space"].strip("[]").split(",")
    rows = []
    for name in spaces:
        print(name, flush=True)
        rows += one_space(name, options, rest)
    table = io.StringIO()
    writer = csv.DictWriter(table, list(dict.fromkeys(key for row in rows for key in row)))
    writer.writeheader()
    writer.writerows(
        {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()} for row in rows
    )
    write_atomic(Path(options["out"]), table.getvalue())
    return summary(rows)


def summary(rows: list[dict[str, Any]]) -> int:
    """Print the totals; return 1 if an integer differs."""
    total = Counter[str]()
    for row in rows:
        total.update({k: v for k, v in row.items() if isinstance(v, int)})
    wrong = sum(total[f"differ_{name}"] for name in EXECUTORS) + total["bundle_differs"]
    print(
        f"{wrong} differing integers over {len(rows)} designs, {total['distinct_inputs']} inputs:"
        f" {total['logits']} logits and {total['integers']} codes of nodes compared for each of"
        f" {', '.join(EXECUTORS)}; {total['ties']} exact ties, {total['low']} values below and"
        f" {total['high']} above their codes in {total['rounded']} roundings"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
