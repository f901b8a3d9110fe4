// N weights times M activations in one DSP. Weights lie W_STEP bits apart on one port, activations
// A_STEP bits apart on the other, so that the N * M products lie S bits apart in the result. A
// product whose lower neighbour is negative lacks one: the borrow is given back as carry.
module outer_product #(
    parameter W = 4, parameter A = 4, parameter N = 2, parameter M = 2, parameter S = 10,
    parameter W_STEP = 10, parameter A_STEP = 20) (
    input clk, input [N*W-1:0] weights, input [M*A-1:0] activations,
    output [N*M*(S+1)-1:0] products);  // activation j x weight i at j * N + i, carry lowest
  localparam W_PORT = (N - 1) * W_STEP + W + (N > 1);
  localparam A_PORT = (M - 1) * A_STEP + A + (M > 1);
  reg signed [W_PORT-1:0] weight_port;
  reg signed [A_PORT-1:0] activation_port;
  reg signed [N*M*S-1:0] result;
  integer n;
  always @* begin
    weight_port = 0;
    for (n = 0; n < N; n = n + 1)
      weight_port = weight_port + ($signed(weights[n*W +: W]) <<< (n * W_STEP));
    activation_port = 0;
    for (n = 0; n < M; n = n + 1)
      activation_port = activation_port + ($signed(activations[n*A +: A]) <<< (n * A_STEP));
  end
  always @(posedge clk) result <= weight_port * activation_port;
  genvar i, j;
  generate
    for (j = 0; j < M; j = j + 1) begin : activation
      for (i = 0; i < N; i = i + 1) begin : weight
        localparam LOW = i * W_STEP + j * A_STEP;
        wire borrow;
        if (LOW == 0) assign borrow = 1'b0;
        else assign borrow = result[LOW-1];
        assign products[(j*N+i)*(S+1) +: S+1] = {result[LOW +: S], borrow};
      end
    end
  endgenerate
endmodule

// Output stationary: all sums stay. Two cycles of clear go before the first product.
module packed_os #(
    parameter W = 4, parameter A = 4, parameter N = 2, parameter M = 2, parameter S = 10,
    parameter W_STEP = 10, parameter A_STEP = 20, parameter ACC = 18) (
    input clk, input clear, input [N*W-1:0] weights_in, input [M*A-1:0] activations_in,
    output reg [N*W-1:0] weights, output reg [M*A-1:0] activations,
    output reg [N*M*ACC-1:0] sums);
  wire [N*M*(S+1)-1:0] products;
  outer_product #(W, A, N, M, S, W_STEP, A_STEP) dsp (clk, weights, activations, products);
  always @(posedge clk) begin
    weights <= weights_in;
    activations <= activations_in;
  end
  genvar k;
  generate
    for (k = 0; k < N * M; k = k + 1) begin : product
      wire signed [S:0] term = products[k*(S+1) +: S+1];
      wire signed [ACC:0] next = $signed({sums[k*ACC +: ACC], 1'b1}) + term;
      always @(posedge clk)
        if (clear) sums[k*ACC +: ACC] <= 0;
        else sums[k*ACC +: ACC] <= next[ACC:1];
    end
  endgenerate
endmodule

// Weight stationary: N weights stay and share the activation that streams past.
module packed_ws #(
    parameter W = 8, parameter A = 8, parameter N = 2, parameter S = 18, parameter ACC = 26) (
    input clk, input load, input [N*W-1:0] weights_in, input [A-1:0] activation_in,
    input [N*ACC-1:0] sums_in,
    output reg [N*W-1:0] weights, output reg [A-1:0] activation, output reg [N*ACC-1:0] sums);
  wire [N*(S+1)-1:0] products;
  outer_product #(W, A, N, 1, S, S, N * S) dsp (clk, weights, activation, products);
  always @(posedge clk) begin
    if (load) weights <= weights_in;
    activation <= activation_in;
  end
  genvar k;
  generate
    for (k = 0; k < N; k = k + 1) begin : product
      wire signed [S:0] term = products[k*(S+1) +: S+1];
      wire signed [ACC:0] next = $signed({sums_in[k*ACC +: ACC], 1'b1}) + term;
      always @(posedge clk) sums[k*ACC +: ACC] <= next[ACC:1];
    end
  endgenerate
endmodule
