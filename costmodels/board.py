"""Boards and GPUs: what a device offers, read from YAML with a source for every figure."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from os.path import basename
from pathlib import Path
from typing import Any

from costmodels.checks import check_choice, check_number, check_whole, check_word
from costmodels.errors import CostModelError
from costmodels.packing import PORTS

_ROOT = Path(__file__).parent
_MISSING = 0, 0
_MAY_BE_ZERO = ("uram", "memory_controllers", "int4_tops")
_SHARES = ("_ceiling", "_efficiency")
_WORDS = ("name", "part", "dsp_type", "sources")


@dataclass(frozen=True)
class Board:
    """What an FPGA board offers.

    Raises:
        CostModelError: A figure is out of range, or the DSP type is unknown.

    Attributes:
        name: Name of its file in `boards/`, or the path of another.
        part: The device.
        dsp_type: "DSP48E1", "DSP48E2" or "DSP58".
        dsp: DSP slices.
        lut: Six-input LUTs.
        ff: Flip-flops.
        bram36: 36-kbit block RAMs.
        uram: 288-kbit UltraRAMs.
        bandwidth_gb_s: Peak off-chip bandwidth in 1e9 bytes per second.
        bandwidth_efficiency: Share of the peak that a design sustains.
        memory_controllers: Controllers of the off-chip memory that take fabric; 0 where it is hard.
        controller_lut: LUTs of each; likewise flip-flops, 18-kbit block RAMs and DSPs.
        lut_ceiling: Share of the LUTs a design can use and still close timing; likewise the rest.
        sources: Source of each figure.
    """

    name: str
    part: str
    dsp_type: str
    dsp: int
    lut: int
    ff: int
    bram36: int
    uram: int
    bandwidth_gb_s: float
    bandwidth_efficiency: float
    memory_controllers: int
    controller_lut: int
    controller_ff: int
    controller_bram18: int
    controller_dsp: int
    lut_ceiling: float
    ff_ceiling: float
    dsp_ceiling: float
    bram_ceiling: float
    uram_ceiling: float
    sources: Mapping[str, str] = field(compare=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        check_choice(f"board '{self.name}'", "dsp_type", self.dsp_type, tuple(PORTS))
        _check_figures(f"board '{self.name}'", self)

    @property
    def limits(self) -> dict[str, float]:
        """What the board has of each resource: dsp, lut, ff, bram36, uram."""
        return {name: float(getattr(self, name)) for name in ("dsp", "lut", "ff", "bram36", "uram")}

    def bytes_per_cycle(self, clock_mhz: float) -> float:
        """Return the sustained off-chip bytes per clock cycle."""
        return self.bandwidth_gb_s * 1e3 * self.bandwidth_efficiency / clock_mhz


@dataclass(frozen=True)
class Gpu:
    """What a GPU offers; peaks are dense.

    Raises:
        CostModelError: A figure is out of range.

    Attributes:
        name: Name of its file in `gpus/`.
        fp16_tflops: FP16 tensor-core peak in 1e12 operations per second.
        int8_tops: INT8 tensor-core peak in 1e12 operations per second.
        fp32_tflops: FP32 peak outside the tensor cores in 1e12 operations per second.
        bandwidth_gb_s: Memory bandwidth in 1e9 bytes per second.
        multiprocessors: Streaming multiprocessors.
        clock_mhz: Boost clock of the multiprocessors in megahertz.
        int4_tops: INT4 tensor-core peak in 1e12 operations per second, 0 where there is none.
        l2_mb: Last cache in 1e6 bytes.
        sources: Source of each figure.
    """

    name: str
    fp16_tflops: float
    int8_tops: float
    fp32_tflops: float
    bandwidth_gb_s: float
    multiprocessors: int
    clock_mhz: float
    int4_tops: float
    l2_mb: float
    sources: Mapping[str, str] = field(compare=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        _check_figures(f"GPU '{self.name}'", self)


def board_names() -> list[str]:
    """Return the names of the known boards, sorted."""
    return _names("boards")


def gpu_names() -> list[str]:
    """Return the names of the known GPUs, sorted."""
    return _names("gpus")


def load_board(name: str) -> Board:
    """Read a board.

    Args:
        name: Name of a known board, or the path of a YAML file (.yaml or .yml) like those in
            `boards/`.

    Raises:
        CostModelError: There is no such board, and the message lists those there are; or its file
            lacks a figure or has one that is out of range.
    """
    check_word("board", "name", name)
    known = not name.endswith((".yaml", ".yml"))
    path = _file(_ROOT, "boards", name) if known else Path(name).expanduser()
    stamp = _stamp(path)
    if known:
        _check_found("boards", "board", name, stamp)
    return _board(name, f"boards/{name}.yaml" if known else name, path, stamp)


@lru_cache(maxsize=64)
def _board(name: str, where: str, path: Path, stamp: tuple[int, int]) -> Board:
    """Return the board in a file; the stamp tells when a kept one is out of date."""
    values, sources = _read(path, where)
    _check_keys(where, Board, values)
    try:
        return Board(name=name, sources=sources, **values)
    except CostModelError as error:
        raise CostModelError(str(error).replace(f"board '{name}'", where, 1)) from None


def load_gpu(name: str) -> Gpu:
    """Read the GPU called `name`.

    Raises:
        CostModelError: There is no such GPU; the message lists those there are.
    """
    check_word("GPU", "name", name)
    path = _file(_ROOT, "gpus", name)
    stamp = _stamp(path)
    _check_found("gpus", "GPU", name, stamp)
    return _gpu(name, path, stamp)


@lru_cache(maxsize=64)
def _gpu(name: str, path: Path, stamp: tuple[int, int]) -> Gpu:
    where = f"gpus/{name}.yaml"
    values, sources = _read(path, where)
    _check_keys(where, Gpu, values)
    return Gpu(name=name, sources=sources, **values)


def _check_keys(where: str, kind: type[Board] | type[Gpu], values: Mapping[str, Any]) -> None:
    wanted = {item.name for item in fields(kind)} - {"name", "sources"}
    for name in sorted(wanted ^ set(values), key=str):
        what = "is missing" if name in wanted else f"is not a figure of a {kind.__name__}"
        raise CostModelError(f"{where}: {name} {what.lower()}")


def _check_figures(where: str, device: Board | Gpu) -> None:
    for item in fields(device):
        name, value = item.name, getattr(device, item.name)
        if name in _WORDS:
            continue
        zero = name in _MAY_BE_ZERO or name.startswith("controller_")
        most = 1.0 if name.endswith(_SHARES) else None
        check = check_whole if item.type is int else check_number
        check(where, name, value, zero=zero, most=most)


def _names(folder: str) -> list[str]:
    return sorted(path.stem for path in (_ROOT / folder).glob("*.yaml"))


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return _MISSING  # reading it will say why
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=64)
def _file(root: Path, folder: str, name: str) -> Path:
    return root / folder / f"{name}.yaml"


def _check_found(folder: str, kind: str, name: str, stamp: tuple[int, int]) -> None:
    if basename(name) != name or stamp == _MISSING:
        names = _names(folder)
        close = difflib.get_close_matches(str(name), names, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise CostModelError(f"unknown {kind} '{name}'.{hint} Known: {', '.join(names)}.")


def _read(path: Path, where: str) -> tuple[dict[str, Any], dict[str, str]]:
    import yaml  # not needed to import the package

    try:
        entries = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CostModelError(f"{where} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(entries, dict):
        raise CostModelError(f"{where} holds no figures: expected lines such as 'dsp: ...'")
    figures = {key: entry for key, entry in entries.items() if isinstance(entry, dict)}
    for key, entry in figures.items():
        if set(entry) != {"value", "source"} or not isinstance(entry["source"], str):
            raise CostModelError(f"{where}: {key} needs a value and a source, and nothing else")
    values = {**entries, **{key: entry["value"] for key, entry in figures.items()}}
    return values, {key: entry["source"] for key, entry in figures.items()}
