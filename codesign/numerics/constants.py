"""The integers of one operation, as an integer node holds them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Constants:
    """What an operation needs besides its inputs.

    Attributes:
        attributes: Single integers by name.
        tensors: Tables and constants by channel, int64, by role.
    """

    attributes: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
