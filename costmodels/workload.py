"""Workload: what a network asks of hardware, layer by layer, for one image."""

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class MatrixLayer:
    """One layer of multiply-accumulates, seen as `repeats` matrix products (M x K) @ (K x N).

    A convolution has M = output height x output width, K = kernel height x kernel width x input
    channels of a group, N = output channels of a group, repeats = groups. An attention product has
    repeats = heads x windows.

    Attributes:
        name: timm module path of the layer; attention products add ".qk" or ".av".
        kind: "conv", "depthwise", "linear" or "matmul" (both operands are activations).
        m: Rows of the product.
        k: Length of the reduction.
        n: Columns of the product.
        repeats: Independent products of that shape.
        weight_bits: Width in bits of a weight code (of the second operand's codes for a matmul).
        weight_scheme: "uniform", "log2", "apot" (sums of powers of two) or "mixed" (some output
            channels log2, the rest uniform). Of a matmul "log2" says that the second operand
            (attention's probabilities) is made of powers of two; `weight_bits` is then the width
            of the log2 weight, sign and exponent, that a shift PE takes in its place.
        activation_bits: Width in bits of the codes entering (of the first operand for a matmul).
        output_bits: Width in bits of the codes written.
        input_elements: Activation elements read, each counted once.
        output_elements: Elements written.
        weight_elements: Weights (elements of the second operand for a matmul).
        in_height: Input height in pixels with padding included (0 where not a convolution).
        in_width: Input width in pixels with padding included (0 where not a convolution).
        kernel_height: Kernel height (1 where not a convolution).
        kernel_width: Kernel width (1 where not a convolution).
        stride_height: Vertical stride.
        stride_width: Horizontal stride.
        in_channels: Input channels of the whole layer.
        out_channels: Output channels of the whole layer.
        log2_share: Share of the output channels that are log2 in a "mixed" layer, else 0.
        inputs: What gives its operands, by name: the first one's, then, of a matmul, the second's.
            An operation's name, whatever only moves its result seen through, or that of the
            network's input or of a constant. Empty where it is not known.
    """

    name: str
    kind: str
    m: int
    k: int
    n: int
    repeats: int
    weight_bits: int
    weight_scheme: str
    activation_bits: int
    output_bits: int
    input_elements: int
    output_elements: int
    weight_elements: int
    in_height: int = 0
    in_width: int = 0
    kernel_height: int = 1
    kernel_width: int = 1
    stride_height: int = 1
    stride_width: int = 1
    in_channels: int = 0
    out_channels: int = 0
    log2_share: float = 0.0
    inputs: tuple[str, ...] = ()

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return self.m * self.k * self.n * self.repeats


@dataclass(frozen=True)
class VectorOperation:
    """Element-wise or row-wise work of the vector unit.

    Attributes:
        name: Node it comes from (module path where there is one).
        function: "requantize", "table", "relu", "hardswish", "shift_swish", "softmax",
            "layer_norm", "add", "mul", "concat", "pool", ... A function a cost model does not know
            is an error, never a zero.
        elements: Elements processed (inputs for a pool, outputs otherwise).
        row_length: Elements of one row for softmax, layer_norm and pool, else 1.
        input_bits: Width in bits of the codes read.
        output_bits: Width in bits of the codes written.
        fused_into: Name of the MatrixLayer whose output stage does this work before the result is
            stored, or None where the operands come from and go to memory.
        inputs: What gives its operands, by name, as in `MatrixLayer`; a layer is named for its own
            requantisation too.
    """

    name: str
    function: str
    elements: int
    row_length: int = 1
    input_bits: int = 8
    output_bits: int = 8
    fused_into: str | None = None
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Workload:
    """A whole network for one image, in execution order.

    Attributes:
        name: The model's name.
        operations: Matrix layers and vector operations in execution order.
        parameter_bits: Bits of everything stored with the model: weights, biases, requantisation
            constants, tables.
    """

    name: str
    operations: tuple[MatrixLayer | VectorOperation, ...]
    parameter_bits: int

    @cached_property
    def layers(self) -> tuple[MatrixLayer, ...]:
        """The matrix layers, in order."""
        return tuple([op for op in self.operations if isinstance(op, MatrixLayer)])

    @cached_property
    def vector_operations(self) -> tuple[VectorOperation, ...]:
        """The vector operations, in order."""
        return tuple([op for op in self.operations if isinstance(op, VectorOperation)])
