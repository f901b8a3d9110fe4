"""The schema of hardware.json."""

from typing import Any

from codesign.export.schema.cost import chain_cost
from codesign.export.schema.design import PRECISIONS
from codesign.export.schema.memories import memory_entry
from codesign.export.schema.schedule import step, traffic, widths
from codesign.export.schema.terms import (
    Schema,
    bits,
    choice,
    closed,
    document,
    items,
    mapping,
    number_format,
    real,
    shape,
    string,
    whole,
)
from codesign.numerics.fixed_point import ACCUMULATOR_LIMIT
from costmodels.systolic import DATAFLOWS


def hardware_schema() -> dict[str, Any]:
    """Return the schema of what the accelerator is built from and runs."""
    return document(
        "An accelerator, its number formats, and the schedule of a network on it",
        {
            "model": string("the model's name"),
            "board": _board(),
            "clock_mhz": real("clock of the whole design in MHz", positive=True),
            "batch": whole("images that run together, layer by layer", 1),
            "dataflow": choice(DATAFLOWS, "output, weight or input stationary"),
            "precision": choice(PRECISIONS),
            "mac_pe": choice(("dsp", "lut"), "what the multipliers of MAC array and depthwise are"),
            "fused_chains": {
                "description": "chains of operations run band by band where that is quicker",
                "type": "boolean",
            },
            "engines": _engines(),
            "vector_unit": closed(
                {
                    "lanes": whole("elements a cycle", 1),
                    "functions": items(string(), "what the vector unit computes"),
                }
            ),
            "buffers": _buffers(),
            "dram": closed(
                {
                    "bytes_per_inference": whole("bytes of one inference of the batch, in all"),
                    **traffic(),
                },
                text="the sums over the schedule",
            ),
            "number_formats": _number_formats(),
            "layers": items(_layer(), "the layers with weights"),
            "tensors": mapping(
                closed({"shape": shape(), "format": number_format()}),
                "what the schedule reads and writes, by name",
            ),
            "schedule": items(step(), "the operations in the order in which they run"),
            "chains": items(_chain(), "the chains that run, in that order"),
            "memories": items(memory_entry(), "what each file of mem/ holds"),
            "golden_memories": items(memory_entry(), "what each file of golden/mem/ holds"),
        },
    )


def _chain() -> Schema:
    kept = items(string(), "tensors that never go to DRAM")
    return closed({**chain_cost(), "on_chip": kept}, text="operations that run as one")


def _board() -> Schema:
    resources = {
        "dsp": whole("DSP slices"),
        "lut": whole("six-input LUTs"),
        "ff": whole("flip-flops"),
        "bram36": whole("36-kbit block RAMs"),
        "uram": whole("288-kbit UltraRAMs"),
    }
    share = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
    kinds = ("lut", "ff", "dsp", "bram", "uram")
    return closed(
        {
            "name": string(),
            "part": string("the device"),
            "dsp_type": choice(["DSP48E1", "DSP48E2"]),
            "resources": closed(resources),
            "usable_share": closed(
                dict.fromkeys(kinds, share), text="share that still closes timing"
            ),
            "dram_gb_s": real("peak DRAM bandwidth in 1e9 bytes per second", positive=True),
            "dram_bytes_per_cycle_sustained": real("bytes per clock cycle", positive=True),
        }
    )


def _engines() -> Schema:
    array = {"rows": whole("in PEs"), "cols": whole("in PEs")}
    lanes = {"lanes": whole("channels at once")}
    sizes = {"mac_array": array, "shift_array": array, "depthwise": lanes}
    return closed({name: _engine(size) for name, size in sizes.items()})


def _engine(size: dict[str, Schema]) -> Schema:
    built = {
        "weight_bits": bits("of the weight operand"),
        "activation_bits": bits("of the activation operand"),
        "accumulator_bits": bits("of the accumulators"),
        "products_per_dsp": whole("products a DSP computes at once; 0 for PEs in LUTs"),
        "products_per_dsp_of_modes": items(whole(), "of each mode of reconfigurable PEs"),
    }
    used = closed({**size, "used": {"const": True}, **built})
    unused = closed({**size, "used": {"const": False}})
    return {
        "description": "what the PEs are built for, if layers run there",
        "oneOf": [used, unused],
    }


def _buffers() -> Schema:
    blocks = {
        "words": whole("depth in words; both halves of a double buffer"),
        "word_bits": whole("bits of a word, all read in one cycle"),
        "bram18": whole("18-kbit halves of block RAMs; two are one BRAM36"),
        "uram": whole("288-kbit UltraRAMs"),
        "lutram_luts": whole("LUTs used as memory"),
    }
    double = {**blocks, "half_bytes": whole("bytes of each of the two halves", 1)}
    return closed(
        {
            **{name: closed(double) for name in ("input", "weight", "output")},
            **{name: closed(blocks) for name in ("constants", "line_buffer")},
        }
    )


def _number_formats() -> Schema:
    return closed(
        {
            "input": number_format(),
            "logits": number_format(),
            "accumulator_bits": whole("bits, sign included, of the widest accumulator", 0, 32),
            "bias_bits": bits("of a bias, two's complement"),
            "multiplier_bits": bits("of a multiplier, unsigned"),
            "shift_range": items(whole("", 1), "least and largest shift", count=2),
        }
    )


def _layer() -> Schema:
    share = {"type": "number", "minimum": 0, "maximum": 1}
    return closed(
        {
            "name": string("timm module path"),
            **widths(),
            "accumulator_bound": whole("largest magnitude, proved", 0, ACCUMULATOR_LIMIT),
            "accumulator_bits": bits("of the accumulator by that bound, sign included"),
            "log2_channels": items(whole(), "the output channels that are log2"),
            "weight_sparsity": {"description": "share of weights that are zero", **share},
            "output_format": number_format(),
        },
        optional=("log2_channels", "weight_sparsity"),
    )
