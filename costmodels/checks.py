"""Checks of single values: the error names the field, its value and what is allowed."""

import sys
from typing import Any

from costmodels.errors import CostModelError


def check_whole(
    where: str, name: str, value: Any, *, zero: bool = False, most: float | None = None
) -> None:
    """Check that a value is an int of 1 or more.

    Args:
        where: What the field belongs to.
        name: The field.
        value: Its value.
        zero: 0 is allowed too.
        most: The largest value allowed, if there is one.

    Raises:
        CostModelError: It is not.
    """
    if type(value) is not int or value < (0 if zero else 1):
        kind = "zero or a positive whole number" if zero else "a positive whole number"
        raise CostModelError(f"{where}: {name} must be {kind}, not {_shown(value)}")
    if most is not None and value > most:
        raise CostModelError(f"{where}: {name} must be at most {most:,.0f}, not {value:,}")


def check_sizes(where: str, *, zero: bool = False, **sizes: Any) -> None:
    """Check that each of the named values is an int of 1 or more, or of 0 or more with `zero`.

    Raises:
        CostModelError: One is not; the message names it.
    """
    for name, value in sizes.items():
        check_whole(where, name, value, zero=zero)


def check_number(
    where: str, name: str, value: Any, *, zero: bool = False, most: float | None = None
) -> None:
    """Check that a value is a positive finite int or float; arguments as `check_whole`.

    Raises:
        CostModelError: It is not.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    sound = number and 0 <= value <= sys.float_info.max and (value > 0 or zero)
    if not sound or (most is not None and value > most):
        kind = "finite and not negative" if zero else "a finite positive number"
        kind = kind if most is None else f"above 0 and at most {most:g}"
        raise CostModelError(f"{where}: {name} must be {kind}, not {_shown(value)}")


def check_choice(where: str, name: str, value: Any, known: tuple[str, ...]) -> None:
    """Check that a value is one of some words.

    Raises:
        CostModelError: It is not.
    """
    if not isinstance(value, str) or value not in known:
        raise CostModelError(f"{where}: unknown {name} '{value}'. Known: {', '.join(known)}.")


def check_word(where: str, name: str, value: Any) -> None:
    """Check that a value is a string.

    Raises:
        CostModelError: It is not.
    """
    if not isinstance(value, str):
        raise CostModelError(f"{where}: {name} must be a string, not {_shown(value)}")


def _shown(value: Any) -> str:
    """Return a value as it would be typed, with its type where that is what is wrong."""
    plain = isinstance(value, int | float | str | bool | None) and type(value).__module__ == (
        "builtins"
    )
    return f"{value!r}" if plain else f"{value!r} ({type(value).__name__})"
