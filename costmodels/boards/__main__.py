"""`python -m costmodels.boards`: the FPGA boards and GPUs that the cost models know.

python -m costmodels.boards                  all boards
python -m costmodels.boards board=zcu104     every figure of one board or GPU, with its source
python -m costmodels.boards board=mine.yaml  the same of a board of your own, checked
python -m costmodels.boards gpus=true        the GPUs as well
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from costmodels.board import Board, Gpu, board_names, gpu_names, load_board, load_gpu
from costmodels.errors import CostModelError
from costmodels.measuring.options import describe_options, parse_options

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_UNITS = {
    "bandwidth_gb_s": "1e9 bytes/s",
    "fp16_tflops": "1e12 operations/s",
    "fp32_tflops": "1e12 operations/s",
    "int8_tops": "1e12 operations/s",
    "l2_mb": "1e6 bytes",
    "int4_tops": "1e12 operations/s",
    "clock_mhz": "MHz",
}
_NOT_CHECKED = "recalled"
_PIPE_WIDTH = 110
_LONGEST = 24


@dataclass(frozen=True)
class BoardOptions:
    """Options of `python -m costmodels.boards`."""

    board: str = field(
        default="",
        metadata={"help": "a board, a GPU, or a board's YAML file: show all its figures"},
    )
    gpus: bool = field(default=False, metadata={"help": "list the GPUs too"})


def board_table(boards: Sequence[Board]) -> "Table":
    """Return a row for each board; a star marks a figure that was not checked at its source."""
    table = _table("board", "part")
    for heading in ("DSP48", "LUT", "FF", "BRAM36", "URAM", "GB/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("usable %: LUT, FF,\nDSP, BRAM, URAM", no_wrap=True)
    for board in boards:
        shares = ", ".join(
            f"{100 * getattr(board, f'{kind}_ceiling'):.0f}"
            for kind in ("lut", "ff", "dsp", "bram", "uram")
        )
        figures = [_figure(board, name) for name in ("lut", "ff", "bram36", "uram")]
        dsp = f"{_figure(board, 'dsp')} {board.dsp_type.removeprefix('DSP48')}"
        bandwidth = _figure(board, "bandwidth_gb_s")
        table.add_row(board.name, board.part, dsp, *figures, bandwidth, shares)
    return table


def gpu_table(gpus: Sequence[Gpu]) -> "Table":
    """Return a row for each GPU; a star marks a figure that was not checked at its source."""
    table = _table("GPU")
    columns = {
        "FP16\nTFLOPS": "fp16_tflops",
        "INT8\nTOPS": "int8_tops",
        "INT4\nTOPS": "int4_tops",
        "FP32\nTFLOPS": "fp32_tflops",
        "GB/s": "bandwidth_gb_s",
        "L2 MB": "l2_mb",
        "SMs": "multiprocessors",
        "MHz": "clock_mhz",
    }
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for gpu in gpus:
        table.add_row(gpu.name, *(_figure(gpu, name) for name in columns.values()))
    return table


def detail_table(device: Board | Gpu) -> "Table":
    """Return every figure of a device with its unit and source."""
    table = _table(device.name if len(device.name) <= _LONGEST else Path(device.name).name)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("source")
    for item in fields(device):
        if item.name not in ("name", "sources"):
            unit = f" {_UNITS[item.name]}" if item.name in _UNITS else ""
            value = _shown(getattr(device, item.name))
            table.add_row(item.name, f"{value}{unit}", device.sources.get(item.name, ""))
    return table


def find_device(name: str) -> Board | Gpu:
    """Return the board or GPU of that name, or the board in that YAML file.

    Raises:
        CostModelError: There is neither; the message lists what there is.
    """
    return load_gpu(name) if name in gpu_names() else load_board(name)


def _figure(device: Board | Gpu, name: str) -> str:
    star = "*" if _NOT_CHECKED in device.sources.get(name, "") else ""
    return _shown(getattr(device, name)) + star


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:,.10g}"


def _table(*headings: str) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    return table


def _print(options: BoardOptions, console: "Console") -> None:
    if options.board:
        console.print(detail_table(find_device(options.board)))
        return
    console.print(board_table([load_board(name) for name in board_names()]))
    if options.gpus:
        console.print(gpu_table([load_gpu(name) for name in gpu_names()]))
    console.print("* recalled, not checked; board=NAME shows every figure with its source")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 2 wrong input."""
    given = sys.argv[1:] if arguments is None else arguments
    if {"--help", "-h", "help"} & set(given):
        print(f"{__doc__}\nOptions, as key=value:\n{describe_options(BoardOptions)}")
        return 0
    from rich.console import Console

    try:
        options = parse_options(BoardOptions, given)
        width = None if sys.stdout.isatty() else _PIPE_WIDTH
        _print(options, Console(width=width, highlight=False))
    except BrokenPipeError:  # the reader, head for instance, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except CostModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
