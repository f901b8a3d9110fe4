"""Simulates modules of the vector unit, or of other sources, with Icarus Verilog."""

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from costmodels import vector_unit

SOURCES = sorted((Path(vector_unit.__file__).parent / "reference" / "vector_unit").glob("*.v"))


@dataclass(frozen=True)
class Port:
    """A port of a module."""

    name: str
    width: int
    output: bool


@cache
def ports(
    module: str,
    parameters: tuple[tuple[str, int], ...] = (),
    sources: tuple[Path, ...] = tuple(SOURCES),
) -> tuple[Port, ...]:
    """Return a module's ports but its clock, read from its header."""
    text = "\n".join(path.read_text() for path in sources)
    header = re.search(rf"^module {module}\b(.*?)\);", text, re.MULTILINE | re.DOTALL)
    assert header, f"no module {module}"
    values = {k: int(v) for k, v in re.findall(r"parameter (\w+) = (\d+)", header[1])}
    values |= dict(parameters)
    found = []
    for direction, high, name in re.findall(
        r"\b(input|output)\b(?: reg)?(?: signed)?(?: \[(.+?):0\])? (\w+)", header[1]
    ):
        width = 1 + eval(high, {}, values) if high else 1
        found.append(Port(name, width, direction == "output"))
    return tuple(port for port in found if port.name != "clk")


def simulate(
    module: str,
    inputs: Mapping[str, Sequence[int]],
    folder: Path,
    parameters: tuple[tuple[str, int], ...] = (),
    sources: tuple[Path, ...] = tuple(SOURCES),
) -> dict[str, list[int | None]]:
    """Return each output after each clock edge; inputs[name][t] is applied before edge t.

    Outputs are unsigned; None where a bit is unknown. An input not given is zero, a parameter not
    given has its default.
    """
    assert shutil.which("iverilog"), "install the Debian package iverilog (apt install iverilog)"
    found = ports(module, parameters, sources)
    ins = [port for port in found if not port.output]
    outs = [port for port in found if port.output]
    assert set(inputs) <= {port.name for port in ins}, f"{module} has {[p.name for p in ins]}"
    values = ", ".join(f".{name}({value})" for name, value in parameters)
    clocks = max(len(values) for values in inputs.values())
    (folder / "stimuli.hex").write_text(_stimuli(ins, inputs, clocks))
    (folder / "bench.v").write_text(_bench(f"{module} #({values})", ins, outs, clocks))
    command = ["iverilog", "-g2012", "-o", "bench.vvp", "-s", "bench", "bench.v"]
    subprocess.run([*command, *map(str, sources)], cwd=folder, check=True)
    subprocess.run(["vvp", "-n", "bench.vvp"], cwd=folder, check=True, capture_output=True)
    lines = (folder / "outputs.hex").read_text().split("\n")[:clocks]
    assert len(lines) == clocks
    columns = zip(*(line.split() for line in lines), strict=True)
    return {
        port.name: [_number(word) for word in column]
        for port, column in zip(outs, columns, strict=True)
    }


def _number(word: str) -> int | None:
    return None if set(word) & set("xXzZ") else int(word, 16)


def _stimuli(ins: Sequence[Port], inputs: Mapping[str, Sequence[int]], clocks: int) -> str:
    lines = []
    for t in range(clocks):
        word = 0
        for port in ins:
            values = inputs.get(port.name, ())
            value = values[t] if t < len(values) else 0
            assert -(1 << port.width) // 2 <= value < 1 << port.width, (port, value)
            word = word << port.width | value & ((1 << port.width) - 1)
        lines.append(f"{word:x}")
    return "\n".join(lines) + "\n"


def _bench(module: str, ins: Sequence[Port], outs: Sequence[Port], clocks: int) -> str:
    total = sum(port.width for port in ins)
    pins, position = [".clk(clk)"], total
    for port in ins:
        pins.append(f".{port.name}(word[{position - 1}:{position - port.width}])")
        position -= port.width
    pins += [f".{port.name}({port.name})" for port in outs]
    wires = "\n".join(f"  wire [{port.width - 1}:0] {port.name};" for port in outs)
    formats = " ".join("%h" for _ in outs)
    names = ", ".join(port.name for port in outs)
    return f"""module bench;
  reg clk = 0;
  reg [{total - 1}:0] word, words [0:{clocks - 1}];
{wires}
  integer t, file;
  {module} dut ({", ".join(pins)});
  initial begin
    $readmemh("stimuli.hex", words);
    file = $fopen("outputs.hex", "w");
    for (t = 0; t < {clocks}; t = t + 1) begin
      word = words[t];
      #1 clk = 1;
      #1 $fdisplay(file, "{formats}", {names});
      clk = 0;
    end
    $finish;
  end
endmodule
"""
