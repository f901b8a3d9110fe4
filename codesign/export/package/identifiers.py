"""SystemVerilog identifiers for layers whose names may be anything."""

import re

_MAX_LENGTH = 80


class Identifiers:
    """Gives every name asked for an UpperCamelCase identifier of its own.

    No two differ by case only, so that they stay apart in tools that ignore it. The prefix keeps
    them apart from keywords, which are lower case (IEEE 1800-2017, annex B).

    Args:
        prefix: What they begin with, for example "Layer".
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._used: set[str] = set()

    def of(self, name: str) -> str:
        """Return an unused identifier like a name."""
        plain = self._prefix + camel_case(name)[:_MAX_LENGTH]
        chosen, count = plain, 1
        while chosen.casefold() in self._used:
            count += 1
            chosen = f"{plain}_{count}"
        self._used.add(chosen.casefold())
        return chosen


def camel_case(name: str) -> str:
    """Return the words and numbers of a name in UpperCamelCase, numbers kept apart by "_"."""
    words = [word[0].upper() + word[1:] for word in re.findall(r"[A-Za-z0-9]+", name)]
    return re.sub(r"(?<=\d) (?=\d)", "_", " ".join(words)).replace(" ", "") or "Unnamed"
