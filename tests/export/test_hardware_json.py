"""hardware.json against the cost, the model, and the tile loops played from its own numbers."""

import math
from functools import cache

import pytest
from mixed_networks import network

from codesign.export.hardware import hardware_json
from codesign.graph.ir import SHAPE_OPERATIONS
from costmodels.accelerator import Accelerator
from costmodels.estimate import estimate

BUFFERS = ("input", "weight", "output")
SMALL = Accelerator(
    mac_rows=8,
    mac_cols=8,
    shift_rows=4,
    shift_cols=8,
    dataflow="ws",
    depthwise_lanes=4,
    **{f"{name}_buffer_kb": size for name, size in zip(BUFFERS, (1, 2, 1), strict=True)},
)
IN_LUTS = Accelerator(mac_pe="lut")
CASES = [("mobilenet", SMALL, 1), ("vit", SMALL, 1), ("vit", None, 1), ("mobilenet", SMALL, 3)]


@cache
def described(kind, accelerator, batch=1):
    model, work, accelerator = network(kind, "mixed_4@0.5", accelerator)
    cost = estimate(work, accelerator, batch=batch)
    return hardware_json(model, accelerator, cost, work), cost, model


@pytest.fixture(
    params=CASES, ids=lambda case: f"{case[0]}-{'small' if case[1] else 'default'}-{case[2]}"
)
def case(request):
    return described(*request.param)


def matrices(hardware):
    return [step for step in hardware["schedule"] if step["engine"] != "vector"]


def test_multipliers_in_luts_pack_nothing_into_dsps():
    dsp, lut = (described("mobilenet", a)[0] for a in (Accelerator(), IN_LUTS))
    assert (dsp["mac_pe"], lut["mac_pe"]) == ("dsp", "lut")
    assert dsp["engines"]["mac_array"]["products_per_dsp"] > 0
    for engine in lut["engines"].values():
        assert not engine["used"] or engine["products_per_dsp"] == 0
        assert not engine["used"] or not any(engine["products_per_dsp_of_modes"])


def test_bytes_add_up_to_the_cost(case):
    hardware, cost, _ = case
    priced = {layer.name: layer.dram_bytes for layer in cost.layers}
    assert list(priced) == [step["name"] for step in hardware["schedule"]]
    for step in hardware["schedule"]:
        assert sum(step["dram"].values()) == step["dram_bytes"] == priced[step["name"]]
        assert step["cycles"] == max(
            step["compute_cycles"], step["vector_cycles"], step["dram_cycles"]
        )
    total = hardware["dram"].pop("bytes_per_inference")
    assert total == sum(hardware["dram"].values()) == round(cost.metrics["fpga.dram_mb"] * 1e6)
    hardware["dram"]["bytes_per_inference"] = total


def test_weights_are_read_as_often_as_the_tile_loops_ask_for_them(case):
    hardware, _, _ = case
    for step in matrices(hardware):
        once = step["k"] * step["n"] * step["repeats"] * step["weight_bits"] / 8
        tiling, times = step["tiling"], 1
        if "tiles" in tiling:
            counts, loops = tiling["tiles"], tiling["loop_order"]
            assert loops[-1] == "k"
            if counts["k"] > 1 or loops[0] == "m":  # else a tile of weights stays in place
                times = counts["m"]
        assert abs(step["dram"]["weight_bytes"] - times * once) < 1, step["name"]
        constants = 0 if step["kind"] == "matmul" else 7 * step["n"] * step["repeats"]
        assert abs(step["dram"]["constant_bytes"] - constants) < 1
        written = step["m"] * step["n"] * step["repeats"] * step["output_bits"] / 8
        assert abs(step["dram"]["output_bytes"] - written) < 1


def test_inputs_are_read_as_often_as_the_tile_loops_ask_for_them(case):
    hardware, _, model = case
    shapes = {node.name: node.shape for node in model.nodes}
    for step in matrices(hardware):
        if step["kind"] == "matmul":
            continue  # its operands may have changed places
        elements = math.prod(s if isinstance(s, int) else 1 for s in shapes[step["inputs"][0]])
        once = hardware["batch"] * elements * step["activation_bits"] / 8
        tiling, times, bands = step["tiling"], 1, 1
        if "tiles" in tiling:
            counts, loops = tiling["tiles"], tiling["loop_order"]
            bands = counts["m"]
            if counts["k"] > 1 or loops[0] == "n":
                times = counts["n"]
        halo = (bands - 1) * tiling.get("halo_bytes", 0) * step["repeats"]
        read = step["dram"]["input_bytes"]
        assert times * once - 1 < read < times * (once + halo + bands) + 1, step["name"]


def test_tiles_cover_the_product_and_fit_the_buffers(case):
    hardware, _, _ = case
    counts = [n for s in matrices(hardware) for n in s["tiling"].get("tiles", {}).values()]
    assert max(counts) > 1 or hardware["buffers"]["input"]["half_bytes"] > 1024
    for step in matrices(hardware):
        if "tiles" not in step["tiling"]:
            assert step["engine"] == "depthwise"
            at_once, passes = (step["tiling"][key] for key in ("channels_at_once", "passes"))
            assert (passes - 1) * at_once < step["n"] * step["repeats"] <= passes * at_once
            continue
        tiling = step["tiling"]
        for axis in "mkn":
            size, count = tiling[f"tile_{axis}"], tiling["tiles"][axis]
            assert (count - 1) * size < step[axis] <= count * size
        for name in BUFFERS:
            assert 0 < tiling["buffer_bytes"][name] <= hardware["buffers"][name]["half_bytes"]
        weights = -(-tiling["tile_k"] * tiling["tile_n"] * step["weight_bits"] // 8)
        half = hardware["buffers"]["weight"]["half_bytes"]
        assert tiling["buffer_bytes"]["weight"] == min(weights, half)


def test_buffers_take_the_blocks_of_the_cost(case):
    hardware, cost, _ = case
    blocks = hardware["buffers"].values()
    assert sum(b["bram18"] for b in blocks) / 2 == cost.metrics["fpga.bram36"]
    assert sum(b["uram"] for b in blocks) == cost.metrics["fpga.uram"]
    for name in BUFFERS:
        buffer = hardware["buffers"][name]
        assert buffer["words"] * buffer["word_bits"] >= 2 * 8 * buffer["half_bytes"]


def test_the_schedule_reads_what_it_has_written(case):
    hardware, _, model = case
    nodes = {node.name: node for node in model.nodes}
    written = {model.nodes[0].name} | {n.name for n in model.nodes if n.op == "constant"}
    for step in hardware["schedule"]:
        for name in step["inputs"]:
            assert sources(nodes, name, written) <= written, (step["name"], name)
        written.add(step["output"])
    assert model.nodes[-1].name in written


def sources(nodes, name, written):
    """Return the computed tensors behind a name: moves and a concat's narrowing are no steps."""
    node = nodes[name]
    inside = node.op == "requantize" and name not in written
    if node.op in SHAPE_OPERATIONS or inside:
        return sources(nodes, node.inputs[0], written)
    return {name}


def test_formats_and_widths_are_the_models(case):
    hardware, _, model = case
    nodes = {node.name: node for node in model.nodes}
    for name, tensor in hardware["tensors"].items():
        assert tensor == {"shape": list(nodes[name].shape), "format": nodes[name].format.to_json()}
    for step in matrices(hardware):
        assert hardware["tensors"][step["output"]]["format"]["bits"] == step["output_bits"]
        bound = nodes[step["name"]].attributes["accumulator_bound"]
        assert 2 ** (step["accumulator_bits"] - 2) <= max(bound, 1) < 2 ** step["accumulator_bits"]
        if step["kind"] != "matmul":
            source = hardware["tensors"][step["inputs"][0]]["format"]
            assert source["bits"] == step["activation_bits"]


def test_a_split_layer_names_the_channels_of_each_array(case):
    hardware, _, model = case
    nodes = {node.name: node for node in model.nodes}
    split = [step for step in matrices(hardware) if step["parts"]]
    assert split
    for step in split:
        assert step["engine"] == "mac_array+shift_array"
        channels = {part["engine"]: part["n"] * part["repeats"] for part in step["parts"]}
        assert sum(channels.values()) == step["n"] * step["repeats"]
        log2 = len(nodes[step["name"]].attributes["log2_channels"])
        assert channels["shift_array"] == log2
