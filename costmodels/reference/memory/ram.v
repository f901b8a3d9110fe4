// BANKS memories of DEPTH words, each with a port to write and one to read, a cycle late. All banks are
// read and written together, as a buffer with one lane a bank is. STYLE 0 is block RAM, 1 UltraRAM, 2
// RAM in LUTs.
module ram #(
    parameter DEPTH = 512, parameter WIDTH = 36, parameter BANKS = 1, parameter STYLE = 0,
    parameter BITS = $clog2(DEPTH)) (
    input clk, input write, input read, input [BITS-1:0] write_address,
    input [BITS-1:0] read_address, input [BANKS*WIDTH-1:0] data,
    output reg [BANKS*WIDTH-1:0] q);
  genvar i;
  generate
    for (i = 0; i < BANKS; i = i + 1) begin : bank
      if (STYLE == 0) begin : block
        (* ram_style = "block" *) reg [WIDTH-1:0] word [0:DEPTH-1];
        always @(posedge clk) begin
          if (write) word[write_address] <= data[i*WIDTH +: WIDTH];
          if (read) q[i*WIDTH +: WIDTH] <= word[read_address];
        end
      end else if (STYLE == 1) begin : ultra
        (* ram_style = "ultra" *) reg [WIDTH-1:0] word [0:DEPTH-1];
        always @(posedge clk) begin
          if (write) word[write_address] <= data[i*WIDTH +: WIDTH];
          if (read) q[i*WIDTH +: WIDTH] <= word[read_address];
        end
      end else begin : distributed
        (* ram_style = "distributed" *) reg [WIDTH-1:0] word [0:DEPTH-1];
        always @(posedge clk) begin
          if (write) word[write_address] <= data[i*WIDTH +: WIDTH];
          if (read) q[i*WIDTH +: WIDTH] <= word[read_address];
        end
      end
    end
  endgenerate
endmodule
