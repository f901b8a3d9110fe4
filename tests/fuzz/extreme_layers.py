"""Layers, products and pools with weights, biases and requantisation at their extremes."""

import math
from typing import Any

import numpy as np
from draft import Draft, Sizes, builds, sizes_of

from codesign.integer.model import IntegerNode
from codesign.numerics.fixed_point import ACCUMULATOR_LIMIT

MAX_BIAS = 2**29


@builds("conv2d")
def _conv2d(d: Draft) -> None:
    x = d.source(4, shifts=False)
    channels, *sizes = sizes_of(x)
    groups = int(d.rng.choice([g for g in range(1, channels + 1) if channels % g == 0]))
    padding, dilation = d.rng.integers(3, size=2), d.rng.integers(1, 3, size=2)
    reach = [1 + (n + 2 * p - 1) // k for n, p, k in zip(sizes, padding, dilation, strict=True)]
    kernel = [int(d.rng.integers(1, min(3, r) + 1)) for r in reach]
    stride = d.rng.integers(1, 3, size=2)
    out = tuple(
        int((n + 2 * p - k * (w - 1) - 1) // s + 1)
        for n, p, k, w, s in zip(sizes, padding, dilation, kernel, stride, strict=True)
    )
    outputs = groups * int(d.rng.integers(1, 4))
    attributes = {
        "stride": stride.tolist(), "padding": padding.tolist(), "dilation": dilation.tolist(),
        "groups": groups,
    }  # fmt: skip
    _layer(d, x, (outputs, channels // groups, *kernel), (outputs, *out), attributes)


@builds("linear")
def _linear(d: Draft) -> None:
    x = d.source(int(d.rng.choice([2, 3, 4])), shifts=False)
    outputs = int(d.rng.integers(1, 9))
    _layer(d, x, (outputs, sizes_of(x)[-1]), (*sizes_of(x)[:-1], outputs), {})


def _layer(
    d: Draft, x: IntegerNode, shape: Sizes, sizes: Sizes, attributes: dict[str, Any]
) -> None:
    """Add a layer whose weights are of 2 bits up to as many as the accumulator allows."""
    terms, outputs = math.prod(shape[1:]), shape[0]
    most = max((ACCUMULATOR_LIMIT - MAX_BIAS) // (terms * x.format.magnitude), 1)
    peak = min(int(d.rng.choice([1, 1, 7, 127, 448, 2**14])), most)
    weight = d.rng.integers(-peak, peak + 1, size=shape)
    weight[0] = peak
    bound = terms * x.format.magnitude * peak
    reach = int(d.rng.choice([1, bound, MAX_BIAS]))
    bias = d.rng.integers(-min(reach, MAX_BIAS), min(reach, MAX_BIAS) + 1, size=outputs)
    bias[-1] = int(d.rng.choice([-1, 1])) * min(reach, MAX_BIAS)
    target = d.codes(wide=True)
    multiplier, shift = d.round_constants(bound, target, outputs)
    attributes = {**attributes, "accumulator_bound": int(bound + abs(bias).max())}
    tensors = {
        "weight": weight.astype(np.int8 if peak < 128 else np.int16),
        "bias": bias.astype(np.int32),
        "multiplier": multiplier.astype(np.int32),
        "shift": shift.astype(np.int8),
    }
    d.add((x,), target, sizes, attributes, tensors)


@builds("matmul")
def _matmul(d: Draft) -> None:
    left = d.source(4, shifts=False)
    heads, rows, length = sizes_of(left)
    if d.rng.random() < 0.5:
        right = d.constant((heads, length, int(d.rng.integers(1, 6))))
    else:
        moved = {"order": [0, 1, 3, 2]}
        right = d.add((left,), left.format, (heads, length, rows), moved, op="permute")
    target = d.codes()
    bound = length * left.format.magnitude * right.format.magnitude
    if bound > ACCUMULATOR_LIMIT:
        return
    attributes = {**d.scalar(bound, target), "accumulator_bound": bound}
    d.add((left, right), target, (heads, rows, right.shape[-1]), attributes)


@builds("max_pool2d", "avg_pool2d")
def _pool(d: Draft) -> None:
    x = d.source(4, shifts=False)
    channels, *sizes = sizes_of(x)
    dilation = d.rng.integers(1, 3, size=2) if d.op == "max_pool2d" else np.ones(2, dtype=int)
    kernel = [
        int(d.rng.integers(1, 1 + (n + k - 1) // k)) for n, k in zip(sizes, dilation, strict=True)
    ]
    spans = [int(k * (w - 1) + 1) for w, k in zip(kernel, dilation, strict=True)]
    pads = [d.rng.integers(0, k, size=2).tolist() for k in kernel]
    stride = d.rng.integers(1, 4, size=2).tolist()
    out = tuple(
        (n + sum(p) - r) // s + 1 for n, p, r, s in zip(sizes, pads, spans, stride, strict=True)
    )
    target = d.codes()
    count = math.prod(kernel) if d.op == "avg_pool2d" else 1
    places = out if count > 1 and d.rng.random() < 0.5 else (1, 1)
    m, s = d.round_constants(count * x.format.magnitude, target, math.prod(places))
    tensors = {
        "multiplier": m.reshape(places).astype(np.int32),
        "shift": s.reshape(places).astype(np.int8),
    }
    attributes = {"kernel": kernel, "stride": stride, "dilation": dilation.tolist(), "pads": pads}
    d.add((x,), target, (channels, *out), attributes, tensors)
