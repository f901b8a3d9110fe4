"""Every integer operation again, from the specification: plain Python integers, one at a time."""

import math
from itertools import product


def requantize(accumulator, multiplier, shift, fmt):
    scaled = (accumulator * multiplier + 2 ** (shift - 1)) // 2**shift
    return min(max(fmt.zero_point + scaled, fmt.low), fmt.high)


def conv2d(x, weight, bias, multiplier, shift, geometry, fmt):
    """x: (C, H, W) centred; all nested lists."""
    (sh, sw), (ph, pw), (dh, dw), groups = geometry
    channels, height, width = len(x), len(x[0]), len(x[0][0])
    kernels, per_group, kh, kw = (
        len(weight),
        len(weight[0]),
        len(weight[0][0]),
        len(weight[0][0][0]),
    )
    out_h = (height + 2 * ph - dh * (kh - 1) - 1) // sh + 1
    out_w = (width + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    assert per_group * groups == channels
    result = []
    for n in range(kernels):
        first = n // (kernels // groups) * per_group
        plane = [[0] * out_w for _ in range(out_h)]
        for row, column in product(range(out_h), range(out_w)):
            total = bias[n]
            for c, i, j in product(range(per_group), range(kh), range(kw)):
                y, z = row * sh + i * dh - ph, column * sw + j * dw - pw
                if 0 <= y < height and 0 <= z < width:
                    total += x[first + c][y][z] * weight[n][c][i][j]
            plane[row][column] = requantize(total, multiplier[n], shift[n], fmt)
        result.append(plane)
    return result


def linear(row, weight, bias, multiplier, shift, fmt):
    totals = [sum(x * w for x, w in zip(row, ws, strict=True)) for ws in weight]
    return [
        requantize(t + b, m, s, fmt)
        for t, b, m, s in zip(totals, bias, multiplier, shift, strict=True)
    ]


def matmul(left, right, multiplier, shift, fmt):
    columns = list(zip(*right, strict=True))
    return [
        [
            requantize(sum(a * b for a, b in zip(row, c, strict=True)), multiplier, shift, fmt)
            for c in columns
        ]
        for row in left
    ]


def hardswish(x, c, fmt):
    p = x * min(max(x + c["three"], 0), 2 * c["three"])
    return requantize(p, c["multiplier"], c["shift"], fmt)


def shift_exp(v, unit):
    power = v + v // 2 - v // 16
    whole = -power // unit
    rest = -power - whole * unit
    return (unit - rest // 2) * 2**20 // 2 ** min(whole, 62)


def shift_swish(x, c, fmt):
    one, e = c["unit"] * 2**20, shift_exp(-abs(x), c["unit"])
    sigmoid = (one if x >= 0 else e) * 256 // (one + e)
    return requantize(x * sigmoid, c["multiplier"], c["shift"], fmt)


def softmax(row, table, levels):
    e = [table[max(row) - q] for q in row]
    total = sum(e)
    return [(2 * levels * value + total) // (2 * total) for value in e]


def layer_norm(row, scale, offset, epsilon, shift, fmt):
    """row: centred."""
    count, total = len(row), sum(row)
    variance = count * sum(x * x for x in row) - total * total + epsilon
    reciprocal = 2**40 // math.isqrt(variance * 2**12)
    result = []
    for x, a, b in zip(row, scale, offset, strict=True):
        normal = ((count * x - total) * reciprocal + 2**23) // 2**24
        result.append(requantize(normal * a + b, 1, shift, fmt))
    return result


def pool(plane, kernel, stride, pads, dilation, largest):
    """plane: (H, W) centred; the largest value or the sum under each window."""
    (top, bottom), (left, right) = pads
    height, width = len(plane), len(plane[0])
    rows = (height + top + bottom - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    columns = (width + left + right - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    result = []
    for row, column in product(range(rows), range(columns)):
        seen = []
        for i, j in product(range(kernel[0]), range(kernel[1])):
            y = row * stride[0] + i * dilation[0] - top
            z = column * stride[1] + j * dilation[1] - left
            if 0 <= y < height and 0 <= z < width:
                seen.append(plane[y][z])
        result.append(max(seen) if largest else sum(seen))
    return [result[r * columns : (r + 1) * columns] for r in range(rows)]


def normal_row(row, epsilon, row_shift, centre):
    """row: centred; about 2**10 times the normalised values."""
    count, total = len(row), sum(row) if centre else 0
    variance = (count * sum(x * x for x in row) - total * total) // 4**row_shift + epsilon
    reciprocal = 2**40 // math.isqrt(variance * 2**12)
    deviations = [(count * x - total) // 2**row_shift for x in row]
    return [(d * reciprocal + 2**23) // 2**24 for d in deviations]
