"""The bench: one float network and its images, on which methods are run and measured."""

import copy
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codesign.data import DataSet, Split
from codesign.design import Design, LayerFormat
from codesign.graph.ir import Graph
from codesign.graph.outline import outline
from codesign.integer.model import IntegerModel
from codesign.numerics.weights import scheme_of
from codesign.posttrain import measure
from codesign.posttrain.choices import design_of, end_formats, layer_format
from codesign.posttrain.measure import Comparison, Size
from codesign.posttrain.progress import Progress
from codesign.posttrain.settings import PosttrainSettings
from codesign.quantize import sensitivity
from codesign.quantize.calibrate import mean_outputs
from codesign.quantize.lower import lower
from codesign.quantize.network import QuantizedNetwork
from codesign.quantize.quantize import quantize
from codesign.quantize.recipe import Recipe
from codesign.search.evaluator import recipe_of, reconstruction_of, torch_device
from codesign.train.distill import Schedule, Teacher, distill

NARROWER_BITS = (6, 4)
"""Widths that a mean width may narrow a layer to."""
SENSITIVITY_IMAGES = 64


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
        formats: Layer to its formats.
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
    formats: Mapping[str, LayerFormat]
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
        self.outline = outline(self.graph)
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
        design = design_of(self.settings, self.outline, self._assigned())
        start = time.perf_counter()
        network = self._quantize(method, design, recipe)
        kept = self._distill(method, network)
        with self.progress.stage(f"{method}: converting to integers"):
            model = lower(network)
        seconds = time.perf_counter() - start
        return self._measured(method, recipe, network, model, kept, seconds)

    def _assigned(self) -> Mapping[str, str]:
        """Return the layers' weight formats of the mean width that the settings ask for, if any."""
        wanted = self.settings.mean_bits
        if not wanted:
            return {}
        widest = layer_format(self.settings)
        least, _ = scheme_of(widest).widths
        narrower = [b for b in NARROWER_BITS if least <= b < widest.weight_bits]
        formats = [replace(widest, weight_bits=b).weight for b in (widest.weight_bits, *narrower)]
        fixed = {
            name: layer.weight for name, layer in end_formats(self.settings, self.outline).items()
        }
        names = [layer.name for layer in self.outline.layers if layer.name not in fixed]
        images = self.images[:SENSITIVITY_IMAGES]
        cache = Path(self.settings.runs_dir) / ".cache" / "sensitivities"
        with self.progress.stage(f"measuring {len(names) * len(formats)} sensitivities") as report:
            found = sensitivity.measure(
                self.graph,
                images,
                dict.fromkeys(names, formats),
                cache,
                lambda done, count: report(f"sensitivities: {done} of {count} measured"),
            )
        return sensitivity.assign_bits(self.outline, found, formats, wanted, fixed)

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
            method=method,
            recipe=recipe,
            model=model.with_info(**self._info(comparison)),
            comparison=comparison,
            layer_errors=errors,
            size=size,
            formats=network.layers,
            differing=differing,
            compared=compared,
            kept_step=kept,
            seconds=seconds,
        )

    def _info(self, comparison: Comparison) -> dict[str, Any]:
        """Return what a saved model tells of itself: see `codesign.evaluate`."""
        return {
            "model": asdict(self.settings.model),
            "data": asdict(self.settings.data),
            "preparation": self.data.preparation(),
            "validation_images": comparison.images,
            "validation_correct": comparison.correct,
        }

    def _calibration_images(self) -> Tensor:
        """Return training images chosen by the seed, those that a search of this seed takes."""
        count = min(self.settings.quantize.calibration_images, len(self._train))
        generator = torch.Generator().manual_seed(self.settings.seed)
        chosen = torch.randperm(len(self._train), generator=generator)[:count]
        return self._train.load(chosen)[0].to(self.device)


def _moved(tensors: Mapping[str, Tensor], device: str) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in tensors.items()}
