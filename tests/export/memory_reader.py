"""Memory files read by plain Python, from the specification alone: a scalar reference."""

import math

TERMS = {  # the table of codesign/numerics/README.md, "apot": the exponents of the terms
    2: ((0,),),
    3: ((2, 1, 0),),
    4: ((3, 2, 0), (1,)),
    5: ((5, 3, 1), (4, 2, 0)),
    6: ((6, 4, 1), (5, 3, 0), (2,)),
    7: ((8, 5, 2), (7, 4, 1), (6, 3, 0)),
}


def unsigned(code, bits):
    return code


def twos_complement(code, bits):
    return code - 2**bits if code >> (bits - 1) else code


def sign_exponent(code, bits):
    field = code % 2 ** (bits - 1)
    if field == 2 ** (bits - 1) - 1:
        return 0
    return -(1 << field) if code >> (bits - 1) else 1 << field


def sign_terms(code, bits):
    total, left = 0, bits - 1
    for exponents in TERMS[bits]:
        left -= 2 if len(exponents) == 3 else 1
        field = code >> left & (3 if len(exponents) == 3 else 1)
        total += 1 << exponents[field - 1] if field else 0
    assert left == 0
    return -total if code >> (bits - 1) else total


DECODE = {f.__name__: f for f in (unsigned, twos_complement, sign_exponent, sign_terms)}


def elements(text, entry):
    """Return the numbers of a file, flat in the order of the tensor."""
    words = [int(line, 16) for line in text.splitlines() if not line.startswith("//")]
    bits, lanes, shape = entry["element_bits"], entry["lanes"], entry["shape"]
    row = math.prod(shape[1:])
    per_row = math.ceil(row / lanes)
    assert len(words) == entry["words"] == shape[0] * per_row
    numbers = []
    for i in range(shape[0]):
        for k in range(row):
            code = words[i * per_row + k // lanes] >> (bits * (k % lanes)) & (2**bits - 1)
            numbers.append(DECODE[entry["encoding"]](code, bits))
    return numbers
