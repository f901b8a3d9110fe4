"""How many signed products one DSP slice computes a cycle, and the DSPs an array takes.

Several values go on each port of the multiplier, spaced so far apart that the products do not
meet: n weights and m activations give n x m products, an outer product (AMD WP486 for INT8, WP521
for INT4; Sommer et al., arXiv 2203.11028, for the general rule). With slots of S = w + a + g bits

    one port    (n - 1) S + w bits, one more for the borrow where n > 1
    other port  (m - 1) n S + a bits, likewise (or the two spacings exchanged)
    result      n m S bits

where g guard bits allow 2^g products to accumulate in place before the fabric takes over. Signed
codes are assumed: unsigned activations are shifted by half their range, a constant in the bias.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from costmodels.checks import check_choice, check_sizes
from costmodels.errors import CostModelError

# Widths in bits of the multiplier's ports and of the result: AMD UG479, UG579, AM004.
PORTS = {"DSP48E1": (25, 18, 48), "DSP48E2": (27, 18, 48), "DSP58": (27, 24, 58)}
_DATAFLOWS = ("os", "ws", "is")


class Packing(NamedTuple):
    """An outer product of `weights` x `activations` values in one DSP."""

    weights: int
    activations: int

    @property
    def products(self) -> int:
        """Products a cycle."""
        return self.weights * self.activations


@lru_cache(maxsize=None, typed=True)  # what only equals a width is checked too
def packing(
    weight_bits: int,
    activation_bits: int,
    *,
    dataflow: str = "os",
    dsp_type: str = "DSP48E2",
    guard_bits: int = 2,
    limit: int = 4,
) -> Packing:
    """Return the largest packing of signed products into one DSP.

    Args:
        weight_bits: Width of a weight, 1 or more.
        activation_bits: Width of an activation, 1 or more.
        dataflow: "os" shares both operands (two weights x two activations); "ws" shares only the
            streamed activation and "is" only the streamed weight, so they pack in one dimension.
        dsp_type: "DSP48E1", "DSP48E2" or "DSP58".
        guard_bits: log2 of the accumulations in place.
        limit: Most products to pack; above 4 the correction logic outgrows the saving.

    Raises:
        CostModelError: One product alone does not fit the multiplier, a width is not a positive
            whole number, or the dataflow or the DSP is unknown.
    """
    check_sizes("packing", weight_bits=weight_bits, activation_bits=activation_bits, limit=limit)
    check_sizes("packing", zero=True, guard_bits=guard_bits)
    check_choice("packing", "dataflow", dataflow, _DATAFLOWS)
    check_choice("packing", "dsp_type", dsp_type, tuple(PORTS))
    if not _fits(1, 1, weight_bits, activation_bits, 0, dsp_type):
        raise CostModelError(
            f"a {weight_bits} x {activation_bits}-bit product does not fit one {dsp_type}: "
            "use fewer weight bits, or a shift array for log2 weights"
        )
    options = [
        Packing(n, m)
        for n in range(1, limit + 1 if dataflow != "is" else 2)
        for m in range(1, limit + 1 if dataflow != "ws" else 2)
        if n * m <= limit and _fits(n, m, weight_bits, activation_bits, guard_bits, dsp_type)
    ]
    best = max(options, key=lambda p: (p.products, -abs(p.weights - p.activations)), default=None)
    return best or Packing(1, 1)  # without guard bits to spare, one product always fits


@dataclass(frozen=True)
class Steps:
    """Where the values of a packing lie, in bits.

    Attributes:
        slot: From one product to the next.
        weight_step: From one weight to the next on its port.
        activation_step: From one activation to the next on its port.
    """

    slot: int
    weight_step: int
    activation_step: int


def steps(
    packed: Packing,
    weight_bits: int,
    activation_bits: int,
    *,
    dsp_type: str = "DSP48E2",
    guard_bits: int = 2,
) -> Steps:
    """Return how to lay out a packing so that both operands fit the ports.

    Raises:
        CostModelError: They do not fit.
    """
    n, m = packed.weights, packed.activations
    found = _steps(n, m, weight_bits, activation_bits, guard_bits, dsp_type)
    if found is None:
        raise CostModelError(
            f"{n} x {m} products of {weight_bits} x {activation_bits} bits do not fit one "
            f"{dsp_type}: use what packing() returns"
        )
    return found


def port_adder_bits(
    packed: Packing, weight_bits: int, activation_bits: int, dsp_type: str = "DSP48E2"
) -> int:
    """Return the adder bits in fabric that bring several signed values onto the ports.

    A value below a negative neighbour lends it one, so n values take n - 1 adders as wide as they
    are. The DSP's pre-adder, on its wide port, does one of them.
    """
    n, m = packed.weights, packed.activations
    found = _steps(n, m, weight_bits, activation_bits, 2, dsp_type)
    weight_step, activation_step = (
        (found.weight_step, found.activation_step) if found else (1, n * weight_bits)
    )
    weight_port = (n - 1) * weight_step + weight_bits
    activation_port = (m - 1) * activation_step + activation_bits
    bits = (n - 1) * weight_bits + (m - 1) * activation_bits
    weights_are_wide = weight_port >= activation_port
    if packed.products == 1:
        return 0
    if m == 1 or (weights_are_wide and n > 1):
        return bits - weight_bits
    return bits - activation_bits


def _fits(n: int, m: int, weight_bits: int, activation_bits: int, guard: int, kind: str) -> bool:
    return _steps(n, m, weight_bits, activation_bits, guard, kind) is not None


def _steps(
    n: int, m: int, weight_bits: int, activation_bits: int, guard: int, kind: str
) -> Steps | None:
    wide, narrow, result = PORTS[kind]
    slot = weight_bits + activation_bits + guard
    if n * m > 1 and n * m * slot > result:
        return None
    for weight_step, activation_step in ((slot, n * slot), (m * slot, slot)):
        weight_port = (n - 1) * weight_step + weight_bits + (n > 1)
        activation_port = (m - 1) * activation_step + activation_bits + (m > 1)
        ports = max(weight_port, activation_port), min(weight_port, activation_port)
        if ports[0] <= wide and ports[1] <= narrow:
            return Steps(slot, weight_step, activation_step)
    return None


def array_dsps(
    rows: int, cols: int, packed: Packing, dataflow: str = "os", *, double_pumped: bool = False
) -> int:
    """Return the DSPs of a rows x cols array of PEs.

    Weights lie along the columns of an output- or weight-stationary array and along the streamed
    rows of an input-stationary one, whose columns hold activations.

    Args:
        rows: Rows of PEs.
        cols: Columns of PEs.
        packed: Products of one DSP.
        dataflow: "os", "ws" or "is".
        double_pumped: The DSPs run at twice the array's clock (AMD DPU), halving their number.

    Raises:
        CostModelError: A size is not a positive whole number, or the dataflow is unknown.
    """
    check_sizes("array", rows=rows, cols=cols, products=packed.products)
    check_choice("array", "dataflow", dataflow, _DATAFLOWS)
    along_cols = packed.activations if dataflow == "is" else packed.weights
    along_rows = packed.products // along_cols
    dsps = -(-rows // along_rows) * -(-cols // along_cols)
    return -(-dsps // 2) if double_pumped else dsps
