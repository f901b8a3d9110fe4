"""Sensitivities: what each single choice does to the float network's output.

One layer's weights in one format, one layer's input at one width, or one activation site with
another function, and everything else in floating point. The damage is the divergence of the
softened class probabilities and the squared error of the logits. Values that come before the choice
are computed once for a batch of images and kept, so that a choice runs only what follows it.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from codesign.design import NetworkOutline
from codesign.errors import UserError
from codesign.files import canonical_json, content_key, write_atomic
from codesign.graph.execute import compute, move
from codesign.graph.ir import LAYER_OPERATIONS, SHAPE_OPERATIONS, Graph, Node, elements
from codesign.numerics.activation import ACTIVATIONS
from codesign.numerics.weights import parse_format, scheme_of
from codesign.quantize.observers import observe

VERSION = 1
TEMPERATURE = 2.0
"""The classes' probabilities are those of the logits over this."""
OBSERVER = "mse_p"
_CACHE_BYTES = 512 * 2**20
_SAVE_SECONDS = 5.0

Choice = str | int
Choices = Mapping[str, Sequence[Choice]]
"""Node name to choices: weight formats and activation widths of layers, functions of sites."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Damage:
    """What one choice does, alone.

    Attributes:
        divergence: Mean Kullback-Leibler divergence from the float network, in nats, of the class
            probabilities at temperature 2.
        squared_error: Mean squared error of the logits.
    """

    divergence: float
    squared_error: float


@dataclass(frozen=True)
class Sensitivities:
    """The damage of every choice that was measured.

    Attributes:
        damages: (node name, choice) to its damage; choices are weight formats ("uniform_4"),
            activation widths (4) and functions ("relu").
        images: Images measured on.
        model: The network's name.
    """

    damages: Mapping[tuple[str, Choice], Damage]
    images: int
    model: str = ""

    def __getitem__(self, key: tuple[str, Choice]) -> Damage:
        return self.damages[key]

    def to_json(self) -> dict[str, Any]:
        """Return the sensitivities as JSON-able values; widths are numbers, the rest text."""
        rows = [[name, choice, *asdict(d).values()] for (name, choice), d in self.damages.items()]
        columns = ["node", "choice", "divergence_nats", "squared_error"]
        head = {"version": VERSION, "model": self.model, "images": self.images}
        return {**head, "temperature": TEMPERATURE, "columns": columns, "rows": rows}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Sensitivities":
        """Rebuild sensitivities from `to_json`'s values."""
        damages = {(name, choice): Damage(*rest) for name, choice, *rest in value["rows"]}
        return cls(damages, value["images"], value["model"])


def measure(
    graph: Graph,
    images: Tensor,
    choices: Choices,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> Sensitivities:
    """Measure every choice alone, or go on with a measurement that was interrupted.

    Args:
        graph: The float network.
        images: (images, channels, height, width) float32.
        choices: What to measure.
        cache_dir: Where results are kept as they come, by the content of the graph, the images and
            each choice; None keeps none.
        progress: Called with the choices measured so far, counted by batch, and their number.

    Raises:
        UserError: A choice names a node, a format or a function there is none of.
    """
    _check(graph, choices)
    wanted = [(name, choice) for name, listed in choices.items() for choice in listed]
    size = batch_size(graph)
    record = _Record.load(cache_dir, graph, images, size)
    try:
        _measure(graph, images.split(size), wanted, record, progress)
    finally:
        record.save()
    total = len(images)
    found = {key: Damage(*(value / total for value in record.sums[_label(key)])) for key in wanted}
    return Sensitivities(found, total, graph.name)


def _measure(
    graph: Graph,
    batches: Sequence[Tensor],
    wanted: Sequence[tuple[str, Choice]],
    record: "_Record",
    progress: Progress | None,
) -> None:
    """Add to a record what it lacks."""
    effects = _Effects(graph)
    for number, batch in enumerate(batches):
        missing = [key for key in wanted if record.batches(key) <= number]
        if not missing:
            continue
        prefix = _Prefix(graph, batch)
        before = (number + 1) * len(wanted) - len(missing)
        for done, key in enumerate(missing):
            node = graph[key[0]]
            logits = prefix.rerun(node, effects.result(node, key[1], prefix))
            record.add(key, *_damage(logits, prefix.logits), number + 1)
            if progress is not None:
                progress(before + done + 1, len(wanted) * len(batches))


def assign_bits(
    outline: NetworkOutline,
    sensitivities: Sensitivities,
    choices: Sequence[str],
    mean_bits: float,
    fixed: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return each layer's weight format with a mean width, least damage first.

    Every layer begins with the widest format. As long as the mean over all weights (each weight
    counts once, so layers count by their parameters) is above the wanted one, the layer and the
    narrower format with the least rise of divergence for each bit saved take turns; damages are
    taken to add up. Greedy assignment by sensitivity, inspired by HAWQ (Dong et al., ICCV 2019).

    Args:
        outline: The network's layers.
        sensitivities: The damage of every layer and choice.
        choices: Weight formats, for example "uniform_8", "uniform_6", "uniform_4".
        mean_bits: The mean width wanted, for example 7.9.
        fixed: Layers with a format of their own; they count in the mean.

    Raises:
        UserError: The mean is below what the narrowest formats give.
    """
    widths = {choice: parse_format(choice).weight_bits for choice in choices}
    ordered = sorted(widths, key=lambda choice: -widths[choice])
    fixed = fixed or {}
    sizes = {layer.name: layer.weight_elements for layer in outline.layers}
    chosen = {name: fixed.get(name, ordered[0]) for name in sizes}
    spare = sum(parse_format(chosen[n]).weight_bits * size for n, size in sizes.items())
    spare -= math.floor(mean_bits * sum(sizes.values()))
    while spare > 0:
        moves = [
            (_rise(sensitivities, name, chosen[name], choice), name, choice)
            for name in sizes
            if name not in fixed
            for choice in ordered
            if widths[choice] < widths[chosen[name]]
        ]
        if not moves:
            least = mean_bits + spare / sum(sizes.values())
            raise UserError(
                f"a mean of {mean_bits:g} weight bits cannot be reached: with {ordered[-1]} in all"
                f" layers not fixed it is {least:.3g}; offer narrower formats or fix fewer layers"
            )
        per_bit = [
            rise / ((widths[chosen[name]] - widths[choice]) * sizes[name])
            for rise, name, choice in moves
        ]
        _, name, choice = moves[per_bit.index(min(per_bit))]
        spare -= (widths[chosen[name]] - widths[choice]) * sizes[name]
        chosen[name] = choice
    return chosen


def batch_size(graph: Graph) -> int:
    """Return the images whose values fit the memory set aside for them, at least 1, at most 64."""
    each = 4 * sum(elements(node.shape) for node in graph.nodes)
    return max(1, min(64, _CACHE_BYTES // each))


def _rise(sensitivities: Sensitivities, name: str, now: str, then: str) -> float:
    return sensitivities[name, then].divergence - sensitivities[name, now].divergence


def _check(graph: Graph, choices: Choices) -> None:
    known = graph.by_name
    for name, listed in choices.items():
        node = known.get(name)
        if node is None or not (node.op in LAYER_OPERATIONS or node.op == "activation"):
            raise UserError(f"sensitivities: '{name}' is no layer and no activation of the model")
        for choice in listed:
            if node.op == "activation":
                ACTIVATIONS.get(str(choice))
            elif isinstance(choice, str):
                try:
                    parse_format(choice)
                except ValueError as error:
                    raise UserError(f"sensitivities of {name}: {error}") from error


def _damage(logits: Tensor, wanted: Tensor) -> tuple[float, float]:
    """Return the sums over images of the divergence and of the logits' mean squared error."""
    student, teacher = (F.log_softmax(x / TEMPERATURE, dim=-1) for x in (logits, wanted))
    divergence = F.kl_div(student, teacher, reduction="sum", log_target=True)
    return float(divergence), float((logits - wanted).square().mean(dim=-1).sum())


class _Prefix:
    """The float values of a batch, all kept, and what a change of one of them leads to."""

    @torch.no_grad()
    def __init__(self, graph: Graph, images: Tensor) -> None:
        self.graph, self.images = graph, images
        self.values: dict[str, Tensor] = {}
        for node in graph.nodes:
            self.values[node.name] = self.compute(node, [self.values[n] for n in node.inputs])
        self.logits = self.values[graph.output.name]
        self._position = {node.name: i for i, node in enumerate(graph.nodes)}

    def compute(self, node: Node, inputs: list[Tensor], weight: Tensor | None = None) -> Tensor:
        """Return a node's result, with another weight if one is given."""
        if node.op == "input":
            return self.images
        if node.op in SHAPE_OPERATIONS:
            return move(node, inputs[0], len(self.images))
        parameters = {role: self.graph.tensors[name] for role, name in node.parameters.items()}
        if weight is not None:
            parameters["weight"] = weight
        return compute(node, inputs, parameters)

    @torch.no_grad()
    def rerun(self, node: Node, result: Tensor) -> Tensor:
        """Return the logits where a node's result is another."""
        changed = {node.name: result}
        for later in self.graph.nodes[self._position[node.name] + 1 :]:
            if any(name in changed for name in later.inputs):
                inputs = [changed.get(name, self.values[name]) for name in later.inputs]
                changed[later.name] = self.compute(later, inputs)
        return changed.get(self.graph.output.name, self.logits)


class _Effects:
    """What a choice makes of a node's result. Weights are quantised once for all batches."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._scales: dict[tuple[str, str], Any] = {}

    @torch.no_grad()
    def result(self, node: Node, choice: Choice, prefix: _Prefix) -> Tensor:
        inputs = [prefix.values[name] for name in node.inputs]
        if node.op == "activation":
            return ACTIVATIONS.get(str(choice)).float(inputs[0])
        if isinstance(choice, str):
            return prefix.compute(node, inputs, self._weight(node, choice))
        values = inputs[0]
        fmt = observe(OBSERVER, [values]).format(choice)
        return prefix.compute(node, [fmt.fake_quantize(values)])

    def _weight(self, node: Node, choice: str) -> Tensor:
        layer = parse_format(choice)
        weight = self.graph.tensors[node.parameters["weight"]].detach()
        key = (node.name, choice)
        if key not in self._scales:
            scheme = scheme_of(layer).fitted(weight, layer.weight_bits, layer.weight_option)
            self._scales[key] = scheme, scheme.search_scale(weight, layer.weight_bits)
        scheme, scale = self._scales[key]
        values: Tensor = scheme.twin(weight, scale, layer.weight_bits)
        return values


@dataclass
class _Record:
    """Sums of damages so far, kept in a file."""

    path: Path | None
    sums: dict[str, list[float]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    saved: float = field(default_factory=time.monotonic)

    @classmethod
    def load(cls, folder: Path | None, graph: Graph, images: Tensor, size: int) -> "_Record":
        if folder is None:
            return cls(None)
        path = folder / f"{_content(graph, images, size)}.json"
        try:
            value = json.loads(path.read_text())
            return cls(path, value["sums"], value["batches"])
        except (OSError, ValueError, KeyError, TypeError):
            return cls(path)  # nothing usable there: measured afresh

    def batches(self, key: tuple[str, Choice]) -> int:
        """Return how many batches a choice is measured on."""
        return self.counts.get(_label(key), 0)

    def add(self, key: tuple[str, Choice], divergence: float, error: float, batches: int) -> None:
        label = _label(key)
        before = self.sums.get(label, [0.0, 0.0])
        self.sums[label] = [before[0] + divergence, before[1] + error]
        self.counts[label] = batches
        if time.monotonic() - self.saved > _SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        self.saved = time.monotonic()
        if self.path is not None:
            write_atomic(self.path, json.dumps({"sums": self.sums, "batches": self.counts}))


def _label(key: tuple[str, Choice]) -> str:
    return canonical_json(list(key))


def _content(graph: Graph, images: Tensor, size: int) -> str:
    """Return a key of all that the measurement depends on."""
    digest = hashlib.sha256(images.detach().cpu().contiguous().numpy().tobytes())
    for name in sorted(graph.tensors):
        digest.update(name.encode())
        digest.update(graph.tensors[name].detach().cpu().contiguous().numpy().tobytes())
    settings = [VERSION, TEMPERATURE, OBSERVER, size, list(images.shape)]
    return content_key([graph.to_json(), digest.hexdigest(), settings])
