"""Icarus Verilog reads the memory files with $readmemh, and computes the first layer from them."""

import numpy as np
import pytest
from mixed_networks import network
from verilog_tools import simulate

from codesign.export.memories import golden_files, memory_files
from codesign.integer import replay
from codesign.quantize.recipe import Recipe

DECODERS = """
  // What a code of `bits` bits stands for; kinds as in the index of the memories.
  function automatic integer decode(input [31:0] code, input integer bits, input integer kind);
    reg negative;
    integer field, size;
    begin
      negative = code[bits - 1];
      field = code & ((1 << (bits - 1)) - 1);
      case (kind)
        0: decode = code;
        1: decode = negative ? field - (1 << (bits - 1)) : field;
        2: begin  // a shift by the exponent; all ones is zero
          size = (field == (1 << (bits - 1)) - 1) ? 0 : 1 << field;
          decode = negative ? -size : size;
        end
        default: begin  // 5 bits: two terms of an exponent each
          case (field[3:2])
            0: size = 0;
            1: size = 1 << 5;
            2: size = 1 << 3;
            3: size = 1 << 1;
          endcase
          case (field[1:0])
            0: size = size + 0;
            1: size = size + (1 << 4);
            2: size = size + (1 << 2);
            3: size = size + (1 << 0);
          endcase
          decode = negative ? -size : size;
        end
      endcase
    end
  endfunction
"""
KINDS = {"unsigned": 0, "twos_complement": 1, "sign_exponent": 2, "sign_terms": 3}
PTF = Recipe(norm_inputs="ptf")


def written(memories, folder):
    for path, text in memories.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def declaration(name, entry):
    return f"  reg [{entry['word_bits'] - 1}:0] {name} [0:{entry['words'] - 1}];\n"


def element(name, entry, word, lane):
    """Return the Verilog expression of an element."""
    bits = entry["element_bits"]
    return (
        f"decode({name}[{word}][({lane}) * {bits} +: {bits}], {bits}, {KINDS[entry['encoding']]})"
    )


def at(name, entry, row, within="0"):
    """Return the Verilog expression of the element `within` of a row."""
    per_row, lanes = entry["words"] // entry["shape"][0], entry["lanes"]
    return element(
        name, entry, f"({row}) * {per_row} + ({within}) / {lanes}", f"({within}) % {lanes}"
    )


def codes_of(model, count=2):
    images = np.random.default_rng(1).integers(0, 256, size=(count, 3, 32, 32))
    codes = {}
    replay.run(model.graph_json(), dict(model.tensors), images, keep=codes)
    return codes


def test_readmemh_loads_every_kind_of_file(tmp_path):
    model, _, _ = network("mobilenet")
    memories = memory_files(model)
    golden = golden_files(model, codes_of(model))
    held = []
    for files in (memories, golden):
        written(files, tmp_path)
        held += [(entry, files.values[entry["path"]]) for entry in files.index]
    chosen = {}  # the smallest file of each kind; the decoder knows the terms of 5 bits
    for entry, values in sorted(held, key=lambda pair: pair[1].size):
        if entry["encoding"] != "sign_terms" or entry["element_bits"] == 5:
            key = (entry["encoding"], entry["element_bits"], entry["lanes"] > 1)
            chosen.setdefault(key, (entry, values))
    assert {encoding for encoding, _, _ in chosen} == set(KINDS)
    parts, bodies = [], []
    for i, (entry, _) in enumerate(chosen.values()):
        parts.append(declaration(f"mem{i}", entry))
        bodies.append(f'    $readmemh("{entry["path"]}", mem{i});')
        bodies.append(f"    for (w = 0; w < {entry['words']}; w = w + 1)")
        bodies.append(f"      for (l = 0; l < {entry['lanes']}; l = l + 1)")
        bodies.append(f'        $display("{i} %0d", {element(f"mem{i}", entry, "w", "l")});')
    lines = ["module bench;", DECODERS, *parts, "  integer w, l;", "  initial begin", *bodies]
    printed = simulate("\n".join([*lines, "    $finish;", "  end", "endmodule", ""]), tmp_path)
    got = {}
    for line in printed.splitlines():
        i, value = line.split()
        got.setdefault(int(i), []).append(int(value))
    for i, (_, values) in enumerate(chosen.values()):
        rows = np.array(got[i]).reshape(len(values), -1)
        row_length = values[0].size
        np.testing.assert_array_equal(rows[:, :row_length], values.reshape(len(values), -1))


FIRST_LAYER = """
module bench;
{decoders}{declarations}
  integer o, part, y, x, c, i, j, row, col, q, channel, here, s;
  integer acc;
  reg signed [63:0] scaled;
  initial begin
{loads}
    for (part = 0; part < 2; part = part + 1) begin
    here = 0;
    for (o = 0; o < {channels}; o = o + 1) if ({in_part}) begin
      for (y = 0; y < {height}; y = y + 1) for (x = 0; x < {width}; x = x + 1) begin
        acc = {bias};
        for (c = 0; c < 3; c = c + 1)
          for (i = 0; i < {kernel}; i = i + 1) for (j = 0; j < {kernel}; j = j + 1) begin
            row = y * {stride} + i - {pad};
            col = x * {stride} + j - {pad};
            if (row >= 0 && row < 32 && col >= 0 && col < 32)
              acc = acc + {product};
          end
        s = {shift};
        scaled = (acc * {multiplier} + (64'sd1 <<< (s - 1))) >>> s;
        scaled = scaled + {zero_point};
        if (scaled < {low}) scaled = {low};
        if (scaled > {high}) scaled = {high};
        $display("%0d %0d %0d %0d", o, y, x, scaled);
      end
      here = here + 1;
    end
    end
    $finish;
  end
endmodule
"""


def first_layer_bench(model, layer, files, image):
    """Return a bench that computes the first convolution for one golden image."""
    a, target = layer.attributes, layer.format
    names = {role: f"mem_{role}" for role in files}
    value = {r: at(names[r], files[r], "o") for r in ("bias", "multiplier", "shift")}
    if "channel_shift" in files:
        value["shift"] += " + " + at(names["channel_shift"], files["channel_shift"], "o")
    tap = f"((c * {a_kernel(files)}) + i) * {a_kernel(files)} + j"
    mixed = "log2_channel" in files
    kinds = ("weight_uniform", "weight_log2") if mixed else ("weight", "weight")
    first, second = (at(names[k], files[k], "here", tap) for k in kinds)
    weight = f"(part == 0 ? {first} : {second})"
    pixel = at(names["input"], files["input"], str(image), "(c * 32 + row) * 32 + col")
    bits = at(names["log2_channel"], files["log2_channel"], "o") if mixed else "0"
    low, high = target.low, target.high
    return FIRST_LAYER.format(
        decoders=DECODERS,
        declarations="".join(declaration(names[r], e) for r, e in files.items()),
        loads="\n".join(f'    $readmemh("{e["path"]}", {names[r]});' for r, e in files.items()),
        in_part=f"{bits} == part",
        channels=layer.shape[1],
        height=layer.shape[2],
        width=layer.shape[3],
        kernel=a_kernel(files),
        stride=a["stride"][0],
        pad=a["padding"][0],
        product=f"({pixel} - {model.input_format.zero_point}) * {weight}",
        zero_point=target.zero_point,
        low=low,
        high=high,
        **{**value, "multiplier": f"$signed({{32'd0, {value['multiplier']}}})"},
    )


def a_kernel(files):
    return next(e["shape"][-1] for r, e in files.items() if r.startswith("weight"))


@pytest.mark.parametrize(
    ("kind", "first", "recipe"),
    [
        ("mobilenet", "mixed_4@0.5", None),
        ("vit", "apot_5", PTF),
        ("vit", "log2_4", None),
    ],
)
def test_verilog_computes_the_first_layer_from_the_files(kind, first, recipe, tmp_path):
    model, _, _ = network(kind, first=first, recipe=recipe)
    layer = next(node for node in model.nodes if node.op == "conv2d")
    codes = codes_of(model)
    memories, golden = memory_files(model), golden_files(model, codes)
    written(memories, tmp_path)
    written(golden, tmp_path)
    files = {e["role"]: e for e in memories.index if e["layer"] == layer.name}
    files["input"] = next(e for e in golden.index if e["role"] == "input")
    assert ("channel_shift" in files) == (recipe is PTF)
    printed = simulate(first_layer_bench(model, layer, files, 1), tmp_path)
    got = np.full(codes[layer.name].shape[1:], -1)
    for line in printed.splitlines():
        channel, y, x, code = map(int, line.split())
        got[channel, y, x] = code
    np.testing.assert_array_equal(got, codes[layer.name][1])
