"""Helpers: timm models with random statistics, random images, random designs, lowered models."""

import random

import timm
import torch
from torch import nn

from codesign.design import Design, LayerFormat
from codesign.graph.capture import capture
from codesign.graph.ir import Graph
from codesign.integer.model import IntegerModel
from codesign.quantize.calibrate import calibrate
from codesign.quantize.lower import lower
from codesign.quantize.network import QuantizedNetwork
from costmodels.accelerator import Accelerator

FORMATS = [("uniform", b) for b in (3, 4, 5, 6, 8)] + [("log2", 3), ("log2", 4)]
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
GATES = ("sigmoid", "hardsigmoid", "tanh")


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give batch norms random statistics and all biases and scales random values."""
    generator = torch.Generator().manual_seed(seed)

    def draw(like: torch.Tensor, low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(like.shape, generator=generator)

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
                module.weight.copy_(draw(module.weight, 0.5, 1.5))
                module.bias.copy_(draw(module.bias, -0.3, 0.3))
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.copy_(draw(module.running_mean, -0.2, 0.2))
                module.running_var.copy_(draw(module.running_var, 0.5, 2.0))
            if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
                module.bias.copy_(draw(module.bias, -0.2, 0.2))
    return model.eval()


def timm_model(name: str, **kwargs) -> nn.Module:
    """Return a randomised timm model of 10 classes."""
    torch.manual_seed(0)
    return randomise(timm.create_model(name, num_classes=10, **kwargs))


def captured(name: str, size: int, **kwargs) -> Graph:
    """Return the graph of a randomised timm model."""
    return capture(timm_model(name, **kwargs), (3, size, size), name)


def small_vit(**kwargs) -> Graph:
    """Return a vision transformer of one block, for tests that need any whole network."""
    size = {"img_size": 32, "depth": 1, "embed_dim": 48, "num_heads": 3}
    return captured("vit_tiny_patch16_224", 32, **size, **kwargs)


def random_images(count: int, size: int, seed: int = 0) -> torch.Tensor:
    """Return smooth images in [0, 1]: noise on several scales."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(count, 3, size, size)
    for cells in (2, 4, 8, 16):
        noise = torch.rand(count, 3, cells, cells, generator=generator)
        total += nn.functional.interpolate(noise, (size, size), mode="bilinear") / 4
    return total


def random_design(graph: Graph, seed: int, accelerator: Accelerator | None = None) -> Design:
    """Return a design with random formats and functions; gates keep theirs."""
    rng = random.Random(seed)
    layers = []
    for node in graph.layers:
        scheme, bits = rng.choice(FORMATS)
        layers.append((node.name, LayerFormat(bits, scheme, rng.choice([4, 6, 8]))))
    functions = []
    for node in graph.nodes:
        if node.op == "activation":
            own = node.attributes["function"]
            choices = ["silu", "shift_swish", "hardswish", "relu", "gelu"]
            functions.append((node.name, own if own in GATES else rng.choice(choices)))
    return Design(tuple(layers), tuple(functions), accelerator or Accelerator())


def uniform_design(graph: Graph, bits: int = 8, function: str | None = None) -> Design:
    """Return a design with one width everywhere and one function, or the model's own."""
    layers = tuple((n.name, LayerFormat(bits, "uniform", bits)) for n in graph.layers)
    functions = tuple(
        (n.name, function or n.attributes["function"]) for n in graph.nodes if n.op == "activation"
    )
    return Design(layers, functions, Accelerator())


def lowered(graph: Graph, design: Design, images: torch.Tensor) -> IntegerModel:
    """Return the integer model of a design, calibrated on images."""
    network = QuantizedNetwork.build(graph, design)
    calibrate(network, images)
    return lower(network)
