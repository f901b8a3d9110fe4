"""The arithmetic in brief, for a bundle's README: only the operations the model has."""

from codesign.integer.model import IntegerModel

PRINCIPLES = """\
- A code `q` of a format (`scale`, `zero_point`, `bits`, `signed`) stands for the real number
  `scale * (q - zero_point)`. Codes run from 0 to 2^bits - 1, or from -2^(bits-1) where signed.
- `x` below is a centred input, `q - zero_point`. Padding and missing values are `x = 0`.
- A format with `shifts` has a factor for each channel along `axis`: there `x` is
  `(q - zero_point) << shift`, and rounding to it shifts by `s + shift`. With a `codebook`, `x` is
  `codebook[q]`.
- `>>` is the arithmetic shift right: it rounds down. So does `/` between integers.
- Requantisation rounds half up: `R(a) = clamp(zero_point + ((a * M + 2^(s-1)) >> s))`, with the
  unsigned multiplier `M < 2^16` and the shift `1 <= s <= 44`; clamp limits to the output's codes.
- Accumulators are 32 bits, two's complement. `accumulator_bound` in graph.json is the largest
  magnitude any input can reach, bias included, proved from the weights.
- Where a layer has `log2_channels`, the weights of those output channels are 0 or plus or minus
  powers of two, the others' are uniform; `weight_sparsity` is a layer's share of zero weights.
"""

OPERATIONS = {
    "input": "`q = clamp(zero_point + floor(pixel / scale + 1/2))`, once, in 64-bit floating point",
    "conv2d": "`R(sum x * w + bias)`; `weight`, `bias`, `multiplier`, `shift` per output channel",
    "linear": "`R(sum x * w + bias)` over the last axis; constants per output channel",
    "matmul": "`R(sum x1 * x2)` over the last axis of the first and the last but one of the second",
    "add": "`clamp(zero_point + ((x1 * m1 + x2 * m2 + 2^(s-1)) >> s))`, `multipliers` = [m1, m2]",
    "mul": "`R(x1 * x2)`",
    "requantize": "`R(x)`: the same values in another format",
    "lookup": "`table[q - smallest code]`",
    "hardswish": "`R(x * clamp(x + three, 0, 2 * three))`",
    "shift_swish": (
        "`one = unit << 20`, `sigma = ((one if x >= 0 else e(-|x|)) << 8) / (one + e(-|x|))`,"
        " then `R(x * sigma)`; `e(v)`: `p = v + (v >> 1) - (v >> 4)`, `n = -p / unit`,"
        " `f = -p - n * unit`, `e = ((unit - (f >> 1)) << 20) >> min(n, 62)`"
    ),
    "shift_gelu": "as shift_swish; `unit` counts the codes that make 1 / 1.702",
    "softmax": (
        "over the last axis: `e_i = table[max(q) - q_i]`, `S = sum e`,"
        " `(2 * levels * e_i + S) / (2 * S)`"
    ),
    "layer_norm": (
        "over the last axis of C: `S = sum x`, `V = C * sum x^2 - S^2 + epsilon`,"
        " `r = floor(sqrt(V << 12))`, `k = 2^40 / r`, `n = ((C * x - S) * k + 2^23) >> 24`,"
        " `clamp(zero_point + ((n * scale_c + offset_c + 2^(shift-1)) >> shift))`"
    ),
    "group_norm": (
        "over groups of N elements: `S = sum x`, `t` is `row_shift`,"
        " `V = ((N * sum x^2 - S^2) >> 2 * t) + epsilon`, `k = 2^40 / floor(sqrt(V << 12))`,"
        " `n = (((N * x - S) >> t) * k + 2^23) >> 24`,"
        " `clamp(zero_point + ((n * scale_c + offset_c + 2^(shift-1)) >> shift))`"
    ),
    "rms_norm": "over the last axis: as `group_norm` with `S = 0`",
    "max_pool2d": "`R(max x)` under each window; `pads` (top, bottom, left, right) never win",
    "avg_pool2d": "`R(sum x)` under each window; the multiplier (of each place) divides",
    "max": "`R(max x)` over `dims`",
    "affine": (
        "`clamp(zero_point + ((x * multiplier_c + offset_c + 2^(shift_c-1)) >> shift_c))`,"
        " c along `axis`"
    ),
    "pad": "codes around the tensor that are all `value`, which stands for zero",
    "gather": "the codes at `indices` of dimension `dim`",
    "log_int_softmax": (
        "over the last axis: `I = min((max(q) - q_i) << distance_shift, limit * unit)`,"
        " `n = I / unit`, `r = I - n * unit`,"
        " `e_i = (r * (r - linear) + constant) << (limit - n)`, `S = sum e`,"
        " `ratio = (2 * S + e_i) / (2 * e_i)`, `k` = place of its leading one plus the bit behind"
        " it; `k`, or 2^bits - 1 (zero) where `k > largest_exponent`"
    ),
    "shiftmax": (
        "over the last axis: `v = -((max(q) - q_i) << distance_shift)`,"
        " `p = min(-v - (v >> 1) + (v >> 4), limit * unit)`, `n = p / unit`, `r = p - n * unit`,"
        " `e_i = ((2 * unit - r) << (limit - 1)) >> n`, `S = sum e`,"
        " `((2^31 / S) * e_i) >> (32 - bits)`"
    ),
    "codebook_softmax": (
        "over the last axis: `e_i = table[max(q) - q_i]`, `S = sum e`,"
        " `P = (2^16 * e_i + S) / (2 * S)`, `codes[number of thresholds <= P]`"
    ),
    "layer_norm_8bit": (
        "over the last axis of C: `S = sum x`, `V = C * sum x^2 - S^2 + epsilon`, `t` even with"
        " `2^60 <= V << t < 2^62`, `rho = 2^61 / floor(sqrt(V << t)) + 1`,"
        " `P = |mantissa_c| * rho`,"
        " `N = clamp(69 + exponent_c - t/2 - bits(P), 0, 31)` (0 where the mantissa is),"
        " `a = min(P >> max(37 + exponent_c - t/2 - N, 0), 2^32 - 1)`, `g` the mantissa's sign,"
        " `B = ((offset_c << N) - (g * a * S) / (2^8 * C) + 2^15) >> 16`,"
        " `clamp(zero_point + ((g * (a >> 24) * x + B + ((1 << N) >> 1)) >> N))`"
    ),
    "divide": (
        "`D = x2 + epsilon` (1 where that is 0; both signs changed where it is negative),"
        " `clamp(zero_point + (2 * x1 * M + (D << s)) / (D << (s + 1)))`"
    ),
    "log2_divide": (
        "`d = max(x2 + epsilon, 1)`, `e` = place of its leading one plus the bit behind it,"
        " `R(x1)` with the shift `s + e`"
    ),
    "mean": "`R(sum x)` over `dims`; the multiplier holds the division by the count",
    "concat": "the inputs' codes one after the other along `dim` (all have one format)",
    "constant": "the codes in `value`",
}
MOVES = "codes pass unchanged: "


def operation_list(model: IntegerModel) -> str:
    """Return one Markdown line for each operation the model has, moves last."""
    present = {node.op for node in model.nodes}
    lines = [f"- **{op}**: {text}" for op, text in OPERATIONS.items() if op in present]
    moves = sorted(present - set(OPERATIONS))
    if moves:
        lines.append(f'- **{", ".join(moves)}**: {MOVES}a `shape` of `"4*B"` is 4 x batch')
    return "\n".join(lines)
