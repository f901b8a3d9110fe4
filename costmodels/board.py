"""Boards and GPUs: what a device offers, read from YAML with a source for every figure."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from costmodels.errors import CostModelError
from costmodels.packing import PORTS

_ROOT = Path(__file__).parent
_MAY_BE_ZERO = ("uram", "memory_controllers")


@dataclass(frozen=True)
class Board:
    """What an FPGA board offers.

    Attributes:
        name: Name of its file in `boards/`.
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

    Attributes:
        name: Name of its file in `gpus/`.
        fp16_tflops: FP16 tensor-core peak in 1e12 operations per second.
        int8_tops: INT8 tensor-core peak in 1e12 operations per second.
        fp32_tflops: FP32 peak outside the tensor cores in 1e12 operations per second.
        bandwidth_gb_s: Memory bandwidth in 1e9 bytes per second.
        multiprocessors: Streaming multiprocessors.
        clock_mhz: Boost clock of the multiprocessors in megahertz.
        int4_tops: INT4 tensor-core peak in 1e12 operations per second, 0 where there is none.
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
    sources: Mapping[str, str] = field(compare=False, repr=False, default_factory=dict)


def board_names() -> list[str]:
    """Return the names of the known boards, sorted."""
    return _names("boards")


def gpu_names() -> list[str]:
    """Return the names of the known GPUs, sorted."""
    return _names("gpus")


@lru_cache(maxsize=64)
def load_board(name: str) -> Board:
    """Read the board called `name`.

    Raises:
        CostModelError: There is no such board; the message lists those there are.
    """
    values, sources = _read("boards", "board", name)
    _check_board(f"boards/{name}.yaml", values)
    return Board(name=name, sources=sources, **values)


@lru_cache(maxsize=64)
def load_gpu(name: str) -> Gpu:
    """Read the GPU called `name`.

    Raises:
        CostModelError: There is no such GPU; the message lists those there are.
    """
    values, sources = _read("gpus", "GPU", name)
    return Gpu(name=name, sources=sources, **values)


def _check_board(where: str, values: Mapping[str, Any]) -> None:
    """Check that every figure is there and can be one.

    Raises:
        CostModelError: A figure is missing, unknown or out of range, or the DSP type is unknown.
    """
    wanted = {item.name for item in fields(Board)} - {"name", "sources"}
    for name in sorted(wanted ^ set(values)):
        what = "is missing" if name in wanted else "is not a figure of a board"
        raise CostModelError(f"{where}: {name} {what}")
    if values["dsp_type"] not in PORTS:
        raise CostModelError(
            f"{where}: unknown dsp_type '{values['dsp_type']}'. Known: {', '.join(PORTS)}."
        )
    for name in sorted(wanted - {"part", "dsp_type"}):
        value, share = values[name], name.endswith(("_ceiling", "_efficiency"))
        zero = name in _MAY_BE_ZERO or name.startswith("controller_")
        sound = isinstance(value, int | float) and math.isfinite(value) and value >= 0
        if not sound or (value == 0 and not zero) or (share and value > 1):
            kind = "above 0 and at most 1" if share else "a finite positive number"
            raise CostModelError(f"{where}: {name} must be {kind}, not {value!r}")


def _names(folder: str) -> list[str]:
    return sorted(path.stem for path in (_ROOT / folder).glob("*.yaml"))


def _read(folder: str, kind: str, name: str) -> tuple[dict[str, Any], dict[str, str]]:
    import yaml  # not needed to import the package

    names = _names(folder)
    if name not in names:
        close = difflib.get_close_matches(str(name), names, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise CostModelError(f"unknown {kind} '{name}'.{hint} Known: {', '.join(names)}.")
    entries = yaml.safe_load((_ROOT / folder / f"{name}.yaml").read_text())
    figures = {key: entry for key, entry in entries.items() if isinstance(entry, dict)}
    values = {**entries, **{key: entry["value"] for key, entry in figures.items()}}
    return values, {key: entry["source"] for key, entry in figures.items()}
