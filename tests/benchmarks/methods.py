"""Compare the quantisation methods on the models of the five spaces.

    python tests/benchmarks/methods.py [spaces=deit_fqvit,swin_relu] [methods=minmax,fqvit]
        [four_bits=space] [runs_dir=runs] [key=value ...]

For each space's (cached) teacher and each method: accuracy of the float and of the W8A8 integer
model on the validation split (attention at 4 bits where the method has it), the drop in points, the
logits' signal to quantisation noise, and the integers that differ between the torch and the NumPy
executor in every node. Then the drop with 4-bit weights, uniform and log2, after 50 distillation
steps (first and last layer and all activations at 8 bits), for minmax and the space's own method
(`four_bits=all`: every method; `none`). Last, the space's own method with probabilities of 4 bits
where it has 8, and what a space is about besides a method: a mean of 7.9 bits a weight, or ReLU in
place of GELU. Prints the tables and writes methods.csv beside this file (or `out=`); the other keys
go to `python -m codesign.quantize`.
"""

import csv
import io
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from codesign.errors import RunError, UserError
from codesign.files import write_atomic
from codesign.posttrain.bench import Bench, Result
from codesign.posttrain.command import load_bench
from codesign.posttrain.progress import Progress
from codesign.posttrain.settings import load_posttrain_settings
from codesign.quantize.methods import METHODS
from codesign.search.evaluator import recipe_of

OWN = {"spaces", "methods", "four_bits", "out"}
SPACES = (
    *("mobilevit_mixed", "mobilevit_shiftswish", "swin_relu"),
    *("deit_fqvit", "efficientvit_trio"),
)
FUNCTIONS = {"mobilevit_shiftswish": "shift_swish"}
"""The activation function of all rows of a space; the others have the model's own."""
SPECIAL: dict[str, list[dict[str, Any]]] = {
    "mobilevit_mixed": [{"attention_bits": 4}],
    "mobilevit_shiftswish": [{"attention_bits": 4}, {"mean_bits": 7.9}],
    "swin_relu": [
        {"attention_bits": 4},
        {"activation": "relu"},
        {"activation": "relu", "steps": 48},
    ],
}
QUICK = ["measured_images=8", "compared_images=2"]
FOUR_BIT_STEPS = 50
COLUMNS = (
    *("space", "method", "activation", "weights", "mean_bits", "attention_bits", "steps"),
    *("float_percent", "integer_percent", "drop_points", "logits_sqnr_db"),
    *("differing", "compared", "failed"),
)
Row = dict[str, object]


def rows_of(space: str, methods: list[str], four_bits: str, words: list[str]) -> Iterator[Row]:
    """Yield the rows of a space."""
    settings = load_posttrain_settings([f"space={space}", *QUICK, *words])
    own = settings.quantize.method
    bench = load_bench(settings, Progress(Console(stderr=True)))
    names = methods or METHODS.names()
    for method in dict.fromkeys(["minmax", own, *names] if not methods else names):
        yield row(bench, space, method)
    chosen = {"none": [], "all": names, "space": list(dict.fromkeys(["minmax", own]))}[four_bits]
    for method in chosen:
        for scheme in ("uniform", "log2"):
            yield row(bench, space, method, scheme=scheme, w_bits=4, steps=FOUR_BIT_STEPS)
    for special in SPECIAL.get(space, []):
        yield row(bench, space, own, **special)


def row(
    bench: Bench,
    space: str,
    method: str,
    *,
    scheme: str = "uniform",
    w_bits: int = 8,
    steps: int = 0,
    activation: str = "",
    mean_bits: float = 0.0,
    attention_bits: int = 0,
) -> Row:
    """Return what a method reaches with these formats; attention_bits 0: the method's own."""
    distill = replace(bench.settings.distill, steps=steps)
    if attention_bits:
        quantize = replace(bench.settings.quantize, attention_bits=attention_bits)
        bench = bench.changed(quantize=quantize)
    activation = activation or FUNCTIONS.get(space, "")
    changed = bench.changed(
        scheme=scheme, w_bits=w_bits, activation=activation, mean_bits=mean_bits, distill=distill
    )
    found: Row = {
        "space": space,
        "method": method,
        "activation": activation or "own",
        "weights": f"{scheme}_{w_bits}",
        "attention_bits": recipe_of(replace(bench.settings.quantize, method=method)).attention_bits,
        "steps": steps,
    }
    try:
        return found | figures(changed.run(method))
    except (UserError, RunError) as error:
        return found | {"failed": str(error)}


def figures(result: Result) -> Row:
    """Return a result's figures."""
    c = result.comparison
    return {
        "float_percent": round(100 * c.float_correct / c.images, 2),
        "integer_percent": round(100 * c.correct / c.images, 2),
        "mean_bits": round(result.size.mean_weight_bits, 2),
        "drop_points": round(result.accuracy_drop, 2),
        "logits_sqnr_db": round(-c.logits.error_db, 2),
        "differing": result.differing,
        "compared": result.compared,
    }


def table(rows: list[Row]) -> Table:
    """Return rows for the screen."""
    shown = Table(box=box.SIMPLE_HEAD)
    for column in COLUMNS[:-1]:
        shown.add_column(column.replace("_", "\n"))
    for found in rows:
        cells = [str(found.get(column, "")) for column in COLUMNS[:-1]]
        shown.add_row(
            *cells[:7], *([str(found["failed"])[:60]] if "failed" in found else cells[7:])
        )
    return shown


def as_csv(rows: list[Row]) -> str:
    """Return rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def main(arguments: list[str]) -> int:
    """Run everything; return 1 if any integer differs."""
    options = dict(argument.split("=", 1) for argument in arguments)
    words = [f"{key}={value}" for key, value in options.items() if key not in OWN]
    spaces = options["spaces"].split(",") if "spaces" in options else list(SPACES)
    methods = options["methods"].split(",") if "methods" in options else []
    out = Path(options.get("out", Path(__file__).with_suffix(".csv")))
    console, rows = Console(width=140), []
    for space in spaces:
        first = len(rows)
        for found in rows_of(space, methods, options.get("four_bits", "space"), words):
            rows.append(found)
            print(", ".join(f"{key} {value}" for key, value in found.items()), flush=True)
            write_atomic(out, as_csv(rows))
        console.print(table(rows[first:]))
    return 1 if any(found.get("differing") for found in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
