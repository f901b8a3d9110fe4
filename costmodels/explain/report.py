"""The printed explanation: totals, bill of resources, layers, and what backs the figures."""

from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from costmodels.explain.explanation import Explanation, LayerRow

_PARTS = ("mac_array", "shift_array", "depthwise", "vector", "control", "memory_controller")
_STYLES = {"array": "green", "vector": "yellow", "dram": "red"}
_ENGINES = {"mac_array": "mac", "shift_array": "shift", "mac_array+shift_array": "mac+shift"}
# Heading, what it shows, whether right-aligned; the later it is dropped, the larger its rank.
_COLUMNS: tuple[tuple[str, Callable[[LayerRow], str], bool, int], ...] = (
    ("kind", lambda row: row.kind, False, 4),
    ("M x K x N", lambda row: row.shape, False, 5),
    ("bits", lambda row: row.bits, False, 3),
    ("engine", lambda row: _ENGINES.get(row.engine, row.engine), False, 8),
    ("cycles", lambda row: f"{row.cycles:,}", True, 9),
    ("time\n%", lambda row: f"{100 * row.share:.1f}", True, 7),
    ("bound\nby", lambda row: f"[{_STYLES[row.bound_by]}]{row.bound_by}[/]", False, 9),
    ("utilised\n%", lambda row: f"{100 * row.utilisation:.1f}" if row.macs else "-", True, 8),
    ("DRAM\nbytes", lambda row: f"{row.dram_bytes:,}", True, 6),
    ("ops a\nbyte", lambda row: _intensity(row), True, 1),
    ("DSPs\n%", lambda row: f"{100 * row.dsp_share:.1f}", True, 2),
)
_LEAST_NAME = 18
_GAP, _EDGES = 2, 3  # what rich puts between columns, and around them


class Notes:
    """Numbers what backs the figures, each text once."""

    def __init__(self, explanation: Explanation) -> None:
        self._cost = explanation.cost
        self.texts: list[str] = []

    def mark(self, metric: str) -> str:
        """Return the mark of a metric: "~" before the number says that it is relative."""
        text = self._cost.source(metric)
        if text not in self.texts:
            self.texts.append(text)
        relative = "~" if text.startswith("relative") else ""
        return rf"\[{relative}{self.texts.index(text) + 1}]"


def print_explanation(explanation: Explanation, console: Console, top: int = 0) -> None:
    """Print an explanation, as wide as the console.

    Args:
        explanation: What to print.
        console: Where.
        top: Layers to print, those that take longest; 0 prints all, in execution order.
    """
    notes = Notes(explanation)
    console.print(Text(explanation.title, style="bold"))
    console.print(Text(_hardware(explanation)))
    console.print(layer_table(explanation.rows, console, top))
    if explanation.cost.chains:
        console.print(chain_table(explanation))
    _print_totals(explanation, notes, console)
    console.print(resource_table(explanation, notes))
    console.print(part_table(explanation, notes))
    console.print(Text("What backs the figures; ~ marks those that only rank designs:"))
    for i, text in enumerate(notes.texts):
        console.print(Text(f"[{i + 1}] {text}"))


def layer_table(rows: Sequence[LayerRow], console: Console, top: int = 0) -> Table:
    """Return a row for each layer, with as many columns as the console is wide enough for."""
    chosen = sorted(rows, key=lambda row: -row.cycles)[:top] if top else list(rows)
    kept = list(_COLUMNS)
    numbers = chain_numbers(rows)
    if numbers:
        kept.append(("chain", lambda row: str(numbers.get(row.chain or "", "-")), True, 6))
    widths = {column[0]: _width(column, chosen) for column in kept}
    longest = max(len(row.name) for row in chosen)
    wanted = min(longest, max(_LEAST_NAME, console.width // 4)) + _EDGES
    while sum(widths[c[0]] for c in kept) + wanted > console.width:
        if len(kept) <= 1:
            break
        kept.remove(min(kept, key=lambda column: column[3]))
    taken = sum(widths[column[0]] for column in kept)
    room = max(_LEAST_NAME, console.width - taken - _EDGES)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(f"longest {len(chosen)} of {len(rows)}" if top else "layer", no_wrap=True)
    for heading, _, right, _ in kept:
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    for row in chosen:
        table.add_row(_short(row.name, room), *(show(row) for _, show, _, _ in kept))
    return table


def chain_numbers(rows: Sequence[LayerRow]) -> dict[str, int]:
    """Return the chains by name, counted from 1 in order of execution."""
    names = dict.fromkeys(row.chain for row in rows if row.chain)
    return {name: i + 1 for i, name in enumerate(names)}


def chain_table(explanation: Explanation) -> Table:
    """Return a row for each chain: how it is cut, and what it holds on chip."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    headings = ("chain", "kind", "operations", "bands", "rows", "weights", "cycles", "bound\nby")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("kind", "weights") else "right")
    table.add_column("bytes in a half\n(input, weights, output)", justify="right")
    for i, chain in enumerate(explanation.cost.chains):
        held = chain.input_bytes, chain.weight_bytes, chain.output_bytes
        table.add_row(
            str(i + 1),
            chain.kind,
            str(len(chain.operations)),
            f"{chain.bands:,}",
            f"{chain.rows:,}",
            "on chip" if chain.resident else "every band",
            f"{chain.cycles:,}",
            f"[{_STYLES[chain.bound_by]}]{chain.bound_by}[/]",
            " + ".join(f"{size:,}" for size in held),
        )
    return table


def _width(column: tuple[str, Callable[[LayerRow], str], bool, int], rows: list[LayerRow]) -> int:
    heading, show, _, _ = column
    cells = [len(Text.from_markup(show(row))) for row in rows]
    return max(*cells, *map(len, heading.split("\n"))) + _GAP


def _short(name: str, room: int) -> str:
    """Return a name that fits: its end tells layers apart, its start does not."""
    return name if len(name) <= room else f"…{name[1 - room :]}"


def _intensity(row: LayerRow) -> str:
    return "-" if row.ops_per_byte is None else f"{row.ops_per_byte:.1f}"


def _hardware(explanation: Explanation) -> str:
    a = explanation.accelerator
    buffers = f"{a.input_buffer_kb} + {a.weight_buffer_kb} + {a.output_buffer_kb} kB"
    return (
        f"{a.board} at {a.clock_mhz:g} MHz: MAC array {a.mac_rows} x {a.mac_cols} ({a.mac_pe}), "
        f"shift array {a.shift_rows} x {a.shift_cols}, {a.dataflow}, {a.precision}; "
        f"{a.depthwise_lanes} depthwise and {a.vector_lanes} vector lanes; "
        f"{'fused chains; ' if a.fused_chains else ''}"
        f"buffers {buffers} (input, weights, output; each twice)"
    )


def _print_totals(explanation: Explanation, notes: Notes, console: Console) -> None:
    m, total = explanation.cost.metrics, sum(row.cycles for row in explanation.rows)
    batch = explanation.cost.batch
    images = f" for a batch of {batch}" if batch > 1 else ""
    console.print(
        f"latency {m['fpga.latency_ms']:.3f} ms{images}, {m['fpga.fps']:.1f} images a second, "
        f"{total:,} cycles {notes.mark('fpga.latency_ms')}"
    )
    bound = [
        f"{name} {100 * explanation.cycles_bound_by(name) / total:.1f} %"
        for name in ("array", "vector", "dram")
    ]
    console.print(f"bound by: {', '.join(bound)} of the cycles")
    console.print(
        f"{m['model.macs'] / 1e6:.1f} M multiply-accumulates an image at "
        f"{explanation.gops:.2f} GOP/s; "
        f"DRAM {m['fpga.dram_mb']:.3f} MB {notes.mark('fpga.dram_mb')}; "
        f"energy {m['fpga.energy_mj']:.3f} mJ an image {notes.mark('fpga.energy_mj')}"
    )
    for name, value in m.items():
        if name.startswith("gpu."):
            console.print(f"{name} {value:.3f} {notes.mark(name)}")


def resource_table(explanation: Explanation, notes: Notes) -> Table:
    """Return what the design takes of each resource of its board."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(explanation.accelerator.board)
    for heading in ("used", "of", "%", "ceiling %"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for item in explanation.resources:
        verdict = item.verdict if item.available or item.used else "none on this board"
        style = "" if verdict in ("fits", "none on this board") else "[red]"
        table.add_row(
            f"{item.name.upper()} {notes.mark(f'fpga.{item.name}')}",
            f"{item.used:,.10g}",
            f"{item.available:,.10g}",
            f"{item.percent:.1f}",
            f"{100 * item.ceiling:.0f}",
            f"{style}{verdict}",
        )
    return table


def part_table(explanation: Explanation, notes: Notes) -> Table:
    """Return the DSPs and LUTs of each part of the design."""
    m = explanation.cost.metrics
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("part")
    table.add_column("DSP", justify="right", no_wrap=True)
    table.add_column("LUT", justify="right", no_wrap=True)
    for part in _PARTS:
        cells = [
            f"{m[name]:,.0f} {notes.mark(name)}" if m[name] else "0"
            for name in (f"fpga.{part}_dsp", f"fpga.{part}_lut")
        ]
        table.add_row(part.replace("_", " "), *cells)
    memory = m["fpga.lut"] - sum(m[f"fpga.{part}_lut"] for part in _PARTS)
    table.add_row("LUT memory", "0", f"{max(0, memory):,.0f}")
    return table
