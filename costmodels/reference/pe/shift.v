// Shift-and-add PEs: a weight is a sign and an exponent, or zero where the exponent is all ones. A
// weight that is a sum of powers of two passes once for each of them.
module power_of_two #(parameter W = 4, parameter A = 8, parameter P = A + (1 << (W - 1)) - 2) (
    input [W-1:0] weight, input signed [A-1:0] activation, output signed [P-1:0] magnitude);
  wire signed [P-1:0] wide = activation;
  assign magnitude = &weight[W-2:0] ? {P{1'b0}} : wide <<< weight[W-2:0];
endmodule

module shift_os #(parameter W = 4, parameter A = 8, parameter ACC = 24) (
    input clk, input clear, input [W-1:0] weight_in, input signed [A-1:0] activation_in,
    output reg [W-1:0] weight, output reg signed [A-1:0] activation,
    output reg signed [ACC-1:0] sum);
  localparam P = A + (1 << (W - 1)) - 2;
  wire signed [P-1:0] magnitude;
  power_of_two #(W, A) shifter (weight, activation, magnitude);
  always @(posedge clk) begin
    weight <= weight_in;
    activation <= activation_in;
    if (clear) sum <= 0;
    else sum <= weight[W-1] ? sum - magnitude : sum + magnitude;
  end
endmodule

module shift_ws #(parameter W = 4, parameter A = 8, parameter ACC = 24) (
    input clk, input load, input [W-1:0] weight_in, input signed [A-1:0] activation_in,
    input signed [ACC-1:0] sum_in,
    output reg [W-1:0] weight, output reg signed [A-1:0] activation,
    output reg signed [ACC-1:0] sum);
  localparam P = A + (1 << (W - 1)) - 2;
  wire signed [P-1:0] magnitude;
  power_of_two #(W, A) shifter (weight, activation, magnitude);
  always @(posedge clk) begin
    if (load) weight <= weight_in;
    activation <= activation_in;
    sum <= weight[W-1] ? sum_in - magnitude : sum_in + magnitude;
  end
endmodule
