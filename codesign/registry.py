"""Choices a user can name in YAML: one file each, registered under its public name."""

import difflib
from collections.abc import Callable
from typing import Generic, TypeVar

from codesign.errors import UserError

T = TypeVar("T")


class Registry(Generic[T]):
    """Named alternatives of one kind, for example the activation functions.

    Args:
        kind: What the alternatives are, in the words of an error message.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files its argument under `name`.

        Raises:
            ValueError: The name is taken.
        """

        def decorate(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.kind} '{name}' is registered twice")
            self._entries[name] = entry
            return entry

        return decorate

    def get(self, name: str) -> T:
        """Return the entry called `name`.

        Raises:
            UserError: There is none; the message lists the names there are.
        """
        if name not in self._entries:
            close = difflib.get_close_matches(name, self._entries, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            known = ", ".join(sorted(self._entries))
            raise UserError(f"unknown {self.kind} '{name}'.{hint} Known: {known}.")
        return self._entries[name]

    def names(self) -> list[str]:
        """Return the registered names, sorted."""
        return sorted(self._entries)
