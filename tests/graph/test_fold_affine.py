"""Where factors and offsets by channel end up, and that the function stays."""

import pytest
import torch
from torch import nn

from codesign.graph.capture import capture
from codesign.graph.execute import run

SCALE, OFFSET = torch.linspace(-1, 2, 6), torch.linspace(0.5, -0.5, 6)


class Net(nn.Module):
    def __init__(self, step):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.padded = nn.Conv2d(6, 6, 3, padding=1, groups=2)
        self.point = nn.Conv2d(6, 4, 1, groups=2, bias=False)
        self.linear = nn.Linear(6, 6)
        self.norm = nn.LayerNorm(6)
        self.group = nn.GroupNorm(2, 6)
        self.bn = nn.BatchNorm2d(6)
        self.bn.running_mean.uniform_(-1, 1)
        self.bn.running_var.uniform_(0.5, 2)
        self.function = step

    def forward(self, x):
        return self.function(self, self.stem(x))


def column(v):
    return v.reshape(-1, 1, 1)


def twice_the_same(net, x):
    """One layer used twice, with different factors behind it."""
    return net.padded(x) * 2 + net.padded(x.relu()) * 3


FOLDED = {
    "into the layer in front": lambda net, x: x * column(SCALE) + column(OFFSET),
    "through a permutation": lambda net, x: (
        net.linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) * column(SCALE)
    ),
    "through a reshape": lambda net, x: x.flatten(2) * SCALE[:, None],
    "into the layer behind": lambda net, x: net.linear(
        x.relu().permute(0, 2, 3, 1) * SCALE + OFFSET
    ),
    "into the convolution behind": lambda net, x: net.point(net.bn(x.relu())),
    "a factor into a padded convolution": lambda net, x: net.padded(x.relu() * column(SCALE)),
    "into a layer norm": lambda net, x: net.norm(x.permute(0, 2, 3, 1)) * SCALE + OFFSET,
    "into a group norm": lambda net, x: net.group(x) * column(SCALE) + column(OFFSET),
    "into a product behind": lambda net, x: (x * 0.25).mT @ x.relu(),
    "into a product in front": lambda net, x: (x.mT @ x.relu()) * 0.25,
    "into a mean": lambda net, x: x.relu().mean((2, 3)) * 0.25,
    "one layer used twice": twice_the_same,
}
KEPT = {
    "an offset in front of padding": lambda net, x: net.padded(net.bn(x.relu())),
    "a layer with other readers": lambda net, x: net.bn(x) + x,
    "a negative factor of a product": lambda net, x: (x.mT @ x.relu()) * -0.25,
    "channels that a reshape breaks up": lambda net, x: x.reshape(-1, 3, 16, 8) * column(SCALE[:3]),
    "factors of the products of rows": lambda net, x: (
        (x * column(SCALE)).mT.relu() * torch.linspace(1, 2, 8)
    ),
}


def check(step):
    net = Net(step).eval()
    graph = capture(net, (3, 8, 8), "net")
    x = torch.randn(3, 3, 8, 8)
    with torch.no_grad():
        wanted = net(x)
    torch.testing.assert_close(run(graph, x), wanted, atol=2e-5, rtol=1e-5)
    return [node.op for node in graph.nodes]


@pytest.mark.parametrize("name", FOLDED)
def test_folded(name):
    assert "affine" not in check(FOLDED[name])


@pytest.mark.parametrize("name", KEPT)
def test_kept_where_folding_would_not_be_exact(name):
    assert check(KEPT[name]).count("affine") == 1


def test_several_factors_become_one():
    def step(net, x):
        return ((x.relu() * column(SCALE) + 1) * 2 - column(OFFSET)) / 4

    assert check(step).count("affine") == 1
