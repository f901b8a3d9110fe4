"""Input files for SCALE-Sim 3.0.0: configuration, topology and layout of one array's layers.

SCALE-Sim (Samajdar et al., ISPASS 2020) reads one convolution a row, has no padding, rounds partial
strides up, and knows neither groups nor repetitions. So heights and widths have the padding
included and are cut to what the stride reaches, a row is one group (or one head), and `repeats` in
the schedule of hardware.json says how often it runs. Every row, the header too, ends in a comma.
"""

from collections.abc import Mapping, Sequence

from costmodels.accelerator import Accelerator
from costmodels.engines import Placement, array_parts
from costmodels.scalesim import Task, layer_task

_TOPOLOGY_HEADER = (
    "Layer name,IFMAP height,IFMAP width,Filter height,Filter width,Channels,Num filter,Strides,"
)
_LAYOUT_COLUMNS = 20
_MAC_ARRAY, _SHIFT_ARRAY = "mac_array", "shift_array"


def scalesim_files(
    accelerator: Accelerator, placements: Sequence[Placement], run_name: str
) -> dict[str, str]:
    """Return file name to text: three files for every array shape that layers run on.

    `scalesim.cfg`, `topology.csv` and `layout.csv` describe the MAC array as built. Further shapes
    carry a suffix: `_shift_array`, and, where reconfigurable PEs widen the MAC array for narrow
    products, `_mac_array_16x64`. An array that no layer uses has no files.

    Args:
        accelerator: Gives the dataflow and the buffers.
        placements: The matrix layers on their engines (`costmodels.engines.place`).
        run_name: SCALE-Sim writes its reports in a folder of this name.
    """
    shapes: dict[str, list[Placement]] = {}
    for placement in array_parts(placements):
        shapes.setdefault(_suffix(placement, accelerator), []).append(placement)
    files: dict[str, str] = {}
    for suffix, placed in shapes.items():
        rows, cols = placed[0].rows, placed[0].cols
        tasks = {
            p.layer.name: layer_task(p.layer, rows, cols, accelerator.dataflow) for p in placed
        }
        files[f"scalesim{suffix}.cfg"] = _config(accelerator, rows, cols, run_name + suffix)
        files[f"topology{suffix}.csv"] = _topology(tasks)
        files[f"layout{suffix}.csv"] = _layout(tasks)
    return files


def _suffix(placement: Placement, accelerator: Accelerator) -> str:
    if placement.engine == _SHIFT_ARRAY:
        return f"_{_SHIFT_ARRAY}"
    if (placement.rows, placement.cols) == (accelerator.mac_rows, accelerator.mac_cols):
        return ""
    return f"_{_MAC_ARRAY}_{placement.rows}x{placement.cols}"


def _config(accelerator: Accelerator, rows: int, cols: int, run_name: str) -> str:
    sections: dict[str, dict[str, object]] = {
        "general": {"run_name": run_name},
        "architecture_presets": {
            "ArrayHeight": rows,
            "ArrayWidth": cols,
            "IfmapSramSzkB": accelerator.input_buffer_kb,
            "FilterSramSzkB": accelerator.weight_buffer_kb,
            "OfmapSramSzkB": accelerator.output_buffer_kb,
            "IfmapOffset": 0,
            "FilterOffset": 10_000_000,
            "OfmapOffset": 20_000_000,
            "Bandwidth": 10,
            "Dataflow": accelerator.dataflow,
            "ReadRequestBuffer": 64,
            "WriteRequestBuffer": 64,
        },
        "layout": {
            **_banks("Ifmap"),
            **_banks("Filter"),
        },
        "sparsity": {
            "SparsitySupport": "false",
            "SparseRep": "ellpack_block",
            "OptimizedMapping": "false",
            "BlockSize": 8,
            "RandomNumberGeneratorSeed": 40,
        },
        "run_presets": {"InterfaceBandwidth": "CALC", "UseRamulatorTrace": "False"},
    }
    blocks = [
        "\n".join([f"[{name}]", *(f"{key} = {value}" for key, value in keys.items())])
        for name, keys in sections.items()
    ]
    return "\n\n".join(blocks) + "\n"


def _banks(operand: str) -> dict[str, object]:
    # The bandwidth must be a multiple of the number of banks even where layouts are off.
    return {
        f"{operand}CustomLayout": "False",
        f"{operand}SRAMBankBandwidth": 10,
        f"{operand}SRAMBankNum": 10,
        f"{operand}SRAMBankPort": 2,
    }


def _topology(tasks: Mapping[str, Task]) -> str:
    rows = [_TOPOLOGY_HEADER]
    for name, task in tasks.items():
        sizes = _sizes(task)
        rows.append(",".join([_plain(name), *(str(size) for size in sizes)]) + ",")
    return "\n".join(rows) + "\n"


def _sizes(t: Task) -> tuple[int, ...]:
    """Return height, width, kernel, channels, filters and the one stride SCALE-Sim reads."""
    if t.stride_height == t.stride_width:
        image = (t.height, t.width, t.kernel_height, t.kernel_width, t.channels)
        return (*image, t.filters, t.stride_height)
    outputs = ((t.height - t.kernel_height) // t.stride_height + 1) * (
        (t.width - t.kernel_width) // t.stride_width + 1
    )
    return (outputs, 1, 1, 1, t.channels * t.kernel_height * t.kernel_width, t.filters, 1)


def _layout(tasks: Mapping[str, Task]) -> str:
    header = ",".join(["Layer name", *(f"Factor {i + 1}" for i in range(_LAYOUT_COLUMNS))]) + ","
    rows = [",".join([_plain(name), *["1"] * _LAYOUT_COLUMNS]) + "," for name in tasks]
    return "\n".join([header, *rows]) + "\n"


def _plain(name: str) -> str:
    """Return a name without commas, line ends, and "DP", which SCALE-Sim takes for depthwise."""
    return (
        "".join(c if c.isprintable() else "_" for c in name).replace(",", ";").replace("DP", "Dp")
    )
