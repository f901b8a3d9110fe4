"""Activation functions, each with its integer arithmetic. One file a function."""

from codesign.numerics.activation.base import ACTIVATIONS, Activation, TableActivation
from codesign.numerics.activation import (  # isort: skip
    gelu,
    hardswish,
    relu,
    shift_swish,
    sigmoid,
    silu,
)

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "TableActivation",
    "gelu",
    "hardswish",
    "relu",
    "shift_swish",
    "sigmoid",
    "silu",
]
