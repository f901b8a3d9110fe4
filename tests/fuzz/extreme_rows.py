"""Softmaxes, norms and divisions of every kind, on scales from very fine to very coarse."""

import math
from typing import Any

import numpy as np
import torch
from draft import Draft, builds, sizes_of
from numpy.typing import NDArray

from codesign.integer.model import IntegerNode
from codesign.numerics.constants import Constants
from codesign.numerics.division import DIVISIONS
from codesign.numerics.fixed_point import Format
from codesign.numerics.group_norm import row_constants
from codesign.numerics.layer_norm import LAYER_NORMS
from codesign.numerics.softmax import SOFTMAXES


@builds("softmax")
def _softmax(d: Draft) -> None:
    _rows_of_probabilities(d, "table")


@builds("log_int_softmax")
def _log_int_softmax(d: Draft) -> None:
    _rows_of_probabilities(d, "log_int")


@builds("shiftmax")
def _shiftmax(d: Draft) -> None:
    _rows_of_probabilities(d, "shiftmax")


@builds("codebook_softmax")
def _codebook_softmax(d: Draft) -> None:
    _rows_of_probabilities(d, str(d.rng.choice(["log_sqrt2", "two_scale"])))


def _rows_of_probabilities(d: Draft, name: str) -> None:
    kind = SOFTMAXES.get(name)
    x = d.source(even=True)
    scale = float(d.rng.choice([2.0**-16, 0.011, 0.04, 0.125, 0.13, 1.0, 40.0]))
    x = d.requantized(x, Format(x.format.bits, scale, x.format.zero_point, x.format.signed))
    probabilities = torch.from_numpy(d.rng.uniform(0.0, d.rng.choice([0.01, 0.3, 1.0]), size=64))
    target = kind.format(int(d.rng.choice(kind.widths)), probabilities)
    _add_kind(d, (x,), target, kind.constants(x.format, target))


@builds("layer_norm")
def _layer_norm(d: Draft) -> None:
    _norm(d, "reciprocal")


@builds("layer_norm_8bit")
def _layer_norm_8bit(d: Draft) -> None:
    _norm(d, "fq_vit")


def _norm(d: Draft, name: str) -> None:
    x = d.source()
    if x.format.codebook or x.format.bits > 8:
        x = d.requantized(x, d.codes(shifts=sizes_of(x)[-1]))
    target, channels = d.codes(), sizes_of(x)[-1]
    gamma, beta = _factors(d, target, channels)
    epsilon = float(d.rng.choice([0.0, 1e-6, 1e-2]))
    try:
        c = LAYER_NORMS.get(name).constants(gamma, beta, epsilon, x.format, target)
    except ValueError:  # gamma or beta beyond the widths: such a layer is refused
        return
    _add_kind(d, (x,), target, c)


def _factors(d: Draft, target: Format, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return gamma and beta, of either sign, from nothing to many times the result's range."""
    reach = target.scale * (target.high - target.low) * float(d.rng.choice([1e-4, 0.3, 1, 20]))
    gamma, beta = d.rng.uniform(-reach, reach, size=count), d.rng.uniform(-reach, reach, size=count)
    gamma[0] = d.rng.choice([0.0, reach]) if count > 1 else reach
    return gamma, beta


@builds("group_norm", "rms_norm")
def _group_norm(d: Draft) -> None:
    grouped = d.op == "group_norm"
    x = d.source(4 if grouped else 0, even=True)
    sizes, target = sizes_of(x), d.codes()
    divisors = [g for g in range(1, sizes[0] + 1) if sizes[0] % g == 0]
    groups = int(d.rng.choice(divisors)) if grouped else 0
    count = math.prod(sizes) // groups if grouped else sizes[-1]
    channels = sizes[0] if grouped else int(d.rng.choice([1, sizes[-1]]))
    gamma, beta = _factors(d, target, channels)
    beta = beta if grouped else 0 * beta
    epsilon = float(d.rng.choice([0.0, 1e-6, 1e-2]))
    try:
        c = row_constants(count, gamma, beta, epsilon, x.format, target)
    except ValueError:
        return
    attributes = {"epsilon": c.epsilon, "row_shift": c.row_shift, "shift": c.shift}
    attributes |= {"groups": groups} if grouped else {}
    tensors = {"scale": c.scale.astype(np.int16), "offset": c.offset.astype(np.int32)}
    d.add((x,), target, sizes, attributes, tensors)


@builds("divide")
def _divide(d: Draft) -> None:
    x = d.source()
    wide = Format(16, d.scale(), 0, signed=True)
    pair = (d.requantized(x, wide), d.requantized(x, wide))
    _quotient(d, "exact", pair)


@builds("log2_divide")
def _log2_divide(d: Draft) -> None:
    x = d.source(even=True)
    _quotient(d, "log2", (x, d.requantized(x, Format(8, d.scale(), 0))))


def _quotient(d: Draft, name: str, pair: tuple[IntegerNode, IntegerNode]) -> None:
    kind, target = DIVISIONS.get(name), d.codes()
    ratio = 2.0 ** (d.rng.uniform(-2, 9) if d.rng.random() < 0.8 else d.rng.uniform(-20, 14))
    scale = pair[0].format.scale / pair[1].format.scale / ratio
    target = Format(target.bits, scale, target.zero_point, target.signed)
    epsilon = float(d.rng.choice([0, 1, 300])) * pair[1].format.scale
    formats = (pair[0].format, pair[1].format)
    _add_kind(d, pair, target, kind.constants(epsilon, *formats, target))


def _add_kind(d: Draft, inputs: tuple[IntegerNode, ...], target: Format, c: Constants) -> None:
    tensors = {role: value.numpy() for role, value in c.tensors.items()}
    d.add(inputs, target, sizes_of(inputs[0]), dict(c.attributes), tensors)
