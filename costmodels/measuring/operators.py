"""The operators of a model one by one: what each launches, and a call to time it alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from costmodels.gpu.kernel import Kernel
from costmodels.gpu.launch import kernels
from costmodels.gpu.profile import Fusion
from costmodels.measuring.trace import Operation, Recorder
from costmodels.workload import Workload

_BIAS = 2  # its place among the arguments of a convolution


@dataclass(frozen=True)
class Operator:
    """One call of an operator.

    Attributes:
        name: The operator and the sizes of its operands.
        kernel: What it launches.
        call: Runs it again on the operands it had.
    """

    name: str
    kernel: Kernel
    call: Callable[[], object]


def operators(
    model: torch.nn.Module, images: torch.Tensor, precision: str, fusion: Fusion
) -> list[Operator]:
    """Return the operators of a run that differ in sizes, strides or options, in order.

    Convolutions are without their biases, which kernels of their own add.

    Args:
        model: A model in evaluation mode.
        images: Input of shape (batch, channels, height, width) on the model's device.
        precision: Of the kernels, as for `gpu.kernels`.
        fusion: What the runtime fuses.
    """
    collector = _Collector(precision, fusion)
    with torch.no_grad(), collector:
        model(images)
    return list(collector.found.values())


class _Collector(Recorder):
    def __init__(self, precision: str, fusion: Fusion) -> None:
        super().__init__()
        self.precision, self.fusion = precision, fusion
        self.found: dict[str, Operator] = {}

    def recorded(
        self,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        operations: Sequence[Operation],
    ) -> None:
        name = func.overloadpacket.__name__
        if name == "convolution":
            args = (*args[:_BIAS], None, *args[_BIAS + 1 :])
        signature = " ".join([name, *map(_described, (*args, *kwargs.values()))])
        if signature in self.found:
            return
        launched = kernels(Workload(name, tuple(operations), 0), self.precision, self.fusion)
        if len(launched) == 1:
            kept = tuple(args)
            self.found[signature] = Operator(signature, launched[0], lambda: func(*kept, **kwargs))


def _described(value: Any) -> str:
    """Return the sizes of a tensor, and its steps where they are not those of its sizes."""
    if isinstance(value, torch.Tensor):
        sizes = "x".join(map(str, value.shape)) or "scalar"
        return sizes if value.is_contiguous() else f"{sizes}@{'.'.join(map(str, value.stride()))}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_described, value))}]"
    return str(value)
