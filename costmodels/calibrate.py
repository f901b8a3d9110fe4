"""`python -m costmodels.calibrate device=cuda`: measure the device at hand and fit its profile.

Times micro-kernels (products, attention, element-wise, LayerNorm, softmax) and whole timm models,
fits the roofline to a part of them and judges it on the rest. The file it writes is a profile that
`costmodels.gpu.load_profile` and `estimate(gpu_profile=...)` read, with every measurement in it.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from costmodels.board import load_gpu
from costmodels.errors import CostModelError
from costmodels.measuring.options import run_command
from costmodels.measuring.record import save

if TYPE_CHECKING:
    import torch

    from costmodels.measuring.fit import Timed

FIT_MODELS = ["resnet18", "deit_tiny_patch16_224", "mobilevit_xs", "convnext_tiny"]
HELD_MODELS = [
    "swin_tiny_patch4_window7_224",
    "deit_small_patch16_224",
    "mobilevit_xxs",
    "efficientvit_b0",
    "resnet50",
]


@dataclass(frozen=True)
class CalibrateOptions:
    """Options of `python -m costmodels.calibrate`."""

    device: str = field(default="cuda", metadata={"help": "cuda or cpu"})
    out: str = field(default="", metadata={"help": "file to write; profile_<device>.json if empty"})
    models: list[str] = field(
        default_factory=lambda: list(FIT_MODELS), metadata={"help": "timm models that the fit sees"}
    )
    held_models: list[str] = field(
        default_factory=lambda: list(HELD_MODELS),
        metadata={"help": "timm models that judge the fit"},
    )
    batches: list[int] = field(
        default_factory=lambda: [1, 8, 32], metadata={"help": "batch sizes of the models"}
    )
    most_mmacs: float = field(
        default=0.0, metadata={"help": "largest product in 1e6 multiply-accumulates; 0: by device"}
    )
    most_melements: float = field(
        default=0.0, metadata={"help": "largest tensor in 1e6 elements; 0: by device"}
    )
    repeats: int = field(default=5, metadata={"help": "streams of calls for each median"})
    graphs: bool = field(
        default=False, metadata={"help": "replay CUDA graphs, without the host's launches"}
    )
    seed: int = field(default=0, metadata={"help": "seed of the split and of the weights"})


def calibrate(options: CalibrateOptions, *, verbose: bool = True) -> dict[str, Any]:
    """Measure the device, fit its profile and return the document to save.

    Raises:
        CostModelError: There is no such device or model, or a measurement is no positive number.
    """
    from costmodels.measuring import device as devices
    from costmodels.measuring import fit as fitting
    from costmodels.measuring.record import document

    device = devices.find_device(options.device)
    described = devices.describe_device(device)
    if options.repeats < 1:
        raise CostModelError(f"repeats must be at least 1, not {options.repeats}")
    timed = _time_kernels(options, device, verbose) + _time_models(options, device, verbose)
    known = devices.known_gpu(device)
    if known is None:
        gpu = fitting.measured_gpu(described["name"], timed, described["multiprocessors"])
    else:
        gpu = load_gpu(known)
    profile, errors = fitting.fit_device(timed, gpu, fitting.EAGER)
    return document(profile, gpu, described, errors, timed)


def _time_kernels(
    options: CalibrateOptions, device: "torch.device", verbose: bool
) -> list["Timed"]:
    from costmodels.measuring.device import time_ms
    from costmodels.measuring.fit import Timed, hold_out
    from costmodels.measuring.microkernels import micro_kernels

    cuda = device.type == "cuda"
    precisions = ("fp16", "int8") if cuda else ("fp32", "int8")
    most_macs = 1e6 * (options.most_mmacs or (3e5 if cuda else 300.0))
    most_elements = 1e6 * (options.most_melements or (70.0 if cuda else 4.5))
    chosen = micro_kernels(precisions, most_macs, most_elements)
    held = hold_out(len(chosen), options.seed)
    timed = []
    for i, micro in enumerate(chosen):
        work = micro.build(device)
        taken = time_ms(work, device, repeats=options.repeats, graph=options.graphs)
        _progress(verbose, f"kernel {i + 1}/{len(chosen)}", micro.name, taken)
        precision = micro.name.split()[-1]
        timed.append(Timed("kernel", micro.name, precision, 1, (micro.kernel,), taken, held[i]))
    return timed


def _time_models(options: CalibrateOptions, device: "torch.device", verbose: bool) -> list["Timed"]:
    import torch

    from costmodels.gpu.launch import kernels
    from costmodels.measuring.device import time_ms
    from costmodels.measuring.fit import EAGER, Timed
    from costmodels.measuring.models import create_model, images
    from costmodels.measuring.trace import trace

    precision = "fp16" if device.type == "cuda" else "fp32"
    timed = []
    for name in [*options.models, *options.held_models]:
        model, size = create_model(name, options.seed)
        launched = kernels(
            trace(model, images(1, size, "fp32", torch.device("cpu")), name), precision, EAGER
        )
        held = name in options.held_models
        model = model.to(device).half() if precision == "fp16" else model.to(device)
        for batch in options.batches:
            image = images(batch, size, precision, device)
            with torch.inference_mode():
                taken = time_ms(
                    lambda model=model, image=image: model(image),  # type: ignore[misc]
                    device,
                    repeats=options.repeats,
                    graph=options.graphs,
                )
            _progress(verbose, "model", f"{name} batch {batch} {precision}", taken)
            timed.append(Timed("model", name, precision, batch, launched, taken, held))
    return timed


def _progress(verbose: bool, what: str, name: str, taken: float) -> None:
    if verbose:
        print(f"{what}  {name}: {taken:.4f} ms", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 2 wrong input."""
    return run_command(CalibrateOptions, arguments, str(__doc__), _calibrate_and_save)


def _calibrate_and_save(options: CalibrateOptions) -> str:
    found = calibrate(options)
    out = options.out or f"profile_{options.device}.json"
    save(out, found)
    fitted = json.dumps({"parameters": found["parameters"], "errors": found["errors"]}, indent=1)
    return f"{fitted}\n{found['backing']}\nwritten: {out}"


if __name__ == "__main__":
    sys.exit(main())
