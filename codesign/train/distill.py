"""Short distillation of a quantised network from its float teacher.

The loss is the Kullback-Leibler divergence from the teacher's softened class probabilities (Hinton,
Vinyals and Dean, "Distilling the knowledge in a neural network", 2015), plus the squared error of
the features that the last layer reads, relative to their variance. A part of the training split
judges: the best state seen is kept, and calibration's own state is among those judged. Weights,
biases and the intervals that some weight schemes learn are trained together.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from codesign.data import Split
from codesign.errors import RunError
from codesign.graph.execute import run
from codesign.graph.ir import Graph, Node
from codesign.quantize.network import QuantizedNetwork

TEMPERATURE = 2.0
_REFERENCE_DAMAGE = 0.5
"""Divergence on the judge, in nats, from which on the full learning rate is used."""
_SMALLEST_SHARE = 0.05
_LARGEST_GRADIENT = 1.0
_BETAS = (0.9, 0.99)
_ALPHA_RATE = 10.0
"""Learning rate of the weights' intervals, which are around 1 to 5, over that of the weights."""


@dataclass
class Teacher:
    """The float teacher's logits and features of a split's images, computed once each.

    The features are what its last layer reads.

    Args:
        graph: The float teacher.
        split: The images.
        device: Device of the results.
    """

    graph: Graph
    split: Split
    device: str = "cpu"
    _known: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def batch(self, indices: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the images at `indices` and the teacher's logits and features for them."""
        images = self.split.load(indices)[0].to(self.device)
        if any(i not in self._known for i in indices):
            self._known.update(zip(indices, zip(*self._run(images), strict=True), strict=True))
        known = [self._known[i] for i in indices]
        return images, torch.stack([k[0] for k in known]), torch.stack([k[1] for k in known])

    @torch.no_grad()
    def _run(self, images: Tensor) -> tuple[Tensor, Tensor]:
        name, kept = last_layer_input(self.graph), {}

        def keep(node: Node, result: Tensor) -> None:
            if node.name == name:
                kept[name] = result

        return run(self.graph, images, hook=keep), kept[name]


def last_layer_input(graph: Graph) -> str:
    """Return the node that the last layer with weights reads."""
    return graph.layers[-1].inputs[0]


@dataclass(frozen=True)
class Schedule:
    """How a network is distilled.

    Attributes:
        steps: Optimiser steps.
        batch_size: Images a step.
        learning_rate: Peak for a badly damaged network; less damage takes less of it.
        feature_weight: Weight of the feature term beside the logits'.
        judgements: Times the state is judged, evenly spread, the last after the last step.
    """

    steps: int
    batch_size: int
    learning_rate: float
    feature_weight: float = 0.0
    judgements: int = 3


@dataclass(frozen=True)
class Distilled:
    """What distillation did.

    Attributes:
        losses: Training loss of every step.
        judged: (step, divergence on the judge in nats) for every state judged, 0 first.
        kept_step: The step whose state the network has now; 0 means calibration's.
    """

    losses: tuple[float, ...]
    judged: tuple[tuple[int, float], ...]
    kept_step: int


def distill(
    network: QuantizedNetwork,
    train: Teacher,
    judge: Teacher,
    schedule: Schedule,
    seed: int,
) -> Distilled:
    """Train the network's tensors and intervals in place; leave them in the best state judged.

    Args:
        network: A calibrated network; its formats and the scales that are not learned stay.
        train: Images to learn from.
        judge: Images to judge by, apart from those.
        schedule: Steps and learning rate.
        seed: Seed of the order of the images.

    Raises:
        RunError: A loss is not finite.
    """
    groups = _parameter_groups(network)
    parameters = [tensor for group in groups for tensor in group["params"]]
    damage = divergence(network, judge)
    if not math.isfinite(damage):
        raise RunError(f"the divergence from the teacher became {damage} in calibration")
    judged, best = [(0, damage)], _state(network)
    kept, losses = 0, []
    peak = schedule.learning_rate * _share(damage)
    optimizer = torch.optim.AdamW(groups, lr=peak, betas=_BETAS, weight_decay=0.0)
    moments = {
        round((i + 1) * schedule.steps / schedule.judgements) for i in range(schedule.judgements)
    }
    order = batches(len(train.split), schedule.batch_size, seed)
    for step in range(1, schedule.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = peak * group["rate"] * _profile(step, schedule.steps)
        optimizer.zero_grad()
        loss = _loss(network, schedule.feature_weight, *train.batch(next(order)))
        losses.append(_descend(loss, optimizer, parameters))
        if step in moments:
            judged.append((step, divergence(network, judge)))
            if judged[-1][1] < min(loss for _, loss in judged[:-1]):
                best, kept = _state(network), step
    _restore(network, best)
    return Distilled(tuple(losses), tuple(judged), kept)


@torch.no_grad()
def divergence(network: QuantizedNetwork, judge: Teacher) -> float:
    """Return the mean divergence of a network from the teacher over a split, in nats."""
    total = 0.0
    positions = list(range(len(judge.split)))
    for start in range(0, len(positions), 64):
        part = positions[start : start + 64]
        images, wanted, _ = judge.batch(part)
        total += float(_divergence(network.forward(images), wanted, 1.0)) * len(part)
    return total / len(positions)


def batches(count: int, size: int, seed: int) -> Iterator[list[int]]:
    """Yield batches of positions for ever, every position once an epoch."""
    generator = torch.Generator().manual_seed(seed)
    pool: list[int] = []
    while True:
        while len(pool) < size:
            pool += torch.randperm(count, generator=generator).tolist()
        yield pool[:size]
        pool = pool[size:]


def _loss(
    network: QuantizedNetwork,
    feature_weight: float,
    images: Tensor,
    wanted: Tensor,
    features: Tensor,
) -> Tensor:
    """Return the divergence, plus the features' squared error relative to their variance."""
    name, kept = last_layer_input(network.graph), {}

    def keep(node: Node, result: Tensor) -> None:
        if node.name == name:
            kept[name] = result

    loss = _divergence(network.forward(images, keep), wanted, TEMPERATURE)
    if feature_weight:
        spread = features.var().clamp(min=1e-12)
        loss = loss + feature_weight * F.mse_loss(kept[name], features) / spread
    return loss


def _descend(loss: Tensor, optimizer: torch.optim.Optimizer, parameters: list[Tensor]) -> float:
    """Take one step down a loss and return its value."""
    value = float(loss.detach())
    if not math.isfinite(value):
        raise RunError(f"the distillation loss became {value}")
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, _LARGEST_GRADIENT)
    optimizer.step()
    return value


def _divergence(logits: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """Return temperature**2 * KL(teacher || student) of the softened probabilities."""
    student = F.log_softmax(logits / temperature, dim=1)
    teacher = F.log_softmax(wanted / temperature, dim=1)
    return temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)


def _share(damage: float) -> float:
    """Return the share of the learning rate for a divergence: its square root, within limits."""
    return min(1.0, max(_SMALLEST_SHARE, math.sqrt(damage / _REFERENCE_DAMAGE)))


def _profile(step: int, steps: int) -> float:
    """Return the learning rate's profile: a short rise, then a half cosine to zero."""
    rise = max(1, steps // 8)
    if step <= rise:
        return step / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise + 1)))


def _parameter_groups(network: QuantizedNetwork) -> list[dict[str, Any]]:
    """Return the tensors that are trained, with their learning rate over the schedule's."""
    tensors = [tensor for tensor in network.tensors.values() if tensor.requires_grad]
    alphas = [alpha for alpha in network.alphas.values() if alpha.requires_grad]
    groups = [{"params": tensors, "rate": 1.0}, {"params": alphas, "rate": _ALPHA_RATE}]
    return [group for group in groups if group["params"]]


def _trained(network: QuantizedNetwork) -> dict[str, Tensor]:
    alphas = {f"{name}/alpha": tensor for name, tensor in network.alphas.items()}
    return {**network.tensors, **alphas}


def _state(network: QuantizedNetwork) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in _trained(network).items()}


@torch.no_grad()
def _restore(network: QuantizedNetwork, state: dict[str, Tensor]) -> None:
    for name, tensor in _trained(network).items():
        tensor.copy_(state[name])
