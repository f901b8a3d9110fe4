"""Input codes that look for trouble: extremes, noise, and a search for ties and saturation."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from roundings import count_roundings

from codesign.graph.ir import resolve
from codesign.integer.model import IntegerModel

Codes = NDArray[np.int64]
Draw = Callable[[IntegerModel, np.random.Generator, int], Codes]
KINDS: dict[str, Draw] = {}
KEPT, CANDIDATES, ROUNDS = 2, 12, 2


def kind(draw: Draw) -> Draw:
    """File a function under its name."""
    KINDS[draw.__name__] = draw
    return draw


def shape_of(model: IntegerModel) -> list[int]:
    """Return an input's shape without the batch."""
    return resolve(model.nodes[0].shape, 1)[1:]


@kind
def uniform(model, rng, count):
    """Every code equally likely."""
    f = model.input_format
    return rng.integers(f.low, f.high + 1, size=(count, *shape_of(model)))


@kind
def noise(model, rng, count):
    """Images of normal noise about a grey level, some far out of the calibrated range."""
    means = rng.uniform(-0.5, 1.5, size=(count, *(1 for _ in shape_of(model))))
    images = rng.normal(means, rng.uniform(0.05, 2.0), size=(count, *shape_of(model)))
    return model.quantize_input(images)


@kind
def extremes(model, rng, count):
    """All smallest, all largest, zero, and the two ends in turn, from pixel to pixel."""
    f, shape = model.input_format, shape_of(model)
    parity = np.indices(shape[-2:]).sum(axis=0) % 2
    board = np.broadcast_to(np.where(parity, f.low, f.high), shape)
    flat = [np.full(shape, code) for code in (f.low, f.high, f.zero_point)]
    return np.stack([*flat, board, f.low + f.high - board]).astype(np.int64)


@kind
def searched(model, rng, count):
    """The images with most ties, and most values beyond either end, found by mutation."""
    pool = np.concatenate([draw(model, rng, CANDIDATES) for draw in (uniform, noise)])
    for _ in range(ROUNDS):
        best = _best(model, pool)
        pool = np.concatenate([best, _mutated(model, rng, best)])
    return _best(model, pool)


def _best(model: IntegerModel, pool: Codes) -> Codes:
    counts = count_roundings(model, pool)
    order = [np.argsort(-c, kind="stable")[:KEPT] for c in (counts.ties, counts.low, counts.high)]
    return pool[np.unique(np.concatenate(order))]


def _mutated(model: IntegerModel, rng: np.random.Generator, parents: Codes) -> Codes:
    """Return children of which a fifth of the codes is another image's, an end, or a neighbour."""
    f = model.input_format
    shape = (CANDIDATES, *parents.shape[1:])
    mothers, fathers = (parents[rng.integers(len(parents), size=CANDIDATES)] for _ in range(2))
    ends = np.where(rng.random(shape) < 0.5, f.low, f.high)
    near = np.clip(mothers + rng.integers(-1, 2, size=shape), f.low, f.high)
    new = np.choose(
        rng.integers(3, size=(CANDIDATES, *(1 for _ in shape[1:]))), [fathers, ends, near]
    )
    return np.where(rng.random(shape) < 0.2, new, mothers)


def drawn_codes(model: IntegerModel, rng: np.random.Generator, count: int = 4) -> Codes:
    """Return a batch with some inputs of every kind."""
    return np.concatenate([draw(model, rng, count) for draw in KINDS.values()])
