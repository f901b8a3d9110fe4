"""README.md of a bundle: what an RTL engineer needs to build the design and to check it."""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from codesign.export.arithmetic_text import PRINCIPLES, operation_list
from codesign.export.file_table import file_rows
from codesign.export.golden import Golden
from codesign.export.guides import memory_guide, onnx_guide, scalesim_guide
from codesign.export.onnx_float import MirrorReport
from codesign.export.worked_example import worked_example
from codesign.integer.model import IntegerModel
from costmodels.estimate import Cost

_LOOP_COLUMNS = ("loops, outermost first", "DRAM bytes")
LAYER_COLUMNS = (
    *("layer", "op", "engine", "weights", "input bits", "output bits", "accumulator bits"),
    *("cycles", "bound by", "MAC use"),
)


def readme(
    title: str,
    model: IntegerModel,
    accuracy: float,
    hardware: Mapping[str, Any],
    cost: Cost,
    golden: Golden,
    files: Iterable[str],
    mirrors: Mapping[str, MirrorReport],
) -> str:
    """Return the text.

    Args:
        title: What the bundle is of.
        model: The integer model.
        accuracy: Its accuracy on the validation split, a fraction.
        hardware: The content of hardware.json, its memories included.
        cost: The design's cost.
        golden: The golden vectors.
        files: Paths of the bundle's other files.
        mirrors: How far the float mirrors are from the integers, by file.

    Raises:
        RunError: A worked example does not give the golden code.
    """
    present = set(files)
    memories = hardware["memories"], hardware["golden_memories"]
    images = len(golden.images)
    sections = {
        f"# {model.name}: {title}": _summary(accuracy, hardware, model),
        "## Files": _table(("file", "what it is"), file_rows(present, images)),
        "## How to verify": _verification(images, present),
        "## The arithmetic": _arithmetic(model),
        "## The first layer by hand": worked_example(model, golden, *memories),
        "## Memory files": memory_guide(hardware["memories"], hardware["golden_memories"]),
        "## ONNX": onnx_guide(model, present, mirrors),
        "## Layers": _layers(model, hardware) + "\n\n" + _LAYER_NOTES,
        "## Tiling and DRAM": _tiling(hardware),
        "## Chains": _chains(hardware),
        "## SCALE-Sim": scalesim_guide(present),
        "## Cost": _cost(cost),
    }
    return "\n\n".join(f"{head}\n\n{text}" for head, text in sections.items() if text) + "\n"


_PURPOSE = """\
A neural network in whole numbers, and the accelerator that runs it. Everything the hardware has to
compute is on this page and in the files it lists; nothing else is needed to build it. Start with
the arithmetic, work out the first layer by hand, then let `verify.py` and the golden codes check
each further layer."""


def _summary(accuracy: float, hardware: Mapping[str, Any], model: IntegerModel) -> str:
    board, source, logits = hardware["board"], model.input_format, model.logits_format
    return "\n".join(
        [
            _PURPOSE,
            "",
            f"- validation accuracy of these integers: {accuracy:.4%}",
            f"- board {board['name']} ({board['part']}) at {hardware['clock_mhz']:g} MHz,"
            f" {hardware['dataflow'].upper()} dataflow, {hardware['precision']} precision, batch"
            f" {hardware['batch']}",
            f"- input: shape {list(model.nodes[0].shape)} (B is the batch), {source.bits}-bit"
            f" codes, scale {source.scale!r}, zero point {source.zero_point}",
            f"- logits: shape {list(model.nodes[-1].shape)}, {logits.bits}-bit"
            f" {'signed' if logits.signed else 'unsigned'} codes, scale {logits.scale!r}",
        ]
    )


def _verification(images: int, files: Container[str]) -> str:
    commands = [
        ("sha256sum -c MANIFEST.sha256", "nothing is damaged"),
        ("python verify.py", f"NumPy alone; every node, {images} images"),
        ("python -m codesign.verify .", "all of it, in every executor; needs the package"),
    ]
    width = max(len(command) for command, _ in commands)
    lines = [f"    {command.ljust(width)}   # {what}" for command, what in commands]
    return "\n".join([*lines, "", _VERIFICATION_NOTES])


_VERIFICATION_NOTES = """\
`verify.py` ends with code 0 and "0 differing integers", or with code 1 at the first code that
differs: layer, index, expected, got. To check an RTL simulation, feed it the codes of node
`input` of `golden/golden.npz` and compare each layer's output with the array of its name:
layout (image, channel, row, column) after convolutions, (..., token, channel) in attention."""


def _arithmetic(model: IntegerModel) -> str:
    return "\n".join(
        [
            PRINCIPLES,
            "The operations of this network:",
            "",
            operation_list(model),
            "",
            "Floating point exists only before the input's codes and after the logits' codes; the"
            " class is the index of the largest logit code.",
        ]
    )


def _layers(model: IntegerModel, hardware: Mapping[str, Any]) -> str:
    steps = {step["name"]: step for step in hardware["schedule"]}
    widths = {layer["name"]: layer for layer in hardware["layers"]}
    nodes = {node.name: node for node in model.nodes}
    rows = []
    for name, step in steps.items():
        if "kind" not in step:
            continue
        width = widths.get(name)
        bound = int(nodes[name].attributes["accumulator_bound"]).bit_length() + 1
        weights = f"{width['weight_scheme']} {width['weight_bits']}" if width else "activations"
        engine = f"{step['engine']} {step['rows']}x{step['cols']}"
        bits = (step["activation_bits"], step["output_bits"], bound)
        use = f"{step['utilisation']:.1%}"
        rows.append(
            (name, step["kind"], engine, weights, *bits, step["cycles"], step["bound_by"], use)
        )
    return _table(LAYER_COLUMNS, rows)


_LAYER_NOTES = """\
Accumulator bits include the sign and follow from the proved bound. `log2` and `log2std` weights are
0 or plus or minus a power of two, so that a product is a shift: a b-bit weight stores a sign bit
and an exponent field of b - 1 bits, all ones meaning 0. `apot` weights are sums of two or three
powers of two; of a `mixed` layer the output channels in its `log2_channels` are log2, the others
uniform. weights.npz holds the integers themselves."""


_CHAIN_COLUMNS = (
    *("first operation", "kind", "operations", "bands of rows", "weights"),
    *("cycles", "bound by"),
)
_CHAIN_NOTES = """\
The operations of a chain run as one, band of rows by band, and what they hand on stays on chip: in
step j operation s works on band j - s, and the next step begins when all are done. `chains` in
hardware.json says which operations, which tensors stay and what each buffer holds; where a band
begins and what a depthwise window keeps for the next one follows from `rows`."""


def _tiling(hardware: Mapping[str, Any]) -> str:
    dram = hardware["dram"]
    cut = [
        (
            s["name"],
            *(f"{s['tiling'][f'tile_{a}']} ({s['tiling']['tiles'][a]})" for a in "mkn"),
            " > ".join(s["tiling"]["loop_order"]),
            s["dram_bytes"],
        )
        for s in hardware["schedule"]
        if max(s.get("tiling", {}).get("tiles", {"": 1}).values()) > 1
    ]
    text = (
        f"{_images(hardware['batch'])} {dram['bytes_per_inference']} bytes:"
        f" {dram['input_bytes']} of inputs, {dram['weight_bytes']} of weights,"
        f" {dram['constant_bytes']} of biases, multipliers and shifts,"
        f" {dram['output_bytes']} of results. A layer is a product of an M x K matrix of inputs"
        " (an output pixel's window a row) and a K x N matrix of weights, `repeats` times."
    )
    if not cut:
        return text + " Every product fits the buffers in one tile."
    columns = ("layer", "tile m (tiles)", "tile k (tiles)", "tile n (tiles)", *_LOOP_COLUMNS)
    return (
        f"{text} Products that do not fit the buffers whole are cut into tiles:\n\n"
        f"{_table(columns, cut)}\n\nAll others are one tile. `schedule` in hardware.json has the"
        " bytes of each operand and what a tile occupies in each buffer."
    )


def _chains(hardware: Mapping[str, Any]) -> str:
    """Return which operations run as one; empty where each runs alone."""
    if not hardware["chains"]:
        return ""
    rows = [
        (
            c["name"],
            c["kind"],
            len(c["operations"]),
            f"{c['bands']} of {c['rows']}",
            "read once" if c["resident"] else "read for every band",
            c["cycles"],
            c["bound_by"],
        )
        for c in hardware["chains"]
    ]
    return f"{_CHAIN_NOTES}\n\n{_table(_CHAIN_COLUMNS, rows)}"


def _images(batch: int) -> str:
    return "One image moves" if batch == 1 else f"A batch of {batch} images moves"


def _cost(cost: Cost) -> str:
    rows = [(name, f"{value:.6g}", cost.source(name)) for name, value in cost.metrics.items()]
    return _table(("figure", "value", "backed by"), rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)
