"""Small networks of each kind, lively, for the tests of methods and transforms."""

from functools import cache

import torch
from planted_outliers import lively, varied_images
from random_networks import captured, randomise
from torch import nn

from codesign.graph.capture import capture
from codesign.graph.ir import Graph

SIZE = 32


class InvertedBottleneck(nn.Module):
    """Expand, depthwise, project, with a residual connection: the MBConv of EfficientViT."""

    def __init__(self, width: int, activation: type[nn.Module], ratio: int = 4) -> None:
        super().__init__()
        inner = ratio * width
        self.expand = nn.Conv2d(width, inner, 1)
        self.act1 = activation()
        self.depthwise = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.act2 = activation()
        self.project = nn.Conv2d(inner, width, 1)

    def forward(self, x):
        return x + self.project(self.act2(self.depthwise(self.act1(self.expand(x)))))


class Bottlenecks(nn.Module):
    """A stem, two inverted bottlenecks, a pooled classifier."""

    def __init__(self, activation: type[nn.Module], width: int = 12) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 4, stride=4)
        self.blocks = nn.Sequential(*(InvertedBottleneck(width, activation) for _ in range(2)))
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def _bottlenecks(activation: type[nn.Module]) -> Graph:
    torch.manual_seed(0)
    return capture(randomise(Bottlenecks(activation)), (3, SIZE, SIZE), "bottlenecks")


_MAKE = {
    "vit": lambda: captured(
        *("vit_tiny_patch16_224", SIZE),
        **{"img_size": SIZE, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3},
    ),
    "swin": lambda: captured(
        *("swin_tiny_patch4_window7_224", SIZE),
        **{"img_size": SIZE, "window_size": 4, "embed_dim": 24},
        **{"depths": [2, 2], "num_heads": [2, 4]},
    ),
    "hardswish": lambda: _bottlenecks(nn.Hardswish),
    "relu": lambda: _bottlenecks(nn.ReLU),
    "linear": lambda: _bottlenecks(nn.Identity),
}
NETWORKS = tuple(_MAKE)


@cache
def network(name: str) -> Graph:
    """Return one of NETWORKS, made lively."""
    return lively(_MAKE[name](), varied_images(32, SIZE))


@cache
def calibration_images() -> torch.Tensor:
    """Return 48 images for calibration."""
    return varied_images(48, SIZE, seed=1)


@cache
def other_images() -> torch.Tensor:
    """Return 64 other images."""
    return varied_images(64, SIZE, seed=2)
