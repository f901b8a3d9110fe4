"""Normalisation by group and by root mean square against the scalar reference and in real units."""

import numpy as np
import pytest
import scalar_reference as reference
import torch
import torch.nn.functional as F
from one_operation import random_codes, run

from codesign.numerics.fixed_point import ACCUMULATOR_LIMIT, Format
from codesign.numerics.group_norm import normal_limit, normal_rows, row_constants

SOURCES = [Format(8, 0.03, 120), Format(4, 0.2, 15), Format(6, 0.1, 0)]
TARGET = Format(8, 0.03, 128)


def near_constant(x):
    """Make one image almost constant: a single code differs, by one."""
    x[4] = x[4].flat[0]
    x[4].flat[-1] ^= 1
    return x


def constants(source, count, channels, epsilon):
    rng = np.random.default_rng(3)
    gamma = rng.uniform(-1.5, 1.5, channels)
    beta = rng.uniform(-1, 1, channels)
    return row_constants(count, gamma, beta, epsilon, source, TARGET)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("groups", "channels", "size"), [(1, 6, 4), (3, 6, 5), (6, 6, 40), (2, 8, 1)]
)
@pytest.mark.parametrize("epsilon", [1e-6, 1e-2])
def test_group_norm(source, groups, channels, size, epsilon):
    x = near_constant(random_codes(np.random.default_rng(0), (6, channels, size, size), source))
    count = channels // groups * size * size
    c = constants(source, count, channels, epsilon)
    expected = []
    for image in (x - source.zero_point).tolist():
        flat = [v for plane in image for row in plane for v in row]
        normal = []
        for g in range(groups):
            row = flat[g * count : (g + 1) * count]
            normal += reference.normal_row(row, c.epsilon, c.row_shift, centre=True)
        expected += [
            reference.requantize(n * a + b, 1, c.shift, TARGET)
            for n, a, b in zip(
                normal, c.scale.repeat(size * size).tolist(), c.offset.repeat(size * size).tolist(),
                strict=True,
            )
        ]  # fmt: skip
    attributes = {
        "groups": groups, "epsilon": c.epsilon, "row_shift": c.row_shift, "shift": c.shift
    }  # fmt: skip
    t = {"scale": c.scale, "offset": c.offset}
    got = run("group_norm", [(x, source)], TARGET, attributes, t, (channels, size, size))
    assert got.reshape(-1).tolist() == expected
    assert len(set(expected)) > 4


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("length", [1, 7, 64, 5000])
@pytest.mark.parametrize("single", [False, True])
def test_rms_norm(source, length, single):
    x = near_constant(random_codes(np.random.default_rng(0), (6, 2, length), source))
    c = constants(source, length, 1 if single else length, 1e-5)
    scale, offset = (np.broadcast_to(v, length).tolist() for v in (c.scale, c.offset))
    expected = [
        [
            [
                reference.requantize(n * a + b, 1, c.shift, TARGET)
                for n, a, b in zip(
                    reference.normal_row(row, c.epsilon, c.row_shift, centre=False),
                    scale, offset, strict=True,
                )
            ]
            for row in image
        ]
        for image in (x - source.zero_point).tolist()
    ]  # fmt: skip
    attributes = {"epsilon": c.epsilon, "row_shift": c.row_shift, "shift": c.shift}
    t = {"scale": c.scale, "offset": c.offset}
    got = run("rms_norm", [(x, source)], TARGET, attributes, t, (2, length))
    assert got.tolist() == expected


@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("count", [2, 100, 70_000, 2**20])
def test_normalised_rows_in_real_units(centre, count):
    """About 2**10 times what floating point gives, and never above the proved bound."""
    rng = np.random.default_rng(4)
    source = Format(8, 0.02, 128)
    rows = rng.normal(128, 20, (4, count)).round().clip(0, 255)
    rows[1] = 128
    rows[1, 0] = 255  # all the variance in one element: the largest normalised value there is
    rows[2, ::2], rows[2, 1::2] = 0, 255
    x = torch.from_numpy(rows) - 128
    epsilon = 1e-6
    c = row_constants(count, np.ones(1), np.zeros(1), epsilon, source, TARGET)
    n = normal_rows(x, c.epsilon, c.row_shift, centre=centre)
    real = x * source.scale
    if centre:
        wanted = F.layer_norm(real, (count,), eps=epsilon)
    else:
        wanted = real * torch.rsqrt(real.square().mean(-1, keepdim=True) + epsilon)
    error = (n / 2**10 - wanted).abs() / (1 + wanted.abs())
    assert error.max() < 0.01
    assert n.abs().max() <= normal_limit(count)


def test_the_last_accumulator_is_proved_to_fit():
    source = Format(8, 0.02, 0)
    for count in (10, 10**6):
        for peak in (0.1, 3.0, 100.0):
            c = row_constants(count, np.array([peak]), np.array([-peak]), 1e-5, source, TARGET)
            bound = normal_limit(count) * abs(int(c.scale[0])) + abs(int(c.offset[0]))
            assert bound + 2 ** (c.shift - 1) <= ACCUMULATOR_LIMIT
            step = 2.0 ** (10 - c.shift) * TARGET.scale
            assert abs(c.scale[0] * step - peak) <= step
    with pytest.raises(ValueError, match="too large"):
        row_constants(10**6, np.array([1e6]), np.zeros(1), 1e-5, source, TARGET)
    with pytest.raises(ValueError, match="rows of 100000000 elements"):
        row_constants(10**8, np.ones(1), np.zeros(1), 1e-5, source, TARGET)
