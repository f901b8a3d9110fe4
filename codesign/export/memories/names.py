"""File names for layers whose names may be anything.

Layer names come from files that a user may have edited, so a name is never trusted with a path: it
keeps letters, digits, "_", "." and "-" alone, in a length any file system takes, and no two differ
by case only, since some file systems do not tell those apart.
"""

import hashlib
import re

MAX_LENGTH = 120
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
"""Device names, which Windows reserves whatever follows the first dot."""


class FileNames:
    """Gives every name asked for a file name of its own."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def stem(self, name: str, role: str = "") -> str:
        """Return an unused file name without its suffix.

        Args:
            name: A layer's name, anything.
            role: What of the layer it is, put behind a dot; a plain word.
        """
        end = f".{role}" if role else ""
        plain = safe(name)
        chosen, attempt = plain[:MAX_LENGTH] + end, 0
        while chosen.casefold() in self._used or (attempt == 0 and len(plain) > MAX_LENGTH):
            digest = hashlib.sha256(f"{name}\0{attempt}".encode("utf-8", "replace")).hexdigest()
            chosen, attempt = f"{plain[:MAX_LENGTH]}-{digest[:8]}{end}", attempt + 1
        self._used.add(chosen.casefold())
        return chosen


def safe(name: str) -> str:
    """Return a name of safe characters that is no path, no option and no device."""
    plain = re.sub(r"\.\.+|[^A-Za-z0-9_.-]", "_", name)
    if not plain or plain[0] in ".-":
        plain = "_" + plain[1:]
    return "_" + plain if _RESERVED.match(plain) else plain
