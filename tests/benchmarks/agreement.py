"""Count differing integers between the executors over the whole validation split.

    python tests/benchmarks/agreement.py space=mobilevit_mixed [designs=20] [key=value ...]

Draws random designs of the space, calibrates and lowers each on the (cached) teacher, runs torch
and the NumPy replay over every validation image, compares every node's codes, exports each design
as a bundle, runs the bundle's own verify.py and re-scores the files written. Exits 1 if any
integer differs.
"""

import random
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from codesign.design import Design
from codesign.evaluate.accuracy import score
from codesign.export.bundle import Shipment, write_bundle
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


def differing(model: IntegerModel, images: torch.Tensor) -> tuple[int, int]:
    """Return (integers that differ, integers compared) between the torch and NumPy executors."""
    executor, graph = TorchExecutor(model), model.graph_json()
    bad = compared = 0
    for part in images.split(CHUNK_IMAGES):
        codes = model.quantize_input(part.numpy())
        ours: dict[str, torch.Tensor] = {}
        theirs: dict[str, np.ndarray] = {}
        executor.run(torch.from_numpy(codes), ours)
        replay.run(graph, model.tensors, codes, theirs)
        for name, expected in theirs.items():
            bad += int((ours[name].numpy().astype(np.int64) != expected).sum())
            compared += expected.size
    return bad, compared


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
        bad, compared = differing(model, images)
        verified = bundle_verified(problem, design, model)
        total += bad + (not verified)
        print(
            f"design {seed:2d}: {bad} of {compared} integers differ over {len(images)} images; "
            f"bundle {'verified' if verified else 'DIFFERS'}",
            flush=True,
        )
    print(f"{total} differing integers over {count} designs x {len(images)} images")
    return 1 if total else 0


def bundle_verified(problem: EvaluationProblem, design: Design, model: IntegerModel) -> bool:
    """Export the model, run its verify.py and re-score it; return whether all agreed."""
    validation = problem.data.split("validation")
    accuracy = score(model, validation).accuracy
    shipment = Shipment(
        "random design",
        model,
        design,
        problem.price(design),
        problem.workload(design),
        validation,
        accuracy,
    )
    with tempfile.TemporaryDirectory() as folder:
        summary = write_bundle(shipment, Path(folder) / "bundle")
    return summary.correct == round(accuracy * len(validation))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
