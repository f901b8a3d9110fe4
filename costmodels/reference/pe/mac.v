// Multiply-accumulate PEs. The operands are registered on their way to the next PE, and the product
// before it is added: in one step, synthesis would merge the two into a larger adder tree.

// Output stationary: the sum stays. Two cycles of clear go before the first product.
module mac_os #(parameter W = 8, parameter A = 8, parameter ACC = 26) (
    input clk, input clear, input signed [W-1:0] weight_in, input signed [A-1:0] activation_in,
    output reg signed [W-1:0] weight, output reg signed [A-1:0] activation,
    output reg signed [ACC-1:0] sum);
  reg signed [W+A-1:0] product;
  always @(posedge clk) begin
    weight <= weight_in;
    activation <= activation_in;
    product <= weight * activation;
    if (clear) sum <= 0;
    else sum <= sum + product;
  end
endmodule

// Weight stationary: load shifts weights down a column, afterwards sums pass down it. Input
// stationary is the same with weights and activations exchanged.
module mac_ws #(parameter W = 8, parameter A = 8, parameter ACC = 26) (
    input clk, input load, input signed [W-1:0] weight_in, input signed [A-1:0] activation_in,
    input signed [ACC-1:0] sum_in,
    output reg signed [W-1:0] weight, output reg signed [A-1:0] activation,
    output reg signed [ACC-1:0] sum);
  reg signed [W+A-1:0] product;
  always @(posedge clk) begin
    if (load) weight <= weight_in;
    activation <= activation_in;
    product <= weight * activation;
    sum <= sum_in + product;
  end
endmodule
