"""Random integer graphs made directly: formats, multipliers, shifts and tables at their extremes.

Nothing is calibrated. What is drawn keeps the bounds of `codesign/numerics/README.md`: accumulators
below 2**31, biases to 2**29, multipliers of 16 bits, shifts of 1 to 44.
"""

import extreme_elements
import extreme_layers
import extreme_moves
import extreme_rows
from draft import BUILDERS, Draft

from codesign.integer.model import IntegerModel

__all__ = ["BUILDERS", "PARTS", "extreme_graph"]
PARTS = (extreme_layers, extreme_elements, extreme_rows, extreme_moves)


def extreme_graph(seed: int, length: int = 8) -> IntegerModel:
    """Return a random graph; consecutive seeds take the operations in turn."""
    draft, names = Draft(seed), list(BUILDERS)
    order = [names[(seed * length + i) % len(names)] for i in range(length)]
    for op in draft.rng.permutation(order):
        draft.op = str(op)
        BUILDERS[draft.op](draft)
    return IntegerModel(f"extreme{seed}", tuple(draft.nodes), draft.tensors)
