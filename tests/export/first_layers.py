"""Small networks with every kind of first layer, and the worked examples of their bundles."""

from dataclasses import replace
from functools import cache

import torch
from random_networks import lowered, random_images, randomise, small_vit
from small_networks import calibration_images, network
from torch import nn

from codesign.data.memory import Jitter, MemorySplit
from codesign.design import Design, LayerFormat
from codesign.export.golden import golden_vectors
from codesign.export.memories import golden_files, memory_files
from codesign.export.worked_example import worked_example
from codesign.graph.capture import capture
from codesign.integer.model import IntegerModel
from codesign.quantize.calibrate import calibrate
from codesign.quantize.lower import lower
from codesign.quantize.network import QuantizedNetwork
from codesign.quantize.recipe import Recipe
from costmodels.accelerator import Accelerator


class Stem(nn.Module):
    """A strided, padded and dilated convolution with an activation, and a classifier."""

    def __init__(self, activation=nn.Hardswish):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=2, dilation=2)
        self.act = activation()
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        return self.head(self.act(self.conv(x)).mean((2, 3)))


class Tokens(nn.Module):
    """A linear as the first layer, over the columns of the image."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(20, 6)
        self.act = nn.GELU()
        self.head = nn.Linear(6, 10)

    def forward(self, x):
        return self.head(self.act(self.first(x)).mean((1, 2)))


class Grouped(nn.Module):
    """A grouped convolution first, its kernel longer one way than the other."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 6, (2, 3), padding=(0, 1), groups=2)
        self.act = nn.ReLU()
        self.head = nn.Linear(6, 10)

    def forward(self, x):
        return self.head(self.act(self.conv(x)).mean((2, 3)))


SMALL = {
    "conv": (Stem(), (3, 16, 16)),
    "gelu": (Stem(nn.GELU), (3, 16, 16)),
    "tokens": (Tokens(), (3, 12, 20)),
    "grouped": (Grouped(), (4, 9, 9)),
}
CASES = [
    ("conv", "uniform_8"),
    ("conv", "log2_4"),
    ("conv", "log2_2"),
    ("conv", "mixed_4@0.5"),
    ("conv", "apot_5"),
    ("gelu", "log2std_4@0.5"),
    ("tokens", "uniform_5"),
    ("tokens", "mixed_3@0.4"),
    ("grouped", "uniform_6"),
    ("vit", "log2_3"),
    ("swin", "uniform_8"),
    ("swin", "mixed_4@0.25"),
]


@cache
def example(kind, weight):
    """Return (text, golden codes, mem files, their index, model) of a small network."""
    if kind in SMALL:
        module, shape = SMALL[kind]
        torch.manual_seed(1)
        graph = capture(randomise(module, 1), shape, kind)
        images = torch.rand(8, *shape, generator=torch.Generator().manual_seed(2)) - 0.3
    elif kind == "vit":
        graph, images = small_vit(), random_images(8, 32)
    else:
        graph, images = network("swin"), calibration_images()
    names = [node.name for node in graph.layers]
    formats = {name: LayerFormat(6, "uniform", 8) for name in names}
    formats[names[0]] = LayerFormat.parse(weight, 8)
    functions = tuple(
        (n.name, n.attributes["function"]) for n in graph.nodes if n.op == "activation"
    )
    design = Design(tuple(formats.items()), functions, Accelerator())
    model = quantised(graph, design, images, kind)
    split = MemorySplit(images, torch.arange(len(images)) % 10, images.shape[1], Jitter())
    golden = golden_vectors(model, split, 2)
    memories, codes = memory_files(model), golden_files(model, golden.codes)
    text = worked_example(model, golden, memories.index, codes.index)
    index = {entry["path"]: entry for entry in (*memories.index, *codes.index)}
    return text, golden.codes, {**memories.files, **codes.files}, index, model


def quantised(graph, design, images, kind) -> IntegerModel:
    if kind != "swin":
        return lowered(graph, design, images)
    recipe = Recipe(norm_inputs="ptf", observer="minmax")
    net = QuantizedNetwork.build(uneven(graph), design, recipe=recipe)
    calibrate(net, images)
    return lower(net)


def uneven(graph):
    """Return a network whose first layer's channels differ in range, so that they have shifts."""
    first = graph.layers[0]
    tensors = dict(graph.tensors)
    for name in first.parameters.values():
        factors = 2.0 ** -(torch.arange(len(tensors[name])) % 4)
        tensors[name] = tensors[name] * factors.reshape(-1, *[1] * (tensors[name].ndim - 1))
    return replace(graph, tensors=tensors)
