// Activation functions with an exponential of shifts and additions.

// unit * 2^FRACTION * exp(-magnitude / unit), unit being the number of codes that make 1.0:
//   p = m + ceil(m / 2) - ceil(m / 16)          log2(e) as 1 + 1/2 - 1/16
//   n = p // unit, f = p - n * unit
//   (unit - f // 2) * 2^FRACTION >> n           2^-f as 1 - f / 2
// M + 3 clocks.
module shift_exp #(parameter M = 8, parameter U = 8, parameter FRACTION = 20) (
    input clk, input [M-1:0] magnitude, input [U-1:0] unit, output reg [U+FRACTION-1:0] e);
  reg [M:0] positive;
  wire [M:0] half = ({1'b0, magnitude} + 1) >> 1;
  wire [M:0] sixteenth = ({1'b0, magnitude} + 15) >> 4;
  wire [M:0] whole;
  wire [U-1:0] rest;
  wire [U+FRACTION-1:0] mantissa = {unit - (rest >> 1), {FRACTION{1'b0}}};
  pipelined_divider #(.Q(M+1), .R(U), .CONSTANT(1)) divider (
      clk, {{U{1'b0}}, positive}, unit, whole, rest);
  always @(posedge clk) begin
    positive <= magnitude + half - sixteenth;
    e <= mantissa >> whole;
  end
endmodule

// x * sigmoid(x / unit) with exp(-|x|) and the symmetry of the sigmoid:
//   t = exp(-|x|), sigmoid = 2^8 * (x >= 0 ? 1 : t) // (1 + t)
module gated_exponential #(parameter U = 8, parameter FRACTION = 20) (
    input clk, input [7:0] x, input [7:0] zero_x, input [U-1:0] unit,
    input [15:0] multiplier, input [5:0] shift, input [7:0] zero_point, output [7:0] y);
  localparam R = U + FRACTION + 1;
  localparam WAIT = 21;  // clocks from the centred code to its sigmoid
  reg signed [8:0] centred [0:WAIT];
  reg [R-1:0] above, divisor;
  reg signed [17:0] product;
  wire [7:0] magnitude = centred[0] < 0 ? -centred[0] : centred[0];
  wire [R-2:0] e;
  wire [R-2:0] one = {unit, {FRACTION{1'b0}}};
  wire [8:0] sigmoid;
  integer i;
  always @(posedge clk) begin
    centred[0] <= $signed({1'b0, x}) - $signed({1'b0, zero_x});
    for (i = 0; i < WAIT; i = i + 1) centred[i+1] <= centred[i];
    above <= centred[11] < 0 ? e : one;
    divisor <= one + e;
    product <= centred[WAIT] * $signed({1'b0, sigmoid});
  end
  shift_exp #(.M(8), .U(U), .FRACTION(FRACTION)) exp (clk, magnitude, unit, e);
  pipelined_divider #(.Q(9), .R(R)) divider (
      .clk(clk), .dividend({1'b0, above, 8'd0}), .divisor(divisor), .quotient(sigmoid));
  requantize #(.ACC(18)) out (clk, product, multiplier, shift, zero_point, y);
endmodule

module shift_swish (
    input clk, input [7:0] x, input [7:0] zero_x, input [7:0] unit, input [15:0] multiplier,
    input [5:0] shift, input [7:0] zero_point, output [7:0] y);
  gated_exponential #(.FRACTION(20)) swish (
      clk, x, zero_x, unit, multiplier, shift, zero_point, y);
endmodule
