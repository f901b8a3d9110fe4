"""Softmax, LayerNorm and division once more, in plain Python numbers, one at a time.

The first half is the specification of numerics/README.md in whole numbers; the second the methods
as their papers have them, in exact fractions and 50-digit decimals.
"""

import math
from decimal import Decimal, getcontext
from fractions import Fraction

getcontext().prec = 50


def clamp(value, low, high):
    return min(max(value, low), high)


def distances(row):
    return [max(row) - q for q in row]


def table_softmax(row, table, levels):
    e = [table[d] for d in distances(row)]
    return [(2 * levels * value + sum(e)) // (2 * sum(e)) for value in e]


def codebook_softmax(row, table, thresholds, codes):
    e = [table[d] for d in distances(row)]
    wide = [(2**16 * value + sum(e)) // (2 * sum(e)) for value in e]
    return [codes[sum(t <= p for t in thresholds)] for p in wide]


def leading_one(x):
    return len(bin(x)) - 3


def rounded_log2(x):
    """The exponent of a whole number: up from one and a half of a power of two on."""
    i = leading_one(x)
    return i + (1 if i > 0 and x & (1 << (i - 1)) else 0)


def log_int_softmax(row, a, bits):
    e = []
    for d in distances(row):
        position = min(d * 2 ** a["distance_shift"], a["limit"] * a["unit"])
        q = position // a["unit"]
        r = position - q * a["unit"]
        e.append((r * (r - a["linear"]) + a["constant"]) * 2 ** (a["limit"] - q))
    exponents = [rounded_log2((2 * sum(e) + value) // (2 * value)) for value in e]
    return [k if k <= a["largest_exponent"] else 2**bits - 1 for k in exponents]


def shiftmax(row, a, bits):
    e = []
    for d in distances(row):
        d *= 2 ** a["distance_shift"]
        p = min(d + math.ceil(Fraction(d, 2)) - math.ceil(Fraction(d, 16)), a["limit"] * a["unit"])
        q = p // a["unit"]
        r = p - q * a["unit"]
        e.append((2 * a["unit"] - r) * 2 ** (a["limit"] - 1) // 2**q)
    return [(2**31 // sum(e)) * value // 2 ** (32 - bits) for value in e]


def layer_norm(row, scale, offset, epsilon, shift, fmt):
    """row: whole numbers, zero point gone and channel shifts done."""
    count, total = len(row), sum(row)
    variance = count * sum(x * x for x in row) - total * total + epsilon
    reciprocal = 2**40 // math.isqrt(variance * 2**12)
    result = []
    for x, a, b in zip(row, scale, offset, strict=True):
        normal = ((count * x - total) * reciprocal + 2**23) // 2**24
        y = (normal * a + b + 2 ** (shift - 1)) // 2**shift
        result.append(clamp(fmt.zero_point + y, fmt.low, fmt.high))
    return result


def layer_norm_8bit(row, mantissa, exponent, offset, epsilon, fmt):
    """row: whole numbers, zero point gone and channel shifts done."""
    count, total = len(row), sum(row)
    variance = count * sum(x * x for x in row) - total * total + epsilon
    t = 0
    while variance << t < 2**60:
        t += 2
    rho = 2**61 // math.isqrt(variance << t) + 1
    result = []
    for x, g, h, b in zip(row, mantissa, exponent, offset, strict=True):
        sign = (g > 0) - (g < 0)
        product = abs(g) * rho
        n = clamp(7 - (product.bit_length() - 1 + t // 2 - h - 61), 0, 31) if g else 0
        a = min(math.floor(Fraction(product) / Fraction(2) ** (37 + h - t // 2 - n)), 2**32 - 1)
        bias = (b * 2**n - sign * a * total // (count * 2**8) + 2**15) // 2**16
        y = math.floor(Fraction(sign * (a // 2**24) * x + bias, 2**n) + Fraction(1, 2))
        result.append(clamp(fmt.zero_point + y, fmt.low, fmt.high))
    return result


def divide(n, d, a, fmt):
    """Exact fractions; n and d whole numbers."""
    d = d + a["epsilon"] or 1
    quotient = Fraction(n * a["multiplier"], d * 2 ** a["shift"])
    return clamp(fmt.zero_point + math.floor(quotient + Fraction(1, 2)), fmt.low, fmt.high)


def log2_divide(n, d, a, fmt):
    shift = a["shift"] + rounded_log2(max(d + a["epsilon"], 1))
    scaled = math.floor(Fraction(n * a["multiplier"], 2**shift) + Fraction(1, 2))
    return clamp(fmt.zero_point + scaled, fmt.low, fmt.high)


def softmax_kind(name, row, c, target):
    """A row of codes by the kind of softmax called `name`, c being its constants."""
    t = {role: value.tolist() for role, value in c.tensors.items()}
    if name == "table":
        return table_softmax(row, t["table"], c.attributes["levels"])
    if name in ("log_sqrt2", "two_scale"):
        return codebook_softmax(row, t["table"], t["thresholds"], t["codes"])
    return {"log_int": log_int_softmax, "shiftmax": shiftmax}[name](row, c.attributes, target.bits)


def layer_norm_kind(name, row, c, target):
    """A row of whole numbers by the kind of LayerNorm called `name`."""
    epsilon = c.attributes["epsilon"]
    t = {role: value.tolist() for role, value in c.tensors.items()}
    if name == "reciprocal":
        args = (t["scale"], t["offset"], epsilon, c.attributes["shift"])
        return layer_norm(row, *args, target)
    return layer_norm_8bit(row, t["mantissa"], t["exponent"], t["offset"], epsilon, target)


def division_kind(name, n, d, attributes, target):
    """Two whole numbers by the kind of division called `name`."""
    return {"exact": divide, "log2": log2_divide}[name](n, d, attributes, target)


# The methods as published.


def published_log_int_softmax(row, scale, n=30, bits=4):
    """FQ-ViT's Log-Int-Softmax: the exponents of two of a row of uint8 logits, None for zero."""
    x0 = math.floor(-0.6931 / scale)
    b = math.floor(0.96963238 / 0.35815147 / scale)
    c = math.floor(1 / 0.35815147 / scale**2)
    e = []
    for code in row:
        i = max(code - max(row), n * x0)
        q = math.floor(Fraction(i, x0))
        r = i - q * x0
        z = r * (r + b) + c
        e.append(max(math.floor(z * Fraction(2) ** (n - q)), 0))
    result = []
    for value in e:
        ratio = math.floor(Fraction(sum(e), value) + Fraction(1, 2))
        k = math.floor(math.log2(ratio))
        k += ratio - 2**k >= Fraction(2**k, 2)
        result.append(k if k < 2**bits else None)
    return result


def published_layer_norm(row, gamma, beta, scale_out, guard):
    """FQ-ViT's integer LayerNorm of a row of whole numbers; the input's scale cancels.

    gamma, beta and scale_out are exact fractions; guard is added to C * sum X**2 - (sum X)**2.
    """
    count, total = len(row), sum(row)
    root = Decimal(count * sum(x * x for x in row) - total * total + guard).sqrt()
    ratio = [decimal(g / scale_out) * count / root for g in gamma]
    result = []
    for x, a, b in zip(row, ratio, beta, strict=True):
        n = clamp(7 - (math.frexp(abs(a))[1] - 1), 0, 31)
        m = min(int(abs(a) * 2**n), 255)
        bias = (decimal(b / scale_out) - a * total / count) * 2**n
        bias = math.floor(bias + Decimal("0.5"))
        y = Fraction((m if a > 0 else -m) * x + bias, 2**n)
        result.append(math.floor(y + Fraction(1, 2)))
    return result


def decimal(value):
    return Decimal(value.numerator) / Decimal(value.denominator)


def published_exponent(code):
    """Trio-ViT's hardware rule for an 8-bit divisor: leading one at bit i, plus bit i - 1."""
    bits = f"{max(code, 1):08b}"
    first = bits.index("1")
    behind = bits[first + 1] if first < 7 else "0"
    return 7 - first + int(behind)
