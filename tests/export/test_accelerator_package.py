"""accelerator_pkg.sv: Verilator finds nothing to warn of, and reads the model's own numbers."""

import dataclasses
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixed_networks import network
from verilog_tools import elaborate, lint

from codesign.export.memories import memory_files
from codesign.export.package import package_sv
from codesign.export.package.identifiers import Identifiers
from codesign.graph.ir import resolve
from codesign.integer.model import IntegerModel, IntegerNode
from codesign.numerics.fixed_point import Format
from codesign.quantize.recipe import Recipe
from costmodels.accelerator import Accelerator
from costmodels.board import load_board
from costmodels.engines import place
from costmodels.workload import Workload

MOVES = {"reshape", "permute", "slice", "select", "expand", "gather", "pad", "input", "constant"}
OTHER_ROWS = Recipe(norm_inputs="ptf", layer_norm="fq_vit", softmax="log_sqrt2", attention_bits=4)
MAC_ONLY = Accelerator(
    mac_rows=32,
    mac_cols=8,
    shift_rows=0,
    shift_cols=0,
    depthwise_lanes=0,
    dataflow="ws",
    precision="reconfigurable",
    clock_mhz=187.5,
    mac_pe="lut",
    input_buffer_kb=40,
)
CASES = {
    "vit": ("vit", "uniform_8", None, None),
    "vit_rows": ("vit", "mixed_4@0.5", None, OTHER_ROWS),
    "mobilenet": ("mobilenet", "uniform_8", None, None),
    "mobilenet_mac_only": ("mobilenet", "uniform_8", MAC_ONLY, None),
}


class Reading:
    """A package, as Verilator reads it."""

    def __init__(self, model, workload, accelerator, folder):
        self.model, self.workload, self.accelerator = model, workload, accelerator
        self.memories = memory_files(model).index
        self.text = package_sv(model, accelerator, workload, self.memories)
        self.scalars = re.findall(r"^  parameter (?:\w+|int unsigned) (\w+) = ", self.text, re.M)
        structures = re.findall(r"typedef struct packed \{(.*?)\} (\w+);", self.text, re.S)
        self.fields = {name: re.findall(r" (\w+);", body) for body, name in structures}
        self.folder = folder
        lines = elaborate(self.text, self._module(), folder)
        words = [line.split(" ", 2) for line in lines]
        self.values = {(kind, what): value for kind, what, value in words}

    def _module(self):
        shown = [f'  $info("scalar {name} %0d", {name});' for name in self.scalars]
        for table, kind, count in (
            ("Layers", "layer_t", "NumLayers"),
            ("Memories", "memory_t", "NumMemories"),
        ):
            names = self.fields[kind]
            keys = " ".join(["%0d"] * len(names))
            values = ", ".join(f"{table}[i].{name}" for name in names)
            shown.append(f"  for (genvar i = 0; i < {count}; i++) begin : gen_{kind}")
            shown.append(f'    $info("{table} %0d {keys}", i, {values});')
            shown.append("  end")
        shown.append("  for (genvar i = 0; i < NumMemories; i++) begin : gen_paths")
        shown.append('    $info("path %0d :%s", i, MemoryPaths[i]);\n  end')
        for kind in ("engine_e", "operation_e", "scheme_e", "encoding_e", "memory_e", "layer_e"):
            shown += [f'  $info("name {name} %0d", {name});' for name in self.names(kind)]
        body = "\n".join(shown)
        return f"module reader import accelerator_pkg::*; ();\n{body}\nendmodule\n"

    def names(self, kind):
        """Return the enumerators of a type."""
        body = re.search(rf"typedef enum [^{{]*\{{([^}}]*)\}} {kind};", self.text)[1]
        return re.findall(r"(\w+) = ", body)

    def number(self, name):
        return int(self.values["name", name])

    def rows(self, table, kind):
        count = int(self.values["scalar", "NumLayers" if table == "Layers" else "NumMemories"])
        split = [self.values[table, str(i)].split() for i in range(count)]
        return [dict(zip(self.fields[kind], map(int, row), strict=True)) for row in split]

    def layers(self):
        return self.rows("Layers", "layer_t")

    def constant(self, node, files):
        """Return the memory of a constant operand: its role and index in `files`."""
        nodes = {n.name: n for n in self.model.nodes}
        for source in map(nodes.get, node.inputs):
            while source.op in MOVES - {"input", "constant"}:
                source = nodes[source.inputs[0]]
            if source.op == "constant":
                return {"value": files[source.name, "value"]}
        return {}

    def computing(self):
        return [node for node in self.model.nodes if node.op not in MOVES]


@pytest.fixture(scope="module", params=CASES)
def reading(request, tmp_path_factory):
    kind, first, accelerator, recipe = CASES[request.param]
    found = network(kind, first=first, accelerator=accelerator, recipe=recipe)
    return Reading(*found, tmp_path_factory.mktemp(request.param))


def test_the_accelerator_is_the_design_s(reading):
    a = reading.accelerator
    expected = {
        "ClockHz": int(a.clock_mhz * 1_000_000),
        "MacRows": a.mac_rows,
        "MacCols": a.mac_cols,
        "ShiftRows": a.shift_rows,
        "ShiftCols": a.shift_cols,
        "DepthwiseLanes": a.depthwise_lanes,
        "VectorLanes": a.vector_lanes,
        "InputBufferBytes": 1024 * a.input_buffer_kb,
        "WeightBufferBytes": 1024 * a.weight_buffer_kb,
        "OutputBufferBytes": 1024 * a.output_buffer_kb,
        "Dataflow": ["os", "ws", "is"].index(a.dataflow),
        "ReconfigurablePrecision": int(a.precision == "reconfigurable"),
        "MultipliersInLuts": int(a.mac_pe == "lut"),
        "ImageChannels": 3,
        "ImageHeight": 32,
        "ImageWidth": 32,
        "ImageBits": 8,
        "LogitBits": 16,
        "NumClasses": 10,
        "NumLayers": len(reading.computing()),
        "NumMemories": len(reading.memories) + 1,
        "ShiftBits": 6,
        "BiasBits": 32,
        "MultiplierBits": 16,
    }
    got = {name: int(reading.values["scalar", name]) for name in expected}
    assert got == expected
    largest = max(n.attributes.get("accumulator_bound", 0) for n in reading.model.nodes)
    bits = int(reading.values["scalar", "AccumulatorBits"])
    assert -(2 ** (bits - 2)) > -largest - 1 >= -(2 ** (bits - 1))


def test_the_file_alone_gives_no_warning(reading):
    assert not lint(["rtl/accelerator_pkg.sv"], reading.folder)


def test_layers_stand_in_order_under_their_names(reading):
    names, nodes = reading.names("layer_e"), reading.computing()
    assert [reading.number(name) for name in names] == list(range(len(nodes)))
    for name, node in zip(names, nodes, strict=True):
        letters = re.sub("[^a-z0-9]", "", node.name.lower())
        assert re.sub("[^a-z0-9]", "", name.lower()).removeprefix("layer") == letters
    scheduled = [op.name for op in reading.workload.operations]
    order = [node.name for node in nodes if node.name in scheduled]
    assert order == [name for name in scheduled if name in set(order)]


def test_layers_run_where_the_cost_model_puts_them(reading):
    dsp = load_board(reading.accelerator.board).dsp_type
    placements, _ = place(reading.workload, reading.accelerator, dsp)
    placed = {p.layer.name: p for p in placements}
    vector = {v.name: v for v in reading.workload.vector_operations}
    engines = {
        "mac_array": "EngineMacArray",
        "shift_array": "EngineShiftArray",
        "mac_array+shift_array": "EngineBothArrays",
        "depthwise": "EngineDepthwise",
    }
    index = {node.name: i for i, node in enumerate(reading.computing())}
    seen = set()
    for node, row in zip(reading.computing(), reading.layers(), strict=True):
        if node.name in placed:
            p = placed[node.name]
            engine, sizes = engines[p.engine], (p.layer.m, p.layer.k, p.layer.n, p.layer.repeats)
            assert (row["m"], row["k"], row["n"], row["repeats"]) == sizes
            assert (row["array_rows"], row["array_cols"]) == (p.rows, p.cols)
        else:
            fused = node.name in vector and vector[node.name].fused_into
            engine = "EngineOutputStage" if fused else "EngineVectorUnit"
            assert row["m"] == row["array_rows"] == 0
            if fused:
                assert reading.layers()[index[fused]]["fused_layer"] == index[node.name]
        assert row["engine"] == reading.number(engine)
        seen.add(engine)
    if reading.accelerator is MAC_ONLY:
        assert seen == {"EngineMacArray", "EngineOutputStage", "EngineVectorUnit"}
    else:
        assert {"EngineMacArray", "EngineShiftArray", "EngineBothArrays"} <= seen


def test_layers_have_the_model_s_formats_and_sizes(reading):
    nodes = {node.name: node for node in reading.model.nodes}
    for node, row in zip(reading.computing(), reading.layers(), strict=True):
        formats = {f"input{i}": nodes[name].format for i, name in enumerate(node.inputs[:2])}
        for name, fmt in {**formats, "output": node.format}.items():
            shown = tuple(row[f"{name}_{key}"] for key in ("bits", "signed", "zero_point"))
            assert shown == (fmt.bits, int(fmt.signed), fmt.zero_point)
        assert row["elements"] == math.prod(resolve(node.shape, 1))
        a = node.attributes
        assert row["weight_bits"] == a.get("weight_bits", 0)
        scheme = a.get("weight_scheme", "none").removesuffix("std")
        assert row["weight_scheme"] == reading.number(f"Scheme{scheme.capitalize()}")
        assert row["log2_channels"] == len(a.get("log2_channels", []))
        bound = a.get("accumulator_bound")
        assert row["accumulator_bits"] == (bound.bit_length() + 1 if bound else 0)
        operation = f"Op{node.op.replace('_', '').capitalize()}".lower()
        names = {name.lower(): name for name in reading.names("operation_e")}
        assert row["operation"] == reading.number(names[operation])


def test_layers_have_the_model_s_constants(reading):
    for node, row in zip(reading.computing(), reading.layers(), strict=True):
        a = node.attributes
        factors = [*a.get("multipliers", [a.get("multiplier", 0)]), 0][:2]
        assert [row["multiplier0"], row["multiplier1"]] == factors
        assert row["unit"] == a.get("unit", a.get("three", 0))
        for key in ("shift", "epsilon", "levels", "distance_shift", "limit", "largest_exponent"):
            assert row[key] == a.get(key, 0), (node.name, key)


def test_windows_are_the_layer_s(reading):
    model = reading.model
    nodes = {node.name: node for node in model.nodes}
    windows = 0
    for node, row in zip(reading.computing(), reading.layers(), strict=True):
        if node.op != "conv2d":
            continue
        a, windows = node.attributes, windows + 1
        weight = model.tensors[node.tensors["weight"]]
        assert (row["kernel_height"], row["kernel_width"]) == weight.shape[2:]
        assert [row["stride_height"], row["stride_width"]] == list(a["stride"])
        assert [row["dilation_height"], row["dilation_width"]] == list(a["dilation"])
        assert [row["pad_top"], row["pad_left"]] == list(a["padding"])
        assert [row["pad_bottom"], row["pad_right"]] == list(a["padding"])
        assert row["groups"] == a["groups"]
        channels, height, width = nodes[node.inputs[0]].shape[1:]
        assert (row["in_channels"], row["in_height"], row["in_width"]) == (channels, height, width)
        assert (row["out_channels"], row["out_height"], row["out_width"]) == node.shape[1:]
    assert windows


def test_memories_are_those_of_the_index(reading):
    rows, names = reading.rows("Memories", "memory_t"), reading.names("memory_e")
    paths = [reading.values["path", str(i)].removeprefix(":") for i in range(len(rows))]
    assert names[0] == "MemoryNone" and paths[0] == ""
    assert not any(rows[0][key] for key in rows[0] if key != "encoding")
    assert [reading.number(name) for name in names] == list(range(len(rows)))
    computing = [node.name for node in reading.computing()]
    layers = reading.layers()
    for i, entry in enumerate(reading.memories, start=1):
        assert paths[i] == entry["path"]
        for key in ("element_bits", "lanes", "word_bits", "words"):
            assert rows[i][key] == entry[key]
        assert rows[i]["rows"] == entry["shape"][0]
        encoding = "Encoding" + entry["encoding"].title().replace("_", "")
        assert rows[i]["encoding"] == reading.number(encoding)
        if entry["layer"] in computing:
            layer = layers[computing.index(entry["layer"])]
            assert layer[f"mem_{entry['role']}"] == i
    files = {(e["layer"], e["role"]): i for i, e in enumerate(reading.memories, start=1)}
    for node, row in zip(reading.computing(), layers, strict=True):
        roles = {key: value for key, value in row.items() if key.startswith("mem_")}
        own = {role: i for (layer, role), i in files.items() if layer == node.name}
        wanted = {**own, **reading.constant(node, files)}
        assert {k.removeprefix("mem_"): v for k, v in roles.items() if v} == wanted


def test_a_network_with_constants_is_among_the_cases(reading):
    """The vision transformer adds its position embedding."""
    values = [row["mem_value"] for row in reading.layers() if row["mem_value"]]
    assert bool(values) == any(node.op == "constant" for node in reading.model.nodes)


def test_heights_widths_and_negative_zero_points(tmp_path):
    """What no square, unsigned network tells apart."""
    codes, odd = Format(8, 1.0), Format(7, 1.0, zero_point=-5, signed=True)
    window = {"stride": [2, 1], "dilation": [1, 2]}
    conv = {**window, "padding": [0, 3], "groups": 1, "weight_bits": 4, "weight_scheme": "uniform"}
    pool = {**window, "kernel": [4, 5], "pads": [[1, 2], [3, 4]]}
    nodes = (
        IntegerNode("input", "input", (), codes, ("1*B", 3, 20, 12)),
        IntegerNode("a", "conv2d", ("input",), odd, ("1*B", 6, 10, 14), conv, {"weight": "w"}),
        IntegerNode("b", "max_pool2d", ("a",), odd, ("1*B", 6, 5, 13), pool),
    )
    model = IntegerModel("odd", nodes, {"w": np.ones((6, 3, 1, 3), dtype=int)})
    rows = Reading(model, Workload("odd", (), 0), Accelerator(), tmp_path).layers()
    keys = ("in_channels", "in_height", "in_width", "out_channels", "out_height", "out_width")
    keys += tuple(f"{k}_{s}" for k in ("kernel", "stride", "dilation") for s in ("height", "width"))
    keys += ("pad_top", "pad_bottom", "pad_left", "pad_right")
    shown = [[row[key] for key in keys] for row in rows]
    assert shown[0] == [3, 20, 12, 6, 10, 14, 1, 3, 2, 1, 1, 2, 0, 0, 3, 3]
    assert shown[1] == [6, 10, 14, 6, 5, 13, 4, 5, 2, 1, 1, 2, 1, 2, 3, 4]
    assert [row["output_zero_point"] for row in rows] == [-5, -5]
    assert [row["output_signed"] for row in rows] == [1, 1]


def hostile_model(names):
    codes = Format(8, 1.0)
    nodes = [IntegerNode("input", "input", (), codes, ("1*B", 3, 2, 2))]
    for i, name in enumerate(names):
        nodes.append(
            IntegerNode(name, "lookup", ("input",), codes, ("1*B", 4), {}, {"table": f"{i}"})
        )
    return IntegerModel("x", tuple(nodes), {f"{i}": np.arange(256) for i in range(len(names))})


def test_hostile_names_give_a_clean_package(tmp_path):
    names = [
        *("module", "a.b", "a-b", "A.b", "1", "1.1", "11", "", "é", "x" * 300, "s", "none", "_"),
        *("a\nendpackage", "verilator lint_on", 'quote"', "`include", "back\\", "*/", "end module"),
    ]
    model = dataclasses.replace(hostile_model(names), name="evil\n`define")
    found = Reading(model, Workload("x", (), 0), Accelerator(), tmp_path)
    assert int(found.values["scalar", "NumLayers"]) == len(names)
    for entry in found.memories:
        assert f'"{entry["path"]}"' in found.text
    assert found.text.isascii()
    assert max(map(len, found.text.splitlines())) < 400


@settings(deadline=None)
@given(st.lists(st.text("aAbB1._é", max_size=3), max_size=15))
def test_identifiers_are_unlike_in_any_case(names):
    identifiers = Identifiers("Layer")
    chosen = [identifiers.of(name) for name in names]
    assert len({name.casefold() for name in chosen}) == len(names)
    assert all(re.fullmatch(r"Layer[A-Za-z0-9_]+", name) for name in chosen)


def test_the_same_model_gives_the_same_package(reading):
    again = package_sv(reading.model, reading.accelerator, reading.workload, reading.memories)
    assert again == reading.text
