"""How one element of a memory is written in bits: width, sign, and a codebook where it has one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.numerics.fixed_point import Format

TWOS_COMPLEMENT, UNSIGNED = "twos_complement", "unsigned"
SIGN_EXPONENT, SIGN_TERMS = "sign_exponent", "sign_terms"
_WORDS = {
    TWOS_COMPLEMENT: "two's complement",
    UNSIGNED: "unsigned",
    SIGN_EXPONENT: "sign and exponent",
    SIGN_TERMS: "sign and terms",
}


@dataclass(frozen=True)
class Element:
    """The code of one element.

    Attributes:
        bits: Width of the code, at most 32.
        signed: Whether elements can be negative.
        encoding: "twos_complement", "unsigned", "sign_exponent" (a power of two) or "sign_terms"
            (a sum of powers of two).
        codebook: The whole number of every code, for the last two; else empty. Of two codes of one
            number the smaller is written.
        note: What the header says about the code, one line.
    """

    bits: int
    signed: bool
    encoding: str
    codebook: tuple[int, ...] = ()
    note: str = ""

    @classmethod
    def plain(cls, bits: int, *, signed: bool) -> "Element":
        """Return two's complement or unsigned numbers of a width."""
        return cls(bits, signed, TWOS_COMPLEMENT if signed else UNSIGNED)

    @classmethod
    def of_format(cls, fmt: Format) -> "Element":
        """Return the element that holds the codes of a format."""
        return cls.plain(fmt.bits, signed=fmt.signed)

    @classmethod
    def of_entry(cls, entry: Mapping[str, Any]) -> "Element":
        """Return the element that an index entry describes."""
        codebook = tuple(entry.get("codebook", ()))
        return cls(entry["element_bits"], entry["signed"], entry["encoding"], codebook)

    def encode(self, values: NDArray[np.integer[Any]]) -> NDArray[np.uint32]:
        """Return the code of every value.

        Raises:
            ValueError: A value has none.
        """
        wide = values.astype(np.int64)
        if self.codebook:
            return self._look_up(wide)
        low = -(2 ** (self.bits - 1)) if self.signed else 0
        outside = wide[(wide < low) | (wide >= low + 2**self.bits)]
        if outside.size:
            raise ValueError(f"{int(outside[0])} is no {self.describe()} number")
        return (wide & (2**self.bits - 1)).astype(np.uint32)

    def decode(self, codes: NDArray[np.uint32]) -> NDArray[np.int64]:
        """Return the value of every code."""
        if self.codebook:
            return np.array(self.codebook, dtype=np.int64)[codes]
        wide = codes.astype(np.int64)
        return wide - (wide >> (self.bits - 1) << self.bits) if self.signed else wide

    def describe(self) -> str:
        """Return the width and the encoding in words."""
        return f"{self.bits}-bit {_WORDS[self.encoding]}"

    def _look_up(self, values: NDArray[np.int64]) -> NDArray[np.uint32]:
        levels, first = np.unique(np.array(self.codebook, dtype=np.int64), return_index=True)
        place = np.searchsorted(levels, values).clip(max=len(levels) - 1)
        missing = values[levels[place] != values]
        if missing.size:
            raise ValueError(f"{int(missing[0])} is not in the codebook of {self.describe()}")
        return first[place].astype(np.uint32)
