"""From a workload to the kernels that a runtime launches, by what it fuses."""

from collections.abc import Sequence

from costmodels.errors import CostModelError
from costmodels.gpu.kernel import PRECISIONS, Gemm, Kernel
from costmodels.gpu.profile import Fusion, load_profile
from costmodels.operands import operand_bits
from costmodels.workload import MatrixLayer, VectorOperation, Workload

_BYTES = {"fp32": 4.0, "fp16": 2.0, "int8": 1.0, "int4": 1.0}
_RESCALING = frozenset({"requantize", "requantize_shift", "rescale"})
_NORMS = frozenset({"layer_norm", "layer_norm_ptf", "layer_norm_8bit", "rms_norm", "group_norm"})
_SOFTMAXES = frozenset({"softmax", "log_int_softmax", "codebook_softmax", "shiftmax"})
_POOLS = frozenset({"pool", "mean", "max_pool", "avg_pool"})
_BINARY = frozenset({"add", "mul", "divide", "log2_divide", "strided_pair"})
TABLES = frozenset({"gelu", "silu", "sigmoid"})
"""Functions of floating-point networks that are tables in integer ones."""

_IMAGE_CHANNELS = 4  # a convolution of at most so many reads an image
_QUERIES = 128  # rows of a block of a fused attention
_ALIGNED = 8

# What functions are measured under where it is not their own name.
_KINDS = dict.fromkeys((*_SOFTMAXES, "row_softmax"), "softmax")
_KINDS |= dict.fromkeys(("layer_norm", "layer_norm_ptf", "layer_norm_8bit"), "layer_norm")
_KINDS |= {"mean": "pool", "concat": "cat"}

# Elements a score counts for, from the operations of the kinds' definitions beside the plain
# softmax's subtract, exponential, sum and scale: a logarithm and its rounding; four comparisons
# with the thresholds of a codebook; the shift-made exponential and the long division of I-ViT.
_SCORE_WEIGHT = {"softmax": 1, "log_int_softmax": 2, "codebook_softmax": 2, "shiftmax": 3}

Operations = Sequence[MatrixLayer | VectorOperation]


def kernels(
    workload: Workload, precision: str = "int8", fusion: Fusion | None = None
) -> tuple[Kernel, ...]:
    """Return the kernels a runtime launches for the workload.

    An integer layer whose weights need more than 8 bits (wide log2 and additive power-of-two
    weights) runs as an FP16 kernel. Requantisation exists in integer networks alone.

    Args:
        workload: The network for one image.
        precision: One of `kernel.PRECISIONS`.
        fusion: What the runtime fuses; FasterTransformer's rules unless given.

    Raises:
        CostModelError: The precision is unknown.
    """
    if precision not in PRECISIONS:
        raise CostModelError(f"unknown precision '{precision}'. Known: {', '.join(PRECISIONS)}.")
    launcher = _Launcher(precision, fusion or load_profile().fusion)
    operations = workload.operations
    if precision in ("fp32", "fp16"):
        operations = tuple(op for op in operations if not _is_rescaling(op))
    launched: list[Kernel] = []
    i = 0
    while i < len(operations):
        taken, kernel = launcher.next_kernel(operations[i:])
        launched += [kernel] if kernel is not None else []
        i += taken
    return tuple(launched)


def _is_rescaling(operation: MatrixLayer | VectorOperation) -> bool:
    return isinstance(operation, VectorOperation) and operation.function in _RESCALING


class _Launcher:
    def __init__(self, precision: str, fusion: Fusion) -> None:
        self.precision = precision
        self.integer = precision in ("int8", "int4")
        self.fusion = fusion
        self.width = _BYTES[precision]
        self.epilogue = fusion.integer_epilogue if self.integer else fusion.float_epilogue
        rescaled = not self.integer or "requantize" in self.epilogue
        self.sum_width = self.width if rescaled else 4.0
        wide = self.integer and fusion.float_residual
        self.residual_width = 2.0 if wide else self.width

    def next_kernel(self, operations: Operations) -> tuple[int, Kernel | None]:
        """Return how many operations the first kernel covers, and it unless it is free."""
        first = operations[0]
        if isinstance(first, VectorOperation):
            return self.vector_kernel(operations, first)
        if first.kind == "matmul":
            return self.attention_kernel(operations, first)
        return 1, self.layer_kernel(first)

    def layer_kernel(self, layer: MatrixLayer) -> Kernel:
        precision = self.operand_precision(layer)
        moved = layer.input_elements + layer.output_elements
        width, sum_width = self._widths(precision, layer.output_bits)
        weight_width = _BYTES[precision]
        if self.precision == "int4" and operand_bits(layer) <= 4:
            weight_width = 0.5
            width = 0.5 if precision == "int4" else width
        depthwise = layer.kind == "depthwise"
        return Kernel(
            layer.name,
            gemms=() if depthwise else (_gemm(layer, precision),),
            scalar_macs=layer.macs if depthwise else 0,
            weight_bytes=layer.weight_elements * weight_width,
            activation_bytes=layer.input_elements * width + layer.output_elements * sum_width,
            elements=moved,
            kind=_layer_kind(layer, precision),
            depth=layer.k,
        )

    def operand_precision(self, layer: MatrixLayer) -> str:
        """Return the precision that holds both operands of a product."""
        if not self.integer:
            return self.precision
        if operand_bits(layer) > 8:
            return "fp16"
        narrow = operand_bits(layer) <= 4 and layer.activation_bits <= 4
        return "int4" if self.precision == "int4" and narrow else "int8"

    def attention_kernel(self, operations: Operations, first: MatrixLayer) -> tuple[int, Kernel]:
        """Return product, softmax, product as one kernel that keeps the scores on chip, or one."""
        end, softmax = 1, None
        while end < len(operations) and isinstance(operations[end], VectorOperation):
            operation = operations[end]
            assert isinstance(operation, VectorOperation)
            softmax = operation if operation.function in _SOFTMAXES else softmax
            end += 1
        second = operations[end] if end < len(operations) else None
        if (
            softmax is not None
            and softmax.function in self.fusion.softmax
            and isinstance(second, MatrixLayer)
            and second.kind == "matmul"
        ):
            return end + 1, self._fused(first, softmax, second)
        moved = first.input_elements + first.weight_elements
        precision = self.operand_precision(first)
        width, sum_width = self._widths(precision, first.output_bits)
        return 1, Kernel(
            first.name,
            (_gemm(first, precision),),
            activation_bytes=moved * width + first.output_elements * sum_width,
            elements=moved + first.output_elements,
            kind=_product_kind(first, precision),
            depth=first.k,
        )

    def _widths(self, precision: str, output_bits: int) -> tuple[float, float]:
        """Return the bytes of an operand and of a result of a product in that precision."""
        if self.integer and precision == "fp16":
            return 2.0, 2.0
        return self.width, max(self.sum_width, self._width(output_bits))

    def _fused(self, first: MatrixLayer, softmax: VectorOperation, second: MatrixLayer) -> Kernel:
        """The scores are no operand from memory: of P V, whichever side P is, V is the rest."""
        values = max(0, second.input_elements + second.weight_elements - softmax.elements)
        moved = first.input_elements + first.weight_elements + values + second.output_elements
        gemms = tuple(_gemm(layer, self.operand_precision(layer)) for layer in (first, second))
        scores = softmax.elements * _SCORE_WEIGHT[softmax.function]
        queries = softmax.elements // (first.repeats * softmax.row_length)
        return Kernel(
            first.name,
            gemms,
            activation_bytes=moved * self._widths(gemms[0].precision, 8)[0],
            elements=moved + scores,
            kind="attention" if gemms[0].precision in ("fp32", "fp16") else "integer_attention",
            rows=first.repeats * -(-queries // _QUERIES),
            depth=softmax.row_length,
        )

    def vector_kernel(
        self, operations: Operations, first: VectorOperation
    ) -> tuple[int, Kernel | None]:
        function = "table" if first.function in TABLES else first.function
        if first.fused_into is not None and function in self.epilogue:
            return 1, None
        run = [first]
        while len(run) < len(operations) and self.joins(run, operations[len(run)]):
            following = operations[len(run)]
            assert isinstance(following, VectorOperation)
            run.append(following)
        read, written = self._moved(run)
        count = sum(_read(operation) for operation in run) + _written(run[-1])
        by_row = next((op for op in run if op.row_length > 1), None)
        function = (by_row or first).function
        return len(run), Kernel(
            first.name,
            activation_bytes=read + written,
            elements=count,
            kind=_KINDS.get(function, function),
            rows=by_row.elements // by_row.row_length if by_row else 0,
        )

    def joins(self, run: list[VectorOperation], following: object) -> bool:
        """Return whether an operation runs in the same kernel as those before it."""
        if not isinstance(following, VectorOperation):
            return False
        last = run[-1].function
        if self.fusion.add_norm and last == "add" and following.function in _NORMS:
            return True
        rows = _POOLS | _SOFTMAXES
        if not self.fusion.pointwise or {last, following.function} & rows:
            return False
        return following.elements == run[-1].elements and last not in _NORMS

    def _moved(self, run: list[VectorOperation]) -> tuple[float, float]:
        """Return the bytes a run reads and writes; a sum before a norm is written as well."""
        first, last = run[0], run[-1]
        read = first.elements * self._input_width(first)
        read += sum(op.elements * self.residual_width for op in run if op.function in _BINARY)
        kept = last.function == "add" or (len(run) == 1 and last.function in _POOLS)
        written = _written(last) * (self.residual_width if kept else self._width(last.output_bits))
        if last.function in _NORMS:
            sums = [op for op in run[:-1] if op.function == "add"]
            written += sum(op.elements * self.residual_width for op in sums[-1:])
        return read, written

    def _input_width(self, operation: VectorOperation) -> float:
        """Return the bytes of an element read: sums, the residual stream, or codes."""
        if operation.function in _RESCALING and operation.fused_into is not None:
            return self.sum_width
        wide = operation.function in _NORMS
        return self.residual_width if wide else self._width(operation.input_bits)

    def _width(self, bits: int) -> float:
        """Return the bytes of a code; in an integer network those of over 8 bits take two."""
        return max(self.width, 2.0) if bits > 8 else self.width


def _read(operation: VectorOperation) -> int:
    return operation.elements * (2 if operation.function in _BINARY else 1)


def _written(operation: VectorOperation) -> int:
    pools = operation.function in _POOLS
    return operation.elements // operation.row_length if pools else operation.elements


def _gemm(layer: MatrixLayer, precision: str) -> Gemm:
    return Gemm(layer.m, layer.n, layer.k, layer.repeats, precision)


def _layer_kind(layer: MatrixLayer, precision: str) -> str:
    """Return the kind of a layer's kernel."""
    if layer.kind == "linear":
        return _product_kind(layer, precision)
    if layer.kind == "depthwise":
        return "depthwise"
    if layer.repeats > 1:
        return "grouped"
    if 0 < layer.in_channels <= _IMAGE_CHANNELS:
        return "patches" if layer.stride_height == layer.kernel_height > 1 else "stem"
    return "pointwise" if layer.kernel_height == layer.kernel_width == 1 else "convolution"


def _product_kind(layer: MatrixLayer, precision: str) -> str:
    """Return the kind of a product: tensor cores want rows of a whole number of 8 elements."""
    if precision in ("int8", "int4"):
        return "integer_product"
    shape = "product" if layer.kind == "linear" else "batched_product"
    return shape if layer.n % _ALIGNED == layer.k % _ALIGNED == 0 else f"unaligned_{shape}"
