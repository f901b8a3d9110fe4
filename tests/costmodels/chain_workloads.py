"""Chains for the tests: MBConv, attention and MLP as workloads that say who reads whom."""

from dataclasses import replace
from typing import Any

from sample_workloads import conv, linear, matmul

from costmodels.workload import MatrixLayer, VectorOperation, Workload

Operation = MatrixLayer | VectorOperation


def network(*operations: Operation) -> Workload:
    return Workload("chains", operations, 0)


def fused(layer: MatrixLayer, function: str = "relu") -> list[Operation]:
    """A layer with its requantisation and an activation."""
    count = layer.output_elements
    return [
        layer,
        VectorOperation(
            f"{layer.name}.requantize", "requantize", count, 1, 32, 8, layer.name, (layer.name,)
        ),
        VectorOperation(f"{layer.name}.act", function, count, 1, 8, 8, layer.name, (layer.name,)),
    ]


def pointwise(
    name: str, size: int, channels: int, filters: int, source: str, **changes: Any
) -> Any:
    return conv(name, size, channels, filters, kernel=1, inputs=(source,), **changes)


def mbconv(
    size: int = 8,
    channels: int = 4,
    wide: int = 12,
    out: int = 6,
    kernel: int = 3,
    stride: int = 1,
    **changes: Any,
) -> Workload:
    """Pointwise, depthwise, pointwise, activations in between."""
    depthwise = conv("dw", size, wide, wide, kernel, stride, wide, inputs=("pw1.act",), **changes)
    return network(
        *fused(pointwise("pw1", size, channels, wide, "input", **changes)),
        *fused(depthwise),
        *fused(pointwise("pw2", -(-size // stride), wide, out, "dw.act", **changes)),
    )


def attention(
    tokens: int = 10,
    keys: int = 10,
    depth: int = 4,
    heads: int = 3,
    *,
    transposed: bool = False,
    bias: bool = False,
) -> Workload:
    """Scores, perhaps a bias, softmax, and the product with the values or its transpose."""
    scores = replace(matmul("qk", tokens, depth, keys, heads), inputs=("qkv", "qkv"))
    count = scores.output_elements
    before: list[Operation] = []
    if bias:
        before = [VectorOperation("bias", "add", count, 1, 8, 8, None, ("qk", "table"))]
    softmax = VectorOperation(
        "softmax", "softmax", count, keys, 8, 8, None, ("bias" if bias else "qk",)
    )
    values = matmul("av", tokens, keys, depth, heads)
    values = replace(values, inputs=("softmax", "qkv"))
    if transposed:
        values = replace(matmul("av", depth, keys, tokens, heads), inputs=("qkv", "softmax"))
    requantize = VectorOperation("qk.requantize", "requantize", count, 1, 32, 8, "qk", ("qk",))
    return network(scores, requantize, *before, softmax, values)


def mlp(tokens: int = 9, width: int = 6, hidden: int = 20) -> Workload:
    return network(
        *fused(replace(linear("fc1", tokens, width, hidden), inputs=("norm",)), "shift_gelu"),
        replace(linear("fc2", tokens, hidden, width), inputs=("fc1.act",)),
    )
