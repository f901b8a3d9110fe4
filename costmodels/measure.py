"""`python -m costmodels.measure model=...`: time a timm model in FP16 and INT8, GELU and ReLU.

INT8 runs linear layers as products of codes, MLPs on codes throughout; ReLU is part of a product's
output stage there, GELU a kernel of its own. With fused=true, a Swin block is 7 kernels with ReLU
and 8 with GELU (kernels=compiled leaves it as it is). The claim to check: ReLU in place of GELU
makes INT8 Swin at least 11 % faster (arXiv 2402.01169, RTX 4090, batches 1 to 32).
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from costmodels.errors import CostModelError
from costmodels.measuring.options import run_command
from costmodels.measuring.record import check_out, save

if TYPE_CHECKING:
    import torch

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
KERNELS = ("auto", "torch", "compiled", "triton")


@dataclass(frozen=True)
class MeasureOptions:
    """Options of `python -m costmodels.measure`."""

    model: str = field(default="swin_tiny_patch4_window7_224", metadata={"help": "timm model"})
    batches: list[int] = field(default_factory=lambda: [1, 8, 32], metadata={"help": "batch sizes"})
    precisions: list[str] = field(
        default_factory=lambda: ["fp16", "int8"], metadata={"help": "fp32, fp16, bf16, int8"}
    )
    activations: list[str] = field(
        default_factory=lambda: ["gelu", "relu"], metadata={"help": "gelu, relu"}
    )
    device: str = field(default="cuda", metadata={"help": "cuda or cpu"})
    kernels: str = field(
        default="auto",
        metadata={"help": "torch, compiled, triton; auto: by device"},
    )
    fused: bool = field(default=True, metadata={"help": "Swin blocks as fused kernels"})
    out: str = field(default="", metadata={"help": "JSON file to write; measured_<model>.json"})
    repeats: int = field(default=9, metadata={"help": "streams of calls for each median"})
    graphs: bool = field(
        default=True, metadata={"help": "replay CUDA graphs, without the host's launches"}
    )
    seed: int = field(default=0, metadata={"help": "seed of weights and images"})


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        precision: Of the linear layers; the rest of an INT8 network is FP16, on a CPU FP32.
        activation: "gelu" or "relu".
        batch: Images.
        latency_ms: Median latency of the batch in milliseconds.
        logit_error: Norm of the difference from the FP32 network's logits over their norm.
    """

    precision: str
    activation: str
    batch: int
    latency_ms: float
    logit_error: float


def measure(options: MeasureOptions) -> dict[str, Any]:
    """Time the model and return the record to save, its rows under "rows".

    Raises:
        CostModelError: There is no such device or model, a choice is unknown, or the model cannot
            run in INT8.
    """
    from costmodels.measuring.device import describe_device, find_device

    _check(options)
    device = find_device(options.device)
    rows = [
        row
        for activation in options.activations
        for precision in options.precisions
        for row in _rows(options, device, activation, precision)
    ]
    return {
        "device": describe_device(device),
        "options": {key: value for key, value in asdict(options).items() if key != "out"},
        "rows": [asdict(row) for row in rows],
        "savings": savings(rows),
    }


def savings(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return how much less time ReLU takes than GELU, in percent, by precision and batch."""
    times = {(row.precision, row.batch, row.activation): row.latency_ms for row in rows}
    return [
        {
            "precision": precision,
            "batch": batch,
            "saved_pct": 100 * (1 - times[precision, batch, "relu"] / gelu),
        }
        for (precision, batch, activation), gelu in times.items()
        if activation == "gelu" and (precision, batch, "relu") in times
    ]


def table(record: dict[str, Any]) -> str:
    """Return the rows and the savings as text."""
    lines = [f"{'precision':<10}{'activation':<12}{'batch':>6}{'ms':>12}{'logit error':>13}"]
    lines += [
        f"{row['precision']:<10}{row['activation']:<12}{row['batch']:>6}"
        f"{row['latency_ms']:>12.4f}{row['logit_error']:>13.4f}"
        for row in record["rows"]
    ]
    lines += [
        f"{one['precision']} batch {one['batch']}: ReLU takes {one['saved_pct']:.1f} % less time "
        "than GELU"
        for one in record["savings"]
    ]
    return "\n".join(lines)


def _check(options: MeasureOptions) -> None:
    for name, given, known in (
        ("precisions", options.precisions, PRECISIONS),
        ("activations", options.activations, ("gelu", "relu")),
        ("kernels", [options.kernels], KERNELS),
    ):
        unknown = [value for value in given if value not in known]
        if unknown or not given:
            shown = f"not '{unknown[0]}'" if unknown else "not empty"
            raise CostModelError(f"{name} must be of {', '.join(known)}, {shown}")
    if options.repeats < 1 or not options.batches or min(options.batches) < 1:
        raise CostModelError("repeats and batches must be at least 1")


def _rows(
    options: MeasureOptions, device: "torch.device", activation: str, precision: str
) -> list[Row]:
    import torch

    from costmodels.measuring.device import time_ms
    from costmodels.measuring.models import images

    carrier = precision
    if precision == "int8":
        carrier = "fp16" if device.type == "cuda" else "fp32"
    exact, model, size = _models(options, device, activation, precision, carrier)
    rows = []
    for batch in options.batches:
        image = images(batch, size, carrier, device)
        with torch.inference_mode():
            wanted, found = exact(image.float()), model(image).float()
            error = float((found - wanted).norm() / wanted.norm())
            taken = time_ms(
                lambda image=image: model(image),  # type: ignore[misc]
                device,
                repeats=options.repeats,
                graph=options.graphs,
            )
        if not error < float("inf"):
            raise CostModelError(f"{options.model} in {precision}: the logits are not finite")
        print(f"{precision} {activation} batch {batch}: {taken:.4f} ms", flush=True)
        rows.append(Row(precision, activation, batch, taken, error))
    return rows


def _models(
    options: MeasureOptions, device: "torch.device", activation: str, precision: str, carrier: str
) -> tuple["torch.nn.Module", "torch.nn.Module", int]:
    """Return the FP32 model, the model to time, and the image size."""
    from costmodels.measuring.int8_kernels import choose_kernels
    from costmodels.measuring.microkernels import TYPES
    from costmodels.measuring.models import create_model, images
    from costmodels.measuring.quantized import carried, quantize_linears, replace_activations

    found = []
    for _ in range(2):
        model, size = create_model(options.model, options.seed)
        replace_activations(model, activation)
        found.append(model.to(device))
    exact, model = found
    if precision == "int8":
        calibration = images(2, size, "fp32", device)
        kernels = choose_kernels(options.kernels, device)
        fused = options.fused and not getattr(kernels, "compiled", False)
        quantize_linears(model, calibration, kernels, fused)
    return exact, carried(model, TYPES[carrier]), size


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 2 wrong input."""
    return run_command(MeasureOptions, arguments, str(__doc__), _measure_and_save)


def _measure_and_save(options: MeasureOptions) -> str:
    out = options.out or f"measured_{options.model}.json"
    check_out(out)
    record = measure(options)
    save(out, record)
    return f"{table(record)}\nwritten: {out}"


if __name__ == "__main__":
    sys.exit(main())
