"""The text of a memory file, and its inverse.

$readmemh (IEEE 1800-2017, section 21.4) reads white space between hexadecimal words and skips
comments. Nothing in such a file tells a word's width or what is packed into it, so four lines of
comment do, and so does the file's entry in hardware.json.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.errors import UserError
from codesign.export.memories.elements import Element

HEADER_LINES = 4
WORD_BITS = 128
"""Most bits of a word of several lanes."""
ORDER = "each index of axis 0 begins with a word of its own; within it the last axis runs fastest"
_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
_NO_DIGIT = 255
_NIBBLE = np.full(256, _NO_DIGIT, dtype=np.uint8)
_NIBBLE[_HEX] = np.arange(16)


def lanes_of(element_bits: int, row_length: int) -> int:
    """Return the elements of a word: a power of two, the word at most 128 bits.

    Args:
        element_bits: Width of an element.
        row_length: Elements behind one index of axis 0; no word is longer than they need.
    """
    most = 2 ** int(math.log2(WORD_BITS / element_bits))
    return int(min(most, 2 ** (row_length - 1).bit_length()))


def memory_text(
    values: NDArray[np.integer[Any]], element: Element, entry: Mapping[str, Any]
) -> str:
    """Return a memory file: four lines that explain it, then one word a line.

    Args:
        values: The whole numbers, of at least one axis.
        element: How one of them is written.
        entry: The file's index entry; gives lanes and words.

    Raises:
        ValueError: A value does not fit the element.
    """
    rows = element.encode(values).reshape(len(values), -1)
    lanes = entry["lanes"]
    padded = np.zeros((len(rows), entry["words"] // len(rows) * lanes), dtype="<u4")
    padded[:, : rows.shape[1]] = rows
    bits = np.unpackbits(padded.reshape(-1, lanes, 1).view(np.uint8), axis=2, bitorder="little")
    return _header(element, entry) + _words(bits[:, :, : element.bits].reshape(len(bits), -1))


def _header(element: Element, entry: Mapping[str, Any]) -> str:
    shape = " x ".join(str(size) for size in entry["shape"])
    note = f" ({element.note})" if element.note else ""
    lanes, bits, words = entry["lanes"], entry["word_bits"], entry["words"]
    per_row = words // entry["shape"][0]
    lines = [
        f"{printable(entry['layer'])}: {entry['role']}, {entry['description']}",
        f"{shape} elements, {element.describe()}{note}",
        f"{words} words of {bits} bits, lane 0 of {lanes} in the least significant bits,"
        " unused lanes 0",
        f"{ORDER}; words an index: {per_row}",
    ]
    return "".join(f"// {line}\n" for line in lines)


def printable(text: str) -> str:
    r"""Return a name without line breaks or anything but printable ASCII, escaped as \n or \xe9."""
    return "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode() for c in text)


def _words(bits: NDArray[np.uint8]) -> str:
    """Return one line of hexadecimal digits for each row of bits, least significant first."""
    digits = -(-bits.shape[1] // 4)
    octets = np.packbits(bits, axis=1, bitorder="little")[:, ::-1]
    pairs = np.stack([octets >> 4, octets & 15], axis=2).reshape(len(bits), -1)
    lines = np.full((len(bits), digits + 1), ord("\n"), dtype=np.uint8)
    lines[:, :-1] = _HEX[pairs[:, pairs.shape[1] - digits :]]
    return lines.tobytes().decode("ascii")


def read_memory(text: str, entry: Mapping[str, Any]) -> NDArray[np.int64]:
    """Return the whole numbers of a memory file, by its index entry alone.

    Args:
        text: The file.
        entry: Its entry of hardware.json's memories.

    Returns:
        int64 of the entry's shape.

    Raises:
        UserError: The text is not such a file: a word too many or too few, a digit that is none,
            or a bit set where none belongs.
    """
    element, lanes, shape = Element.of_entry(entry), entry["lanes"], tuple(entry["shape"])
    bits = _read_words(text, entry)
    used, rest = bits[:, : lanes * element.bits], bits[:, lanes * element.bits :]
    octets = np.packbits(used.reshape(-1, lanes, element.bits), axis=2, bitorder="little")
    wide = np.zeros((*octets.shape[:2], 4), dtype=np.uint8)
    wide[:, :, : octets.shape[2]] = octets
    rows = wide.view("<u4").reshape(shape[0], -1)
    length = math.prod(shape[1:])
    if rest.any() or rows[:, length:].any():
        raise UserError(f"{entry['path']}: an unused bit is set; export the bundle again.")
    return element.decode(rows[:, :length]).reshape(shape)


def _read_words(text: str, entry: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Return the bits of every word, (words, 4 x digits), least significant first."""
    body = text
    while body.startswith("//"):
        body = body.partition("\n")[2]
    words, digits = entry["words"], -(-entry["word_bits"] // 4)
    data = np.frombuffer(body.encode("utf-8", "replace"), dtype=np.uint8)
    if data.size != words * (digits + 1):
        raise UserError(
            f"{entry['path']}: not {words} words of {digits} digits; export the bundle again."
        )
    lines = data.reshape(words, digits + 1)
    nibbles = _NIBBLE[lines[:, :-1]]
    bad = np.any(nibbles == _NO_DIGIT, axis=1) | (lines[:, -1] != ord("\n"))
    if bad.any():
        raise UserError(
            f"{entry['path']}: word {int(bad.argmax())} is not {digits} hexadecimal digits;"
            " export the bundle again."
        )
    little = nibbles[:, ::-1, None]
    return np.unpackbits(little, axis=2, count=4, bitorder="little").reshape(words, -1)


def locate(entry: Mapping[str, Any], index: Sequence[int]) -> tuple[int, int]:
    """Return where an element stands: the line of the file (from 1) and the lane.

    Args:
        entry: The file's index entry.
        index: The element's index, one number an axis.
    """
    shape, lanes = entry["shape"], entry["lanes"]
    within = 0
    for size, place in zip(shape[1:], index[1:], strict=True):
        within = within * size + int(place)
    word = int(index[0]) * (entry["words"] // shape[0]) + within // lanes
    return HEADER_LINES + word + 1, within % lanes
