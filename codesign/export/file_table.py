"""What the files of a bundle are, for its README."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

MANIFEST = "MANIFEST.sha256"
README = "README.md"
FILES = {
    README: "this page",
    "design.json": "the design: number formats, activation functions, accelerator",
    "hardware.json": (
        "board, engines, buffers; the schedule with tiling, cycles and bytes; what each .mem holds"
    ),
    "workload.json": "what the network asks of hardware: shapes, operations, widths",
    "graph.json": "the integer network: nodes in execution order, formats, constants",
    "weights.npz": "every integer tensor, under the keys that graph.json names",
    "cost.json": "every cost figure with what backs it, per operation and in all",
    "preprocessing.json": "how an image becomes the network's input",
    "verify.py": "replays the network in integers, with NumPy alone, and compares every node",
    "golden/golden.npz": "the codes of every node for {images} validation images, by node name",
    "golden/images.npz": "those images (float32), their labels, and the classes to expect",
    "golden/mem/*.mem": "golden codes for a test bench: the input, what layers store, the logits",
    "mem/*.mem": "weights, biases, multipliers, shifts and tables for $readmemh",
    "rtl/accelerator_pkg.sv": "SystemVerilog package: the accelerator's parameters, each layer's",
    "model.integer.onnx": "the same network in ONNX, integer tensors only: the same logits",
    "model.qdq.onnx": "a mirror in float arithmetic (QuantizeLinear, DequantizeLinear)",
    "model.qonnx.onnx": "a mirror in float arithmetic for QONNX tools",
    "interchange.json": "how far the two mirrors are from the integers, measured",
    "scalesim*.cfg": "SCALE-Sim 3.0.0 configuration of an array",
    "topology*.csv": "the layers that run on it, as convolutions",
    "layout*.csv": "a data layout; SCALE-Sim wants one though it is not used",
    "schemas/*.schema.json": "JSON Schemas (2020-12) of the JSON files",
    MANIFEST: "hashes of all other files, written after every check had passed",
}
"""Pattern of paths to description, in the order of the README."""


def file_rows(paths: Iterable[str], images: int) -> list[tuple[str, str]]:
    """Return (file, what it is) for the files that are there, folders of many in one row.

    Args:
        paths: Paths of the bundle's files; README and manifest need not be among them.
        images: Golden images.
    """
    rest = {*paths, README, MANIFEST}
    rows = []
    for pattern, text in FILES.items():
        found = sorted(path for path in rest if fnmatchcase(path, pattern))
        rest -= set(found)
        text = text.format(images=images)
        if len(found) > 1 and "/" in pattern:
            rows.append((f"{pattern} ({len(found)} files)", text))
        else:
            rows += [(path, text) for path in found]
    return rows + [(path, "") for path in sorted(rest)]
