// Quotients of two activations; the denominator comes with every element.

// clamp(zero_point + round(n * multiplier / (D * 2^shift))) with n and D at 16 bits and a sign, D
// including epsilon, one in place of zero. As floors nest, that is
//   ((n * multiplier >> (shift - 1)) + D * (1 + 2 * zero_point)) // (2 * D)
// and eight bits of quotient suffice: what is below 0 or above 255 is known before dividing.
module divide (
    input clk, input signed [15:0] numerator, input signed [15:0] zero_n,
    input signed [15:0] denominator, input signed [15:0] zero_d, input [15:0] epsilon,
    input [15:0] multiplier, input [5:0] shift, input [7:0] zero_point, output [7:0] y);
  reg signed [16:0] n;
  reg signed [17:0] d, n_1;
  reg [16:0] d_1, d_2, d_3, d_4;
  reg signed [34:0] product, shifted;
  reg [25:0] raised, raised_1;
  reg signed [35:0] dividend;
  reg [7:0] below, above;
  wire [17:0] divisor = {d_4, 1'b0};
  wire [7:0] quotient;
  wire [16:0] magnitude = d < 0 ? -d : d;
  always @(posedge clk) begin
    n <= numerator - zero_n;
    d <= denominator - zero_d + $signed({1'b0, epsilon});
    n_1 <= d < 0 ? -n : n;
    d_1 <= d == 0 ? 17'd1 : magnitude;
    product <= n_1 * $signed({1'b0, multiplier});
    raised <= d_1 * {zero_point, 1'b1};
    d_2 <= d_1;
    shifted <= product >>> (shift - 6'd1);
    raised_1 <= raised;
    d_3 <= d_2;
    dividend <= shifted + $signed({1'b0, raised_1});
    d_4 <= d_3;
    below <= {below[6:0], dividend[35]};
    above <= {above[6:0], dividend[35:8] >= {10'd0, divisor}};
  end
  pipelined_divider #(.Q(8), .R(18)) divider (
      .clk(clk), .dividend(dividend[25:0]), .divisor(divisor), .quotient(quotient));
  assign y = below[7] ? 8'd0 : above[7] ? 8'd255 : quotient;
endmodule

// clamp(zero_point + round(n * multiplier / 2^(shift + e))), e the binary logarithm of
// max(denominator + epsilon, 1) rounded at 1.5 * 2^i: its leading one i and the bit after it.
module log2_divide (
    input clk, input [7:0] numerator, input [7:0] zero_n, input [7:0] denominator,
    input [15:0] epsilon, input [15:0] multiplier, input [5:0] shift, input [7:0] zero_point,
    output [7:0] y);
  reg signed [8:0] n;
  reg [16:0] d;
  reg signed [24:0] product;
  reg [5:0] total_shift;
  reg [4:0] exponent;
  integer i;
  always @* begin
    exponent = 5'd0;
    for (i = 1; i < 17; i = i + 1) if (d[i]) exponent = i + d[i-1];
  end
  always @(posedge clk) begin
    n <= $signed({1'b0, numerator}) - $signed({1'b0, zero_n});
    d <= denominator + epsilon;
    product <= n * $signed({1'b0, multiplier});
    total_shift <= shift + exponent;
  end
  round_clamp #(.W(25)) finish (clk, product, total_shift, zero_point, y);
endmodule
