"""The export command: find the trial, rebuild what belongs to it, write its bundle."""

import json
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from codesign import cli
from codesign.cli import setting
from codesign.design import Design
from codesign.errors import UserError
from codesign.export.bundle import BundleSummary, Shipment, write_bundle
from codesign.files import content_key
from codesign.integer.model import IntegerModel
from codesign.search.evaluator import load_problem, prepare
from codesign.search.read import choose_trial, read_study
from codesign.search.records import StudyRecord, TrialRecord
from codesign.search.rundir import RunDirectory
from codesign.settings import SearchSettings
from codesign.verify.printer import Printer
from costmodels.estimate import Cost

PROGRAM = "codesign.export"
_MEASURED = ("accuracy", "loss")


@dataclass
class ExportSettings:
    """Write one trial of a study as a bundle for the hardware team."""

    run: str = setting("", "folder of the study, for example runs/mobilevit_mixed (required)")
    trial: str = setting("knee", "knee, best:<objective>, or a trial's number")
    out: str = setting("", "folder to write (default: exports/<trial> in the study's folder)")
    golden: int = setting(8, "validation images with the codes of every node")
    quant_op: str = setting(
        "IntQuant", "quantisers in model.qonnx.onnx: IntQuant, or Quant as FINN and hls4ml read it"
    )


def main(arguments: list[str]) -> int:
    """Export a trial and return the exit code 0."""
    settings = cli.read_settings(ExportSettings, arguments, PROGRAM, "run=DIR trial=knee")
    if not settings.run:
        raise UserError("which study? Give run=DIR, for example run=runs/mobilevit_mixed.")
    with _terminable():
        summary = export_trial(
            Path(settings.run).expanduser(),
            settings.trial,
            out=Path(settings.out).expanduser() if settings.out else None,
            golden=settings.golden,
            quant_op=settings.quant_op,
        )
    print(describe(summary))
    return 0


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does, its unfinished files removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def export_trial(
    run_dir: Path,
    trial: str = "knee",
    *,
    out: Path | None = None,
    golden: int = 8,
    quant_op: str = "IntQuant",
) -> BundleSummary:
    """Write the bundle of a trial.

    Args:
        run_dir: The study's folder.
        trial: "knee", "best:<objective>", or a number.
        out: The folder to write; None means `exports/<trial>` in the study's folder.
        golden: Images of the golden vectors.
        quant_op: Name of the quantisers in the QONNX file, "IntQuant" or "Quant".

    Raises:
        UserError: There is no such study or trial, or the target is something else.
        RunError: A check of the bundle failed.
    """
    record = read_study(run_dir)
    chosen = choose_trial(record, trial)
    print(f"exporting trial {chosen.number} of study {record.name}", flush=True)
    shipment = _shipment(run_dir, record, chosen)
    target = out or run_dir / "exports" / str(chosen.number)
    printer = Printer(indent="  ")
    try:
        return write_bundle(
            shipment,
            target,
            golden=golden,
            quant_op=quant_op,
            say=lambda line: print(f"  {line}", flush=True),
            begin=printer.begin,
            end=printer.end,
        )
    finally:
        printer.stop()


def describe(summary: BundleSummary) -> str:
    """Return the lines that say what was written and verified."""
    s = summary
    checks = ", ".join(finding.check for finding in s.findings)
    return (
        f"bundle: {s.path} ({s.size_kb:.0f} kB)\n"
        f"verified: 0 differing integers over {s.nodes} nodes x {s.golden_images} images; "
        f"accuracy {s.correct / s.images:.4f} ({s.correct} of {s.images}) = trial's\n"
        f"checks passed: {checks}"
    )


def _shipment(run_dir: Path, record: StudyRecord, trial: TrialRecord) -> Shipment:
    if trial.design is None:
        raise UserError(f"trial {trial.number} cannot be exported: its design file is damaged.")
    source = trial.number if trial.reuses is None else trial.reuses
    model = IntegerModel.load(RunDirectory(run_dir).model_file(source))
    settings = _search_settings(run_dir, record)
    prepare(settings, Console())
    problem = load_problem(settings)
    model = _as_of_today(model, trial.design, RunDirectory(run_dir).read_design(trial.number))
    if "preparation" not in model.info:  # scored before it was recorded
        model = model.with_info(preparation=problem.data.preparation())
    measured = {name: v for name, v in trial.metrics.items() if name.startswith(_MEASURED)}
    return Shipment(
        title=f"trial {trial.number} of study {record.name}",
        model=model,
        design=trial.design,
        cost=_stored_cost(run_dir, trial),
        workload=problem.workload(trial.design),
        validation=problem.data.split("validation"),
        accuracy=trial.metrics["accuracy"],
        metrics=measured,
    )


def _as_of_today(model: IntegerModel, design: Design, stored: Mapping[str, Any]) -> IntegerModel:
    """Return the model under the key that its design has now.

    A design stored before the accelerator got a parameter is read with that parameter's default,
    which gives it another key.
    """
    if model.info.get("design") != content_key(stored.get("design")):
        return model
    return model.with_info(design=design.key)


def _search_settings(run_dir: Path, record: StudyRecord) -> SearchSettings:
    """Return the study's settings, its caches beside the run wherever the folder now lies."""
    tree = cli.SettingsTree(SearchSettings)
    for key, value in record.settings.items():
        tree.assign(key, value, f"in {run_dir / 'settings.yaml'}")
    tree.assign("runs_dir", str(run_dir.absolute().parent), "")
    return tree.value()


def _stored_cost(run_dir: Path, trial: TrialRecord) -> Cost:
    """Return the cost that was estimated when the trial ran.

    Raises:
        UserError: The trial's file does not hold it.
    """
    path = RunDirectory(run_dir).design_file(trial.number)
    try:
        return Cost.from_json(json.loads(path.read_text())["cost"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} does not hold the trial's cost: {error}") from error
