"""The evaluator: from a design to its accuracy as an integer model, and to its costs.

`prepare` makes once what every worker needs: the trained teacher as a captured graph, and what the
model says of its images. `load_problem` reads that in the driver and in each worker.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from codesign.data import DataSet, load_data
from codesign.design import Design, NetworkOutline
from codesign.errors import RunError, UserError
from codesign.evaluate.accuracy import Score, score
from codesign.files import content_key, write_atomic
from codesign.graph.ir import Graph
from codesign.graph.outline import outline
from codesign.graph.workload import workload
from codesign.integer.model import IntegerModel
from codesign.quantize import reconstruct, sensitivity
from codesign.quantize.calibrate import mean_outputs
from codesign.quantize.lower import lower
from codesign.quantize.methods import METHODS, Recipe
from codesign.quantize.network import QuantizedNetwork
from codesign.quantize.quantize import quantize
from codesign.search.problem import Evaluation
from codesign.search.simulations import cycle_model
from codesign.settings import QuantizeSettings, SearchSettings
from codesign.train.distill import Distilled, Schedule, Teacher, distill
from costmodels.estimate import Cost, estimate
from costmodels.workload import Workload

RECIPE = 2  # counts changes of this file and of capture that change what is prepared


def prepare(settings: SearchSettings, console: Console | None = None) -> None:
    """Train and capture the teacher, or find both in the cache.

    Args:
        settings: The settings of the run.
        console: Where progress goes; None is silent.

    Raises:
        UserError: The model, the checkpoint or the data are wrong, or the model cannot be captured.
        RunError: The teacher's loss is not finite, or weights cannot be fetched.
    """
    from codesign.graph.capture import capture
    from codesign.train.model import data_config, trained_model
    from codesign.train.teacher import teacher_state

    config = data_config(settings.model)
    data = load_data(settings.data, config)
    teacher = teacher_state(settings, data, _cache(settings, "teachers"), console)
    path = _cache(settings, "graphs") / f"{teacher.path.stem}-{RECIPE}.safetensors"
    if not path.exists():
        model = trained_model(settings.model, data.num_classes, teacher.state)
        write_atomic(path, capture(model, data.input_shape, settings.model.name).save())
    prepared = {"graph": path.name, "data_config": config, "teacher": teacher.metrics}
    write_atomic(_prepared_path(settings), json.dumps(prepared, indent=1))


def load_problem(settings: SearchSettings) -> "EvaluationProblem":
    """Return the problem that `prepare` made ready.

    Raises:
        UserError: Nothing is prepared, or the data changed.
    """
    path = _prepared_path(settings)
    try:
        prepared = json.loads(path.read_text())
        graph = Graph.load(str(_cache(settings, "graphs") / prepared["graph"]))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"the prepared teacher in {path} cannot be read: {error}") from error
    data = load_data(settings.data, prepared["data_config"])
    return EvaluationProblem(settings, graph, data, prepared["teacher"])


@dataclass
class EvaluationProblem:
    """A captured teacher, its data and the cost models. See `codesign.search.problem.Problem`.

    Args:
        settings: The settings of the run.
        graph: The float teacher.
        data: The data set.
        teacher: The teacher's metrics.
    """

    settings: SearchSettings
    graph: Graph
    data: DataSet
    teacher: Mapping[str, float]
    outline: NetworkOutline = field(init=False)

    def __post_init__(self) -> None:
        self.outline = outline(self.graph)
        self._bench: _Bench | None = None

    def workload(self, design: Design) -> Workload:
        """Return what the design's network asks of hardware."""
        return workload(self.graph, design, recipe_of(self.settings.quantize))

    def price(self, design: Design) -> Cost:
        """Return the design's cost, without training anything."""
        return estimate(
            self.workload(design),
            design.accelerator,
            batch=self.settings.cost.batch,
            cycles=cycle_model(self.settings),
            fabric=self.settings.cost.fabric,
            gpus=tuple(self.settings.cost.gpus),
            gpu_profile=self.settings.cost.gpu_profile,
            gpu_precision=self.settings.cost.gpu_precision,
        )

    def sensitivities(
        self, choices: sensitivity.Choices, progress: sensitivity.Progress
    ) -> sensitivity.Sensitivities:
        """Return what each choice alone does to the teacher, measured on the calibration images."""
        bench = self.bench
        folder = _cache(self.settings, "sensitivities")
        return sensitivity.measure(bench.graph, bench.images, choices, folder, progress)

    def evaluate(self, design: Design) -> Evaluation:
        """Calibrate, distil, convert and score a design.

        Raises:
            RunError: A loss is not finite, or an accumulator could overflow.
        """
        return self.bench.evaluate(design)

    @property
    def bench(self) -> "_Bench":
        """What evaluations share, made when first used."""
        if self._bench is None:
            self._bench = _Bench.build(self.settings, self.graph, self.data)
        return self._bench

    def test_accuracy(self, model: bytes) -> float:
        """Return the accuracy of an integer model on the test split."""
        loaded = IntegerModel.from_bytes(model)
        return score(loaded, self.data.split("test"), torch_device(self.settings.device)).accuracy


@dataclass
class _Bench:
    """What evaluations share in one process: the teacher's results, calibration images, device."""

    settings: SearchSettings
    graph: Graph
    data: DataSet
    device: str
    train: Teacher
    judge: Teacher
    images: torch.Tensor
    layer_means: Mapping[str, torch.Tensor]

    @classmethod
    def build(cls, settings: SearchSettings, graph: Graph, data: DataSet) -> "_Bench":
        device = torch_device(settings.device)
        graph = Graph(graph.name, graph.nodes, {k: v.to(device) for k, v in graph.tensors.items()})
        judge, train = data.split("train").partition(settings.distill.judge_fraction, settings.seed)
        count = min(settings.quantize.calibration_images, len(train))
        chosen = torch.randperm(len(train), generator=_generator(settings.seed))[:count]
        images = train.load(chosen)[0].to(device)

        return cls(
            settings,
            graph,
            data,
            device,
            Teacher(graph, train, device),
            Teacher(graph, judge, device),
            images,
            mean_outputs(graph, images, settings.quantize.calibration_batch),
        )

    def evaluate(self, design: Design) -> Evaluation:
        clock = _Clock()
        with clock("calibrate"):
            network = quantize(
                self.graph,
                design,
                recipe_of(self.settings.quantize),
                self.images,
                layer_means=self.layer_means,
                device=self.device,
                reconstruction=reconstruction_of(self.settings.quantize),
                batch_size=self.settings.quantize.calibration_batch,
            )
        with clock("convert"):
            model = lower(network)
        with clock("score"):
            before = score(model, self.data.split("validation"), self.device)
        with clock("distill"):
            history = self._distill(network)
        after = before
        if history.kept_step:
            with clock("convert"):
                model = lower(network)
            with clock("score"):
                after = score(model, self.data.split("validation"), self.device)
        return self._evaluation(design, model, before, after, history, clock)

    def _distill(self, network: QuantizedNetwork) -> Distilled:
        d = self.settings.distill
        schedule = Schedule(d.steps, d.batch_size, d.learning_rate, d.feature_weight)
        return distill(network, self.train, self.judge, schedule, self.settings.seed)

    def _evaluation(
        self,
        design: Design,
        model: IntegerModel,
        before: Score,
        after: Score,
        history: Distilled,
        clock: "_Clock",
    ) -> Evaluation:
        model = model.with_info(
            model=asdict(self.settings.model),
            data=asdict(self.settings.data),
            preparation=self.data.preparation(),
            design=design.key,
            validation_images=after.images,
            validation_correct=after.correct,
        )
        metrics = {
            "accuracy": after.accuracy,
            "accuracy_post_training": before.accuracy,
            "accuracy_distilled": after.accuracy,
            "loss": after.loss,
            "loss_post_training": before.loss,
            "distill.kept_step": float(history.kept_step),
            **{f"seconds.{name}": seconds for name, seconds in clock.seconds.items()},
        }
        details: dict[str, Any] = {
            "validation_correct": after.correct,
            "validation_images": after.images,
            "distill_losses": list(history.losses),
            "distill_judged": [list(pair) for pair in history.judged],
            "weight_sparsity": {
                node.name: node.attributes["weight_sparsity"]
                for node in model.nodes
                if "weight_sparsity" in node.attributes
            },
        }
        return Evaluation(metrics, model.to_bytes(), details)


class _Clock:
    """Adds up the wall-clock seconds of named stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def recipe_of(settings: QuantizeSettings) -> Recipe:
    """Return the method that the settings name, with the single choices they change.

    Raises:
        UserError: The method is unknown.
    """
    return METHODS.get(settings.method).changed(asdict(settings))


def reconstruction_of(settings: QuantizeSettings) -> reconstruct.Schedule:
    """Return how blocks are reconstructed where the recipe asks for it."""
    return reconstruct.Schedule(
        steps=settings.reconstruction_steps,
        batch_size=settings.reconstruction_batch,
        drop=settings.reconstruction_drop,
    )


def torch_device(name: str) -> str:
    """Return "cpu" or "cuda" for the setting `device`.

    Raises:
        RunError: "cuda" is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise RunError("device=cuda: this machine has no CUDA device that torch can use.")
    return "cuda" if name != "cpu" and available else "cpu"


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _cache(settings: SearchSettings, kind: str) -> Path:
    return Path(settings.runs_dir) / ".cache" / kind


def _prepared_path(settings: SearchSettings) -> Path:
    """Return the file that says what is prepared for a model, data and teacher."""
    sections = (settings.model, settings.data, settings.teacher)
    key = content_key([*(asdict(section) for section in sections), settings.seed, RECIPE])
    return _cache(settings, "prepared") / f"{key}.json"
