"""Reconstruction: rounding learned block by block, so that each block's output is the float one's.

BRECQ (Li et al., ICLR 2021) with AdaRound's variables (Nagel et al., ICML 2020), then the scales of
the block's activations with LSQ's gradient, as QDrop (Wei et al., ICLR 2022) and the
post-training engine of Trio-ViT (arXiv 2405.03882) do. Every block reads what the quantised network
before it gives; its target is the float network's value at the same place. Schedules are far
shorter than the published 20,000 steps, so learning rates are larger, the squared error is relative
to what it was, and a block keeps what it had where training did not help.

What is learned ends in the float weights, moved onto the levels chosen, and in the formats:
lowering sees nothing new.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from codesign.errors import RunError
from codesign.graph.execute import compute, move
from codesign.graph.ir import SHAPE_OPERATIONS, Node
from codesign.numerics.fixed_point import Format
from codesign.numerics.weights.interval import Interval
from codesign.quantize.blocks import Block, blocks, run_block
from codesign.quantize.network import QuantizedNetwork
from codesign.quantize.rounding import LearnedFormat, LearnedRounding

_WARM_UP = 0.2
_BETAS = (20.0, 2.0)
_EVALUATED = 32
"""Images evaluated at once."""

Progress = Callable[[int, int, "BlockResult"], None]


@dataclass(frozen=True)
class Schedule:
    """How blocks are reconstructed.

    Attributes:
        steps: Optimiser steps a block for its rounding; its scales get half as many.
        batch_size: Images a step.
        rounding_rate: Adam's learning rate of the rounding variables.
        scale_rate: Adam's learning rate of the logarithms of activation scales.
        regulariser: Weight of the regulariser's mean beside the relative squared error.
        drop: Chance of an activation to escape its rounding in training (QDrop); 0 for none.
    """

    steps: int = 200
    batch_size: int = 32
    rounding_rate: float = 2e-2
    scale_rate: float = 4e-4
    regulariser: float = 0.3
    drop: float = 0.0


@dataclass(frozen=True)
class BlockResult:
    """What happened to one block.

    Attributes:
        name: The node whose value leaves the block.
        error_before: Mean squared error of its output, calibrated.
        error_after: The same when done.
        rounded: Layers whose rounding was learned.
        left: Layers none of whose weights had a choice.
        scales: Activation scales learned.
    """

    name: str
    error_before: float
    error_after: float
    rounded: tuple[str, ...]
    left: tuple[str, ...]
    scales: int


def float_tensors(network: QuantizedNetwork) -> dict[str, Tensor]:
    """Return copies of a network's tensors, to be taken before calibration corrects biases."""
    return {name: tensor.detach().clone() for name, tensor in network.tensors.items()}


def reconstruct(
    network: QuantizedNetwork,
    reference: Mapping[str, Tensor],
    images: Tensor,
    schedule: Schedule | None = None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[BlockResult]:
    """Learn the rounding and the activation scales of a calibrated network, in place.

    Args:
        network: The network; its weights move onto levels and its formats' scales change.
        reference: Its float tensors (`float_tensors`).
        images: Calibration images, (batch, channels, height, width) float32.
        schedule: How; the default schedule if None.
        seed: Seed of the order of the images.
        progress: Called after each block with its number, their count and what happened.

    Raises:
        RunError: A block's error is not finite.
    """
    found = blocks(network.graph)
    first = network.graph.nodes[0]
    entering = network.formats[first.name].fake_quantize(images)
    real = images
    results = []
    for number, block in enumerate(found):
        work = _Work(network, block, schedule or Schedule(), seed + number)
        target = _evaluate(block, real, _float_twin(reference))
        results.append(work.run(entering, target))
        real, entering = target, _evaluate(block, entering, work.twin)
        if progress is not None:
            progress(number + 1, len(found), results[-1])
    return results


def _float_twin(tensors: Mapping[str, Tensor]) -> Callable[[Node, list[Tensor], int], Tensor]:
    def twin(node: Node, inputs: list[Tensor], batch: int) -> Tensor:
        if node.op == "requantize":
            return inputs[0]
        if node.op in SHAPE_OPERATIONS:
            return move(node, inputs[0], batch)
        return compute(node, inputs, {role: tensors[n] for role, n in node.parameters.items()})

    return twin


@torch.no_grad()
def _evaluate(
    block: Block, source: Tensor, twin: Callable[[Node, list[Tensor], int], Tensor]
) -> Tensor:
    """Return a block's output for many images."""

    def evaluate(part: Tensor) -> Tensor:
        return run_block(block, part, lambda node, inputs: twin(node, inputs, len(part)))

    return torch.cat([evaluate(part) for part in source.split(_EVALUATED)])


class _Work:
    """The reconstruction of one block."""

    def __init__(
        self, network: QuantizedNetwork, block: Block, schedule: Schedule, seed: int
    ) -> None:
        self.network, self.block, self.schedule = network, block, schedule
        self.generator = torch.Generator().manual_seed(seed)

    def twin(self, node: Node, inputs: list[Tensor], batch: int) -> Tensor:
        """Return a node's quantised result."""
        return self.network._twin(node, inputs, torch.empty(batch, device="meta"))

    def run(self, entering: Tensor, target: Tensor) -> BlockResult:
        before = self.error(entering, target)
        if not math.isfinite(before):
            raise RunError(f"block {self.block.output}: its squared error is {before}")
        rounded, left = self.learn_rounding(entering, target, before)
        middle = self.error(entering, target)
        scales = self.learn_scales(entering, target, middle)
        after = self.error(entering, target)
        return BlockResult(self.block.output, before, after, rounded, left, scales)

    def error(self, entering: Tensor, target: Tensor) -> float:
        """Return the mean squared error of the block's output."""
        return float((_evaluate(self.block, entering, self.twin) - target).square().mean())

    def learn_rounding(
        self, entering: Tensor, target: Tensor, before: float
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Learn the rounding of the block's layers; return those learned and those left."""
        network = self.network
        plain, alphas = dict(network.schemes), dict(network.alphas)
        learned = {node.name: self._rounding(node) for node in self.block.layers}
        left = tuple(name for name, rounding in learned.items() if not bool(rounding.free.any()))
        for name in left:
            del learned[name]
        if not learned or not self.schedule.steps or not before:
            return (), left
        network.schemes.update(learned)
        network.alphas.clear()  # the scale stays while the rounding is learned
        network.weight_scales.update({name: r.scale for name, r in learned.items()})
        formats = self._with_formats(self.schedule.drop) if self.schedule.drop else {}
        self._descend_rounding(list(learned.values()), entering, target, before)
        network.formats.update(formats)
        network.schemes.update(plain)
        network.alphas.update(alphas)
        kept = {name: self._settle(name, rounding) for name, rounding in learned.items()}
        if self.error(entering, target) < before:
            return tuple(learned), left
        self._restore(kept)
        return (), left

    def learn_scales(self, entering: Tensor, target: Tensor, before: float) -> int:
        """Learn the scales of the block's activations; return how many were."""
        if self.network.recipe.scales != "free" or not self.schedule.steps or not before:
            return 0
        plain = self._with_formats(0.0)
        formats = {n: f for n in plain if isinstance(f := self.network.formats[n], LearnedFormat)}
        growths = [f.growth for f in formats.values() if f.growth is not None]
        self._descend_scales(growths, entering, target, before)
        moved = {name: f.settled() for name, f in formats.items()}
        self.network.formats.update(moved)
        if self.error(entering, target) < before:
            return sum(moved[name] != plain[name] for name in moved)
        self.network.formats.update(plain)
        return 0

    def _rounding(self, node: Node) -> LearnedRounding:
        name, network = node.name, self.network
        weight = network.tensors[node.parameters["weight"]]
        bits = network.layers[name].weight_bits
        return LearnedRounding(network.scheme(name), weight, network.weight_scale(name), bits)

    def _with_formats(self, drop: float) -> dict[str, Format]:
        """Put trainable formats in place; return those that were there."""
        plain = {node.name: self.network.formats[node.name] for node in self._rounding_nodes()}
        for name, fmt in plain.items():
            device = next(iter(self.network.tensors.values())).device
            self.network.formats[name] = LearnedFormat.of(fmt, device, drop)
        return plain

    def _rounding_nodes(self) -> list[Node]:
        """Return the nodes with evenly spaced codes of at most 8 bits, constants left out."""
        formats = self.network.formats
        return [
            node
            for node in self.block.nodes
            if node.name in formats
            and node.op not in ("softmax", "constant")
            and formats[node.name].bits <= 8
            and not (formats[node.name].shifts or formats[node.name].codebook)
        ]

    def _descend_rounding(
        self, learned: Sequence[LearnedRounding], entering: Tensor, target: Tensor, before: float
    ) -> None:
        s = self.schedule
        variables = [rounding.variable for rounding in learned]
        count = sum(int(rounding.free.sum()) for rounding in learned)
        optimizer = torch.optim.Adam(variables, lr=s.rounding_rate)
        for step in range(s.steps):
            loss = self._loss(entering, target, before)
            if (progress := step / s.steps) >= _WARM_UP:
                done = (progress - _WARM_UP) / (1 - _WARM_UP)
                beta = _BETAS[0] + (_BETAS[1] - _BETAS[0]) * done
                forced = torch.stack([rounding.regulariser(beta) for rounding in learned]).sum()
                loss = loss + s.regulariser * forced / count
            _step(optimizer, variables, loss)

    def _descend_scales(
        self, growths: Sequence[Tensor], entering: Tensor, target: Tensor, before: float
    ) -> None:
        steps = self.schedule.steps // 2
        if not growths or not steps:
            return
        optimizer = torch.optim.Adam(growths, lr=self.schedule.scale_rate)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            _step(optimizer, growths, self._loss(entering, target, before))
            cosine.step()

    def _loss(self, entering: Tensor, target: Tensor, before: float) -> Tensor:
        """Return the squared error of a random batch relative to the calibrated block's."""
        size = min(self.schedule.batch_size, len(entering))
        chosen = torch.randperm(len(entering), generator=self.generator)[:size].to(entering.device)
        output = run_block(
            self.block, entering[chosen], lambda node, inputs: self.twin(node, inputs, size)
        )
        return (output - target[chosen]).square().mean() / before

    @torch.no_grad()
    def _settle(self, name: str, rounding: LearnedRounding) -> tuple[Tensor, Tensor | None]:
        """Move a layer's weights onto the chosen levels; return the weights and alpha before."""
        tensor = self._weight(name)
        before, alpha = tensor.detach().clone(), self.network.alphas.get(name)
        tensor.copy_(rounding.chosen())
        if alpha is None:
            return before, None
        first, scheme = alpha.detach().clone(), self.network.scheme(name)
        assert isinstance(scheme, Interval)
        alpha.copy_(scheme.alpha_of(rounding.scale, tensor, rounding.bits))
        return before, first

    @torch.no_grad()
    def _restore(self, kept: Mapping[str, tuple[Tensor, Tensor | None]]) -> None:
        for name, (weight, alpha) in kept.items():
            self._weight(name).copy_(weight)
            if alpha is not None:
                self.network.alphas[name].copy_(alpha)

    def _weight(self, name: str) -> Tensor:
        return self.network.tensors[self.network.graph[name].parameters["weight"]]


def _step(optimizer: torch.optim.Optimizer, variables: Sequence[Tensor], loss: Tensor) -> None:
    """Take one step; a variable that the loss does not depend on stays."""
    gradients = torch.autograd.grad(loss, variables, allow_unused=True)
    for variable, gradient in zip(variables, gradients, strict=True):
        variable.grad = gradient
    optimizer.step()
