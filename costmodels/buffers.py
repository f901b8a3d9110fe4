"""The template's on-chip memories: how wide and deep each is, and the blocks it takes."""

from collections.abc import Sequence
from dataclasses import dataclass

from costmodels.accelerator import Accelerator
from costmodels.engines import Placement, lane_widths
from costmodels.memory import Memory, buffer_depth, place
from costmodels.tiling import CONSTANT_BITS


@dataclass(frozen=True)
class Buffer:
    """One on-chip memory.

    Attributes:
        words: Its depth; of a double buffer both halves.
        word_bits: Bits of a word, all read in one cycle.
        blocks: The memory blocks it takes.
    """

    words: int
    word_bits: int
    blocks: Memory


def buffers(
    placements: Sequence[Placement], accelerator: Accelerator, *, has_uram: bool
) -> dict[str, Buffer]:
    """Return the memories by name.

    "input", "weight" and "output" are double buffers as wide as the engines read and write them;
    "constants" holds the biases, multipliers and shifts of two layers; "line_buffer" the rows of
    pixels that the depthwise engine keeps to see its whole window.

    Args:
        placements: The matrix layers on their engines.
        accelerator: The template's parameters.
        has_uram: The board has UltraRAM.
    """
    sizes = {
        "input": accelerator.input_buffer_kb,
        "weight": accelerator.weight_buffer_kb,
        "output": accelerator.output_buffer_kb,
    }
    widths = [lane_widths(placement, accelerator.dataflow) for placement in placements]
    made = {}
    for i, (name, size_kb) in enumerate(sizes.items()):
        width = max((row[i] for row in widths), default=0)
        depth = buffer_depth(size_kb, width) if width else 0
        made[name] = _buffer(depth, width, has_uram=has_uram)
    made["constants"] = _constants(placements, accelerator.vector_lanes)
    made["line_buffer"] = _line_buffer(placements)
    return made


def _buffer(words: int, word_bits: int, *, has_uram: bool) -> Buffer:
    return Buffer(words, word_bits, place(words, word_bits, has_uram=has_uram))


def _constants(placements: Sequence[Placement], lanes: int) -> Buffer:
    with_weights = [p.layer for p in placements if p.layer.kind != "matmul"]
    channels = max((layer.n * layer.repeats for layer in with_weights), default=0)
    return _buffer(2 * -(-channels // lanes), lanes * CONSTANT_BITS, has_uram=False)


def _line_buffer(placements: Sequence[Placement]) -> Buffer:
    engine = [p for p in placements if p.engine == "depthwise"]
    depth = max(((p.layer.kernel_height - 1) * p.layer.in_width for p in engine), default=0)
    width = max((p.rows * p.layer.activation_bits for p in engine), default=0)
    return _buffer(depth, width, has_uram=False)
