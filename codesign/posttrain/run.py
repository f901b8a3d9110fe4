"""Quantise one float network by one or several methods, and measure each."""

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from codesign.data import DataSet, Split
from codesign.design import ActivationSite, Design, LayerFormat, NetworkOutline
from codesign.errors import RunError, UserError
from codesign.graph.ir import Graph
from codesign.graph.outline import outline
from codesign.integer.model import IntegerModel
from codesign.numerics.activation import ACTIVATIONS
from codesign.numerics.weights import parse_format
from codesign.posttrain import measure
from codesign.posttrain.measure import Comparison, Size
from codesign.posttrain.progress import Progress
from codesign.posttrain.settings import PosttrainSettings
from codesign.quantize.calibrate import mean_outputs
from codesign.quantize.lower import lower
from codesign.quantize.methods import METHODS, Recipe
from codesign.quantize.network import QuantizedNetwork
from codesign.quantize.quantize import quantize
from codesign.quantize.recipe_check import check_recipe
from codesign.search.evaluator import recipe_of, reconstruction_of, torch_device
from codesign.space import GATES
from codesign.train.distill import Schedule, Teacher, distill
from costmodels.accelerator import Accelerator


@dataclass(frozen=True)
class Result:
    """A method's network, measured.

    Attributes:
        method: The method's name.
        recipe: Its choices.
        model: The integer model.
        comparison: Its classes and logits beside the float network's, on the validation split.
        layer_errors: Layer to the error of its output in dB, worst first.
        size: What the weights take.
        differing: Integers that differ between the torch and the NumPy executor.
        compared: Integers compared.
        kept_step: The distillation step whose state the model has; 0 is calibration's.
        seconds: Seconds that quantising took, distillation included.
    """

    method: str
    recipe: Recipe
    model: IntegerModel
    comparison: Comparison
    layer_errors: Mapping[str, float]
    size: Size
    differing: int
    compared: int
    kept_step: int
    seconds: float

    @property
    def accuracy_drop(self) -> float:
        """The float network's accuracy less the integer model's, in points (percent)."""
        c = self.comparison
        return 100 * (c.float_correct - c.correct) / c.images


class Bench:
    """What the methods share: the float network, its images, the device.

    Args:
        settings: The settings of the command.
        graph: The float network.
        data: The data set.
        progress: Where progress goes.
    """

    def __init__(
        self, settings: PosttrainSettings, graph: Graph, data: DataSet, progress: Progress
    ) -> None:
        self.settings = settings
        self.device = torch_device(settings.device)
        self.graph = replace(graph, tensors=_moved(graph.tensors, self.device))
        self.data = data
        self.progress = progress
        fraction = settings.distill.judge_fraction
        self._judge, self._train = data.split("train").partition(fraction, settings.seed)
        self.images = self._calibration_images()
        self._means: dict[str, Tensor] | None = None
        self._teachers: tuple[Teacher, Teacher] | None = None

    def changed(self, **choices: Any) -> "Bench":
        """Return a bench of the same network and images with other settings."""
        other = copy.copy(self)
        other.settings = replace(self.settings, **choices)
        return other

    @property
    def validation(self) -> Split:
        """The images that are scored."""
        return self.data.split("validation")

    def run(self, method: str) -> Result:
        """Quantise by a method and measure the integer model.

        Raises:
            UserError: The method or a choice is unknown, or does not suit the network.
            RunError: An accumulator could overflow, or a loss is not finite.
        """
        recipe = recipe_of(replace(self.settings.quantize, method=method))
        design = design_of(self.settings, outline(self.graph))
        start = time.perf_counter()
        network = self._quantize(method, design, recipe)
        kept = self._distill(method, network)
        with self.progress.stage(f"{method}: converting to integers"):
            model = lower(network)
        seconds = time.perf_counter() - start
        return self._measured(method, recipe, network, model, kept, seconds)

    def _quantize(self, method: str, design: Design, recipe: Recipe) -> QuantizedNetwork:
        batch = self.settings.quantize.calibration_batch
        stage = self.progress.stage(f"{method}: calibrating on {len(self.images)} images")
        with stage:
            if self._means is None and recipe.bias_correction:
                self._means = mean_outputs(self.graph, self.images, batch)
            return quantize(
                self.graph,
                design,
                recipe,
                self.images,
                layer_means=self._means,
                device=self.device,
                batch_size=batch,
                reconstruction=reconstruction_of(self.settings.quantize),
                progress=lambda block, count, result: self.progress.say(
                    f"{method}: block {block} of {count} reconstructed, squared error"
                    f" {result.error_before:.3g} to {result.error_after:.3g}"
                ),
            )

    def _distill(self, method: str, network: QuantizedNetwork) -> int:
        d = self.settings.distill
        if not d.steps:
            return 0
        if self._teachers is None:
            pair = (Teacher(self.graph, s, self.device) for s in (self._train, self._judge))
            self._teachers = (next(pair), next(pair))
        schedule = Schedule(d.steps, d.batch_size, d.learning_rate, d.feature_weight)
        with self.progress.stage(f"{method}: distilling, {d.steps} steps"):
            return distill(network, *self._teachers, schedule, self.settings.seed).kept_step

    def _measured(
        self,
        method: str,
        recipe: Recipe,
        network: QuantizedNetwork,
        model: IntegerModel,
        kept: int,
        seconds: float,
    ) -> Result:
        graph, device, split = self.graph, self.device, self.validation
        batches = self.progress.batches(
            split.batches(measure.BATCH_IMAGES), len(split), f"{method}: scoring"
        )
        comparison = measure.compare(graph, model, batches, device)
        part = split.subset(range(min(self.settings.measured_images, len(split))))
        fused = {
            node.name: node.attributes["fused"]
            for node in network.graph.layers
            if "fused" in node.attributes
        }
        measured = self.progress.batches(
            part.batches(measure.KEPT_IMAGES), len(part), f"{method}: measuring layers"
        )
        errors = measure.layer_errors(graph, model, measured, device, fused)
        images = measure.some(split, self.settings.compared_images)
        with self.progress.stage(f"{method}: replaying {len(images)} images with NumPy"):
            differing, compared = measure.differing_integers(model, images, device)
        size = measure.size_of(model, network.layers)
        return Result(
            method, recipe, model, comparison, errors, size, differing, compared, kept, seconds
        )

    def _calibration_images(self) -> Tensor:
        """Return training images chosen by the seed, those that a search of this seed takes."""
        count = min(self.settings.quantize.calibration_images, len(self._train))
        generator = torch.Generator().manual_seed(self.settings.seed)
        chosen = torch.randperm(len(self._train), generator=generator)[:count]
        return self._train.load(chosen)[0].to(self.device)


def methods_of(text: str) -> list[str]:
    """Return the methods that `method=` names: one, a list in brackets, or all.

    Raises:
        UserError: A method is unknown (the message lists those there are) or none is named.
    """
    names = [name.strip(" '\"") for name in text.strip().strip("[]").split(",")]
    names = [name for name in names if name]
    if names == ["all"]:
        return METHODS.names()
    if not names:
        raise UserError(f"method={text} names none. Known: {', '.join(METHODS.names())}, or all.")
    for name in names:
        METHODS.get(name)
    return list(dict.fromkeys(names))


def design_of(settings: PosttrainSettings, network: NetworkOutline) -> Design:
    """Return the design in which every layer has the widths that the settings name.

    Raises:
        UserError: The scheme, its width or the activation function is none there is.
    """
    check_choices(settings)
    names = [layer.name for layer in network.layers]
    formats = dict.fromkeys(names, layer_format(settings))
    if ends := settings.first_and_last_bits:
        formats |= dict.fromkeys((names[0], names[-1]), LayerFormat(ends, "uniform", ends))
    functions = tuple(
        (s.name, s.function if _kept(s) else settings.activation or s.function)
        for s in network.activations
    )
    return Design(tuple(formats.items()), functions, Accelerator())


def _kept(site: ActivationSite) -> bool:
    """Return whether a site keeps its function: a gate, or the kernel of an attention."""
    return site.function in GATES or site.kernel


def check_choices(settings: PosttrainSettings) -> None:
    """Check the choices that only the numerics know, before anything is trained.

    Raises:
        UserError: The scheme, its width, the activation function or (one method only: of several
            the others go on) a choice of the recipe is none there is.
    """
    methods = methods_of(settings.quantize.method)
    if len(methods) == 1:
        check_recipe(recipe_of(replace(settings.quantize, method=methods[0])))
    layer_format(settings)
    if settings.activation:
        ACTIVATIONS.get(settings.activation)


def layer_format(settings: PosttrainSettings) -> LayerFormat:
    """Return the format of the layers between the first and the last.

    Raises:
        UserError: The scheme or its width is none there is.
    """
    scheme, at, option = settings.scheme.partition("@")
    try:
        return parse_format(f"{scheme}_{settings.w_bits}{at}{option}", settings.a_bits)
    except ValueError as error:
        raise UserError(f"scheme={settings.scheme} w_bits={settings.w_bits}: {error}.") from error


def run_methods(bench: Bench, methods: list[str], done: Callable[[Result], None]) -> dict[str, str]:
    """Run methods one by one; return why those failed that did.

    A single method's error is raised: there is nothing else to show.

    Args:
        bench: The float network and its images.
        methods: Names of the methods.
        done: Called with each result.
    """
    failures: dict[str, str] = {}
    for method in methods:
        try:
            done(bench.run(method))
        except (UserError, RunError) as error:
            if len(methods) == 1:
                raise
            failures[method] = str(error)
            bench.progress.say(f"{method}: {error}")
    return failures


def result_json(result: Result, *, labelled: bool) -> dict[str, Any]:
    """Return a result as JSON-able values; a float infinity (no error at all) becomes None."""
    c, size = result.comparison, result.size
    return {
        "method": result.method,
        "recipe": asdict(result.recipe),
        "images": c.images,
        "float_accuracy": c.float_correct / c.images if labelled else None,
        "accuracy": c.correct / c.images if labelled else None,
        "accuracy_drop_points": result.accuracy_drop if labelled else None,
        "agreement": c.agreeing / c.images,
        "logits_sqnr_db": finite(-c.logits.error_db),
        "weight_kb": size.weight_kb,
        "mean_weight_bits": size.mean_weight_bits,
        "sparsity": size.sparsity,
        "differing_integers": result.differing,
        "compared_integers": result.compared,
        "kept_step": result.kept_step,
        "seconds": round(result.seconds, 3),
        "layers": [
            {"layer": name, "error_db": finite(db), "sparsity": size.layer_sparsity[name]}
            for name, db in result.layer_errors.items()
        ],
    }


def finite(value: float) -> float | None:
    """Return the value, or None for one that is not finite, which JSON cannot hold."""
    return value if math.isfinite(value) else None


def _moved(tensors: Mapping[str, Tensor], device: str) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in tensors.items()}
