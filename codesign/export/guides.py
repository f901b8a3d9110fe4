"""How to use the files of a bundle: memories, ONNX, SCALE-Sim; sections of its README."""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from codesign.export.onnx_float import MirrorReport
from codesign.integer.model import IntegerModel

Entry = Mapping[str, Any]


def memory_guide(memories: Sequence[Entry], golden: Sequence[Entry]) -> str:
    """Return how to read .mem files, with one of this bundle's; empty without any.

    Args:
        memories: What each file of mem/ holds, as in hardware.json.
        golden: Likewise of golden/mem/.
    """
    if not memories:
        return ""
    entry = next((e for e in memories if e["role"].startswith("weight")), memories[0])
    width, words, lanes = entry["word_bits"], entry["words"], entry["lanes"]
    bits = entry["element_bits"]
    lines = [
        "One word a line in hexadecimal, behind comment lines that say what it holds. Several",
        "elements share a word: lane 0 is in the least significant bits, unused lanes are 0. Each",
        "index of the first axis begins a new word; within it the last axis runs fastest.",
        "`memories` and `golden_memories` in hardware.json say the same of every file. An example:",
        "",
        f"    // {entry['path']}: {entry['role']} of {entry['layer']},"
        f" shape {entry['shape']}, {lanes} lanes of {bits} bits",
        f"    logic [{width - 1}:0] words [0:{words - 1}];",
        f'    initial $readmemh("{entry["path"]}", words);',
        f"    // lane i of word w: words[w][{bits}*i +: {bits}]",
        "",
        _ENCODINGS,
    ]
    if golden:
        lines += ["", _GOLDEN]
    return "\n".join(lines)


_ENCODINGS = """\
`encoding` tells how the bits of an element are read: `twos_complement`; `unsigned`;
`sign_exponent`, a sign bit above an exponent field e that means 2^e, all ones meaning 0;
`sign_terms`, a sign bit above one field for each power of two of the sum. `codebook` lists the
number of every code of the last two. A mixed layer has `weight_uniform` and `weight_log2`, each
with its own output channels in ascending order, and `log2_channel`, one bit a channel."""
_GOLDEN = """\
`golden/mem/` holds the codes of the golden images, the image first: the input, the logits, and
what leaves an output stage. Codes that are only moved, and codes that an activation function in
the same output stage reads, have no file; they are in golden.npz."""


def onnx_guide(
    model: IntegerModel, files: Container[str], mirrors: Mapping[str, MirrorReport]
) -> str:
    """Return how to run the ONNX files; empty without any."""
    if "model.integer.onnx" not in files:
        return ""
    source = model.nodes[0].name
    lines = [
        "    import numpy as np, onnxruntime",
        "",
        '    session = onnxruntime.InferenceSession("model.integer.onnx")',
        "    wanted = session.get_inputs()[0]",
        f'    codes = np.load("golden/golden.npz")["{source}"]',
        "    logits = session.run(None, {wanted.name: codes.astype(wanted.type[7:-1])})[0]",
        f'    print((logits != np.load("golden/golden.npz")["{model.nodes[-1].name}"]).sum())  # 0',
        "",
        "It reads the input's codes and gives the logits' codes, in standard integer operators.",
    ]
    if mirrors:
        bits = model.logits_format.bits
        lines += ["", _MIRRORS, f"(codes of the logits, of {bits} bits, are compared)", ""]
        lines += [f"- `{name}`: {report.line()}" for name, report in mirrors.items()]
    return "\n".join(lines)


_MIRRORS = """\
The mirrors compute in floating point. They stand for the same real numbers, but round elsewhere, so
some codes differ. Measured when this bundle was written, and kept in interchange.json"""


def scalesim_guide(files: Iterable[str]) -> str:
    """Return how to run SCALE-Sim on the bundle's files."""
    configurations = sorted(name for name in files if name.startswith("scalesim"))
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
A layer takes (reported cycles + 1) x `repeats` x `passes` of its step in hardware.json's schedule:
`compute_cycles` there. SCALE-Sim reports the index of the last cycle; a grouped convolution stands
in the topology as one of its groups, an attention product as one of its heads; a shift array adds
one power of two of an `apot` weight at a time. A layer that two arrays share is in both topologies,
and takes as long as the slower. An operation of a chain runs band by band: its `compute_cycles` are
those of its bands, each a product of its own.

Heights and widths include the padding. Rows and columns that the stride does not reach are cut
off, since SCALE-Sim knows no padding and rounds strides up. Products of matrices are convolutions
of a 1 x 1 kernel over an M x 1 image with K channels and N filters. Layers of the depthwise engine
are not in it. An array of other columns than hardware.json builds is the same one, its PEs packing
more, narrower products.

The command line reads the same files (`python -m scalesim.scale -c scalesim.cfg -t topology.csv
-l layout.csv -p ../reports`), but release 3.0.0 then writes the traces of every cycle as well.
Keep the reports out of this folder: it holds nothing but the manifest's files."""
