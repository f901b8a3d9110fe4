"""Rates: how near the kernels of a runtime come to a device's peaks, and what each one costs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from costmodels.errors import CostModelError

_SHARES = ("float_efficiency", "integer_efficiency", "memory_efficiency", "cache_speed_up")


@dataclass(frozen=True)
class Rates:
    """What the roofline of a kernel takes beside the device's peaks (see `roofline`).

    Attributes:
        kernel_us: Least time between two launches in microseconds: the host's, in a stream.
        float_efficiency: Share of the floating-point peak that full tiles reach.
        integer_efficiency: Share of the integer peak that full tiles reach.
        memory_efficiency: Share of the bandwidth that kernels reach.
        instructions_per_element: Instructions a thread issues for each element it handles.
        start_us: Time in microseconds a kernel takes on the device however small its work.
        cache_speed_up: Bandwidth of what fits the last cache, as a multiple of the memory's.
        instructions_per_row: Instructions issued for each row of a norm or softmax, each window of
            a pool, each block of queries of a fused attention.
        step_ns: Nanoseconds of each step of a reduction that nothing hides.
    """

    kernel_us: float
    float_efficiency: float
    integer_efficiency: float
    memory_efficiency: float
    instructions_per_element: float
    start_us: float = 0.0
    cache_speed_up: float = 1.0
    instructions_per_row: float = 0.0
    step_ns: float = 0.0

    def check(self, where: str) -> None:
        """Raise CostModelError naming the first figure that is no number or out of range."""
        for name in NAMES:
            value = getattr(self, name)
            number = isinstance(value, int | float) and math.isfinite(value)
            positive = name in _SHARES
            if not number or value < (math.ulp(0) if positive else 0):
                what = "finite and positive" if positive else "finite and not negative"
                raise CostModelError(f"{where}: {name} must be {what}: {value!r}")


NAMES = tuple(item.name for item in fields(Rates))
REQUIRED = NAMES[:5]


def parse_rates(where: str, figures: Mapping[str, Any]) -> Rates:
    """Return the rates that a mapping holds.

    Raises:
        CostModelError: A figure is missing, unknown or out of range; the message names it.
    """
    missing = [name for name in REQUIRED if name not in figures]
    if missing:
        raise CostModelError(f"{where} lacks {', '.join(missing)}")
    unknown = sorted(str(name) for name in figures if name not in NAMES)
    if unknown:
        raise CostModelError(f"{where}: unknown figure '{unknown[0]}'. Known: {', '.join(NAMES)}.")
    rates = Rates(**figures)
    rates.check(where)
    return rates
