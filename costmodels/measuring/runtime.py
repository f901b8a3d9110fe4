"""What PyTorch launches for a network: the fusion rules of the profiles that are measured."""

from costmodels.gpu.profile import Fusion

# Fused attention where the model asks for it; of INT8 products (`int8_kernels`) the output stage
# rescales and clamps; everything else is a kernel of its own.
TORCH = Fusion(
    float_epilogue=frozenset(),
    integer_epilogue=frozenset(
        {"requantize", "requantize_shift", "rescale", "relu", "relu6", "clip"}
    ),
    softmax=frozenset({"softmax"}),
    add_norm=False,
    pointwise=False,
    float_residual=True,
)
