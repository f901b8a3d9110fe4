"""`python -m costmodels.calibrate device=cuda`: measure the device at hand and fit its profile.

Times micro-kernels (products, attention, element-wise and row-wise work), every operator of some
timm models alone, and whole models; fits the roofline to a part of them and judges it on the rest.
The file it writes is a profile that `costmodels.gpu.load_profile` and `estimate(gpu_profile=...)`
read, with every measurement in it; `record=FILE` fits such a file again, without the device.
Lists are [auto] unless given: what suits the device.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import TYPE_CHECKING, Any

from costmodels.board import load_gpu
from costmodels.errors import CostModelError
from costmodels.measuring.options import run_command
from costmodels.measuring.record import check_out, document, read_record, save

if TYPE_CHECKING:
    from costmodels.measuring.timing import Plan

# What is timed unless told: the products' own families and what surrounds them.
DEFAULTS: dict[str, dict[str, list[Any]]] = {
    "cuda": {
        "models": [
            "resnet18",
            "deit_tiny_patch16_224",
            "vit_base_patch32_224",
            "mobilevit_xs",
            "convnext_tiny",
            "swin_small_patch4_window7_224",
            "efficientvit_b1",
            "efficientnet_b0",
            "pvt_v2_b1",
            "levit_192",
        ],
        "held_models": [
            "swin_tiny_patch4_window7_224",
            "deit_small_patch16_224",
            "vit_base_patch16_224",
            "mobilevit_xxs",
            "efficientvit_b0",
            "resnet50",
            "mobilenetv3_large_100",
            "regnety_008",
        ],
        "int8_models": [
            "deit_tiny_patch16_224",
            "swin_small_patch4_window7_224",
            "swin_tiny_patch4_window7_224",
            "deit_small_patch16_224",
            "vit_base_patch16_224",
        ],
        "batches": [1, 8, 32],
        "operator_batches": [1, 32],
    },
    "cpu": {
        "models": ["resnet18", "deit_tiny_patch16_224", "mobilevit_xs", "efficientvit_b1"],
        "held_models": ["resnet34", "levit_128", "mobilevit_xxs", "efficientvit_b0"],
        "int8_models": ["deit_tiny_patch16_224", "levit_128"],
        "batches": [1, 4],
        "operator_batches": [1],
    },
}
AUTO = "auto"


@dataclass(frozen=True)
class CalibrateOptions:
    """Options of `python -m costmodels.calibrate`."""

    device: str = field(default="cuda", metadata={"help": "cuda or cpu"})
    out: str = field(
        default="",
        metadata={
            "help": "JSON file to write, or .yaml for the profile alone; profile_<device>.json"
        },
    )
    record: str = field(
        default="", metadata={"help": "file of an earlier calibration to fit again, unmeasured"}
    )
    models: list[str] = field(
        default_factory=lambda: [AUTO], metadata={"help": "timm models that the fit sees"}
    )
    held_models: list[str] = field(
        default_factory=lambda: [AUTO], metadata={"help": "timm models that judge the fit"}
    )
    int8_models: list[str] = field(
        default_factory=lambda: [AUTO],
        metadata={"help": "those of both that are also timed with INT8 linear layers"},
    )
    batches: list[str] = field(
        default_factory=lambda: [AUTO], metadata={"help": "batch sizes of the models"}
    )
    operator_batches: list[str] = field(
        default_factory=lambda: [AUTO],
        metadata={"help": "batch sizes at which operators of the models are timed alone; [] none"},
    )
    most_mmacs: float = field(
        default=0.0, metadata={"help": "largest product in 1e6 multiply-accumulates; 0: by device"}
    )
    most_melements: float = field(
        default=0.0, metadata={"help": "largest tensor in 1e6 elements; 0: by device"}
    )
    repeats: int = field(default=5, metadata={"help": "streams of calls for each median"})
    graphs: bool = field(
        default=True, metadata={"help": "on a GPU, replay CUDA graphs: no launches by the host"}
    )
    seed: int = field(default=0, metadata={"help": "seed of the split and of the weights"})


def calibrate(options: CalibrateOptions, *, verbose: bool = True) -> dict[str, Any]:
    """Measure the device, fit its profile and return the document to save.

    Raises:
        CostModelError: There is no such device or model, or a measurement is no positive number.
    """
    if options.record:
        return refit(options.record)
    from costmodels.measuring import device as devices
    from costmodels.measuring import fit as fitting
    from costmodels.measuring.runtime import TORCH
    from costmodels.measuring.timing import Bench

    device = devices.find_device(options.device)
    described = devices.describe_device(device) | {"graphs": options.graphs}
    plan = _plan(options)
    devices.warm_up(device)
    say = partial(print, flush=True) if verbose else lambda line: None
    timed = Bench(plan, device, say).everything()
    known = devices.known_gpu(device)
    if known is None:
        gpu = fitting.measured_gpu(described["name"], timed, described["multiprocessors"])
    else:
        gpu = load_gpu(known)
    profile, errors = fitting.fit_device(timed, gpu, TORCH)
    return document(profile, gpu, described, errors, timed)


def refit(path: str) -> dict[str, Any]:
    """Fit the measurements of a record again and return the document to save.

    Raises:
        CostModelError: The file is no record of measurements.
    """
    from costmodels.measuring.fit import fit_device

    timed, before, gpu, described = read_record(path)
    profile, errors = fit_device(timed, gpu, before.fusion)
    return document(profile, gpu, described, errors, timed)


def _plan(options: CalibrateOptions) -> "Plan":
    """Return what is timed, with what the device is given by default."""
    from costmodels.measuring.timing import Plan

    if options.repeats < 1:
        raise CostModelError(f"repeats must be at least 1, not {options.repeats}")
    wanted = {item.name: getattr(options, item.name) for item in fields(Plan)}
    for name, default in DEFAULTS[options.device].items():
        wanted[name] = default if wanted[name] == [AUTO] else wanted[name]
    for name in ("batches", "operator_batches"):
        wanted[name] = [_batch(name, batch) for batch in wanted[name]]
    return Plan(**wanted)


def _batch(name: str, value: Any) -> int:
    if not str(value).isdigit() or int(value) < 1:
        raise CostModelError(f"{name} must be whole numbers of at least 1, not '{value}'")
    return int(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 2 wrong input."""
    return run_command(CalibrateOptions, arguments, str(__doc__), _calibrate_and_save)


def _calibrate_and_save(options: CalibrateOptions) -> str:
    out = options.out or f"profile_{options.device}.json"
    check_out(out)
    found = calibrate(options)
    save(out, found)
    fitted = json.dumps({"parameters": found["parameters"], "errors": found["errors"]}, indent=1)
    return f"{fitted}\n{found['backing']}\nwritten: {out}"


if __name__ == "__main__":
    sys.exit(main())
