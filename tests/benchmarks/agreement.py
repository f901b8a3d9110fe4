"""Count differing integers between the executors over the whole validation split.

    python tests/benchmarks/agreement.py space=mobilevit_mixed [designs=20] [key=value ...]

Draws random designs of the space, calibrates and lowers each on the (cached) teacher and exports
it. Then, over every validation image, compares every node's codes of the torch executor with those
that the bundle's own verify.py computes from the bundle's own files. That file must be the NumPy
executor to the byte, and the bundle's model the one exported. Exits 1 if any integer differs.
"""

import json
import random
import runpy
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from codesign.design import Design
from codesign.evaluate.accuracy import score
from codesign.export.bundle import Shipment, write_bundle
from codesign.export.checks import load_bundle_model
from codesign.integer import replay
from codesign.integer.model import IntegerModel
from codesign.integer.torch_executor import TorchExecutor
from codesign.quantize.calibrate import calibrate, mean_outputs
from codesign.quantize.lower import lower
from codesign.quantize.network import QuantizedNetwork
from codesign.search.evaluator import EvaluationProblem, load_problem, prepare
from codesign.settings import load_settings
from codesign.space import SearchSpace

CHUNK_IMAGES = 64


def random_design(space: SearchSpace, seed: int) -> Design:
    """Return a design whose genes are drawn uniformly."""
    rng = random.Random(seed)
    return space.decode({name: rng.choice(choices) for name, choices in space.genes.items()})


def model_of(problem: EvaluationProblem, design: Design) -> IntegerModel:
    """Return the integer model of a design after calibration."""
    images = problem.data.split("train").load(range(128))[0]
    network = QuantizedNetwork.build(problem.graph, design)
    calibrate(network, images, layer_means=mean_outputs(problem.graph, images))
    return lower(network)


def differing(model: IntegerModel, bundle: Path, images: torch.Tensor) -> tuple[int, int]:
    """Return (integers that differ, integers compared) between torch and a bundle's verify.py."""
    verify = runpy.run_path(str(bundle / "verify.py"))
    shipped = load_bundle_model(bundle)
    executor, graph = TorchExecutor(model), json.loads((bundle / "graph.json").read_text())
    bad = compared = 0
    for part in images.split(CHUNK_IMAGES):
        codes = model.quantize_input(part.numpy())
        ours: dict[str, torch.Tensor] = {}
        theirs: dict[str, np.ndarray] = {}
        executor.run(torch.from_numpy(codes), ours)
        verify["run"](graph, shipped.tensors, codes, theirs)
        for name, expected in theirs.items():
            bad += int((ours[name].numpy().astype(np.int64) != expected).sum())
            compared += expected.size
    return bad, compared


def is_the_model(bundle: Path, model: IntegerModel) -> bool:
    """Return whether a bundle holds this model and the NumPy executor, both to the byte."""
    same_code = (bundle / "verify.py").read_bytes() == Path(replay.__file__).read_bytes()
    return same_code and load_bundle_model(bundle).to_bytes() == model.to_bytes()


def main(arguments: list[str]) -> int:
    """Compare the executors on random designs; return 1 if any integer differs."""
    count = int(dict(a.split("=", 1) for a in arguments if "=" in a).get("designs", "20"))
    settings = load_settings([a for a in arguments if not a.startswith("designs=")])
    settings.device = "cpu"
    prepare(settings)
    problem = load_problem(settings)
    space = SearchSpace(settings, problem.outline)
    validation = problem.data.split("validation")
    images, _ = validation.load(range(len(validation)))
    total = 0
    for seed in range(count):
        design = random_design(space, seed)
        model = model_of(problem, design)
        with tempfile.TemporaryDirectory() as folder:
            bundle = Path(folder) / "bundle"
            export(problem, design, model, bundle)
            bad, compared = differing(model, bundle, images)
            same = is_the_model(bundle, model)
        total += bad + (not same)
        print(
            f"design {seed:2d}: {bad} of {compared} integers differ over {len(images)} images; "
            f"bundle {'is the model' if same else 'DIFFERS'}",
            flush=True,
        )
    print(f"{total} differing integers over {count} designs x {len(images)} images")
    return 1 if total else 0


def export(problem: EvaluationProblem, design: Design, model: IntegerModel, bundle: Path) -> None:
    """Write a bundle of the model, which runs its verify.py and re-scores it."""
    validation = problem.data.split("validation")
    accuracy = score(model, validation).accuracy
    cost, work = problem.price(design), problem.workload(design)
    shipment = Shipment("random design", model, design, cost, work, validation, accuracy)
    write_bundle(shipment, bundle)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
