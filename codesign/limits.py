"""Limits on metrics, as the `constraints` of a search state them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codesign.errors import UserError


@dataclass(frozen=True)
class Limit:
    """A bound that a metric must keep.

    Attributes:
        metric: Dotted name of the metric.
        kind: "max" (at most `value`) or "min" (at least `value`).
        value: The bound, in the metric's unit.
    """

    metric: str
    kind: str
    value: float

    @property
    def name(self) -> str:
        """The constraint's name: the metric's, with ".min" where it is a lower bound."""
        return self.metric if self.kind == "max" else f"{self.metric}.min"

    def excess(self, value: float) -> float:
        """Return by how much `value` breaks the limit (kept where <= 0), in the metric's unit."""
        return value - self.value if self.kind == "max" else self.value - value

    def violation(self, value: float) -> str:
        """Return the words that say how `value` breaks the limit."""
        sign = ">" if self.kind == "max" else "<"
        return f"{self.metric} {value:.6g} {sign} {self.value:.6g}"


def parse_limits(constraints: Mapping[str, Any]) -> tuple[Limit, ...]:
    """Return the limits that the `constraints` setting states.

    A number is an upper bound; a mapping gives "min", "max" or both; the key "accuracy.min" is
    short for the mapping {min: ...} under "accuracy".

    Raises:
        UserError: A bound is not a number or neither "min" nor "max".
    """
    limits = []
    for key, bound in constraints.items():
        stem, _, last = key.rpartition(".")
        metric, bounds = (stem, {last: bound}) if stem and last in ("min", "max") else (key, bound)
        if not isinstance(bounds, Mapping):
            bounds = {"max": bounds}
        for kind, value in bounds.items():
            limits.append(Limit(metric, _kind(key, kind), _number(key, value)))
    return tuple(limits)


def _kind(key: str, kind: Any) -> str:
    if kind not in ("min", "max"):
        raise UserError(f"constraints: {key} has '{kind}'; a bound is a number, min or max.")
    return str(kind)


def _number(key: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if number != number or isinstance(value, bool):
        raise UserError(f"constraints: the bound of {key} must be a number, not {value!r}.")
    return number
