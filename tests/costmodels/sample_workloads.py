"""Small workloads for the tests of the cost models."""

from typing import Any

from costmodels.workload import MatrixLayer, VectorOperation, Workload


def linear(name: str = "fc", m: int = 16, k: int = 24, n: int = 32, **changes: Any) -> MatrixLayer:
    values: dict[str, Any] = {
        "name": name,
        "kind": "linear",
        "m": m,
        "k": k,
        "n": n,
        "repeats": 1,
        "weight_bits": 8,
        "weight_scheme": "uniform",
        "activation_bits": 8,
        "output_bits": 8,
        "input_elements": m * k,
        "output_elements": m * n,
        "weight_elements": k * n,
    }
    return MatrixLayer(**(values | changes))


def matmul(name: str = "attn.qk", m: int = 16, k: int = 8, n: int = 16, repeats: int = 3) -> Any:
    return linear(
        name,
        m,
        k,
        n,
        kind="matmul",
        repeats=repeats,
        input_elements=repeats * m * k,
        output_elements=repeats * m * n,
        weight_elements=repeats * k * n,
    )


def conv(
    name: str = "conv",
    size: int = 16,
    channels: int = 8,
    filters: int = 16,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    **changes: Any,
) -> MatrixLayer:
    """A convolution with "same" padding; `size` is the unpadded input."""
    padded = size + 2 * (kernel // 2)
    out = (padded - kernel) // stride + 1
    k = kernel * kernel * channels // groups
    geometry = {
        "kind": "depthwise" if groups == channels else "conv",
        "repeats": groups,
        "input_elements": size * size * channels,
        "output_elements": out * out * filters,
        "weight_elements": k * filters,
        "in_height": padded,
        "in_width": padded,
        "kernel_height": kernel,
        "kernel_width": kernel,
        "stride_height": stride,
        "stride_width": stride,
        "in_channels": channels,
        "out_channels": filters,
    }
    return linear(name, out * out, k, filters // groups, **(geometry | changes))


def mobile_block(**changes: Any) -> Workload:
    """A convolution, a depthwise one, attention and an element-wise tail."""
    operations = (
        conv("stem", **changes),
        VectorOperation("stem.act", "relu", 16 * 16 * 16, fused_into="stem"),
        conv("dw", channels=16, filters=16, groups=16, **changes),
        linear("pw", 256, 16, 24, **changes),
        VectorOperation("norm", "layer_norm", 256 * 24, 24),
        matmul("attn.qk", 64, 8, 64),
        VectorOperation("attn.softmax", "softmax", 3 * 64 * 64, 64, fused_into="attn.qk"),
        matmul("attn.av", 64, 64, 8),
        VectorOperation("residual", "add", 256 * 24),
        VectorOperation("pool", "pool", 256 * 24, 256),
        linear("head", 1, 24, 10),
    )
    return Workload("mobile_block", operations, parameter_bits=8 * 8192)
