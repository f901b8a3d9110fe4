// Softmax over rows. pass 0 finds the largest code, pass 1 adds the exponentials, pass 2 gives the
// probabilities; `first` marks a pass's first element.

// Table exponentials of distances to the largest code, and their sum; e is two clocks after x.
module table_exponentials (
    input clk, input write, input [7:0] write_address, input [14:0] write_data,
    input [1:0] pass, input first, input [7:0] x, output reg [14:0] e, output reg [30:0] sum);
  (* ram_style = "distributed" *) reg [14:0] entries [0:255];
  reg [7:0] maximum, distance;
  reg [1:0] pass_1, pass_2;
  reg first_1, first_2;
  always @(posedge clk) begin
    if (write) entries[write_address] <= write_data;
    if (pass == 0) maximum <= first || x > maximum ? x : maximum;
    distance <= maximum - x;
    {pass_1, first_1} <= {pass, first};
    {pass_2, first_2} <= {pass_1, first_1};
    e <= entries[distance];
    if (pass_2 == 1) sum <= (first_2 ? 31'd0 : sum) + e;
  end
endmodule

// y = (2 * 255 * e + sum) // (2 * sum): 255 e / sum rounded half up.
module softmax (
    input clk, input write, input [7:0] write_address, input [14:0] write_data,
    input [1:0] pass, input first, input [7:0] x, output [7:0] y);
  wire [14:0] e;
  wire [30:0] sum;
  reg [31:0] dividend, divisor;
  always @(posedge clk) begin
    dividend <= {e, 9'd0} - {e, 1'b0} + sum;
    divisor <= {sum, 1'b0};
  end
  table_exponentials exponentials (
      clk, write, write_address, write_data, pass, first, x, e, sum);
  pipelined_divider #(.Q(8), .R(32)) divider (
      .clk(clk), .dividend({8'd0, dividend}), .divisor(divisor), .quotient(y));
endmodule

// Distance of a code to the largest of its row, one clock after x in passes 1 and 2.
module row_distance (
    input clk, input [1:0] pass, input first, input [7:0] x, output reg [7:0] distance);
  reg [7:0] maximum;
  always @(posedge clk) begin
    if (pass == 0) maximum <= first || x > maximum ? x : maximum;
    distance <= maximum - x;
  end
endmodule

// The sum of a row's exponentials. pass and first come with x, e DELAY clocks after it.
module row_sum #(parameter E = 24, parameter W = 40, parameter DELAY = 9) (
    input clk, input [1:0] pass, input first, input [E-1:0] e, output reg [W-1:0] sum);
  reg [DELAY-1:0] adds, firsts;
  always @(posedge clk) begin
    adds <= {adds[DELAY-2:0], pass == 2'd1};
    firsts <= {firsts[DELAY-2:0], first};
    if (adds[DELAY-1]) sum <= (firsts[DELAY-1] ? {W{1'b0}} : sum) + e;
  end
endmodule

// Log-Int-Softmax of FQ-ViT: an exponential by a polynomial, and the rounded binary logarithm of
// the rounded ratio of sum and exponential. With I = min(distance << distance_shift, ceiling),
// ceiling being limit * unit:
//   q = I // unit, r = I - q * unit, e = (r * (r - linear) + constant) << (limit - q)
//   ratio = (2 * sum + e) // (2 * e), k = floor(log2 ratio), plus one from 1.5 * 2^k on
// k is at least j where ratio >= t, t = 2, 3, 6, 12, ... for j = 1, 2, 3, 4, ..., that is where
// 2 * sum + e >= 2 * t * e: four comparisons give the four bits of min(k, 15), no division.
// Widths for any scale from 2^-14 to 16 and rows up to 65536.
module log_int_softmax (
    input clk, input [1:0] pass, input first, input [7:0] x, input [2:0] distance_shift,
    input [14:0] ceiling, input [13:0] unit, input [15:0] linear, input [29:0] constant,
    input [4:0] limit, input [7:0] zero_code, output [7:0] y);
  wire [7:0] distance;
  wire [14:0] shifted = {7'd0, distance} << distance_shift;
  reg [14:0] clipped;
  wire [4:0] q;
  wire [13:0] r;
  reg [4:0] left, left_1;
  reg [23:0] product;
  reg [29:0] z;
  reg [30:0] e;
  wire [46:0] sum;
  reg [47:0] ratio [0:3];  // shifted down by the bits found so far
  reg [32:0] triple [0:3];
  reg [30:0] single [0:3];
  reg [3:0] k [0:4];
  wire [3:0] reached;
  assign reached[3] = (ratio[0] >> 7) >= triple[0];
  assign reached[2] = (ratio[1] >> 3) >= triple[1];
  assign reached[1] = (ratio[2] >> 1) >= triple[2];
  assign reached[0] = ratio[3] >= (k[3] == 0 ? {single[3], 2'b00} : triple[3]);
  assign y = k[4] == 4'd15 ? zero_code : {4'd0, k[4]};
  integer i;
  always @(posedge clk) begin
    clipped <= shifted < ceiling ? shifted : ceiling;
    product <= r[7:0] * (linear - r[7:0]);
    left <= limit - q;
    z <= constant - product;
    left_1 <= left;
    e <= z << left_1;
    ratio[0] <= {sum, 1'b0} + e;
    single[0] <= e;
    triple[0] <= {e, 1'b0} + e;
    for (i = 0; i < 3; i = i + 1) begin
      single[i+1] <= single[i];
      triple[i+1] <= triple[i];
    end
    ratio[1] <= reached[3] ? ratio[0] >> 8 : ratio[0];
    ratio[2] <= reached[2] ? ratio[1] >> 4 : ratio[1];
    ratio[3] <= reached[1] ? ratio[2] >> 2 : ratio[2];
    k[1] <= {reached[3], 3'd0};
    k[2] <= {k[1][3], reached[2], 2'd0};
    k[3] <= {k[2][3:2], reached[1], 1'd0};
    k[4] <= {k[3][3:1], reached[0]};
  end
  row_distance rows (clk, pass, first, x, distance);
  pipelined_divider #(.Q(5), .R(14), .CONSTANT(1)) divider (clk, {4'd0, clipped}, unit, q, r);
  row_sum #(.E(31), .W(47), .DELAY(10)) sums (clk, pass, first, e, sum);
endmodule

// Shiftmax of I-ViT: an exponential of shifts and additions and one reciprocal a row.
//   d = distance << distance_shift, p = min(d + ceil(d / 2) - ceil(d / 16), ceiling)
//   q = p // unit, r = p - q * unit, e = ((2 * unit - r) << (n - 1)) >> q
//   y = (floor(2^31 / sum) * e) >> 24
// ceiling is min(n * unit, 511), drop is 15 - n. `load` and 14 clocks of `run` divide.
module shiftmax (
    input clk, input [1:0] pass, input first, input [7:0] x, input [2:0] distance_shift,
    input [8:0] ceiling, input [14:0] unit, input [2:0] drop, input load, input run,
    output reg [7:0] y);
  wire [7:0] distance;
  wire [15:0] d = {8'd0, distance} << distance_shift;
  reg [15:0] power;
  reg [8:0] clipped;
  wire [3:0] q;
  wire [14:0] r;
  reg [15:0] mantissa;
  reg [4:0] down;
  reg [23:0] e;
  wire [39:0] sum;
  wire [13:0] reciprocal;
  reg [31:0] product;
  wire [29:0] wide = {mantissa, 14'd0};
  always @(posedge clk) begin
    power <= d + ((d + 16'd1) >> 1) - ((d + 16'd15) >> 4);
    clipped <= power < ceiling ? power : ceiling;
    mantissa <= {unit, 1'b0} - r;
    down <= q + drop;
    e <= wide >> down;
    product <= reciprocal * e;
    y <= product >> 24;
  end
  row_distance rows (clk, pass, first, x, distance);
  pipelined_divider #(.Q(4), .R(15), .CONSTANT(1)) divider (clk, {10'd0, clipped}, unit, q, r);
  row_sum #(.E(24), .W(40), .DELAY(9)) sums (clk, pass, first, e, sum);
  serial_divider #(.Q(14), .R(40)) inverse (clk, load, run, 54'd1 << 31, sum, reciprocal, );
endmodule

// The code of the nearest entry of a codebook: table exponentials, the probability on the scale
// 2^-15 by one division an element, and a search among 2^B - 1 rising thresholds. `address_space`
// selects what `write` writes: 0 the exponentials, 1 the thresholds, 2 the codes.
module codebook_search #(parameter B = 4) (
    input clk, input write, input [1:0] address_space, input [7:0] write_address,
    input [15:0] write_data, input [1:0] pass, input first, input [7:0] x, output reg [B-1:0] y);
  wire [14:0] e;
  wire [30:0] sum;
  reg [31:0] dividend, divisor;
  reg [B-1:0] codes [0:2**B-1];
  wire [15:0] probability [0:B];
  wire [B-1:0] level [0:B];
  assign level[0] = 0;
  always @(posedge clk) begin
    dividend <= {1'b0, e, 16'd0} + sum;
    divisor <= {sum, 1'b0};
    if (write && address_space == 2) codes[write_address[B-1:0]] <= write_data[B-1:0];
    y <= codes[level[B]];
  end
  table_exponentials exponentials (
      clk, write && address_space == 0, write_address, write_data[14:0], pass, first, x, e, sum);
  pipelined_divider #(.Q(16), .R(32)) divider (
      .clk(clk), .dividend({16'd0, dividend}), .divisor(divisor), .quotient(probability[0]));
  genvar i;
  generate
    for (i = 0; i < B; i = i + 1) begin : stage
      // Threshold number 2^(B-1-i) - 1, + 2^(B-i), + 2 * 2^(B-i), ...
      wire mine = write && address_space == 1
          && (write_address[B-1:0] & (2**(B-i) - 1)) == 2**(B-1-i) - 1;
      wire [15:0] threshold;
      wire [B-1:0] tested = level[i] | 2**(B-1-i);
      reg [15:0] probability_q;
      reg [B-1:0] level_q;
      if (i == 0) begin : one
        reg [15:0] only;
        always @(posedge clk) if (mine) only <= write_data;
        assign threshold = only;
      end else begin : several
        reg [15:0] thresholds [0:2**i-1];
        always @(posedge clk) if (mine) thresholds[write_address[B-1:B-i]] <= write_data;
        assign threshold = thresholds[level[i][B-1:B-i]];
      end
      always @(posedge clk) begin
        probability_q <= probability[i];
        level_q <= probability[i] >= threshold ? tested : level[i];
      end
      assign probability[i+1] = probability_q;
      assign level[i+1] = level_q;
    end
  endgenerate
endmodule

module codebook_softmax (
    input clk, input write, input [1:0] address_space, input [7:0] write_address,
    input [15:0] write_data, input [1:0] pass, input first, input [7:0] x, output [3:0] y);
  codebook_search #(.B(4)) search (
      clk, write, address_space, write_address, write_data, pass, first, x, y);
endmodule

module codebook_softmax_wide (
    input clk, input write, input [1:0] address_space, input [7:0] write_address,
    input [15:0] write_data, input [1:0] pass, input first, input [7:0] x, output [7:0] y);
  codebook_search #(.B(8)) search (
      clk, write, address_space, write_address, write_data, pass, first, x, y);
endmodule
