"""Pooling in integers against the scalar reference, and its lowering against the float pools."""

import numpy as np
import pytest
import scalar_reference as reference
import torch
import torch.nn.functional as F
from one_operation import random_codes, run
from random_networks import lowered, uniform_design
from torch import nn

from codesign.graph.capture import capture
from codesign.integer import replay
from codesign.numerics.fixed_point import Format

SOURCES = [Format(8, 0.03, 120), Format(4, 0.2, 15), Format(6, 0.1, 0), Format(8, 0.1, 0, True)]
GEOMETRIES = [
    # kernel, stride, pads, dilation
    ([3, 3], [2, 2], [[1, 1], [1, 1]], [1, 1]),
    ([2, 2], [2, 2], [[0, 0], [0, 1]], [1, 1]),
    ([3, 2], [1, 2], [[1, 0], [0, 1]], [2, 1]),
    ([5, 4], [5, 4], [[0, 0], [0, 0]], [1, 1]),
]


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("op", ["max_pool2d", "avg_pool2d"])
@pytest.mark.parametrize("by_place", [False, True])
def test_pools(geometry, source, op, by_place):
    rng = np.random.default_rng(1)
    kernel, stride, pads, dilation = geometry
    dilation = dilation if op == "max_pool2d" else [1, 1]
    x = random_codes(rng, (5, 3, 7, 9), source)
    target = Format(8, 1.0, 99)
    centred = (x - source.zero_point).tolist()
    arguments = (kernel, stride, pads, dilation, op == "max_pool2d")
    totals = np.array([[reference.pool(p, *arguments) for p in image] for image in centred])
    size = totals.shape[2:] if by_place else (1, 1)
    multiplier, shift = rng.integers(2**15, 2**16, size), rng.integers(0, 3, size)
    shift += 9 + int(np.abs(totals).max()).bit_length()
    spread = [np.broadcast_to(v, totals.shape).reshape(-1).tolist() for v in (multiplier, shift)]
    expected = [
        reference.requantize(int(a), m, s, target)
        for a, m, s in zip(totals.reshape(-1), *spread, strict=True)
    ]
    attributes = {"kernel": kernel, "stride": stride, "dilation": dilation, "pads": pads}
    t = {"multiplier": multiplier, "shift": shift}
    got = run(op, [(x, source)], target, attributes, t, totals.shape[1:])
    assert got.reshape(-1).tolist() == expected
    assert len(set(expected)) > 1


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("keep", [False, True])
def test_largest_over_dimensions(source, keep):
    x = random_codes(np.random.default_rng(2), (5, 4, 6, 3), source)
    target = Format(8, 1.0, 60)
    constants = {"dims": [1, 3], "keep": keep, "multiplier": 40_001, "shift": 15}
    expected = [
        [
            reference.requantize(
                max(int(v) - source.zero_point for v in image[:, row].flat), 40_001, 15, target
            )
            for row in range(6)
        ]
        for image in x
    ]
    shape = (1, 6, 1) if keep else (6,)
    got = run("max", [(x, source)], target, constants, shape=shape)
    assert got.reshape(5, 6).tolist() == expected


class Pooled(nn.Module):
    def __init__(self, pool):
        super().__init__()
        self.pool = pool
        self.head = nn.Linear(3, 4)

    def forward(self, x):
        return self.head(self.pool(x).mean((2, 3)))


POOLS = [
    nn.AvgPool2d(3, 2, 1),
    nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    nn.AvgPool2d(2, 2, ceil_mode=True),
    nn.AvgPool2d(3, 2, 1, ceil_mode=True),
    nn.MaxPool2d(3, 2, 1),
    nn.MaxPool2d(2, 2, ceil_mode=True),
    nn.MaxPool2d(3, 1, 1, dilation=2),
    nn.AdaptiveAvgPool2d(3),
    nn.AdaptiveAvgPool2d((2, 4)),
]


@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_a_lowered_pool_is_the_float_pool_to_within_a_code(pool):
    torch.manual_seed(0)
    graph = capture(Pooled(pool), (3, 11, 11), "pooled")
    images = torch.randn(6, 3, 11, 11)
    model = lowered(graph, uniform_design(graph), images)
    codes = model.quantize_input(images.numpy())
    kept = {}
    replay.run(model.graph_json(), dict(model.tensors), codes, keep=kept)
    last = next(n for n in model.nodes if n.op == "mean")
    pooled = next(n for n in model.nodes if n.name == last.inputs[0])
    values = pooled.format.dequantize(torch.from_numpy(kept[pooled.name]))
    wanted = pool(model.input_format.dequantize(torch.from_numpy(codes)))
    step = pooled.format.scale
    low, high = (step * (c - pooled.format.zero_point) for c in (0, pooled.format.high))
    allowed = 1.6 * step if isinstance(pool, nn.AdaptiveAvgPool2d) else 0.51 * step
    assert (values - wanted.clamp(low, high)).abs().max() <= allowed
    assert F.mse_loss(values, wanted) < wanted.var() / 100
