"""The scalar parameters of the package: arrays, buffers, clock, and the widths they share."""

from collections.abc import Mapping

from codesign.export.memories.model import BIAS_BITS, SHIFT_BITS
from codesign.graph.ir import resolve
from codesign.integer.model import IntegerModel
from codesign.numerics.fixed_point import MULTIPLIER_BITS
from costmodels.accelerator import Accelerator
from costmodels.engines import Build

_ENGINES = {"mac_array": "Mac", "shift_array": "Shift", "depthwise": "Depthwise"}
_KB = 1024


def parameters(
    model: IntegerModel,
    accelerator: Accelerator,
    builds: Mapping[str, Build],
    num_layers: int,
    num_memories: int,
) -> str:
    """Return the parameters, one a line.

    Args:
        model: Gives the formats of images and logits.
        accelerator: The accelerator.
        builds: What each engine that is built is built for.
        num_layers: Entries of the table of layers.
        num_memories: Entries of the table of memories.
    """
    sizes = {
        **_template(accelerator),
        **_built(builds),
        **_network(model),
        "NumLayers": (num_layers, ""),
        "NumMemories": (num_memories, "with MemoryNone"),
    }
    lines = [
        f"  parameter int unsigned {name} = {value};" + (f"  // {note}" if note else "")
        for name, (value, note) in sizes.items()
    ]
    return "\n".join([*_choices(accelerator), *lines])


def _choices(a: Accelerator) -> list[str]:
    dataflow = {"os": "Output", "ws": "Weight", "is": "Input"}[a.dataflow]
    return [
        "  typedef enum logic [1:0] {",
        "    DataflowOutputStationary = 2'd0,",
        "    DataflowWeightStationary = 2'd1,",
        "    DataflowInputStationary = 2'd2",
        "  } dataflow_e;",
        "",
        f"  parameter dataflow_e Dataflow = Dataflow{dataflow}Stationary;",
        f"  parameter bit ReconfigurablePrecision = 1'b{int(a.precision == 'reconfigurable')};",
        f"  parameter bit MultipliersInLuts = 1'b{int(a.mac_pe == 'lut')};",
        f"  parameter bit FusedChains = 1'b{int(a.fused_chains)};",
    ]


def _template(a: Accelerator) -> dict[str, tuple[int, str]]:
    half = "each of two halves"
    return {
        "ClockHz": (round(a.clock_mhz * 1e6), ""),
        "MacRows": (a.mac_rows, ""),
        "MacCols": (a.mac_cols, ""),
        "ShiftRows": (a.shift_rows, ""),
        "ShiftCols": (a.shift_cols, ""),
        "DepthwiseLanes": (a.depthwise_lanes, ""),
        "VectorLanes": (a.vector_lanes, ""),
        "InputBufferBytes": (a.input_buffer_kb * _KB, half),
        "WeightBufferBytes": (a.weight_buffer_kb * _KB, half),
        "OutputBufferBytes": (a.output_buffer_kb * _KB, half),
    }


def _built(builds: Mapping[str, Build]) -> dict[str, tuple[int, str]]:
    """Return the operand widths of each engine's PEs, 0 where no layer uses it."""
    values: dict[str, tuple[int, str]] = {}
    for engine, name in _ENGINES.items():
        build = builds.get(engine)
        note = "" if build else "no layer runs there"
        for key in ("weight_bits", "activation_bits", "accumulator_bits"):
            words = "".join(word.capitalize() for word in key.split("_"))
            values[name + words] = (getattr(build, key) if build else 0, note)
    return values


def _network(model: IntegerModel) -> dict[str, tuple[int, str]]:
    channels, height, width = resolve(model.nodes[0].shape, 1)[1:]
    bounds = [int(n.attributes.get("accumulator_bound", 0)) for n in model.nodes]
    return {
        "ImageChannels": (channels, ""),
        "ImageHeight": (height, ""),
        "ImageWidth": (width, ""),
        "ImageBits": (model.input_format.bits, ""),
        "LogitBits": (model.logits_format.bits, "two's complement"),
        "NumClasses": (resolve(model.nodes[-1].shape, 1)[-1], ""),
        "AccumulatorBits": (max(bounds).bit_length() + 1, "the widest, sign included"),
        "MultiplierBits": (MULTIPLIER_BITS, "of a requantisation"),
        "ShiftBits": (SHIFT_BITS, ""),
        "BiasBits": (BIAS_BITS, ""),
    }
