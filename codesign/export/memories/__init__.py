"""Memory files for $readmemh: the model's integers and the golden codes, packed into words."""

from codesign.export.memories.golden import golden_files
from codesign.export.memories.memory import Memories
from codesign.export.memories.model import memory_files
from codesign.export.memories.text import HEADER_LINES, locate, read_memory

__all__ = [
    "HEADER_LINES",
    "Memories",
    "golden_files",
    "locate",
    "memory_files",
    "read_memory",
]
