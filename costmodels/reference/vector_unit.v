// One lane of each function of the vector unit, one element a clock, for 8-bit codes.
// vector_unit.csv holds the resources of each as counted by Yosys 0.70:
// `synth_xilinx -family xcup -flatten -top <module>; stat`.
// The modules are written to be counted; the exported design has its own RTL.

// acc * multiplier >> shift, round half up, add the zero point, clamp to unsigned 8 bits.
module requantize #(parameter ACC = 32) (
    input clk, input signed [ACC-1:0] acc, input [15:0] multiplier, input [5:0] shift,
    input [7:0] zero_point, output reg [7:0] code);
  reg signed [ACC+15:0] product;
  reg signed [ACC-1:0] shifted;
  reg [5:0] shift_1;
  wire signed [ACC+15:0] half = $signed({{(ACC+15){1'b0}}, 1'b1}) << (shift_1 - 1);
  wire signed [ACC-1:0] sum = shifted + $signed({1'b0, zero_point});
  always @(posedge clk) begin
    product <= acc * $signed({1'b0, multiplier});
    shift_1 <= shift;
    shifted <= (product + half) >>> shift_1;
    code <= sum < 0 ? 8'd0 : sum > 255 ? 8'd255 : sum[7:0];
  end
endmodule

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

// x * clamp(x + three, 0, six), requantised.
module hardswish (
    input clk, input [7:0] x, input [7:0] zero_point, input [11:0] three, input [12:0] six,
    input [15:0] multiplier, input [5:0] shift, output [7:0] y);
  reg signed [8:0] centred, centred_1;
  reg signed [13:0] gate;
  reg signed [22:0] product;
  wire signed [13:0] shifted = centred + $signed({1'b0, three});
  always @(posedge clk) begin
    centred <= $signed({1'b0, x}) - $signed({1'b0, zero_point});
    centred_1 <= centred;
    gate <= shifted < 0 ? 14'sd0 : shifted > $signed({1'b0, six}) ? $signed({1'b0, six}) : shifted;
    product <= centred_1 * gate;
  end
  requantize #(.ACC(23)) out (clk, product, multiplier, shift, zero_point, y);
endmodule

// e^x for x <= 0 in fixed point by shifts and adds, after I-ViT's ShiftExp (arXiv 2207.01405).
module shift_exp (input clk, input signed [15:0] x, output reg [15:0] y);
  reg signed [15:0] scaled;
  wire signed [15:0] positive = -scaled;
  wire [3:0] whole = positive[11:8];
  wire [15:0] fraction = 16'd32768 - {1'b0, positive[7:0], 6'b0};
  always @(posedge clk) begin
    scaled <= x + (x >>> 1) - (x >>> 4);
    y <= positive[15:12] != 0 ? 16'd0 : fraction >> whole;
  end
endmodule

module serial_divider (
    input clk, input start, input [31:0] dividend, input [23:0] divisor, output reg [31:0] quotient);
  reg [55:0] remainder;
  wire [24:0] difference = {1'b0, remainder[54:31]} - {1'b0, divisor};
  always @(posedge clk) begin
    if (start) begin
      remainder <= {24'd0, dividend};
      quotient <= 32'd0;
    end else begin
      remainder <= difference[24] ? {remainder[54:0], 1'b0}
                                  : {difference[23:0], remainder[30:0], 1'b0};
      quotient <= {quotient[30:0], ~difference[24]};
    end
  end
endmodule

// Three passes over a row: maximum; sum of exponentials; product with the reciprocal of the sum.
module softmax (
    input clk, input clear, input [1:0] pass, input [7:0] x, input [15:0] scale, input divide,
    output reg [7:0] y);
  reg [7:0] maximum;
  reg [23:0] sum;
  reg signed [24:0] argument;
  reg [31:0] product;
  wire [15:0] exponential;
  wire [31:0] reciprocal;
  wire signed [8:0] below = $signed({1'b0, x}) - $signed({1'b0, maximum});
  wire [16:0] rounded = product[31:15] + 17'd64;
  always @(posedge clk) begin
    maximum <= clear ? 8'd0 : (pass == 0 && x > maximum) ? x : maximum;
    argument <= below * $signed({1'b0, scale});
    if (clear) sum <= 24'd0;
    else if (pass == 1) sum <= sum + exponential;
    product <= exponential * reciprocal[15:0];
    y <= rounded[16] ? 8'd255 : rounded[15:8];
  end
  shift_exp exp (clk, argument[23:8], exponential);
  serial_divider div (clk, divide, 32'hffffffff, sum, reciprocal);
endmodule

// x * sigmoid(x) with the sigmoid from shift-only exponentials (Shift-Swish, ShiftGELU).
module shift_swish (
    input clk, input clear, input [7:0] x, input [7:0] zero_point, input [15:0] scale, input divide,
    input [15:0] multiplier, input [5:0] shift, output [7:0] y);
  reg signed [8:0] centred;
  reg signed [24:0] argument;
  reg signed [24:0] product;
  wire [15:0] exponential;
  wire [15:0] sigmoid;
  reg [15:0] one_plus;
  always @(posedge clk) begin
    centred <= $signed({1'b0, x}) - $signed({1'b0, zero_point});
    argument <= centred * $signed({1'b0, scale});
    one_plus <= exponential + 16'd32767;
    product <= centred * $signed({1'b0, sigmoid[14:0]});
  end
  shift_exp exp (clk, argument[23:8], exponential);
  pipelined_divider div (clk, exponential, one_plus, sigmoid);
  requantize #(.ACC(25)) out (clk, product, multiplier, shift, zero_point, y);
endmodule

// One quotient bit a stage: a new division every clock.
module pipelined_divider (
    input clk, input [15:0] dividend, input [15:0] divisor, output [15:0] quotient);
  reg [16:0] remainder [0:16];
  reg [15:0] result [0:16];
  reg [15:0] by [0:16];
  integer i;
  always @(posedge clk) begin
    remainder[0] <= {1'b0, dividend};
    by[0] <= divisor;
    result[0] <= 16'd0;
    for (i = 0; i < 16; i = i + 1) begin
      by[i+1] <= by[i];
      if (remainder[i] >= {1'b0, by[i]}) begin
        remainder[i+1] <= (remainder[i] - {1'b0, by[i]}) << 1;
        result[i+1] <= {result[i][14:0], 1'b1};
      end else begin
        remainder[i+1] <= remainder[i] << 1;
        result[i+1] <= {result[i][14:0], 1'b0};
      end
    end
  end
  assign quotient = result[16];
endmodule

module serial_root (input clk, input start, input [31:0] radicand, output reg [15:0] root);
  reg [31:0] shifting;
  reg [17:0] remainder;
  wire [17:0] next = {remainder[15:0], shifting[31:30]};
  wire [18:0] difference = {1'b0, next} - {1'b0, root, 2'b01};
  always @(posedge clk) begin
    if (start) begin
      shifting <= radicand;
      remainder <= 18'd0;
      root <= 16'd0;
    end else begin
      shifting <= {shifting[29:0], 2'b00};
      remainder <= difference[18] ? next : difference[17:0];
      root <= {root[14:0], ~difference[18]};
    end
  end
endmodule

// Two passes over a row: sum and sum of squares; then (x n - sum) / root, gain, offset.
module layer_norm (
    input clk, input clear, input start, input [7:0] x, input [11:0] count, input [31:0] radicand,
    input signed [15:0] gain, input signed [31:0] offset, input [5:0] shift, output reg [7:0] y);
  reg [19:0] sum;
  reg [27:0] squares;
  reg [15:0] square;
  reg signed [21:0] centred;
  reg signed [37:0] normal;
  reg signed [40:0] scaled;
  wire [15:0] root;
  wire [31:0] inverse;
  wire signed [40:0] half = 41'sd1 <<< (shift - 1);
  wire signed [40:0] result = (scaled + half) >>> shift;
  always @(posedge clk) begin
    square <= x * x;
    sum <= clear ? 20'd0 : sum + x;
    squares <= clear ? 28'd0 : squares + square;
    centred <= $signed({1'b0, x}) * $signed({1'b0, count}) - $signed({1'b0, sum});
    normal <= centred * $signed({1'b0, inverse[15:0]});
    scaled <= $signed(normal[37:13]) * gain + offset;
    y <= result < 0 ? 8'd0 : result > 255 ? 8'd255 : result[7:0];
  end
  serial_root sqrt (clk, start, radicand ^ {4'd0, squares}, root);
  serial_divider div (clk, clear, 32'hffffffff, {8'd0, root}, inverse);
endmodule

// Both operands are rescaled to the output's scale, added, rounded and clamped.
module add (
    input clk, input [7:0] a, input [7:0] b, input [15:0] multiplier_a, input [15:0] multiplier_b,
    input signed [31:0] offset, input [5:0] shift, output reg [7:0] y);
  reg signed [24:0] scaled_a, scaled_b;
  reg signed [31:0] sum;
  wire signed [31:0] half = 32'sd1 <<< (shift - 1);
  wire signed [31:0] result = (sum + half) >>> shift;
  always @(posedge clk) begin
    scaled_a <= $signed({1'b0, a}) * $signed({1'b0, multiplier_a});
    scaled_b <= $signed({1'b0, b}) * $signed({1'b0, multiplier_b});
    sum <= scaled_a + scaled_b + offset;
    y <= result < 0 ? 8'd0 : result > 255 ? 8'd255 : result[7:0];
  end
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

module rescale (
    input clk, input [7:0] x, input [7:0] zero_x, input [15:0] multiplier, input [5:0] shift,
    input [7:0] zero_point, output [7:0] y);
  reg signed [8:0] centred;
  always @(posedge clk) centred <= $signed({1'b0, x}) - $signed({1'b0, zero_x});
  requantize #(.ACC(9)) out (clk, centred, multiplier, shift, zero_point, y);
endmodule

module mean_pool (
    input clk, input clear, input [7:0] x, input [15:0] multiplier, input [5:0] shift,
    input [7:0] zero_point, output [7:0] y);
  reg signed [23:0] sum;
  always @(posedge clk) sum <= clear ? 24'sd0 : sum + $signed({1'b0, x});
  requantize #(.ACC(24)) out (clk, sum, multiplier, shift, zero_point, y);
endmodule

module max_pool (input clk, input clear, input [7:0] x, output reg [7:0] y);
  always @(posedge clk) y <= clear ? 8'd0 : x > y ? x : y;
endmodule

// An element-wise quotient of two accumulators (linear attention's normalisation).
module divide (
    input clk, input [15:0] dividend, input [15:0] divisor, input [15:0] multiplier,
    input [5:0] shift, input [7:0] zero_point, output [7:0] y);
  wire [15:0] quotient;
  pipelined_divider div (clk, dividend, divisor, quotient);
  requantize #(.ACC(17)) out (clk, {1'b0, quotient}, multiplier, shift, zero_point, y);
endmodule
