"""GPU latency: a roofline for each kernel that a fused INT8 or FP16 runtime would launch.

    t = sum over kernels of max(t0, operations / (eta_c P u), bytes / (eta_m BW))

P and BW are the device's peaks, u is the share of the tensor cores' 128 x 128 tiles that the shape
fills, waves over the multiprocessors included. t0, eta_c and eta_m are fitted to published
FasterTransformer latencies (`gpu_fit.py`). Bits below 8 save nothing here: the kernels are INT8.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from costmodels.board import Gpu
from costmodels.errors import CostModelError
from costmodels.workload import MatrixLayer, VectorOperation, Workload

PRECISIONS = ("int8", "fp16")
TILE = 128

# Work an INT8 GEMM's output stage does for nothing: rescaling and clamping.
_EPILOGUE = frozenset({"requantize", "rescale", "relu", "relu6", "clip"})
# Activation functions; an FP16 GEMM's output stage computes any of them, an INT8 one cannot.
_ACTIVATIONS = frozenset({"table", "hardswish", "hardsigmoid", "shift_swish", "shift_gelu"})


@dataclass(frozen=True)
class Profile:
    """The roofline's parameters: one set for all devices.

    Attributes:
        kernel_us: Least time of a kernel in microseconds (t0).
        compute_efficiency: Share of the peak that full tiles reach (eta_c).
        memory_efficiency: Share of the bandwidth that kernels reach (eta_m).
    """

    kernel_us: float
    compute_efficiency: float
    memory_efficiency: float


# `gpu_fit.fit()` on the Swin-T rows of reference/fastertransformer_swin.csv.
FASTER_TRANSFORMER = Profile(kernel_us=9.0, compute_efficiency=0.9, memory_efficiency=0.35)


@dataclass(frozen=True)
class Kernel:
    """One kernel, for one image.

    Attributes:
        name: Name of its first operation.
        gemms: (rows, columns, repeats, multiply-accumulates) of its tensor-core products.
        scalar_macs: Multiply-accumulates outside the tensor cores (depthwise convolutions).
        weights: Weights read, once for any batch.
        activations: Activation elements read and written.
        in_fp16: Whether FP16 launches it too, or folds it into another kernel.
    """

    name: str
    gemms: tuple[tuple[int, int, int, int], ...] = ()
    scalar_macs: int = 0
    weights: int = 0
    activations: int = 0
    in_fp16: bool = True


def kernels(workload: Workload) -> tuple[Kernel, ...]:
    """Return the kernels a runtime with the usual fusions launches for the workload.

    A convolution or linear layer takes its rescaling and clamping along, in FP16 any activation
    function too; product, softmax, product is one attention kernel; a residual add goes with the
    LayerNorm after it, or with the layer it is fused into.
    """
    launched: list[Kernel] = []
    operations = list(workload.operations)
    i = 0
    while i < len(operations):
        taken, kernel = _next_kernel(operations, i)
        if kernel is not None:
            launched.append(kernel)
        i += taken
    return tuple(launched)


def latency_ms(
    workload: Workload | Sequence[Kernel],
    gpu: Gpu,
    *,
    precision: str = "int8",
    batch: int = 1,
    profile: Profile = FASTER_TRANSFORMER,
) -> float:
    """Return the latency of a batch in milliseconds.

    Args:
        workload: The network for one image, or its kernels.
        gpu: The device.
        precision: "int8" or "fp16".
        batch: Images.
        profile: The roofline's parameters.

    Raises:
        CostModelError: The precision is unknown.
    """
    launched = kernels(workload) if isinstance(workload, Workload) else workload
    compute, memory = kernel_work(launched, gpu, precision, batch)
    return float(
        np.maximum(
            np.maximum(compute / profile.compute_efficiency, memory / profile.memory_efficiency),
            profile.kernel_us / 1e3,
        ).sum()
    )


def kernel_work(
    launched: Iterable[Kernel], gpu: Gpu, precision: str, batch: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each kernel's milliseconds at the compute peak and at the bandwidth peak.

    Raises:
        CostModelError: The precision is unknown.
    """
    if precision not in PRECISIONS:
        raise CostModelError(f"unknown precision '{precision}'. Known: {', '.join(PRECISIONS)}.")
    int8 = precision == "int8"
    peak = (gpu.int8_tops if int8 else gpu.fp16_tflops) * 1e9
    work = []
    for kernel in launched:
        if not (int8 or kernel.in_fp16):
            continue
        compute = kernel.scalar_macs * 2 * batch / (gpu.fp32_tflops * 1e9)
        for rows, cols, repeats, macs in kernel.gemms:
            filled = tile_utilisation(rows, cols, repeats, batch, gpu.multiprocessors)
            compute += 2 * macs * batch / (peak * filled)
        size = (kernel.weights + batch * kernel.activations) * (1 if int8 else 2)
        work.append((compute, size / (gpu.bandwidth_gb_s * 1e6)))
    pairs = np.array(work, dtype=np.float64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def tile_utilisation(rows: int, cols: int, repeats: int, batch: int, multiprocessors: int) -> float:
    """Return the useful share of the tiles that whole waves over the multiprocessors compute.

    Tiles are 128 x 128, or the next power of two, at least 16, for smaller products. A batch makes
    a single product taller and repeated products more.
    """
    if repeats == 1:
        rows, batch = rows * batch, 1
    tile_rows, tile_cols = _tile(rows), _tile(cols)
    tiles = -(-rows // tile_rows) * -(-cols // tile_cols) * repeats * batch
    per_wave = multiprocessors * (TILE * TILE // (tile_rows * tile_cols))
    waves = -(-tiles // per_wave)
    return rows * cols * repeats * batch / (waves * per_wave * tile_rows * tile_cols)


def _tile(size: int) -> int:
    return min(TILE, max(16, 1 << (size - 1).bit_length()))


def _next_kernel(
    operations: list[MatrixLayer | VectorOperation], i: int
) -> tuple[int, Kernel | None]:
    """Return how many operations the kernel at `i` covers, and the kernel unless it is free."""
    operation = operations[i]
    if isinstance(operation, VectorOperation):
        return _vector_kernel(operations, i, operation)
    if operation.kind == "matmul":
        return _attention_kernel(operations, i, operation)
    return 1, _layer_kernel(operation)


def _layer_kernel(layer: MatrixLayer) -> Kernel:
    moved = layer.input_elements + layer.output_elements
    if layer.kind == "depthwise":
        return Kernel(
            layer.name,
            scalar_macs=layer.macs,
            weights=layer.weight_elements,
            activations=moved,
        )
    return Kernel(
        layer.name, gemms=(_gemm(layer),), weights=layer.weight_elements, activations=moved
    )


def _attention_kernel(
    operations: list[MatrixLayer | VectorOperation], i: int, first: MatrixLayer
) -> tuple[int, Kernel]:
    """Return product, softmax, product as one kernel that keeps the scores on chip, else one."""
    softmax, end = False, i + 1
    while end < len(operations):
        operation = operations[end]
        if isinstance(operation, MatrixLayer):
            break
        softmax = softmax or operation.function == "softmax"
        end += 1
    second = operations[end] if end < len(operations) else None
    if softmax and isinstance(second, MatrixLayer) and second.kind == "matmul":
        moved = first.input_elements + first.weight_elements
        moved += second.weight_elements + second.output_elements
        return end + 1 - i, Kernel(
            first.name, gemms=(_gemm(first), _gemm(second)), activations=moved
        )
    moved = first.input_elements + first.weight_elements + first.output_elements
    return 1, Kernel(first.name, gemms=(_gemm(first),), activations=moved)


def _vector_kernel(
    operations: list[MatrixLayer | VectorOperation], i: int, operation: VectorOperation
) -> tuple[int, Kernel | None]:
    fused = operation.fused_into is not None
    if fused and operation.function in _EPILOGUE | {"add"}:
        return 1, None
    kernel = Kernel(operation.name, activations=_moved(operation))
    if fused and operation.function in _ACTIVATIONS:
        return 1, replace(kernel, in_fp16=False)
    following = operations[i + 1] if i + 1 < len(operations) else None
    if (
        operation.function == "add"
        and isinstance(following, VectorOperation)
        and following.function == "layer_norm"
    ):  # reads both operands, writes the sum and its normalisation
        return 2, replace(kernel, activations=4 * operation.elements)
    return 1, kernel


def _moved(operation: VectorOperation) -> int:
    read = 2 if operation.function in ("add", "mul", "divide") else 1
    pools = operation.function in ("pool", "mean", "max_pool")
    written = operation.elements // operation.row_length if pools else operation.elements
    return read * operation.elements + written


def _gemm(layer: MatrixLayer) -> tuple[int, int, int, int]:
    return layer.m, layer.n, layer.repeats, layer.macs
