"""What quantisation did to a network: accuracy, error layer by layer, size, equal integers."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from codesign.data import Split
from codesign.design import LayerFormat
from codesign.graph.execute import run
from codesign.graph.ir import Graph, Node
from codesign.integer import replay
from codesign.integer.model import IntegerModel
from codesign.integer.torch_executor import TorchExecutor

BATCH_IMAGES = 64
KEPT_IMAGES = 8
"""Images at once where every node's codes are kept."""
KILOBYTE_BITS = 8 * 1024

Batches = Callable[[Iterable[tuple[Tensor, Tensor]]], Iterable[tuple[Tensor, Tensor]]]


@dataclass
class Energy:
    """Sums of squares: of a reference and of the deviation from it."""

    signal: float = 0.0
    noise: float = 0.0

    def add(self, reference: Tensor, value: Tensor) -> None:
        """Count the elements of a tensor and of what it should be."""
        wanted = reference.double()
        self.signal += float(wanted.square().sum())
        self.noise += float((value.double() - wanted).square().sum())

    @property
    def error_db(self) -> float:
        """Squared error over squared reference in dB; minus infinity for none."""
        if self.noise == 0:
            return -math.inf
        return 10 * math.log10(self.noise / self.signal) if self.signal else math.inf


@dataclass
class Comparison:
    """An integer model beside the float network on labelled images.

    Attributes:
        images: Images compared.
        float_correct: Images the float network classifies correctly.
        correct: Images the integer model classifies correctly.
        agreeing: Images both put in the same class.
        logits: Energy of the float logits and of the integer model's deviation.
    """

    images: int = 0
    float_correct: int = 0
    correct: int = 0
    agreeing: int = 0
    logits: Energy = field(default_factory=Energy)


@torch.no_grad()
def compare(
    graph: Graph, model: IntegerModel, batches: Iterable[tuple[Tensor, Tensor]], device: str
) -> Comparison:
    """Return how an integer model does beside its float network.

    Args:
        graph: The float network, its tensors on `device`.
        model: The integer model.
        batches: Images, float32 (n, C, H, W), and labels, int64 (n).
        device: A torch device name.
    """
    executor, result = TorchExecutor(model, device), Comparison()
    for images, labels in batches:
        wanted = run(graph, images.to(device)).cpu()
        codes = executor.run(model.input_format.quantize(images)).cpu()
        result.images += len(labels)
        result.float_correct += int((wanted.argmax(1) == labels).sum())
        result.correct += int((codes.argmax(1) == labels).sum())
        result.agreeing += int((codes.argmax(1) == wanted.argmax(1)).sum())
        result.logits.add(wanted, model.logits_format.dequantize(codes))
    return result


@torch.no_grad()
def layer_errors(
    graph: Graph,
    model: IntegerModel,
    batches: Iterable[tuple[Tensor, Tensor]],
    device: str,
    fused: Mapping[str, str],
) -> dict[str, float]:
    """Return the error of every layer's output against the float network, in dB.

    Args:
        graph: The float network, its tensors on `device`.
        model: The integer model.
        batches: Images and labels.
        device: A torch device name.
        fused: Layer to the activation it rounds straight into; its output is compared there.

    Returns:
        Layer to 10 log10(squared error / squared float output), worst first.
    """
    executor = TorchExecutor(model, device)
    formats = {node.name: node.format for node in model.nodes}
    place = {fused.get(node.name, node.name): node.name for node in graph.layers}
    energies = {node.name: Energy() for node in graph.layers}
    for images, _ in batches:
        for part in images.split(KEPT_IMAGES):
            codes: dict[str, Tensor] = {}
            executor.run(model.input_format.quantize(part), codes)

            def count(node: Node, result: Tensor, codes: dict[str, Tensor] = codes) -> None:
                if layer := place.get(node.name):
                    value = formats[layer].dequantize(codes[layer])
                    energies[layer].add(result, value)

            run(graph, part.to(device), hook=count)
    errors = {name: energy.error_db for name, energy in energies.items()}
    return dict(sorted(errors.items(), key=lambda item: -item[1]))


def differing_integers(model: IntegerModel, images: Tensor, device: str) -> tuple[int, int]:
    """Return (integers that differ, integers compared) between the torch and NumPy executors.

    Every node's codes on every image are compared, one image at a time.
    """
    executor, graph = TorchExecutor(model, device), model.graph_json()
    differing = compared = 0
    for part in images.split(1):
        codes = model.quantize_input(part.numpy())
        ours: dict[str, Tensor] = {}
        theirs: dict[str, np.ndarray] = {}
        executor.run(torch.from_numpy(codes), ours)
        replay.run(graph, dict(model.tensors), codes, theirs)
        for name, expected in theirs.items():
            got = ours[name].cpu().numpy().astype(np.int64)
            same = got.shape == expected.shape
            differing += int((got != expected).sum()) if same else expected.size
            compared += expected.size
    return differing, compared


@dataclass(frozen=True)
class Size:
    """What the weights take.

    Attributes:
        weight_kb: Codes of all weights, in kB of 1,024 bytes.
        mean_weight_bits: Bits per weight.
        sparsity: Share of the integer weights that are zero.
        layer_sparsity: The same for each layer.
    """

    weight_kb: float
    mean_weight_bits: float
    sparsity: float
    layer_sparsity: Mapping[str, float]


def size_of(model: IntegerModel, layers: Mapping[str, LayerFormat]) -> Size:
    """Return the size of a model's weights in their layers' formats."""
    tensors = {n.name: model.tensors[n.tensors["weight"]] for n in model.nodes if n.name in layers}
    count = sum(t.size for t in tensors.values())
    bits = sum(t.size * layers[name].weight_bits for name, t in tensors.items())
    zeros = {name: int((t == 0).sum()) for name, t in tensors.items()}
    shares = {name: zeros[name] / t.size for name, t in tensors.items()}
    return Size(bits / KILOBYTE_BITS, bits / count, sum(zeros.values()) / count, shares)


def some(split: Split, count: int) -> Tensor:
    """Return the first images of a split, float32 (n, C, H, W)."""
    return split.load(range(min(count, len(split))))[0]
