"""Task: one product or convolution on one array, as SCALE-Sim is given it."""

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from costmodels.checks import check_choice, check_whole
from costmodels.systolic import DATAFLOWS
from costmodels.workload import MatrixLayer

if TYPE_CHECKING:
    from costmodels.accelerator import Accelerator
    from costmodels.engines import Placement

VERSION = "3.0.0"


@dataclass(frozen=True)
class Task:
    """One product or convolution on one array: all that the simulated cycles depend on.

    Raises:
        CostModelError: A size is not a positive whole number, or the dataflow is unknown.

    Attributes:
        height: Input height with padding, trimmed to what the stride reaches (M for a product).
        width: Input width likewise (1 for a product).
        kernel_height: Kernel height.
        kernel_width: Kernel width.
        channels: Input channels of a group (K for a product).
        filters: Output channels of a group (N for a product).
        stride_height: Vertical stride.
        stride_width: Horizontal stride.
        rows: Rows of the array.
        cols: Columns of the array.
        dataflow: "os", "ws" or "is".
    """

    height: int
    width: int
    kernel_height: int
    kernel_width: int
    channels: int
    filters: int
    stride_height: int
    stride_width: int
    rows: int
    cols: int
    dataflow: str

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "dataflow":
                check_whole("SCALE-Sim task", name, value)
        check_choice("SCALE-Sim task", "dataflow", self.dataflow, DATAFLOWS)

    @property
    def key(self) -> str:
        """Hex digits that identify the task by content, SCALE-Sim's version included."""
        return content_key(asdict(self))

    @property
    def product(self) -> tuple[int, int, int]:
        """The (m, k, n) of the product that the task is."""
        out_height = (self.height - self.kernel_height) // self.stride_height + 1
        out_width = (self.width - self.kernel_width) // self.stride_width + 1
        k = self.kernel_height * self.kernel_width * self.channels
        return out_height * out_width, k, self.filters


@dataclass(frozen=True)
class Buffers:
    """SCALE-Sim's memories in kB of its 1-byte words, both halves together.

    Attributes:
        input: Input memory ("IFMAP").
        weight: Weight memory ("FILTER").
        output: Output memory ("OFMAP").
    """

    input: int = 64
    weight: int = 64
    output: int = 64


def layer_task(layer: MatrixLayer, rows: int, cols: int, dataflow: str) -> Task:
    """Return the simulation of one of the layer's `repeats` products.

    Convolutions are given as such, with their padded input cut to what the stride reaches, since
    SCALE-Sim rounds a partial step up. Everything else is a product: pointwise convolutions, and
    what SCALE-Sim cannot say (dilation, or an output size that its kernel and stride do not give).
    A depthwise convolution is a convolution of one channel, repeated by channel.
    """
    window = layer.kernel_height * layer.kernel_width
    channels = layer.in_channels // layer.repeats
    as_product = Task(layer.m, 1, 1, 1, layer.k, layer.n, 1, 1, rows, cols, dataflow)
    if layer.in_height == 0 or window == 1:
        return as_product
    task = Task(
        _trimmed(layer.in_height, layer.kernel_height, layer.stride_height),
        _trimmed(layer.in_width, layer.kernel_width, layer.stride_width),
        layer.kernel_height,
        layer.kernel_width,
        channels,
        layer.n,
        layer.stride_height,
        layer.stride_width,
        rows,
        cols,
        dataflow,
    )
    return task if task.product == (layer.m, layer.k, layer.n) else as_product


def layer_buffers(placement: "Placement", accelerator: "Accelerator") -> Buffers:
    """Return the accelerator's buffers as words of the layer's codes, 1 kB at least.

    SCALE-Sim's words are one byte each, so a buffer of b-bit codes holds 8 / b times as many, and
    its sizes count both halves. The output buffer holds sums.
    """

    def words(kilobytes: int, bits: int) -> int:
        return max(1, 2 * kilobytes * 8 // bits)

    return Buffers(
        words(accelerator.input_buffer_kb, placement.layer.activation_bits),
        words(accelerator.weight_buffer_kb, placement.layer.weight_bits),
        words(accelerator.output_buffer_kb, placement.accumulator_bits),
    )


def content_key(values: dict[str, object]) -> str:
    """Return hex digits that identify values and SCALE-Sim's version."""
    text = json.dumps({"scalesim": VERSION, **values}, sort_keys=True)
    return sha256(text.encode()).hexdigest()[:24]


def _trimmed(size: int, kernel: int, stride: int) -> int:
    return size - (size - kernel) % stride
