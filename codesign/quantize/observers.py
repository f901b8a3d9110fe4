"""Observers: which range of real values a tensor's codes should span.

An observer sees a tensor batch by batch and then gives its range: one for the tensor, or one for
each channel. The ranges of all methods are widened to hold zero when they become a `Format`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from codesign.numerics.fixed_point import Format
from codesign.registry import Registry

SAMPLE = 16_384
"""Values of a tensor that the searching observers look at."""
CHANNEL_SAMPLE = 2**19
"""Values of a tensor that they look at when they search a range for each channel."""

Ranges = tuple[Tensor, Tensor]


class Observer(ABC):
    """Watches the batches of one tensor.

    Args:
        axis: The dimension of the channels, counted from the last (-1, -2, ...), for one range a
            channel; None for one range in all.
    """

    def __init__(self, axis: int | None = None) -> None:
        self.axis = axis

    def update(self, values: Tensor) -> None:
        """Take in one calibration batch."""
        self._update(rows(values.detach(), self.axis).float())

    def format(self, bits: int) -> Format:
        """Return the unsigned, asymmetric format for codes of a width."""
        low, high = self.ranges(bits)
        return Format.from_range(float(low.min()), float(high.max()), bits)

    @abstractmethod
    def _update(self, x: Tensor) -> None:
        """Take in one batch, (channels, values)."""

    @abstractmethod
    def ranges(self, bits: int = 8) -> Ranges:
        """Return the lowest and the highest value to represent, (channels,) each or (1,)."""


OBSERVERS: Registry[Callable[..., Observer]] = Registry("observer")


def observe(name: str, batches: Iterable[Tensor], axis: int | None = None) -> Observer:
    """Return an observer that has seen the batches.

    Raises:
        UserError: There is no observer of that name.
    """
    observer = OBSERVERS.get(name)(axis)
    for values in batches:
        observer.update(values)
    return observer


@OBSERVERS.register("minmax")
class MinMax(Observer):
    """The smallest and the largest value of all batches."""

    def __init__(self, axis: int | None = None) -> None:
        super().__init__(axis)
        self.ends: Ranges | None = None

    def _update(self, x: Tensor) -> None:
        low, high = smallest_and_largest(x)
        if self.ends is not None:
            low, high = torch.minimum(low, self.ends[0]), torch.maximum(high, self.ends[1])
        self.ends = low, high

    def ranges(self, bits: int = 8) -> Ranges:
        """Return the smallest and the largest values."""
        assert self.ends is not None
        return self.ends


@OBSERVERS.register("ema")
class MovingAverage(MinMax):
    """The moving averages of each batch's ends: v <- v + 0.01 (current - v).

    The first batch sets them. As in FQ-ViT's code (Lin et al., arXiv 2111.13824).
    """

    STEP = 0.01

    def _update(self, x: Tensor) -> None:
        low, high = self.ends_of(x)
        if self.ends is not None:
            low = self.ends[0] + self.STEP * (low - self.ends[0])
            high = self.ends[1] + self.STEP * (high - self.ends[1])
        self.ends = low, high

    def ends_of(self, x: Tensor) -> Ranges:
        """Return the ends of one batch."""
        return smallest_and_largest(x)


@OBSERVERS.register("ema_95")
class FastMovingAverage(MovingAverage):
    """The same with a momentum of 0.95, as in I-ViT's code (Li and Gu, arXiv 2207.01405)."""

    STEP = 0.05


@OBSERVERS.register("percentile")
class Percentile(MovingAverage):
    """The moving averages of each batch's 0.00001 and 0.99999 quantiles (FQ-ViT's code)."""

    TAIL = 1e-5

    def ends_of(self, x: Tensor) -> Ranges:
        """Return the quantiles of one batch."""
        return quantile_ends(x, self.TAIL)


class Search(MinMax):
    """Observers that compare ranges by the error of rounding a sample of the values."""

    POWER = 2.0
    STEPS, STEP = 41, 0.02

    def __init__(self, axis: int | None = None) -> None:
        super().__init__(axis)
        self.sample = Sample()

    def _update(self, x: Tensor) -> None:
        super()._update(x)
        self.sample.add(x)

    def ranges(self, bits: int = 8) -> Ranges:
        """Return the range of the least mean |error|**POWER for codes of a width."""
        low, high = super().ranges()
        low, high = low.clamp(max=0), high.clamp(min=0)
        x, weights = self.sample.weighted()

        def error(step: Tensor) -> Tensor:
            factor = 1 - self.STEP * step
            return rounding_error(x, low * factor, high * factor, bits, self.POWER, weights)

        factor = 1 - self.STEP * self.best_step(error, torch.zeros_like(low))
        return low * factor, high * factor

    def best_step(self, error: Callable[[Tensor], Tensor], zero: Tensor) -> Tensor:
        """Return each channel's step (a whole number below STEPS) of least error."""
        return _least(error, [zero + step for step in range(self.STEPS)])


@OBSERVERS.register("mse")
class LeastSquares(Search):
    """The range with the least mean squared error, of 41 shrunk by steps of 2 %."""


@OBSERVERS.register("omse")
class PublishedLeastSquares(Search):
    """The range with the least mean squared error, of 90 shrunk by steps of 1 % (FQ-ViT's code).

    FQ-ViT compares them on its last batch; ours are compared on a sample of all batches.
    """

    STEPS, STEP = 90, 0.01


@OBSERVERS.register("mse_p")
class LeastPower(Search):
    """The range with the least mean |error|**2.4, of 80 shrunk by steps of 1 %.

    The power spares large values more than squares do. It and the steps are those of Trio-ViT's
    code (Shi et al., arXiv 2405.03882). Every fourth step is tried first, then the steps around
    the best: a third of the work.
    """

    POWER = 2.4
    STEPS, STEP = 80, 0.01

    def best_step(self, error: Callable[[Tensor], Tensor], zero: Tensor) -> Tensor:
        """Return each channel's best step, first coarsely, then finely."""
        coarse = _least(error, [zero + step for step in range(0, self.STEPS, 4)])
        near = [(coarse + offset).clamp(0, self.STEPS - 1) for offset in range(-3, 4)]
        return _least(error, near)


@OBSERVERS.register("percentile_mse")
class PercentileSearch(Observer):
    """The two-sided percentile, of three, with the least mean squared error.

    The candidates 0.999, 0.9999 and 0.99999 are those of RepQ-ViT's code (Li et al., ICCV 2023);
    each batch's are averaged.
    """

    TAILS = (1e-3, 1e-4, 1e-5)

    def __init__(self, axis: int | None = None) -> None:
        super().__init__(axis)
        self.sample = Sample()
        self.ends: list[list[Ranges]] = [[] for _ in self.TAILS]

    def _update(self, x: Tensor) -> None:
        self.sample.add(x)
        for tail, found in zip(self.TAILS, self.ends, strict=True):
            found.append(quantile_ends(x, tail))

    def ranges(self, bits: int = 8) -> Ranges:
        """Return the best candidate's range for codes of a width."""
        x, weights = self.sample.weighted()
        low, high = (
            torch.stack([torch.stack([ends[i] for ends in found]).mean(0) for found in self.ends])
            for i in (0, 1)
        )
        low, high = low.clamp(max=0), high.clamp(min=0)
        errors = [
            rounding_error(x, a, b, bits, weights=weights) for a, b in zip(low, high, strict=True)
        ]
        best = torch.stack(errors).argmin(dim=0, keepdim=True)
        return low.gather(0, best)[0], high.gather(0, best)[0]


class Sample:
    """A sample of a tensor's values with its tails in full.

    An even sample holds hardly any of the few largest values, and ranges that cut them off would
    look free. So values beyond the sample's 0.2 % quantiles are taken from the maxima and minima
    of small groups instead, which hold nearly all of them.
    """

    TAIL = 0.002

    def __init__(self) -> None:
        self.parts: list[tuple[Tensor, Tensor, Tensor]] = []
        self.count = 0

    def add(self, x: Tensor) -> None:
        """Take in one batch, (channels, values)."""
        body = thinned(x)
        size = x.shape[1] // body.shape[1]
        groups = x[:, : size * body.shape[1]].reshape(len(x), size, -1)
        self.parts.append((body, groups.amin(dim=1), groups.amax(dim=1)))
        self.count += x.shape[1]

    def weighted(self) -> tuple[Tensor, Tensor]:
        """Return values and how many of the tensor each stands for, (channels, values) both."""
        body, smallest, largest = (torch.cat(part, dim=1) for part in zip(*self.parts, strict=True))
        if body.shape[1] == self.count:
            return body, torch.ones_like(body)
        body = thinned(body)
        low, high = quantile_ends(body, self.TAIL)
        low, high = low[:, None], high[:, None]
        tails = torch.cat([smallest < low, largest > high], dim=1).float()
        inside = ((body >= low) & (body <= high)).float()
        each = (self.count - tails.sum(1, keepdim=True)) / inside.sum(1, keepdim=True).clamp(min=1)
        x = torch.cat([body, smallest, largest], dim=1)
        weights = torch.cat([inside * each, tails], dim=1)
        if len(x) > 1:
            return x, weights
        used = weights[0] > 0
        return x[:, used], weights[:, used]


def rounding_error(
    x: Tensor,
    low: Tensor,
    high: Tensor,
    bits: int,
    power: float = 2.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Return each channel's mean |error|**power when its range is spread over asymmetric codes.

    Args:
        x: (channels, values).
        low: (channels,), at most 0.
        high: (channels,), at least 0.
        bits: Width of the codes.
        power: Exponent of the error.
        weights: (channels, values), how much each value counts; equally if None.
    """
    levels = 2**bits - 1
    scale = ((high - low) / levels).clamp(min=1e-8)[:, None]
    zero_point = torch.floor(-low[:, None] / scale + 0.5)
    codes = (x / scale).round_().add_(zero_point).clamp_(0, levels)
    error = codes.sub_(zero_point).mul_(scale).sub_(x).abs_()
    error = error.square_() if power == 2 else error.pow_(power)
    return error.mean(dim=1) if weights is None else (error * weights).sum(1) / weights.sum(1)


def smallest_and_largest(x: Tensor) -> Ranges:
    """Return the ends of each row; of a single row several times as fast as by dimension."""
    low, high = torch.aminmax(x.reshape(-1)) if len(x) == 1 else torch.aminmax(x, dim=1)
    return low.reshape(-1), high.reshape(-1)


def quantile_ends(x: Tensor, tail: float) -> Ranges:
    """Return the quantiles `tail` and 1 - `tail` of each row, interpolated linearly."""
    position = (x.shape[1] - 1) * tail
    count = min(math.floor(position) + 2, x.shape[1])
    ends = []
    for largest in (False, True):
        values = x.topk(count, dim=1, largest=largest).values
        near, far = values[:, count - min(count, 2)], values[:, -1]
        ends.append(near + (position - math.floor(position)) * (far - near))
    return ends[0], ends[1]


def rows(values: Tensor, axis: int | None) -> Tensor:
    """Return a tensor as (channels, values), one channel if `axis` is None."""
    if axis is None:
        return values.reshape(1, -1)
    return values.movedim(axis, 0).reshape(values.shape[axis], -1)


def thinned(x: Tensor) -> Tensor:
    """Return about SAMPLE values of one row, or CHANNEL_SAMPLE in all, evenly spread.

    The stride is odd: an even one would pick the same columns of every image.
    """
    wanted = SAMPLE if len(x) == 1 else max(CHANNEL_SAMPLE // len(x), 256)
    return x[:, :: (x.shape[1] // wanted) | 1]


def _least(error: Callable[[Tensor], Tensor], steps: list[Tensor]) -> Tensor:
    """Return, for each channel, the first step of least error."""
    best = torch.stack([error(step) for step in steps]).argmin(dim=0, keepdim=True)
    return torch.stack(steps).gather(0, best)[0]
