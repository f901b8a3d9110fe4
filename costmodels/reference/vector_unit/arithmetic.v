// What the functions of the vector unit are built of.

// clamp(zero_point + round(value / 2^shift)) to unsigned 8 bits, half up, shift >= 1. Shifting by
// one less, adding one and shifting once more is the same as adding half first.
module round_clamp #(parameter W = 32) (
    input clk, input signed [W-1:0] value, input [5:0] shift, input [7:0] zero_point,
    output reg [7:0] code);
  reg signed [W-1:0] shifted;
  wire signed [W:0] rounded = shifted + $signed({1'b0, 1'b1});
  wire signed [W:0] sum = (rounded >>> 1) + $signed({1'b0, zero_point});
  always @(posedge clk) begin
    shifted <= value >>> (shift - 6'd1);
    code <= sum[W] ? 8'd0 : |sum[W-1:8] ? 8'd255 : sum[7:0];
  end
endmodule

// clamp(zero_point + round(acc * multiplier / 2^shift)). The shift arrives one clock after acc.
module requantize #(parameter ACC = 32) (
    input clk, input signed [ACC-1:0] acc, input [15:0] multiplier, input [5:0] shift,
    input [7:0] zero_point, output [7:0] code);
  reg signed [ACC+15:0] product;
  always @(posedge clk) product <= acc * $signed({1'b0, multiplier});
  round_clamp #(.W(ACC+16)) finish (clk, product, shift, zero_point, code);
endmodule

// floor(dividend / divisor) where that is below 2^Q: a new division every clock, Q clocks long.
// CONSTANT: the divisor belongs to the tensor and need not travel with the dividend.
module pipelined_divider #(parameter Q = 8, parameter R = 32, parameter CONSTANT = 0) (
    input clk, input [Q+R-1:0] dividend, input [R-1:0] divisor, output [Q-1:0] quotient,
    output [R-1:0] left);
  wire [R-1:0] remainder [0:Q];
  wire [R-1:0] by [0:Q];
  wire [Q-1:0] rest [0:Q];  // bits of the dividend to come, then bits of the quotient
  assign remainder[0] = dividend[Q+R-1:Q];
  assign rest[0] = dividend[Q-1:0];
  assign by[0] = divisor;
  assign quotient = rest[Q];
  assign left = remainder[Q];
  genvar i;
  generate
    for (i = 0; i < Q; i = i + 1) begin : stage
      wire [R:0] next = {remainder[i], rest[i][Q-1]};
      wire [R+1:0] difference = {1'b0, next} - {2'b0, by[i]};
      reg [R-1:0] remainder_q, by_q;
      reg [Q-1:0] rest_q;
      always @(posedge clk) begin
        remainder_q <= difference[R+1] ? next[R-1:0] : difference[R-1:0];
        by_q <= by[i];
        rest_q <= {rest[i][Q-2:0], ~difference[R+1]};
      end
      assign remainder[i+1] = remainder_q;
      assign by[i+1] = CONSTANT ? by[i] : by_q;
      assign rest[i+1] = rest_q;
    end
  endgenerate
endmodule

// floor(dividend / divisor) where that is below 2^Q: start loads, Q clocks of run divide.
module serial_divider #(parameter Q = 32, parameter R = 24) (
    input clk, input start, input run, input [Q+R-1:0] dividend, input [R-1:0] divisor,
    output [Q-1:0] quotient, output [R-1:0] left);
  reg [R-1:0] remainder;
  reg [Q-1:0] rest;
  wire [R:0] next = {remainder, rest[Q-1]};
  wire [R+1:0] difference = {1'b0, next} - {2'b0, divisor};
  assign quotient = rest;
  assign left = remainder;
  always @(posedge clk)
    if (start) {remainder, rest} <= dividend;
    else if (run) begin
      remainder <= difference[R+1] ? next[R-1:0] : difference[R-1:0];
      rest <= {rest[Q-2:0], ~difference[R+1]};
    end
endmodule

// floor(sqrt(radicand)) of 2 B bits: start loads, B clocks of run find the root.
module serial_root #(parameter B = 16) (
    input clk, input start, input run, input [2*B-1:0] radicand, output reg [B-1:0] root);
  reg [2*B-1:0] shifting;
  reg [B+1:0] remainder;
  wire [B+1:0] next = {remainder[B-1:0], shifting[2*B-1:2*B-2]};
  wire [B+2:0] difference = {1'b0, next} - {1'b0, root, 2'b01};
  always @(posedge clk)
    if (start) begin
      shifting <= radicand;
      remainder <= 0;
      root <= 0;
    end else if (run) begin
      shifting <= {shifting[2*B-3:0], 2'b00};
      remainder <= difference[B+2] ? next : difference[B+1:0];
      root <= {root[B-2:0], ~difference[B+2]};
    end
endmodule
