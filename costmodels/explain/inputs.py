"""What to explain: a workload and an accelerator from a bundle, files, a search space or a study.

Bundles and files are read here. Search spaces and studies belong to codesign, which is imported
when one is named and not before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from costmodels.accelerator import Accelerator
from costmodels.errors import CostModelError
from costmodels.measuring.options import parse_options
from costmodels.workload import Workload
from costmodels.workload_json import load_workload, read_json

_PREFIX = "accelerator."


@dataclass(frozen=True)
class Source:
    """Where a candidate comes from; the four kinds exclude one another.

    Attributes:
        space: A search space: a name or a YAML file.
        run: The folder of a study.
        bundle: The folder of an export bundle.
        workload: A JSON file that holds a workload.
        design: With `space` a design's JSON file or the name of a baseline; with `workload` a
            JSON file whose accelerator is taken.
        trial: With `run`: "knee", "best:<objective>" or a number.
        changes: `key=value` words: "accelerator.<field>=..." changes the accelerator, other dotted
            keys the settings of the space.
    """

    space: str = ""
    run: str = ""
    bundle: str = ""
    workload: str = ""
    design: str = ""
    trial: str = ""
    changes: Sequence[str] = field(default=())


@dataclass(frozen=True)
class Candidate:
    """What to explain.

    Attributes:
        title: What it is, in words.
        slug: The same as the name of a folder.
        workload: The network, for one image.
        accelerator: The hardware.
        batch: Images that run together, as the bundle, study or space has it.
    """

    title: str
    slug: str
    workload: Workload
    accelerator: Accelerator
    batch: int = 1


def find_candidate(source: Source) -> Candidate:
    """Return the candidate that a source names, with its changes applied.

    Raises:
        CostModelError: The source is none or contradictory, or names what is not there.
    """
    kinds = [name for name in ("space", "run", "bundle", "workload") if getattr(source, name)]
    if len(kinds) != 1:
        raise CostModelError(
            "what is to be explained? Give one of space=NAME (with design=FILE.json), run=DIR "
            f"(with trial=N), bundle=DIR, workload=FILE.json{_given(kinds)}"
        )
    _check_pairs(source)
    found = _READERS[kinds[0]](source)
    words = [word.removeprefix(_PREFIX) for word in source.changes if word.startswith(_PREFIX)]
    if not words:
        return found
    accelerator = _changed(found.accelerator, words)
    return replace(found, title=f"{found.title}, {', '.join(words)}", accelerator=accelerator)


def _given(kinds: Sequence[str]) -> str:
    return f"; given were {' and '.join(kinds)}" if kinds else ""


def _check_pairs(source: Source) -> None:
    others = [word for word in source.changes if not word.startswith(_PREFIX)]
    for given, what, kinds in (
        (source.design, "design", ("space", "workload")),
        (source.trial, "trial", ("run",)),
        (others, others[0].partition("=")[0] if others else "", ("space",)),
    ):
        if given and not any(getattr(source, kind) for kind in kinds):
            needs = " or ".join(f"{kind}=" for kind in kinds)
            raise CostModelError(f"{what}= belongs to {needs}")


def _changed(accelerator: Accelerator, words: Sequence[str]) -> Accelerator:
    values = parse_options(Accelerator, words)
    names = [word.partition("=")[0] for word in words]
    return replace(accelerator, **{name: getattr(values, name) for name in names})


def accelerator_from_json(values: Any, where: str) -> Accelerator:
    """Return the accelerator in the JSON values of a design, or of an accelerator alone.

    Raises:
        CostModelError: There is none, or a field is unknown; the message names it.
    """
    for key in ("design", "accelerator"):
        values = values.get(key, values) if isinstance(values, Mapping) else values
    if not isinstance(values, Mapping) or "board" not in values:
        raise CostModelError(f"{where} holds no accelerator: give a bundle's design.json")
    known = sorted(item.name for item in fields(Accelerator))
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise CostModelError(
            f"{where}: an accelerator has no field '{unknown[0]}'. Known: {', '.join(known)}."
        )
    return Accelerator(**values)


def _of_bundle(source: Source) -> Candidate:
    folder = Path(source.bundle).expanduser()
    if not folder.is_dir():
        raise CostModelError(f"bundle={source.bundle}: there is no such folder")
    path = folder / "design.json"
    accelerator = accelerator_from_json(read_json(path), str(path))
    workload = load_workload(folder / "workload.json")
    title = f"{workload.name} of bundle {folder.resolve().name}"
    cost = folder / "cost.json"
    values = read_json(cost) if cost.is_file() else {}
    batch = values.get("batch", 1) if isinstance(values, Mapping) else 1
    return Candidate(title, f"bundle-{folder.resolve().name}", workload, accelerator, batch)


def _of_workload(source: Source) -> Candidate:
    path = Path(source.workload).expanduser()
    accelerator = Accelerator()
    if source.design:
        design = Path(source.design).expanduser()
        accelerator = accelerator_from_json(read_json(design), str(design))
    workload = load_workload(path)
    return Candidate(workload.name, path.stem, workload, accelerator)


def _of_codesign(source: Source) -> Candidate:
    try:
        from codesign.errors import UserError
        from codesign.search.candidate import candidate_of_run, candidate_of_space
    except ImportError as error:
        raise CostModelError(f"space= and run= need the package codesign: {error}") from error
    try:
        if source.run:
            folder = Path(source.run).expanduser()
            found = candidate_of_run(folder, source.trial or "knee")
            slug = f"{folder.resolve().name}-{found.title.split()[1]}"
        else:
            others = [word for word in source.changes if not word.startswith(_PREFIX)]
            found = candidate_of_space(source.space, source.design, others)
            slug = "-".join(filter(None, (Path(source.space).stem, Path(source.design).stem)))
    except UserError as error:
        raise CostModelError(str(error)) from error
    slug = "".join(c if c.isalnum() or c in "-_" else "_" for c in slug)
    return Candidate(found.title, slug, found.workload, found.design.accelerator, found.batch)


_READERS = {
    "space": _of_codesign,
    "run": _of_codesign,
    "bundle": _of_bundle,
    "workload": _of_workload,
}
