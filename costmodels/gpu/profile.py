"""Runtime profiles: what a runtime fuses, and how near its kernels come to the device's peaks.

A profile is a file, `profiles/<name>.yaml` or one that `python -m costmodels.calibrate` wrote,
with the source of its figures or the device, date and versions they were measured with.
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from costmodels.checks import check_number
from costmodels.errors import CostModelError
from costmodels.gpu.rates import Rates, parse_rates

DEFAULT = "fastertransformer"

_FOLDER = Path(__file__).parent / "profiles"


@dataclass(frozen=True)
class Fusion:
    """What a runtime computes in one kernel.

    Attributes:
        float_epilogue: Functions that a floating-point GEMM's or convolution's output stage does.
        integer_epilogue: The same of an integer one. Without "requantize" its 32-bit sums go to
            memory, and rescaling them is a kernel of its own.
        softmax: Kinds of softmax that a fused attention kernel takes between its two products.
        add_norm: Whether a residual add and the norm after it are one kernel.
        pointwise: Whether a run of element-wise operations is one kernel, a norm included.
        float_residual: Whether the residual stream stays in FP16 in an integer network.
    """

    float_epilogue: frozenset[str]
    integer_epilogue: frozenset[str]
    softmax: frozenset[str]
    add_norm: bool
    pointwise: bool
    float_residual: bool


@dataclass(frozen=True)
class Profile:
    """How a runtime uses a device.

    Attributes:
        name: Name of its file.
        rates: How near its kernels come to the peaks.
        fusion: What goes into one kernel.
        kinds: Rates of the kinds of kernel (`Kernel.kind`) that have their own.
        gap_us: Microseconds that a kernel takes longer among the others of a network than in a
            stream of its own kind, where rates are measured.
        backing: What backs the figures: the measured error, or "relative".
    """

    name: str
    rates: Rates
    fusion: Fusion
    kinds: Mapping[str, Rates] = field(default_factory=dict)
    gap_us: float = 0.0
    backing: str = field(compare=False, default="relative")

    def __post_init__(self) -> None:
        where = f"GPU profile '{self.name}'"
        check_number(where, "gap_us", self.gap_us, zero=True)
        self.rates.check(where)
        for kind, rates in self.kinds.items():
            rates.check(f"{where}, {kind}")

    def rates_of(self, kind: str) -> Rates:
        """Return the rates of a kind of kernel."""
        return self.kinds.get(kind, self.rates)


def profile_names() -> list[str]:
    """Return the names of the shipped profiles, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


@lru_cache(maxsize=64)
def load_profile(name: str = DEFAULT) -> Profile:
    """Read a profile.

    Args:
        name: Name of a shipped profile, or the path of a file that ends in .yaml or .json.

    Raises:
        CostModelError: There is no such profile, or the file is none; the message says what to do.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".json"):
        if name not in profile_names():
            close = difflib.get_close_matches(str(name), profile_names(), n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            known = ", ".join(profile_names())
            raise CostModelError(f"unknown GPU profile '{name}'.{hint} Known: {known}.")
        path = _FOLDER / f"{name}.yaml"
    return parse_profile(path.stem, read_document(path))


def read_document(path: Path) -> Mapping[str, Any]:
    """Read a YAML or JSON file that holds a mapping.

    Raises:
        CostModelError: The file cannot be read or holds something else.
    """
    import yaml  # not needed to import the package

    parse = json.loads if path.suffix == ".json" else yaml.safe_load
    try:
        document = parse(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise CostModelError(f"cannot read the GPU profile {path}: {reason}") from None
    if not isinstance(document, dict):
        raise CostModelError(f"{path} is no GPU profile: write one with costmodels.calibrate")
    return document


def parse_profile(name: str, document: Mapping[str, Any]) -> Profile:
    """Return the profile that a document holds.

    Raises:
        CostModelError: An entry is missing or not a number; the message names it.
    """
    parameters, fusion = document.get("parameters"), document.get("fusion")
    if not isinstance(parameters, dict) or not isinstance(fusion, dict):
        raise CostModelError(f"GPU profile '{name}' needs the entries 'parameters' and 'fusion'")
    kinds = document.get("kinds", {})
    if not isinstance(kinds, dict) or not all(isinstance(one, dict) for one in kinds.values()):
        raise CostModelError(f"GPU profile '{name}': 'kinds' must map kinds of kernel to figures")
    missing = [entry.name for entry in fields(Fusion) if entry.name not in fusion]
    if missing:
        raise CostModelError(f"GPU profile '{name}' lacks {', '.join(missing)}")
    sets = {k: frozenset(v) if isinstance(v, list) else bool(v) for k, v in fusion.items()}
    try:
        rules = Fusion(**sets)  # type: ignore[arg-type]
    except TypeError as error:
        raise CostModelError(f"GPU profile '{name}': {error}") from None
    where = f"GPU profile '{name}'"
    own = {str(kind): parse_rates(f"{where}, {kind}", one) for kind, one in kinds.items()}
    backing = " ".join(str(document.get("backing", "relative")).split())
    rates, gap_us = parse_rates(where, parameters), document.get("gap_us", 0.0)
    return Profile(name, rates, rules, own, gap_us, backing)
