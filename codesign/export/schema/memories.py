"""The schema of what hardware.json says of a memory file."""

from codesign.export.schema.terms import Schema, bits, choice, closed, items, string, whole

_ENCODINGS = ("twos_complement", "unsigned", "sign_exponent", "sign_terms")
_PATH = r"^(golden/)?mem/[A-Za-z0-9_][A-Za-z0-9_.-]*\.mem$"


def memory_entry() -> Schema:
    """Return the description of one $readmemh file."""
    path = {"description": "path in the bundle", "type": "string", "pattern": _PATH}
    return closed(
        {
            "path": path,
            "layer": string("the node of graph.json it belongs to"),
            "role": string("weight, bias, multiplier, shift, table, input, output, ..."),
            "shape": items(whole("", 1), "sizes of the tensor, or of the golden codes"),
            "element_bits": bits("of one element"),
            "signed": {"description": "whether elements can be negative", "type": "boolean"},
            "encoding": choice(_ENCODINGS, "how the bits of an element are read"),
            "lanes": whole("elements of a word, lane 0 in the least significant bits", 1),
            "word_bits": whole("bits of a word, lanes x element_bits", 1),
            "words": whole("lines of the file without its header", 1),
            "order": string("which axis runs fastest"),
            "codebook": items(whole("", None), "the whole number of every code of an element"),
            "description": string("the same in words"),
        },
        optional=("codebook", "description"),
    )
