"""What the quantize command prints."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table

from codesign.posttrain.bench import Result

WORST_LAYERS = 10


def summary_lines(result: Result, *, labelled: bool) -> list[str]:
    """Return the lines that say how one method did."""
    c, size = result.comparison, result.size
    step = f", state of step {result.kept_step}" if result.kept_step else ""
    lines = [f"{result.method}: quantised in {result.seconds:.1f} s{step}"]
    if labelled:
        before, after = (100 * n / c.images for n in (c.float_correct, c.correct))
        lines.append(
            f"accuracy on {c.images} validation images: float {before:.2f} %, integer {after:.2f} %"
            f" ({after - before:+.2f} points)"
        )
    layers = len(result.layer_errors)
    shown = min(WORST_LAYERS, layers)
    lines += [
        f"same class as float: {100 * c.agreeing / c.images:.2f} % of {c.images} images",
        f"logits: {-c.logits.error_db:.1f} dB signal to quantisation noise against float",
        f"weights: {size.weight_kb:.1f} kB, {size.mean_weight_bits:.2f} bits a weight, "
        f"{100 * size.sparsity:.1f} % zero",
        f"torch against NumPy: {result.differing} of {result.compared:,} integers differ",
        f"error of each layer's output against float, worst {shown} of {layers}:",
    ]
    return lines


def layer_table(result: Result) -> Table:
    """Return the worst layers' errors."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("layer")
    table.add_column("error\ndB", justify="right")
    table.add_column("zero weights\n%", justify="right")
    for name, error in list(result.layer_errors.items())[:WORST_LAYERS]:
        table.add_row(name, f"{error:.1f}", f"{100 * result.size.layer_sparsity[name]:.1f}")
    return table


def float_line(result: Result) -> str:
    """Return the line above a table of methods."""
    c, size = result.comparison, result.size
    return (
        f"float: {100 * c.float_correct / c.images:.2f} % of {c.images} validation images; "
        f"{size.weight_kb:.1f} kB of weights"
    )


def method_table(
    results: Sequence[Result], failures: Mapping[str, str], *, labelled: bool
) -> Table:
    """Return a row for each method."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("method", no_wrap=True)
    accuracy = ["integer\n%", "drop\npoints"] if labelled else []
    headings = ["agrees\n%", "logits\ndB", "worst\nlayer dB", "integers\ndiffering", "seconds"]
    for heading in [*accuracy, *headings]:
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        table.add_row(result.method, *_cells(result, labelled))
    for method in failures:
        table.add_row(method, "failed")
    return table


def _cells(result: Result, labelled: bool) -> list[str]:
    c = result.comparison
    accuracy = [100 * c.correct / c.images, result.accuracy_drop]
    return [
        *([f"{value:.2f}" for value in accuracy] if labelled else []),
        f"{100 * c.agreeing / c.images:.2f}",
        f"{-c.logits.error_db:.1f}",
        f"{max(result.layer_errors.values()):.1f}",
        str(result.differing),
        f"{result.seconds:.1f}",
    ]
