"""GPU profiles fitted to the published latencies of Swin, and how they do on what they never saw.

Run `python -m costmodels.gpu_fit` to see the fits and their errors.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from costmodels.board import load_gpu
from costmodels.gpu.fitting import Measurement, fit_profile, mean_error
from costmodels.gpu.launch import kernels
from costmodels.gpu.profile import Profile, load_profile
from costmodels.gpu.roofline import kernel_work
from costmodels.gpu.swin import SIZES, swin
from costmodels.tables import read_table

GPUS = ("t4", "a10", "a100")


@dataclass(frozen=True)
class Point:
    """One published latency: a Swin model on a GPU, in milliseconds for the whole batch."""

    gpu: str
    version: int
    model: str
    precision: str
    batch: int
    latency_ms: float


@cache
def points(table: str = "fastertransformer_swin") -> tuple[Point, ...]:
    """Return the published latencies of one of the tables `reference/*_swin*.csv`."""
    version = 2 if table.endswith("_v2") else 1
    return tuple(
        Point(
            row["gpu"],
            int(row.get("version", version)),
            row["model"],
            precision,
            int(row["batch"]),
            float(row[f"{precision}_ms"]),
        )
        for row in read_table(table)
        for precision in ("fp16", "int8")
        if f"{precision}_ms" in row
    )


def fit(name: str = "fastertransformer", fitted: Iterable[Point] | None = None) -> Profile:
    """Return the profile of that name with the parameters that fit the points best.

    FasterTransformer's is fitted to all sizes of Swin V1, PyTorch's to the TorchScript latencies;
    both with one efficiency for floating-point and integer kernels.
    """
    table = "fastertransformer_swin" if name == "fastertransformer" else "torchscript_swin"
    base = load_profile(name)
    chosen = points(table) if fitted is None else fitted
    return fit_profile(base, measurements(base, chosen), tied=True)


def error(profile: Profile, judged: Iterable[Point]) -> float:
    """Return the mean absolute error relative to the published latencies, a fraction."""
    return mean_error(profile, measurements(profile, judged))


def leave_one_out(name: str, judged: Sequence[Point]) -> dict[str, float]:
    """Return the error on each GPU of the fit to the points of the other two."""
    errors = {}
    for left_out in GPUS:
        profile = fit(name, [point for point in judged if point.gpu != left_out])
        errors[left_out] = error(profile, [point for point in judged if point.gpu == left_out])
    return errors


def measurements(profile: Profile, chosen: Iterable[Point]) -> list[Measurement]:
    """Return the work that the profile's runtime launches for each point, with its latency."""
    return [_measurement(profile.name, point) for point in chosen]


@cache
def _measurement(profile_name: str, point: Point) -> Measurement:
    workload, fusion = swin(point.model, point.version), load_profile(profile_name).fusion
    launched = kernels(workload, point.precision, fusion)
    return kernel_work(launched, load_gpu(point.gpu), point.batch), point.latency_ms


def main() -> None:
    """Print the fits, and their errors on what they were and were not fitted to."""
    for name, tables in (
        ("fastertransformer", ("fastertransformer_swin", "fastertransformer_swin_v2")),
        ("torch_eager", ("torchscript_swin",)),
    ):
        print(profile := fit(name))
        for table in tables:
            for model in SIZES:
                judged = [point for point in points(table) if point.model == model]
                if judged:
                    _print(f"{table} {model} ({len(judged)} points)", error(profile, judged))
        everything = points(tables[0])
        _print(f"{tables[0]} ({len(everything)} points)", error(profile, everything))
        for sizes in (("tiny",), tuple(SIZES)):
            judged = [point for point in everything if point.model in sizes]
            for gpu, missed in leave_one_out(name, judged).items():
                _print(f"{tables[0]} {', '.join(sizes)}: {gpu}, left out", missed)
        if name == "fastertransformer":
            for model in SIZES:
                rest = [point for point in everything if point.model != model]
                held = [point for point in everything if point.model == model]
                _print(f"{tables[0]} {model}, left out", error(fit(name, rest), held))


def _print(what: str, fraction: float) -> None:
    print(f"  {what}: mean error {100 * fraction:.1f} %")


if __name__ == "__main__":
    main()
