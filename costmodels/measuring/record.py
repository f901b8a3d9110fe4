"""Records of measurements: JSON files, whole or absent, that are profiles too.

A record holds every kernel once, as a list of figures, and says of each measurement which of them
it launched and how often, so that the fit can be repeated without the device.
"""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from costmodels.board import Gpu
from costmodels.errors import CostModelError
from costmodels.files import write_atomic
from costmodels.gpu.kernel import Gemm, Kernel
from costmodels.gpu.profile import Profile, parse_profile, read_document
from costmodels.gpu.rates import NAMES, REQUIRED, Rates
from costmodels.measuring.fit import Timed, backing, predicted_ms

_KERNEL = tuple(item.name for item in fields(Kernel) if item.name != "name")


def document(
    profile: Profile,
    gpu: Gpu,
    device: dict[str, Any],
    errors: dict[str, dict[str, float]],
    timed: Sequence[Timed],
) -> dict[str, Any]:
    """Return a fitted profile, and what it was fitted to, as JSON-able values."""
    rules = {name: _plain(value) for name, value in vars(profile.fusion).items()}
    table: dict[str, int] = {}
    measurements = [
        {
            "kind": one.kind,
            "name": one.name,
            "precision": one.precision,
            "batch": one.batch,
            "measured_ms": one.measured_ms,
            "predicted_ms": float(f"{predicted_ms(one, gpu, profile):.5g}"),
            "held_out": one.held_out,
            "launches": _launches(one, table),
        }
        for one in timed
    ]
    return {
        "backing": backing(errors, device),
        "device": device,
        "parameters": _figures(profile.rates),
        "fusion": rules,
        "gap_us": profile.gap_us,
        "kinds": {kind: _figures(rates) for kind, rates in profile.kinds.items()},
        "gpu": {key: value for key, value in asdict(gpu).items() if key != "sources"},
        "errors": errors,
        "kernels": [json.loads(kernel) for kernel in table],
        "measurements": measurements,
    }


def read_record(path: str | Path) -> tuple[list[Timed], Profile, Gpu, dict[str, Any]]:
    """Return the measurements of a record, its profile, its device's figures and description.

    Raises:
        CostModelError: The file is no record of measurements.
    """
    found = read_document(Path(path))
    gpu, profile = calibrated_gpu(path), parse_profile(Path(path).stem, found)
    try:
        kernels = [_kernel(row) for row in found["kernels"]]
        timed = [_timed(one, kernels) for one in found["measurements"]]
        return timed, profile, gpu, dict(found["device"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise CostModelError(
            f"{path} holds no measurements ({reason}): write it with costmodels.calibrate"
        ) from None


def calibrated_gpu(path: str | Path) -> Gpu:
    """Return the device of a calibration: its data sheet's peaks, or those measured.

    Raises:
        CostModelError: The file is no calibration.
    """
    figures = read_document(Path(path)).get("gpu")
    names = {entry.name for entry in fields(Gpu)} - {"sources"}
    if not isinstance(figures, dict) or set(figures) != names:
        raise CostModelError(f"{path} holds no device: write it with costmodels.calibrate")
    return Gpu(**figures)


def save(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write JSON, or of a path in .yaml the profile alone, without what it was fitted to.

    A reader sees the old file or the whole new one.

    Raises:
        CostModelError: The file cannot be written, or a value is not finite.
    """
    check_out(path)
    target = Path(path)
    try:
        as_yaml = target.suffix == ".yaml"
        write_atomic(target, _profile_text(content) if as_yaml else _text(content))
    except (OSError, ValueError) as error:
        raise CostModelError(f"out={path} cannot be written: {error}") from None


def check_out(path: str | Path) -> None:
    """Raise CostModelError where no file can be written, before minutes of measuring.

    Raises:
        CostModelError: There is no such folder, it cannot be written to, or the path is a folder.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise CostModelError(f"out={path} cannot be written: there is no folder {target.parent}")
    if target.is_dir() or not os.access(target.parent, os.W_OK):
        what = "it is a folder" if target.is_dir() else f"{target.parent} is not yours to write to"
        raise CostModelError(f"out={path} cannot be written: {what}")


def _text(content: Mapping[str, Any]) -> str:
    """Return JSON with an entry a line, and the items of long lists too."""
    entries = [f"{json.dumps(key)}: {_entry(value)}" for key, value in content.items()]
    return "{\n" + ",\n".join(entries) + "\n}\n"


def _profile_text(content: Mapping[str, Any]) -> str:
    """Return a profile as YAML, a kind of kernel a line."""
    import yaml

    kept = {key: content[key] for key in ("backing", "parameters", "gap_us", "fusion", "kinds")}
    text: str = yaml.safe_dump(kept, sort_keys=False, default_flow_style=None, width=1000)
    return f"# Written by costmodels.calibrate on {content['device']['date']}.\n{text}"


def _entry(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return json.dumps(value, allow_nan=False)
    rows = [json.dumps(item, allow_nan=False, separators=(",", ":")) for item in value]
    return "[\n " + ",\n ".join(rows) + "\n]"


def _launches(one: Timed, table: dict[str, int]) -> list[list[int]]:
    """Return places in the table of kernels and how often each is launched."""
    rows = Counter(json.dumps([_plain(value) for value in _values(k)]) for k in one.kernels)
    return [[table.setdefault(row, len(table)), count] for row, count in rows.items()]


def _values(kernel: Kernel) -> list[Any]:
    gemms = [[g.rows, g.cols, g.depth, g.repeats, g.precision] for g in kernel.gemms]
    return [gemms if name == "gemms" else getattr(kernel, name) for name in _KERNEL]


def _kernel(row: Sequence[Any]) -> Kernel:
    figures = dict(zip(_KERNEL, row, strict=True))
    gemms = tuple(Gemm(*gemm) for gemm in figures.pop("gemms"))
    return Kernel(str(figures["kind"]), gemms, **figures)


def _timed(one: Mapping[str, Any], kernels: Sequence[Kernel]) -> Timed:
    launched = tuple(kernels[i] for i, count in one["launches"] for _ in range(count))
    return Timed(
        str(one["kind"]),
        str(one["name"]),
        str(one["precision"]),
        int(one["batch"]),
        launched,
        float(one["measured_ms"]),
        bool(one["held_out"]),
    )


def _figures(rates: Rates) -> dict[str, float]:
    """Return the rates by name, those at their default left out."""
    figures = {name: getattr(rates, name) for name in NAMES}
    return {n: v for n, v in figures.items() if n in REQUIRED or v != getattr(Rates, n)}


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else value
