"""How weights are written: one encoding for each kind of number that hardware multiplies by.

The formats are those of `codesign/numerics/README.md`, "Weights".
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.export.memories.elements import SIGN_EXPONENT, SIGN_TERMS, Element
from codesign.integer.model import IntegerNode
from codesign.numerics.weights.apot import term_exponents
from codesign.numerics.weights.base import SCHEMES

Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Part:
    """Weights of one encoding; a mixed layer has two.

    Attributes:
        role: "weight", or "weight_uniform", "weight_log2", "log2_channel" of a mixed layer.
        values: The whole numbers, output channels first.
        element: How one of them is written.
        note: What else the reader should know, one line.
    """

    role: str
    values: Integers
    element: Element
    note: str = ""


Encode = Callable[[IntegerNode, Integers, int], Iterator[Part]]
_ENCODINGS: dict[str, Encode] = {}


def weight_parts(node: IntegerNode, weight: Integers) -> list[Part]:
    """Return a layer's weights as the memories hold them.

    Args:
        node: A conv2d or linear.
        weight: Its weights, (out_channels, ...).
    """
    hardware = SCHEMES.get(node.attributes["weight_scheme"]).hardware
    return list(_ENCODINGS[hardware](node, weight, int(node.attributes["weight_bits"])))


def encodes(hardware: str) -> Callable[[Encode], Encode]:
    """Return a decorator that files an encoding under the kind of weights it writes."""

    def decorate(function: Encode) -> Encode:
        _ENCODINGS[hardware] = function
        return function

    return decorate


@encodes("uniform")
def _uniform(node: IntegerNode, weight: Integers, bits: int) -> Iterator[Part]:
    yield Part("weight", weight, Element.plain(bits, signed=True))


@encodes("log2")
def _log2(node: IntegerNode, weight: Integers, bits: int) -> Iterator[Part]:
    yield Part("weight", weight, sign_exponent(bits))


@encodes("apot")
def _apot(node: IntegerNode, weight: Integers, bits: int) -> Iterator[Part]:
    yield Part("weight", weight, sign_terms(bits))


@encodes("mixed")
def _mixed(node: IntegerNode, weight: Integers, bits: int) -> Iterator[Part]:
    """Yield the uniform channels, the log2 channels, and one bit a channel that tells them apart.

    Each array of the accelerator reads the channels it computes and no others.
    """
    log2 = np.zeros(len(weight), dtype=np.int64)
    log2[list(node.attributes["log2_channels"])] = 1
    kinds = (("uniform", 0, Element.plain(bits, signed=True)), ("log2", 1, sign_exponent(bits)))
    for name, kind, element in kinds:
        if np.any(log2 == kind):
            note = f"the {name} output channels alone, ascending: where log2_channel is {kind}"
            yield Part(f"weight_{name}", weight[log2 == kind], element, note)
    yield Part("log2_channel", log2, Element.plain(1, signed=False), "1 where a channel is log2")


def sign_exponent(bits: int) -> Element:
    """Return log2 weights: a sign bit above an exponent field, all ones of which mean zero."""
    powers = [*(2**e for e in range(2 ** (bits - 1) - 1)), 0]
    note = (
        f"bit {bits - 1} is the sign, bits {bits - 2}..0 the exponent e of 2^e;"
        " an exponent of all ones is zero"
    )
    return Element(bits, True, SIGN_EXPONENT, _signed(powers), note)


def sign_terms(bits: int) -> Element:
    """Return additive powers of two: a sign bit above one field for each term.

    A field of 0 leaves its term out; j is the j-th exponent of `term_exponents`. The first term
    lies just below the sign.
    """
    values, fields, top = [0], [], bits - 2
    for exponents in term_exponents(bits):
        values = [v + term for v in values for term in (0, *(2**e for e in exponents))]
        width = len(exponents).bit_length()
        names = ", ".join(f"2^{e}" for e in exponents)
        fields.append(f"bits {top}..{top - width + 1} add none, {names}")
        top -= width
    note = f"bit {bits - 1} is the sign; " + "; ".join(fields)
    return Element(bits, True, SIGN_TERMS, _signed(values), note)


def _signed(magnitudes: list[int]) -> tuple[int, ...]:
    return (*magnitudes, *(-m for m in magnitudes))
