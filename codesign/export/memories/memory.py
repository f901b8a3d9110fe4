"""Memories: a set of memory files with their index."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.errors import RunError
from codesign.export.memories.elements import Element
from codesign.export.memories.names import FileNames
from codesign.export.memories.text import ORDER, lanes_of, memory_text

Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Memories:
    """Memory files.

    Attributes:
        files: Path in the bundle to text.
        index: One JSON-able entry for each file, as hardware.json lists them: path, layer, role,
            description, shape, element_bits, signed, encoding, codebook (where the encoding has
            one), lanes (elements a word), word_bits, words, order.
        values: Path to the whole numbers the file holds, in the entry's shape.
    """

    files: Mapping[str, str]
    index: list[dict[str, Any]]
    values: Mapping[str, Integers]


@dataclass
class Writer:
    """Collects memory files in one folder.

    Attributes:
        folder: The folder in the bundle, "mem" or "golden/mem".
    """

    folder: str
    names: FileNames = field(default_factory=FileNames)
    files: dict[str, str] = field(default_factory=dict)
    index: list[dict[str, Any]] = field(default_factory=list)
    values: dict[str, Integers] = field(default_factory=dict)

    def add(
        self,
        layer: str,
        role: str,
        values: Integers,
        element: Element,
        description: str,
        *,
        stem: str | None = None,
    ) -> None:
        """Write one file.

        Args:
            layer: Whose numbers they are.
            role: What they are.
            values: The whole numbers.
            element: How one of them is written.
            description: The same in words, one line, for people.
            stem: Name of the file without suffix, where it is not made of layer and role.

        Raises:
            RunError: A value does not fit its width.
        """
        array = np.atleast_1d(values)
        if not array.size:
            return
        path = f"{self.folder}/{stem or self.names.stem(layer, role)}.mem"
        entry = _entry(path, layer, role, array, element)
        entry["description"] = description
        try:
            self.files[path] = memory_text(array, element, entry)
        except ValueError as error:
            raise RunError(f"layer {layer}: {role}: {error}. Nothing was exported.") from error
        self.index.append(entry)
        self.values[path] = array

    def memories(self) -> Memories:
        """Return what was written."""
        return Memories(self.files, self.index, self.values)


def _entry(path: str, layer: str, role: str, values: Integers, element: Element) -> dict[str, Any]:
    row = math.prod(values.shape[1:])
    lanes = lanes_of(element.bits, row)
    return {
        "path": path,
        "layer": layer,
        "role": role,
        "shape": list(values.shape),
        "element_bits": element.bits,
        "signed": element.signed,
        "encoding": element.encoding,
        **({"codebook": list(element.codebook)} if element.codebook else {}),
        "lanes": lanes,
        "word_bits": lanes * element.bits,
        "words": len(values) * -(-row // lanes),
        "order": ORDER,
    }
