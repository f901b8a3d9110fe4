"""Write a bundle: everything in a folder beside the target, checked, then put in its place."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from codesign.bundle.files import entries, is_plain
from codesign.bundle.manifest import MANIFEST, listed_files, manifest
from codesign.data import Split
from codesign.design import Design
from codesign.errors import UserError
from codesign.export.checks import rescore_bundle
from codesign.export.derived import cost_json, derived_files, json_text
from codesign.export.golden import Golden, golden_vectors
from codesign.export.interchange import MIRRORS, interchange_json, measure_mirrors
from codesign.export.onnx_float import QUANT_OPS
from codesign.export.placement import put_in_place, workspace
from codesign.export.readme import readme
from codesign.files import write_atomic
from codesign.integer import replay
from codesign.integer.model import IntegerModel, pack_npz
from codesign.verify.registry import Finding
from codesign.verify.verify import Begin, End, check_written
from costmodels.estimate import Cost
from costmodels.workload import Workload
from costmodels.workload_json import workload_json

Say = Callable[[str], None]


@dataclass(frozen=True)
class Shipment:
    """What goes into a bundle.

    Attributes:
        title: What it is, for the README, for example "trial 12 of study mobilevit_mixed".
        model: The integer model that was scored.
        design: The design it belongs to.
        cost: What the cost models say of the design.
        workload: What its network asks of hardware.
        validation: The images it was scored on.
        accuracy: Its accuracy there, a fraction.
        metrics: Further metrics of the trial, written into cost.json.
    """

    title: str
    model: IntegerModel
    design: Design
    cost: Cost
    workload: Workload
    validation: Split
    accuracy: float
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class BundleSummary:
    """What was written and verified.

    Attributes:
        path: The folder.
        size_kb: Size of its files in kB.
        nodes: Nodes of the integer model, each compared in every code.
        golden_images: Images of the golden vectors.
        correct: Validation images classified correctly by the model read back from the files.
        images: Validation images.
        findings: What each check of `codesign.verify` found; all have passed.
    """

    path: Path
    size_kb: float
    nodes: int
    golden_images: int
    correct: int
    images: int
    findings: tuple[Finding, ...]


def write_bundle(
    shipment: Shipment,
    out: Path,
    *,
    golden: int = 8,
    quant_op: str = QUANT_OPS[0],
    say: Say = lambda line: None,
    begin: Begin = lambda name: None,
    end: End = lambda finding: None,
) -> BundleSummary:
    """Write a bundle, verified; the target appears complete or not at all.

    The same shipment gives the same bytes. An existing bundle at the target is replaced when the
    new one is complete (`export.placement` says how). A link is followed to the folder it names.

    Args:
        shipment: What to write.
        out: The folder to make.
        golden: Images of the golden vectors, at least 1 and at most those of the split.
        quant_op: Name of the quantisers in the QONNX file, "IntQuant" or "Quant".
        say: Receives a line of progress for each step.
        begin: Called with the name of each check before it runs.
        end: Called with its result.

    Raises:
        UserError: The target holds something other than a bundle, another export is writing it,
            or `golden` or `quant_op` is not possible.
        RunError: A check failed: an executor differs or the accuracy is another than the trial's.
        OSError: The folder cannot be written.
    """
    images = len(shipment.validation)
    if golden < 1:
        raise UserError(f"golden={golden}: a bundle needs at least 1 golden image.")
    if golden > images:
        raise UserError(f"golden={golden}: there are only {images} validation images.")
    if quant_op not in QUANT_OPS:
        raise UserError(f"quant_op={quant_op}: choose {' or '.join(QUANT_OPS)}.")
    target = out.resolve()
    _check_target(target)
    with workspace(target) as folder:
        say(f"computing golden vectors of {golden} images")
        vectors = golden_vectors(shipment.model, shipment.validation, golden)
        say("writing the files, measuring the float mirrors")
        _write_files(folder, bundle_files(shipment, vectors, quant_op))
        say("checking the files")
        findings = check_written(folder, begin=begin, end=end)
        say(f"scoring the written files on {images} validation images")
        score = rescore_bundle(folder, shipment.validation, shipment.accuracy)
        write_atomic(folder / MANIFEST, manifest(folder))
        size = sum((folder / name).stat().st_size for name in entries(folder)[0])
        _check_target(target)
        put_in_place(folder, target)
    return BundleSummary(
        path=out,
        size_kb=size / 1024,
        nodes=len(shipment.model.nodes),
        golden_images=golden,
        correct=score.correct,
        images=score.images,
        findings=tuple(findings),
    )


def bundle_files(
    shipment: Shipment, golden: Golden, quant_op: str = QUANT_OPS[0]
) -> dict[str, str | bytes]:
    """Return path to content of every file of a bundle but the manifest."""
    s = shipment
    derived = derived_files(s.model, s.design, s.cost, s.workload, golden.codes, quant_op=quant_op)
    mirrors = {name: derived[name] for name in MIRRORS}
    reports = measure_mirrors(s.model, mirrors, s.validation, golden)
    hardware = json.loads(derived["hardware.json"])
    files: dict[str, str | bytes] = {
        "design.json": json.dumps(s.design.to_json(), indent=1) + "\n",  # layers in graph order
        "cost.json": json_text(cost_json(s.cost, s.metrics)),
        "workload.json": json_text(workload_json(s.workload)),
        "graph.json": json_text(s.model.graph_json()),
        "weights.npz": pack_npz(s.model.tensors),
        "golden/golden.npz": pack_npz(golden.codes),
        "golden/images.npz": pack_npz(golden.image_arrays()),
        "verify.py": Path(replay.__file__).read_bytes(),
        "interchange.json": json_text(interchange_json(reports)),
        **derived,
    }
    page = readme(s.title, s.model, s.accuracy, hardware, s.cost, golden, files, reports)
    return {**files, "README.md": page}


def _write_files(folder: Path, files: Mapping[str, str | bytes]) -> None:
    for name, content in files.items():
        if not is_plain(name):
            raise UserError(f"a file of the bundle would be called {name!r}: rename the layer.")
        write_atomic(folder / name, content)


def _check_target(out: Path) -> None:
    """Refuse a target that holds anything but a bundle, or more than its bundle's files."""
    if out.is_dir() and (out / MANIFEST).is_file():
        files, others = entries(out)
        more = sorted({*files, *others} - listed_files(out))
        if more:
            raise UserError(
                f"{out} holds {more[0]}, which is not part of the bundle there:"
                " move it away or give another out=."
            )
    elif out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out} is not an export bundle: give another out=, or empty it.")
