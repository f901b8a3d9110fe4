"""The GPU roofline's parameters, fitted to the published FasterTransformer latencies of Swin.

Run `python -m costmodels.gpu_fit` to see the fit and how it does on the models it has not seen.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from costmodels.board import load_gpu
from costmodels.gpu import Kernel, Profile, kernel_work, kernels, latency_ms
from costmodels.tables import read_table
from costmodels.workload import MatrixLayer, VectorOperation, Workload

# Embedding width, blocks of each stage, heads of the first stage: Liu et al., Swin, ICCV 2021.
SWIN = {
    "tiny": (96, (2, 2, 6, 2), 3),
    "small": (96, (2, 2, 18, 2), 3),
    "base": (128, (2, 2, 18, 2), 4),
    "large": (192, (2, 2, 18, 2), 6),
}


@dataclass(frozen=True)
class Point:
    """One published latency: a Swin model on a GPU, in milliseconds for the whole batch."""

    gpu: str
    model: str
    precision: str
    batch: int
    latency_ms: float


@cache
def points(model: str | None = None) -> tuple[Point, ...]:
    """Return the published latencies, of one model or of all."""
    return tuple(
        Point(row["gpu"], row["model"], precision, int(row["batch"]), float(row[f"{precision}_ms"]))
        for row in read_table("fastertransformer_swin")
        for precision in ("fp16", "int8")
        if model is None or row["model"] == model
    )


def swin(model: str) -> Workload:
    """Return Swin with 224 x 224 inputs and 7 x 7 windows as a workload."""
    width, blocks, heads = SWIN[model]
    side = 56
    operations: list[MatrixLayer | VectorOperation] = [
        _linear("patch_embed", side * side, 48, width),
        _vector("patch_norm", "layer_norm", side * side * width, width),
    ]
    for stage, count in enumerate(blocks):
        for block in range(count):
            operations += _block(f"layers.{stage}.{block}", side * side, width, heads)
        if stage < 3:
            side, merged = side // 2, 4 * width
            norm = _vector(f"merge.{stage}.norm", "layer_norm", side * side * merged, merged)
            operations += [norm, _linear(f"merge.{stage}", side * side, merged, 2 * width)]
            width, heads = 2 * width, 2 * heads
    operations.append(_vector("norm", "layer_norm", side * side * width, width))
    operations.append(_vector("pool", "pool", side * side * width, side * side))
    operations.append(_linear("head", 1, width, 1000))
    return Workload(f"swin_{model}", tuple(operations), 0)


def fit(fitted: tuple[Point, ...] | None = None) -> Profile:
    """Return the profile with the least mean absolute relative error, by search over a grid.

    Args:
        fitted: The points to fit; Swin-T on T4, A10 and A100 unless given.
    """
    chosen = points("tiny") if fitted is None else fitted
    work = [(*_work(point), point.latency_ms) for point in chosen]
    grid = product(np.arange(5, 13.5, 0.5), np.arange(0.3, 0.91, 0.05), np.arange(0.2, 0.81, 0.05))
    return min(
        (Profile(*(round(float(value), 2) for value in values)) for values in grid),
        key=lambda profile: _error(profile, work),
    )


def mape(profile: Profile, judged: tuple[Point, ...]) -> float:
    """Return the mean absolute error relative to the published latencies, a fraction."""
    errors = [abs(predict(profile, point) / point.latency_ms - 1) for point in judged]
    return float(np.mean(errors))


def predict(profile: Profile, point: Point) -> float:
    """Return the modelled latency of a published point in milliseconds."""
    return latency_ms(
        _kernels(point.model),
        load_gpu(point.gpu),
        precision=point.precision,
        batch=point.batch,
        profile=profile,
    )


def _error(
    profile: Profile, work: list[tuple[NDArray[np.float64], NDArray[np.float64], float]]
) -> float:
    total = 0.0
    for compute, memory, published in work:
        busy = np.maximum(compute / profile.compute_efficiency, memory / profile.memory_efficiency)
        total += abs(float(np.maximum(busy, profile.kernel_us / 1e3).sum()) / published - 1)
    return total / len(work)


def _work(point: Point) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return kernel_work(
        _kernels(point.model),
        load_gpu(point.gpu),
        point.precision,
        point.batch,
    )


@cache
def _kernels(model: str) -> tuple[Kernel, ...]:
    return kernels(swin(model))


def _block(name: str, tokens: int, width: int, heads: int) -> list[MatrixLayer | VectorOperation]:
    windows = tokens // 49
    repeats, head = windows * heads, width // heads
    scores = repeats * 49 * 49
    return [
        _vector(f"{name}.norm1", "layer_norm", tokens * width, width),
        _linear(f"{name}.qkv", tokens, width, 3 * width),
        _matmul(f"{name}.qk", 49, head, 49, repeats),
        _vector(f"{name}.softmax", "softmax", scores, 49),
        _matmul(f"{name}.av", 49, 49, head, repeats),
        _linear(f"{name}.proj", tokens, width, width),
        _vector(f"{name}.add1", "add", tokens * width),
        _vector(f"{name}.norm2", "layer_norm", tokens * width, width),
        _linear(f"{name}.fc1", tokens, width, 4 * width),
        _vector(f"{name}.act", "table", tokens * 4 * width, fused_into=f"{name}.fc1"),
        _linear(f"{name}.fc2", tokens, 4 * width, width),
        _vector(f"{name}.add2", "add", tokens * width),
    ]


def _linear(name: str, m: int, k: int, n: int) -> MatrixLayer:
    return MatrixLayer(name, "linear", m, k, n, 1, 8, "uniform", 8, 8, m * k, m * n, k * n)


def _matmul(name: str, m: int, k: int, n: int, repeats: int) -> MatrixLayer:
    sizes = (repeats * m * k, repeats * m * n, repeats * k * n)
    return MatrixLayer(name, "matmul", m, k, n, repeats, 8, "uniform", 8, 8, *sizes)


def _vector(
    name: str, function: str, elements: int, row: int = 1, fused_into: str | None = None
) -> VectorOperation:
    return VectorOperation(name, function, elements, row, fused_into=fused_into)


def main() -> None:
    """Print the fit, and its error on the models it was and was not fitted to."""
    profile = fit()
    print(profile)
    for model in SWIN:
        print(f"swin_{model}: MAPE {100 * mape(profile, points(model)):.1f} %")
    for left_out in ("t4", "a10", "a100"):
        rest = tuple(p for p in points("tiny") if p.gpu != left_out)
        held = tuple(p for p in points("tiny") if p.gpu == left_out)
        print(f"swin_tiny without {left_out}: MAPE {100 * mape(fit(rest), held):.1f} % on it")


if __name__ == "__main__":
    main()
