"""Stratified choice: parts of a data set that keep the proportions of the classes."""

from collections.abc import Sequence

import numpy as np


def stratified_split(
    labels: Sequence[int], fractions: Sequence[float], seed: int
) -> list[list[int]]:
    """Divide positions into parts that keep the proportions of the classes.

    A class with at least as many members as there are non-empty fractions has one in every part.

    Args:
        labels: Class of each position.
        fractions: Share of each part; they sum to 1.
        seed: Seed of the choice.

    Returns:
        The positions of each part, in ascending order.

    Raises:
        ValueError: The fractions are negative or do not sum to 1.
    """
    if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9:
        raise ValueError(f"fractions {tuple(fractions)} must be positive and sum to 1")
    generator = np.random.default_rng(seed)
    parts: list[list[int]] = [[] for _ in fractions]
    values = np.asarray(labels, dtype=np.int64)
    for label in np.unique(values):
        members = generator.permutation(np.flatnonzero(values == label))
        ends = np.cumsum(_counts(len(members), fractions))
        for part, chunk in zip(parts, np.split(members, ends[:-1]), strict=True):
            part.extend(int(i) for i in chunk)
    return [sorted(part) for part in parts]


def _counts(total: int, fractions: Sequence[float]) -> list[int]:
    """Share `total` out by largest remainder, then give every empty part one where it can be."""
    shares = np.asarray(fractions) * total
    counts = np.floor(shares + 1e-9).astype(int)
    for i in np.argsort(counts - shares, kind="stable")[: total - counts.sum()]:
        counts[i] += 1
    wanted = np.asarray(fractions) > 0
    while total >= wanted.sum() and (counts[wanted] == 0).any():
        counts[np.flatnonzero(wanted & (counts == 0))[0]] += 1
        counts[np.argmax(counts)] -= 1
    return [int(c) for c in counts]
