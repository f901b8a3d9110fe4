// Normalisation of rows of C codes, 2 <= C <= 4096 unless said. Pass one adds x and x^2, then one
// sequencer leads all lanes through the arithmetic of their rows, and pass two normalises.

// Pass one: S = sum of x, Q = sum of x^2. Once a row,
//   V = ((C * Q - S^2) >> 2 t) + E         r = isqrt(V << 12)         k = 2^40 // r
// Pass two: n = (((C * x - S) >> t) * k + 2^23) >> 24,
//   y = clamp(zero_point + ((n * gain + offset + 2^(shift-1)) >> shift))
// Steps: 0 accumulate (`first` with a row's first element), 1 S * S, 2 C * Q, 3 V, 4 load the root,
// 5 root, 6 load the divider, 7 divide, 8 normalise, 9 wait. gain and offset arrive six clocks after
// the code. x = (code - zero) << channel_shift has X bits, its sign included: 9, or 12 with
// power-of-two factors by channel. C has K bits. T bits of t keep long rows in 39 bits of V.
// CENTRE = 0 leaves S out: rows over their root mean square.
module row_norm #(parameter X = 9, parameter K = 13, parameter T = 0, parameter CENTRE = 1) (
    input clk, input [3:0] step, input first, input [7:0] code, input [7:0] zero_x,
    input [1:0] channel_shift, input [K-1:0] count, input [3:0] row_shift, input [38:0] epsilon,
    input signed [15:0] gain, input signed [31:0] offset, input [5:0] shift,
    input [7:0] zero_point, output [7:0] y);
  localparam S = X + K;                              // C * x - S
  localparam Q = 2 * X + K - 2;                      // sum of squares
  localparam WIDE = T ? 2 * X + 2 * K - 1 : 48;      // products
  localparam D = T ? 2 * X + 2 * K - 3 : 2 * X + 21; // C * Q - S^2
  localparam V = T ? 39 : D;                         // variance
  localparam B = (V + 13) / 2;                       // half the bits of V << 12
  localparam R = Q >= 36 ? Q + 1 : 36;               // right operands
  localparam N = T > 1 ? 23 : 18;                    // n
  reg signed [8:0] centred;
  reg [1:0] shift_1;
  reg signed [X-1:0] x;
  reg first_1, first_2, first_3, valid_1, valid_2, valid_3, normalise_1, normalise_2;
  reg signed [S:0] product;
  reg signed [S-1:0] sum, difference;
  reg [Q-1:0] squares;
  reg signed [WIDE-1:0] wide;
  reg [D-1:0] spread;
  reg signed [N-1:0] normal;
  reg signed [31:0] scaled;
  wire [V-1:0] variance = T ? (spread >> {row_shift, 1'b0}) + epsilon : spread;
  wire [B-1:0] root;
  wire [34:0] inverse;
  wire signed [S-1:0] count_s = count;
  wire signed [R-1:0] squares_s = squares, inverse_s = inverse;
  wire signed [S-1:0] left = step == 1 ? sum : step == 2 ? count_s : difference;
  wire signed [R-1:0] right = step == 1 ? sum : step == 2 ? squares_s : inverse_s;
  wire signed [S:0] deviation = product - sum;
  wire signed [WIDE-1:0] half = 1 << 23;
  always @(posedge clk) begin
    centred <= $signed({1'b0, code}) - $signed({1'b0, zero_x});
    shift_1 <= channel_shift;
    x <= X == 9 ? centred : centred <<< shift_1;
    {valid_1, first_1, normalise_1} <= {step == 0, first, step == 8};
    {valid_2, first_2, normalise_2} <= {valid_1, first_1, normalise_1};
    {valid_3, first_3} <= {valid_2, first_2};
    product <= x * (normalise_2 ? $signed({1'b0, count}) : x);
    if (!CENTRE) sum <= 0;
    else if (valid_2) sum <= first_2 ? x : sum + x;
    if (valid_3) squares <= (first_3 ? {Q{1'b0}} : squares) + $unsigned(product[2*X-2:0]);
    difference <= T ? deviation >>> row_shift : deviation;
    wide <= left * right;
    if (step == 2) spread <= (T ? 39'd0 : epsilon) - wide;
    if (step == 3) spread <= spread + wide;
    normal <= (wide + half) >>> 24;
    scaled <= normal * gain + offset;
  end
  serial_root #(.B(B)) isqrt (
      clk, step == 4, step == 5, {{(2*B-V){1'b0}}, variance} << 12, root);
  serial_divider #(.Q(35), .R(B)) divider (
      clk, step == 6, step == 7, {{(B-6){1'b0}}, 41'd1 << 40}, root, inverse, );
  round_clamp #(.W(32)) finish (clk, scaled, shift, zero_point, y);
endmodule

module layer_norm (
    input clk, input [3:0] step, input first, input [7:0] code, input [7:0] zero_x,
    input [12:0] count, input [38:0] epsilon, input signed [15:0] gain,
    input signed [31:0] offset, input [5:0] shift, input [7:0] zero_point, output [7:0] y);
  row_norm #(.X(9)) norm (
      clk, step, first, code, zero_x, 2'd0, count, 4'd0, epsilon, gain, offset, shift,
      zero_point, y);
endmodule

module layer_norm_ptf (
    input clk, input [3:0] step, input first, input [7:0] code, input [7:0] zero_x,
    input [1:0] channel_shift, input [12:0] count, input [38:0] epsilon,
    input signed [15:0] gain, input signed [31:0] offset, input [5:0] shift,
    input [7:0] zero_point, output [7:0] y);
  row_norm #(.X(12)) norm (
      clk, step, first, code, zero_x, channel_shift, count, 4'd0, epsilon, gain, offset, shift,
      zero_point, y);
endmodule

// GroupNorm: rows of up to 2^23 elements.
module group_norm (
    input clk, input [3:0] step, input first, input [7:0] code, input [7:0] zero_x,
    input [22:0] count, input [3:0] row_shift, input [38:0] epsilon, input signed [15:0] gain,
    input signed [31:0] offset, input [5:0] shift, input [7:0] zero_point, output [7:0] y);
  row_norm #(.X(9), .K(23), .T(4)) norm (
      clk, step, first, code, zero_x, 2'd0, count, row_shift, epsilon, gain, offset, shift,
      zero_point, y);
endmodule

module rms_norm (
    input clk, input [3:0] step, input first, input [7:0] code, input [7:0] zero_x,
    input [12:0] count, input row_shift, input [38:0] epsilon, input signed [15:0] gain,
    input signed [31:0] offset, input [5:0] shift, input [7:0] zero_point, output [7:0] y);
  row_norm #(.X(9), .K(13), .T(1), .CENTRE(0)) norm (
      clk, step, first, code, zero_x, 2'd0, count, {3'd0, row_shift}, epsilon, gain, offset, shift,
      zero_point, y);
endmodule

// FQ-ViT's LayerNorm: an 8-bit multiplier M and a shift N for each token and channel. Once a row,
//   V = C * Q - S^2 + E    t even, 2^60 <= V << t < 2^62    r = isqrt(V << t)    rho = 2^61 // r + 1
// and the mean with 36 fraction bits, up and down, so that its product with a, 24 bits, has the
// exact floor of a * S / C. The root's digits are taken until it has 31 bits, which finds t.
// Pass two, |gamma| C / s' being mantissa * 2^-exponent:
//   P = mantissa * rho    N = clamp(69 + exponent - t/2 - bits(P), 0, 31)    a = |A| * 2^(N + 16)
//   B = ((offset << N) - (+-a * S) // C + 2^15) >> 16
//   y = clamp(zero_point + ((+-(a >> 16) * x + B + ((1 << N) >> 1)) >> N))
// Steps: 0 accumulate, 1 S * S, 2 C * Q, 3 V, 4 load root and mean, 5 both (48), 6 root alone (5),
// 7 load the divider, 8 divide (32), 9 normalise, 10 wait. offset arrives three clocks after code.
module layer_norm_8bit (
    input clk, input [3:0] step, input first, input [7:0] code, input [7:0] zero_x,
    input [1:0] channel_shift, input [12:0] count, input [38:0] epsilon, input negative,
    input [15:0] mantissa, input signed [6:0] exponent, input signed [31:0] offset,
    input [7:0] zero_point, output [7:0] y);
  reg signed [8:0] centred;
  reg [1:0] shift_1;
  reg signed [11:0] x, x_1;
  reg [3:0] first_q, valid_q, normal_q;
  reg signed [23:0] sum;
  reg [33:0] squares;
  reg signed [23:0] product;  // x^2, or M * x
  reg signed [23:0] product_1;
  reg signed [72:0] wide;
  reg [45:0] variance;
  // The root: pairs of digits of V, then zeros.
  reg [45:0] digits;
  reg [32:0] remainder;
  reg [30:0] root;
  reg [5:0] half;
  wire [32:0] next = {remainder[30:0], digits[45:44]};
  wire [33:0] difference = {1'b0, next} - {1'b0, root, 2'b01};
  wire [31:0] quotient;
  wire [32:0] rho = quotient + 33'd1;
  // The mean plus 2048, floored to 36 fraction bits.
  wire [47:0] raised_mean;
  wire [12:0] mean_rest;
  wire signed [48:0] mean_low = $signed({1'b0, raised_mean}) - (49'sd2048 <<< 36);
  wire signed [48:0] mean_high = mean_low + (mean_rest != 0);
  wire signed [24:0] raised_sum = sum + $signed({1'b0, count, 11'd0});
  // The multiplier and its shift.
  reg [48:0] p;
  reg signed [6:0] exponent_1;
  reg [2:0] negative_q;
  reg [1:0] zero_q;
  reg [23:0] top, a;
  reg signed [8:0] n_raw;
  reg [4:0] n, n_1, n_2, n_3;
  wire signed [8:0] excess = n_raw - 9'sd31;
  wire signed [8:0] m = negative_q[2] ? -$signed({1'b0, a[23:16]}) : $signed({1'b0, a[23:16]});
  wire signed [24:0] a_signed = negative_q[2] ? -$signed({1'b0, a}) : $signed({1'b0, a});
  wire signed [24:0] count_s = count;
  wire signed [48:0] squares_s = squares;
  wire signed [24:0] left = step == 1 ? sum : step == 2 ? count_s : a_signed;
  wire signed [48:0] right = step == 1 ? sum : step == 2 ? squares_s
                                             : negative_q[2] ? mean_low : mean_high;
  reg signed [63:0] lifted;
  reg signed [48:0] bias;
  reg signed [48:0] total;
  wire signed [63:0] unrounded = lifted - (wide >>> 36) + 64'sd32768;
  always @(posedge clk) begin
    centred <= $signed({1'b0, code}) - $signed({1'b0, zero_x});
    shift_1 <= channel_shift;
    x <= centred <<< shift_1;
    x_1 <= x;
    first_q <= {first_q[2:0], first};
    valid_q <= {valid_q[2:0], step == 4'd0};
    normal_q <= {normal_q[2:0], step == 4'd9};
    if (valid_q[1]) sum <= first_q[1] ? x : sum + x;
    product <= x_1 * (normal_q[2] ? m : x_1);
    if (valid_q[3]) squares <= (first_q[3] ? 34'd0 : squares) + $unsigned(product[22:0]);
    wide <= left * right;
    if (step == 2) variance <= epsilon - wide[45:0];
    if (step == 3) variance <= variance + wide[45:0];
    if (step == 4) begin
      digits <= variance;
      remainder <= 33'd0;
      root <= 31'd0;
      half <= -6'd23;
    end else if ((step == 5 || step == 6) && !root[30]) begin
      digits <= {digits[43:0], 2'b00};
      remainder <= difference[33] ? next : difference[32:0];
      root <= {root[29:0], ~difference[33]};
      half <= half + 6'd1;
    end
    p <= mantissa * rho;
    exponent_1 <= exponent;
    negative_q <= {negative_q[1:0], negative};
    zero_q <= {zero_q[0], mantissa == 0};
    top <= p[46] ? p[46:23] : p[45:22];
    n_raw <= 9'sd23 + exponent_1 - $signed({3'd0, half}) - $signed({8'd0, p[46]});
    a <= zero_q[1] ? 24'd0 : n_raw < 0 ? 24'hffffff : excess > 0 ? top >> excess : top;
    n <= zero_q[1] || n_raw < 0 ? 5'd0 : excess > 0 ? 5'd31 : n_raw[4:0];
    lifted <= $signed({{32{offset[31]}}, offset}) <<< n;
    n_1 <= n;
    bias <= unrounded >>> 16;
    product_1 <= product;
    n_2 <= n_1;
    total <= bias + product_1;
    n_3 <= n_2;
  end
  serial_divider #(.Q(32), .R(31)) inverse (
      clk, step == 7, step == 8, 63'd1 << 61, root, quotient, );
  serial_divider #(.Q(48), .R(13)) mean (
      clk, step == 4, step == 5, {raised_sum, 36'd0}, count, raised_mean, mean_rest);
  round_clamp #(.W(50)) finish (clk, {total, 1'b0}, {1'b0, n_3} + 6'd1, zero_point, y);
endmodule
