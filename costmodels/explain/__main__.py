"""`python -m costmodels.explain`: where a design's time and resources go, layer by layer.

    python -m costmodels.explain space=mobilevit_mixed design="4-bit log2"
    python -m costmodels.explain run=runs/mobilevit_mixed trial=knee accelerator.board=u50
    python -m costmodels.explain bundle=exports/7
    python -m costmodels.explain workload=workload.json design=design.json

Prints the layers, the bill of resources and what backs each figure; writes explain.json,
roofline.png and utilisation.png. Nothing is trained: a space's network gets fresh weights, on which
no cost depends.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from costmodels.errors import CostModelError
from costmodels.explain.explanation import Explanation, explain
from costmodels.explain.inputs import Source, find_candidate
from costmodels.files import json_text, write_atomic
from costmodels.measuring.options import describe_options, parse_options

_DOTTED = """Dotted keys change what is explained:
  accelerator.FIELD=VALUE  a field of the accelerator: accelerator.board=u50, .mac_rows=32, ...
  KEY=VALUE                with space=: a setting of the space, such as data.image_size=256"""
_PIPE_WIDTH = 160


@dataclass(frozen=True)
class ExplainOptions:
    """Options of `python -m costmodels.explain`."""

    space: str = field(default="", metadata={"help": "search space: a name or a YAML file"})
    run: str = field(default="", metadata={"help": "folder of a study"})
    bundle: str = field(default="", metadata={"help": "folder of an export bundle"})
    workload: str = field(default="", metadata={"help": "JSON file of a workload"})
    design: str = field(
        default="",
        metadata={
            "help": "with space: a design's JSON file or a baseline's name (the first if empty); "
            "with workload: a JSON file that holds an accelerator"
        },
    )
    trial: str = field(
        default="", metadata={"help": "with run: knee (if empty), best:<objective>, or a number"}
    )
    batch: int = field(
        default=0,
        metadata={"help": "images that run together; 0: as the source has it, one for a file"},
    )
    cycles: str = field(
        default="", metadata={"help": "cycles of the arrays; empty: the closed forms, or scalesim"}
    )
    fabric: str = field(
        default="yosys", metadata={"help": "what prices multipliers in LUTs: yosys or finn"}
    )
    gpus: list[str] = field(default_factory=list, metadata={"help": "GPUs to price as well"})
    top: int = field(default=0, metadata={"help": "layers to print, the longest; 0: all, in order"})
    width: int = field(
        default=0, metadata={"help": "columns of the print; 0: the terminal's, 160 in a pipe"}
    )
    out: str = field(
        default="",
        metadata={"help": "folder of JSON and PNG; runs/explain/<name> if empty, none: write none"},
    )


def run(arguments: Sequence[str]) -> Explanation:
    """Explain what the arguments name: print it and write its files.

    Raises:
        CostModelError: An argument is wrong; the message says which and what to do.
        OSError: The files cannot be written.
    """
    dotted = [word for word in arguments if "." in word.partition("=")[0] and "=" in word]
    options = parse_options(ExplainOptions, [word for word in arguments if word not in dotted])
    if options.top < 0 or options.width < 0:
        raise CostModelError("top and width must be 0 or more")
    names = ("space", "run", "bundle", "workload", "design", "trial")
    source = Source(**{name: getattr(options, name) for name in names}, changes=tuple(dotted))
    found = find_candidate(source)
    cycles = {"cycles": options.cycles} if options.cycles else {}
    explanation = explain(
        found.workload,
        found.accelerator,
        title=found.title,
        batch=options.batch or found.batch,
        gpus=tuple(options.gpus),
        fabric=options.fabric,
        **cycles,
    )
    folder = Path(options.out).expanduser() if options.out else Path("runs/explain", found.slug)
    if options.out != "none":
        write_files(explanation, folder)
    _print(explanation, options)
    if options.out != "none":
        print(f"written: {folder}/explain.json, roofline.png, utilisation.png")
    return explanation


def write_files(explanation: Explanation, folder: Path) -> None:
    """Write explain.json, roofline.png and utilisation.png, each whole or not at all.

    Raises:
        OSError: The folder cannot be written.
    """
    from costmodels.explain.figures import roofline_png, utilisation_png

    write_atomic(folder / "explain.json", json_text(explanation.to_json()))
    write_atomic(folder / "roofline.png", roofline_png(explanation))
    write_atomic(folder / "utilisation.png", utilisation_png(explanation))


def _print(explanation: Explanation, options: ExplainOptions) -> None:
    from rich.console import Console

    from costmodels.explain.report import print_explanation

    width = options.width or (None if sys.stdout.isatty() else _pipe_width())
    console = Console(width=width, highlight=False, soft_wrap=False)
    print_explanation(explanation, console, options.top)


def _pipe_width() -> int:
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdigit() and int(columns) > 0 else _PIPE_WIDTH


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 2 wrong input, 130 interrupted."""
    given = sys.argv[1:] if arguments is None else arguments
    if {"--help", "-h", "help"} & set(given):
        print(f"{__doc__}\nOptions, as key=value:\n{describe_options(ExplainOptions)}\n{_DOTTED}")
        return 0
    try:
        run(given)
    except CostModelError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, head for instance, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(f"error: cannot write {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
