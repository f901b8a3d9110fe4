"""README.md of a bundle: what an RTL engineer needs to build the design and to check it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from codesign.export.arithmetic_text import PRINCIPLES, operation_list
from codesign.export.golden import Golden
from codesign.export.worked_example import worked_example
from codesign.integer.model import IntegerModel
from costmodels.estimate import Cost

FILES = {
    "design.json": "the design: number formats, activation functions, accelerator",
    "design.schema.json": "JSON Schema (2020-12) of design.json",
    "hardware.json": "board, engines, buffers, widths, and the schedule operation by operation",
    "graph.json": "the integer network: nodes in execution order, formats, constants",
    "weights.npz": "every integer tensor, under the keys that graph.json names",
    "golden/golden.npz": "the codes of every node for {images} validation images, by node name",
    "golden/images.npz": "those images (float32), their labels, and the classes to expect",
    "cost.json": "every cost figure with what backs it, per operation and in all",
    "verify.py": "replays the network in integers, with NumPy alone, and compares every node",
    "MANIFEST.sha256": "hashes of all files, written after every check had passed",
}
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
    simulation: Iterable[str],
) -> str:
    """Return the text.

    Args:
        title: What the bundle is of.
        model: The integer model.
        accuracy: Its accuracy on the validation split, a fraction.
        hardware: The content of hardware.json.
        cost: The design's cost.
        golden: The golden vectors.
        simulation: Names of the SCALE-Sim files in the bundle.

    Raises:
        RunError: The worked example does not give the golden code.
    """
    sections = [
        f"# {model.name}: {title}",
        _summary(accuracy, hardware, model),
        "## Files\n\n" + _files(golden, simulation),
        "## How to verify\n\n" + _verification(len(golden.images)),
        "## The arithmetic\n\n"
        + PRINCIPLES
        + "\nThe operations of this network:\n\n"
        + operation_list(model),
        "Floating point exists only before the input's codes and after the logits' codes; the class"
        " is the index of the largest logit code.",
        "## Worked example\n\n" + worked_example(model, golden),
        "## Layers\n\n" + _layers(model, hardware) + "\n\n" + _LAYER_NOTES,
        "## SCALE-Sim\n\n" + _scalesim(simulation),
        "## Cost\n\n" + _cost(cost),
    ]
    return "\n\n".join(sections) + "\n"


def _summary(accuracy: float, hardware: Mapping[str, Any], model: IntegerModel) -> str:
    board, source, logits = hardware["board"], model.input_format, model.logits_format
    return "\n".join(
        [
            f"- validation accuracy of these integers: {accuracy:.4%}",
            f"- board {board['name']} ({board['part']}) at {hardware['clock_mhz']:g} MHz,"
            f" {hardware['dataflow'].upper()} dataflow, {hardware['precision']} precision",
            f"- input: shape {list(model.nodes[0].shape)} (B is the batch), {source.bits}-bit"
            f" codes, scale {source.scale!r}, zero point {source.zero_point}",
            f"- logits: shape {list(model.nodes[-1].shape)}, {logits.bits}-bit"
            f" {'signed' if logits.signed else 'unsigned'} codes, scale {logits.scale!r}",
        ]
    )


def _files(golden: Golden, simulation: Iterable[str]) -> str:
    files = {name: text.format(images=len(golden.images)) for name, text in FILES.items()}
    last = files.pop("MANIFEST.sha256")
    files |= {name: _SIMULATION[name.split("_")[0].split(".")[0]] for name in simulation}
    return _table(("file", "what it is"), [*files.items(), ("MANIFEST.sha256", last)])


_SIMULATION = {
    "scalesim": "SCALE-Sim 3.0.0 configuration of an array",
    "topology": "the layers that run on it, as convolutions",
    "layout": "a data layout; SCALE-Sim wants one though it is not used",
}


def _verification(images: int) -> str:
    return f"""\
    sha256sum -c MANIFEST.sha256   # nothing is damaged
    python verify.py               # NumPy alone; every node, {images} images

`verify.py` ends with code 0 and "0 differing integers", or with code 1 at the first code that
differs: layer, index, expected, got. To check an RTL simulation, feed it the codes of node
`input` of `golden/golden.npz` and compare each layer's output with the array of its name:
layout (image, channel, row, column) after convolutions, (..., token, channel) in attention."""


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


def _scalesim(names: Iterable[str]) -> str:
    configurations = [name for name in names if name.startswith("scalesim")]
    if not configurations:
        return "No layer runs on an array, so there is nothing to simulate."
    calls = []
    for name in configurations:
        suffix = name.removeprefix("scalesim").removesuffix(".cfg")
        calls.append(
            f'    scalesim(save_disk_space=True, config="{name}",\n'
            f'             topology="topology{suffix}.csv",\n'
            f'             layout="layout{suffix}.csv").run_scale(top_path="../reports{suffix}")'
        )
    return "\n".join(["    from scalesim.scale_sim import scalesim", *calls, "", _SCALESIM_NOTES])


_SCALESIM_NOTES = """\
Heights and widths include the padding, and rows and columns that the stride does not reach are cut
off, since SCALE-Sim knows no padding and rounds strides up. A grouped or depthwise convolution
stands there as one of its groups, an attention product as one of its heads: multiply its cycles by
`repeats` of the schedule in hardware.json. Products of matrices are convolutions of a 1 x 1 kernel
over an M x 1 image with K channels and N filters. Layers of the depthwise engine are not in it.
An array of other columns than hardware.json builds is the same one, its PEs packing more, narrower
products.
Keep the reports out of this folder: it holds nothing but the manifest's files."""


def _cost(cost: Cost) -> str:
    rows = [(name, f"{value:.6g}", cost.source(name)) for name, value in cost.metrics.items()]
    return _table(("figure", "value", "backed by"), rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)
