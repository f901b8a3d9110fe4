"""The text of accelerator_pkg.sv.

IEEE 1800-2017 in the style of the lowRISC Verilog coding style guide: a package of constants and
types, parameters in UpperCamelCase, types ending in _t and _e, no macros and no logic.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from codesign.export.memories.text import printable
from codesign.export.package.fields import (
    ENGINES,
    FIELDS,
    SCHEME_NAMES,
    Layer,
    Values,
    layer_values,
    operation_name,
)
from codesign.export.package.identifiers import Identifiers
from codesign.export.package.layers import OPERATIONS, layers
from codesign.export.package.parameters import parameters
from codesign.integer.model import IntegerModel
from costmodels.accelerator import Accelerator
from costmodels.batch import batched
from costmodels.board import load_board
from costmodels.engines import place
from costmodels.workload import Workload

_ENCODINGS = {
    "unsigned": "EncodingUnsigned",
    "twos_complement": "EncodingTwosComplement",
    "sign_exponent": "EncodingSignExponent",
    "sign_terms": "EncodingSignTerms",
}
_MEMORY_FIELDS = {
    "encoding": ("encoding_e", "of an element"),
    "element_bits": ("logic [7:0]", ""),
    "lanes": ("logic [7:0]", "elements of a word, the first in the least significant bits"),
    "word_bits": ("logic [7:0]", ""),
    "words": ("logic [31:0]", ""),
    "rows": ("logic [31:0]", "size of axis 0: each index has words / rows words of its own"),
}
_INDEX_BITS = 16
_END = "endpackage\n// verilator lint_on UNUSEDPARAM"
_LINE = 95


def package_sv(
    model: IntegerModel,
    accelerator: Accelerator,
    workload: Workload,
    memories: Sequence[Mapping[str, Any]],
    *,
    batch: int = 1,
) -> str:
    """Return rtl/accelerator_pkg.sv.

    Args:
        model: The integer model.
        accelerator: The accelerator it runs on.
        workload: What the model asks of hardware; gives engines and shapes.
        memories: The index of `memory_files`; layers refer to its files.
        batch: Images that run together: how wide a layer sees an array of reconfigurable PEs may
            depend on it. Sizes are those of one image.

    Raises:
        CostModelError: A layer has no engine on this accelerator.
    """
    images, board = batched(workload, batch), load_board(accelerator.board)
    placed, builds = place(images, accelerator, board.dsp_type)
    pairs = zip(placed, workload.layers, strict=True)
    placements = [replace(placement, layer=layer) for placement, layer in pairs]
    memory_names, layer_names = Identifiers("Memory"), Identifiers("Layer")
    memory_names.of("None")
    files = {e["path"]: memory_names.of(f"{e['layer']}.{e['role']}") for e in memories}
    chain = layers(model, workload, placements, memories, files)
    sections = (
        parameters(model, accelerator, builds, len(chain), len(memories) + 1),
        _enumeration("engine_e", ENGINES.values()),
        _enumeration("operation_e", [operation_name(op) for op in OPERATIONS]),
        _enumeration("scheme_e", SCHEME_NAMES.values()),
        _enumeration("encoding_e", _ENCODINGS.values()),
        _enumeration("memory_e", ["MemoryNone", *files.values()], _INDEX_BITS),
        _enumeration("layer_e", [layer_names.of(layer.node.name) for layer in chain], _INDEX_BITS),
        _structure("memory_t", _MEMORY_FIELDS),
        _structure("layer_t", FIELDS),
        _memory_table(memories),
        _memory_paths(memories),
        _layer_table(chain),
    )
    return "\n\n".join((_head(model), *sections, _END)) + "\n"


def _head(model: IntegerModel) -> str:
    return f"""\
// Constants of the accelerator for {printable(model.name)}; README.md and graph.json say what the
// operations compute. Layers stand in the order of the schedule. A field mem_* is an index into
// Memories and MemoryPaths, MemoryNone (0) where the layer has no such memory.

// No design reads every constant.
// verilator lint_off UNUSEDPARAM
package accelerator_pkg;"""


def _enumeration(name: str, items: Iterable[str], bits: int = 0) -> str:
    names = list(items)
    width = bits or max(1, (len(names) - 1).bit_length())
    lines = [f"    {item} = {width}'d{value}" for value, item in enumerate(names)]
    return f"  typedef enum logic [{width - 1}:0] {{\n" + ",\n".join(lines) + f"\n  }} {name};"


def _structure(name: str, fields: Mapping[str, tuple[str, str]]) -> str:
    lines = [
        f"    {kind} {field};" + (f"  // {meaning}" if meaning else "")
        for field, (kind, meaning) in fields.items()
    ]
    return "  typedef struct packed {\n" + "\n".join(lines) + f"\n  }} {name};"


def _memory_table(memories: Sequence[Mapping[str, Any]]) -> str:
    none: Values = {"encoding": "EncodingUnsigned"}
    rows = [_pattern(none, _MEMORY_FIELDS)]
    for entry in memories:
        values: Values = {key: entry[key] for key in _MEMORY_FIELDS if key in entry}
        values |= {"encoding": _ENCODINGS[entry["encoding"]], "rows": entry["shape"][0]}
        rows.append(_pattern(values, _MEMORY_FIELDS))
    return _array("memory_t", "Memories", "NumMemories", rows)


def _memory_paths(memories: Sequence[Mapping[str, Any]]) -> str:
    paths = ['""', *(f'"{entry["path"]}"' for entry in memories)]
    return _array("string", "MemoryPaths", "NumMemories", paths)


def _layer_table(chain: Sequence[Layer]) -> str:
    return _array(
        *("layer_t", "Layers", "NumLayers"),
        [_pattern(layer_values(layer), FIELDS) for layer in chain],
        [printable(layer.node.name) for layer in chain],
    )


def _array(
    kind: str, name: str, count: str, rows: Sequence[str], comments: Sequence[str] = ()
) -> str:
    ends = [","] * (len(rows) - 1) + [""]
    lines = [f"    {row}{end}" for row, end in zip(rows, ends, strict=True)]
    if comments:
        pairs = enumerate(zip(comments, lines, strict=True))
        lines = [f"    // {place}: {comment}\n{line}" for place, (comment, line) in pairs]
    return f"  parameter {kind} {name} [{count}] = '{{\n" + "\n".join(lines) + "\n  };"


def _pattern(values: Values, fields: Mapping[str, tuple[str, str]]) -> str:
    """Return an assignment pattern, wrapped; fields that are left out are 0."""
    items = [f"{key}:\0{_literal(value, fields[key][0])}," for key, value in values.items()]
    text = " ".join(["'{" + items[0], *items[1:], "default:\0'0}"])
    lines = textwrap.wrap(text, _LINE, subsequent_indent=" " * 6, break_long_words=False)
    return "\n".join(lines).replace("\0", " ")


def _literal(value: int | str, kind: str) -> str:
    """Return an enumerator as it is, a number with the width and the sign of its type."""
    if isinstance(value, str):
        return value
    width = int(kind.partition("[")[2].partition(":")[0] or 0) + 1
    if not -(2**31) <= value < 2**width:
        raise ValueError(f"{value} does not fit {kind}")
    sign = "-" if value < 0 else ""
    return f"{sign}{width}'{'s' if 'signed' in kind else ''}d{abs(value)}"
