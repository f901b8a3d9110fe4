"""Pools, largest values and norms of groups on 102,400 random codes, against plain Python numbers.

Both executors run (`one_operation.run` compares them).
"""

import numpy as np
import pytest
import scalar_reference as reference
from one_operation import random_codes, run

from codesign.integer.replay import OPERATIONS
from codesign.numerics.fixed_point import Format
from codesign.numerics.group_norm import row_constants

IMAGES, CHANNELS, SIZE = 25, 64, 8
SHAPE = (CHANNELS, SIZE, SIZE)
SOURCE, TARGET = Format(8, 0.05, 117), Format(8, 0.06, 101)
WINDOW = {"kernel": [3, 2], "stride": [1, 2], "pads": [[1, 1], [0, 1]], "dilation": [1, 1]}
ROUND = {"multiplier": 40_001, "shift": 18}


@pytest.fixture
def codes():
    x = random_codes(np.random.default_rng(11), (IMAGES, *SHAPE), SOURCE)
    assert x.size == 102_400
    return x


def centred(codes):
    return (codes - SOURCE.zero_point).tolist()


def rounded(values):
    return [reference.requantize(v, *ROUND.values(), TARGET) for v in values]


@pytest.mark.parametrize("op", ["max_pool2d", "avg_pool2d"])
def test_pools(codes, op):
    arguments = (*WINDOW.values(), op == "max_pool2d")
    totals = [[reference.pool(plane, *arguments) for plane in image] for image in centred(codes)]
    one = {"multiplier": np.full((1, 1), 40_001), "shift": np.full((1, 1), 18)}
    shape = (CHANNELS, len(totals[0][0]), len(totals[0][0][0]))
    got = run(op, [(codes, SOURCE)], TARGET, WINDOW, one, shape)
    assert got.reshape(-1).tolist() == rounded(np.array(totals).reshape(-1).tolist())


@pytest.mark.parametrize(("op", "reduce"), [("max", max), ("mean", sum)])
def test_reductions(codes, op, reduce):
    expected = [
        reduce(v for row in plane for v in row) for image in centred(codes) for plane in image
    ]
    constants = {"dims": [2, 3], "keep": False, **ROUND}
    got = run(op, [(codes, SOURCE)], TARGET, constants, shape=(CHANNELS,))
    assert got.reshape(-1).tolist() == rounded(expected)


@pytest.mark.parametrize("groups", [4, None])
def test_norms_of_groups_and_of_rows(codes, groups):
    """Groups of channels, centred; rows of the last dimension by their root mean square."""
    rng = np.random.default_rng(3)
    count, channels = (CHANNELS // 4 * SIZE * SIZE, CHANNELS) if groups else (SIZE, SIZE)
    gamma, beta = rng.uniform(-1.5, 1.5, channels), rng.uniform(-1, 1, channels)
    c = row_constants(count, gamma, beta, 1e-5, SOURCE, TARGET)
    rows = (codes - SOURCE.zero_point).reshape(-1, count).tolist()
    normal = [
        reference.normal_row(row, c.epsilon, c.row_shift, centre=bool(groups)) for row in rows
    ]
    repeat = SIZE * SIZE if groups else 1
    scale, offset = (np.tile(v.repeat(repeat), codes.size // (channels * repeat)).tolist()
                     for v in (c.scale, c.offset))  # fmt: skip
    flat = [n for row in normal for n in row]
    expected = [
        reference.requantize(n * a + b, 1, c.shift, TARGET)
        for n, a, b in zip(flat, scale, offset, strict=True)
    ]
    attributes = {"epsilon": c.epsilon, "row_shift": c.row_shift, "shift": c.shift}
    if groups:
        attributes["groups"] = groups
    t = {"scale": c.scale, "offset": c.offset}
    op = "group_norm" if groups else "rms_norm"
    got = run(op, [(codes, SOURCE)], TARGET, attributes, t, SHAPE)
    assert got.reshape(-1).tolist() == expected
    assert {"group_norm", "rms_norm"} <= set(OPERATIONS)
