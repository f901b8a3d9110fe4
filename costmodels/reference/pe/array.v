// Small arrays of the PEs: activations enter from the left, weights from above. KIND 0 multiplies, 1
// shifts, 2 packs N weights x M activations into one DSP (only N weights where weights stay). What a
// ragged edge leaves over is tied to zero.
module array_os #(
    parameter KIND = 0, parameter ROWS = 2, parameter COLS = 2, parameter W = 8, parameter A = 8,
    parameter ACC = 26, parameter N = 1, parameter M = 1, parameter S = 18, parameter W_STEP = 18,
    parameter A_STEP = 18) (
    input clk, input clear, input [COLS*W-1:0] weights, input [ROWS*A-1:0] activations,
    output [ROWS*COLS*ACC-1:0] sums);
  localparam R = (ROWS + M - 1) / M, C = (COLS + N - 1) / N;  // in PEs or groups of PEs
  wire [C*N*W-1:0] down [0:R];
  wire [R*M*A-1:0] right [0:C];
  assign down[0] = weights;
  assign right[0] = activations;
  genvar i, j, k;
  generate
    for (i = 0; i < R; i = i + 1) begin : row
      for (j = 0; j < C; j = j + 1) begin : col
        wire [N*M*ACC-1:0] held;
        if (KIND == 2)
          packed_os #(W, A, N, M, S, W_STEP, A_STEP, ACC) pe (
              clk, clear, down[i][j*N*W +: N*W], right[j][i*M*A +: M*A],
              down[i+1][j*N*W +: N*W], right[j+1][i*M*A +: M*A], held);
        else if (KIND == 1)
          shift_os #(W, A, ACC) pe (clk, clear, down[i][j*W +: W], right[j][i*A +: A],
              down[i+1][j*W +: W], right[j+1][i*A +: A], held);
        else
          mac_os #(W, A, ACC) pe (clk, clear, down[i][j*W +: W], right[j][i*A +: A],
              down[i+1][j*W +: W], right[j+1][i*A +: A], held);
        for (k = 0; k < N * M; k = k + 1) begin : sum
          if (i * M + k / N < ROWS && j * N + k % N < COLS)
            assign sums[((i*M + k/N)*COLS + j*N + k%N)*ACC +: ACC] = held[k*ACC +: ACC];
        end
      end
    end
  endgenerate
endmodule

module array_ws #(
    parameter KIND = 0, parameter ROWS = 2, parameter COLS = 2, parameter W = 8, parameter A = 8,
    parameter ACC = 26, parameter N = 1, parameter S = 18) (
    input clk, input load, input [COLS*W-1:0] weights, input [ROWS*A-1:0] activations,
    input [COLS*ACC-1:0] bias, output [COLS*ACC-1:0] sums);
  localparam C = (COLS + N - 1) / N;
  wire [C*N*W-1:0] down [0:ROWS];
  wire [ROWS*A-1:0] right [0:C];
  wire [C*N*ACC-1:0] partial [0:ROWS];
  assign down[0] = weights;
  assign right[0] = activations;
  assign partial[0] = bias;
  assign sums = partial[ROWS];
  genvar i, j;
  generate
    for (i = 0; i < ROWS; i = i + 1) begin : row
      for (j = 0; j < C; j = j + 1) begin : col
        if (KIND == 2)
          packed_ws #(W, A, N, S, ACC) pe (
              clk, load, down[i][j*N*W +: N*W], right[j][i*A +: A],
              partial[i][j*N*ACC +: N*ACC], down[i+1][j*N*W +: N*W], right[j+1][i*A +: A],
              partial[i+1][j*N*ACC +: N*ACC]);
        else if (KIND == 1)
          shift_ws #(W, A, ACC) pe (clk, load, down[i][j*W +: W], right[j][i*A +: A],
              partial[i][j*ACC +: ACC], down[i+1][j*W +: W], right[j+1][i*A +: A],
              partial[i+1][j*ACC +: ACC]);
        else
          mac_ws #(W, A, ACC) pe (clk, load, down[i][j*W +: W], right[j][i*A +: A],
              partial[i][j*ACC +: ACC], down[i+1][j*W +: W], right[j+1][i*A +: A],
              partial[i+1][j*ACC +: ACC]);
      end
    end
  endgenerate
endmodule
