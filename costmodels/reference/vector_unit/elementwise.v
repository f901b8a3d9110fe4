// Element-wise functions and reductions, one element a clock. Constants of a tensor do not change
// while its elements pass; those of a channel arrive with the clock that needs them.

module table_lookup (
    input clk, input write, input [7:0] write_address, input [7:0] write_data,
    input [7:0] x, output reg [7:0] y);
  (* ram_style = "distributed" *) reg [7:0] entries [0:255];
  always @(posedge clk) begin
    if (write) entries[write_address] <= write_data;
    y <= entries[x];
  end
endmodule

module relu (input clk, input [7:0] x, input [7:0] zero_point, output reg [7:0] y);
  always @(posedge clk) y <= x < zero_point ? zero_point : x;
endmodule

module clip (
    input clk, input [7:0] x, input [7:0] low, input [7:0] high, output reg [7:0] y);
  always @(posedge clk) y <= x < low ? low : x > high ? high : x;
endmodule

// Requantisation between power-of-two scales: clamp(zero_point + round(acc * 2^(LEFT - shift))).
// LEFT lets a ratio exceed one, as a residual branch's may. The shift arrives with acc.
module requantize_shift #(parameter ACC = 32, parameter LEFT = 7) (
    input clk, input signed [ACC-1:0] acc, input [5:0] shift, input [7:0] zero_point,
    output [7:0] code);
  round_clamp #(.W(ACC+LEFT)) finish (clk, {acc, {LEFT{1'b0}}}, shift, zero_point, code);
endmodule

module rescale (
    input clk, input [7:0] x, input [7:0] zero_x, input [15:0] multiplier, input [5:0] shift,
    input [7:0] zero_point, output [7:0] y);
  reg signed [8:0] centred;
  always @(posedge clk) centred <= $signed({1'b0, x}) - $signed({1'b0, zero_x});
  requantize #(.ACC(9)) out (clk, centred, multiplier, shift, zero_point, y);
endmodule

// clamp(zero_point + round((x * multiplier + offset) / 2^shift)) of 16-bit codes, by channel;
// multiplier and offset arrive one clock after x, the shift two.
module affine (
    input clk, input signed [15:0] x, input signed [15:0] zero_x, input signed [15:0] multiplier,
    input signed [31:0] offset, input [5:0] shift, input [7:0] zero_point, output [7:0] y);
  reg signed [16:0] centred;
  reg signed [31:0] sum;
  always @(posedge clk) begin
    centred <= x - zero_x;
    sum <= centred * multiplier + offset;
  end
  round_clamp #(.W(32)) finish (clk, sum, shift, zero_point, y);
endmodule

// x * clamp(x + three, 0, 2 * three), requantised; three is round(3 / scale).
module hardswish (
    input clk, input [7:0] x, input [7:0] zero_x, input [11:0] three, input [15:0] multiplier,
    input [5:0] shift, input [7:0] zero_point, output [7:0] y);
  reg signed [8:0] centred, centred_1;
  reg signed [13:0] gate;
  reg signed [22:0] product;
  wire signed [13:0] six = {1'b0, three, 1'b0};
  wire signed [13:0] shifted = centred + $signed({1'b0, three});
  always @(posedge clk) begin
    centred <= $signed({1'b0, x}) - $signed({1'b0, zero_x});
    centred_1 <= centred;
    gate <= shifted < 0 ? 14'sd0 : shifted > six ? six : shifted;
    product <= centred_1 * gate;
  end
  requantize #(.ACC(23)) out (clk, product, multiplier, shift, zero_point, y);
endmodule

// clamp(zero_point + round((a * multiplier_a + b * multiplier_b + offset) / 2^shift)), where offset
// takes the operands' zero points off.
module add (
    input clk, input [7:0] a, input [7:0] b, input [15:0] multiplier_a, input [15:0] multiplier_b,
    input signed [25:0] offset, input [5:0] shift, input [7:0] zero_point, output [7:0] y);
  reg signed [24:0] scaled_a, scaled_b;
  reg signed [26:0] sum;
  always @(posedge clk) begin
    scaled_a <= $signed({1'b0, a}) * $signed({1'b0, multiplier_a});
    scaled_b <= $signed({1'b0, b}) * $signed({1'b0, multiplier_b});
    sum <= scaled_a + scaled_b + offset;
  end
  round_clamp #(.W(27)) finish (clk, sum, shift, zero_point, y);
endmodule

module multiply (
    input clk, input [7:0] a, input [7:0] b, input [7:0] zero_a, input [7:0] zero_b,
    input [15:0] multiplier, input [5:0] shift, input [7:0] zero_point, output [7:0] y);
  reg signed [8:0] centred_a, centred_b;
  reg signed [17:0] product;
  always @(posedge clk) begin
    centred_a <= $signed({1'b0, a}) - $signed({1'b0, zero_a});
    centred_b <= $signed({1'b0, b}) - $signed({1'b0, zero_b});
    product <= centred_a * centred_b;
  end
  requantize #(.ACC(18)) out (clk, product, multiplier, shift, zero_point, y);
endmodule

// The requantised sum of a row's centred codes, up to 2^15 of them.
module mean_pool (
    input clk, input first, input [7:0] x, input [7:0] zero_x, input [15:0] multiplier,
    input [5:0] shift, input [7:0] zero_point, output [7:0] y);
  reg signed [8:0] centred;
  reg first_1;
  reg signed [23:0] sum;
  always @(posedge clk) begin
    centred <= $signed({1'b0, x}) - $signed({1'b0, zero_x});
    first_1 <= first;
    sum <= (first_1 ? 24'sd0 : sum) + centred;
  end
  requantize #(.ACC(24)) out (clk, sum, multiplier, shift, zero_point, y);
endmodule

module max_pool (input clk, input first, input [7:0] x, output reg [7:0] y);
  always @(posedge clk) y <= first || x > y ? x : y;
endmodule
