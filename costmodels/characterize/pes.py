"""The PEs and small arrays that are synthesised."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from costmodels.characterize.tool import Instance
from costmodels.fabric import log2_product_bits
from costmodels.packing import Packing, packing, steps

# Yosys leaves the adder of a DSP48E2 unused, which the DSP48E1 it knows well has too; and it keeps
# products below 9 bits in LUTs, whatever the DSP.
DSP_TYPES = {"xc7": "DSP48E1", "xcup": "DSP48E2"}
LEAST_DSP_PRODUCT_BITS = 9
_KINDS = {"uniform": ("mac", 0), "dsp": ("mac", 0), "log2": ("shift", 1), "packed": ("packed", 2)}
_WIDTHS = range(2, 9)
_LOG2_WIDTHS = range(2, 6)  # a product of wider codes does not fit a 32-bit accumulator


@dataclass(frozen=True)
class PeConfiguration:
    """One PE (rows 0) or a small array of PEs.

    Attributes:
        kind: "uniform" (multiplier in LUTs), "dsp", "packed" (several products in one DSP) or
            "log2" (shift and add).
        dataflow: "os" or "ws"; input stationary is "ws" with the operands exchanged.
        family: Yosys' name of the device family, "xc7" or "xcup".
        weight_bits: Width of a weight.
        activation_bits: Width of an activation.
        accumulator_bits: Width of a sum.
        weights: Weights on a DSP.
        activations: Activations on a DSP.
        rows: Rows of products of an array, 0 for one PE (one DSP's group of products).
        cols: Columns of products of an array, 0 for one PE.
    """

    kind: str
    dataflow: str
    family: str
    weight_bits: int
    activation_bits: int
    accumulator_bits: int
    weights: int = 1
    activations: int = 1
    rows: int = 0
    cols: int = 0

    @property
    def mapped(self) -> bool:
        """The synthesis is whole."""
        return True

    @property
    def flow(self) -> str:
        """The synthesis command."""
        nodsp = " -nodsp" if self.kind in ("uniform", "log2") else ""
        return f"synth_xilinx -family {self.family} -flatten -noiopad{nodsp}"

    @property
    def instance(self) -> Instance:
        """The module and its parameters."""
        module, number = _KINDS[self.kind]
        values = {
            "W": self.weight_bits,
            "A": self.activation_bits,
            "ACC": self.accumulator_bits,
        }
        if self.kind == "packed":
            values |= self._packing()
        if self.rows:
            module = "array"
            values |= {"KIND": number, "ROWS": self.rows, "COLS": self.cols}
        return Instance(f"{module}_{self.dataflow}", tuple(values.items()))

    def _packing(self) -> dict[str, int]:
        packed = Packing(self.weights, self.activations)
        dsp_type = DSP_TYPES[self.family]
        spacing = steps(packed, self.weight_bits, self.activation_bits, dsp_type=dsp_type)
        found = {"N": self.weights, "S": spacing.slot}
        if self.dataflow == "os":
            found |= {"M": self.activations}
            found |= {"W_STEP": spacing.weight_step, "A_STEP": spacing.activation_step}
        return found


def pe_configurations(seed: int = 0) -> list[PeConfiguration]:
    """Return every PE and array to synthesise, without repetition.

    All width pairs with accumulators of the product and ten bits, at most 32; a sample of the
    weight-stationary form; samples with other accumulators, drawn with `seed`; and arrays.
    """
    draw = random.Random(seed)
    every = [*_grid(), *_stationary(draw), *_accumulators(draw), *_arrays()]
    return list(dict.fromkeys(every))


def _accumulator(product_bits: int) -> int:
    return min(32, product_bits + 10)


def _pairs() -> list[tuple[int, int]]:
    return [(w, a) for w in _WIDTHS for a in _WIDTHS]


def _pe(kind: str, dataflow: str, w: int, a: int, family: str = "xcup") -> PeConfiguration:
    product = log2_product_bits(w, a) if kind == "log2" else w + a
    return PeConfiguration(kind, dataflow, family, w, a, _accumulator(product))


def _packed(dataflow: str, w: int, a: int, family: str) -> Iterator[PeConfiguration]:
    packed = packing(w, a, dataflow=dataflow, dsp_type=DSP_TYPES[family])
    if packed.products > 1:
        sums = _accumulator(w + a)
        n, m = packed.weights, packed.activations
        yield PeConfiguration("packed", dataflow, family, w, a, sums, n, m)


def _multiplied(w: int, a: int) -> bool:
    return w + a >= LEAST_DSP_PRODUCT_BITS


def _grid() -> Iterator[PeConfiguration]:
    for w, a in _pairs():
        yield _pe("uniform", "os", w, a)
    for w in _LOG2_WIDTHS:
        for a in _WIDTHS:
            yield _pe("log2", "os", w, a)
    for w, a in _pairs():
        if _multiplied(w, a):
            yield _pe("dsp", "os", w, a, "xc7")
        yield from _packed("os", w, a, "xc7")
        if packing(w, a, dsp_type="DSP48E2") != packing(w, a, dsp_type="DSP48E1"):
            yield from _packed("os", w, a, "xcup")


def _stationary(draw: random.Random) -> Iterator[PeConfiguration]:
    for w, a in draw.sample(_pairs(), 12):
        yield _pe("uniform", "ws", w, a)
        yield from _packed("ws", w, a, "xc7")
        yield from _packed("ws", w, a, "xcup")
    for w, a in draw.sample([(w, a) for w in _LOG2_WIDTHS for a in _WIDTHS], 6):
        yield _pe("log2", "ws", w, a)
    for w, a in draw.sample([pair for pair in _pairs() if _multiplied(*pair)], 8):
        yield _pe("dsp", "ws", w, a, "xc7")


def _accumulators(draw: random.Random) -> Iterator[PeConfiguration]:
    for _ in range(40):
        w, a = draw.randint(2, 12), draw.randint(2, 8)
        yield PeConfiguration("uniform", "os", "xcup", w, a, draw.randint(w + a, 32))
    for _ in range(25):
        w, a = draw.choice(_LOG2_WIDTHS), draw.choice(_WIDTHS)
        least = log2_product_bits(w, a) + 1
        yield PeConfiguration("log2", "os", "xcup", w, a, draw.randint(least, 32))
    for _ in range(20):
        w, a = draw.choice(_WIDTHS), draw.choice(_WIDTHS)
        for pe in _packed("os", w, a, "xc7"):
            sums = draw.randint(w + a, 32)
            yield PeConfiguration("packed", "os", "xc7", w, a, sums, pe.weights, pe.activations)


# kind, dataflow, weight bits, activation bits, rows, columns
_ARRAYS = (
    ("uniform", "os", 2, 2, 4, 4), ("uniform", "os", 4, 4, 2, 2), ("uniform", "os", 3, 5, 2, 3),
    ("uniform", "os", 8, 8, 2, 2), ("uniform", "ws", 4, 8, 2, 3), ("uniform", "ws", 5, 5, 3, 2),
    ("log2", "os", 4, 8, 2, 2), ("log2", "os", 3, 4, 3, 4), ("log2", "os", 5, 6, 2, 3),
    ("log2", "ws", 4, 4, 3, 3), ("log2", "ws", 3, 8, 2, 2), ("dsp", "os", 8, 8, 3, 3),
    ("dsp", "os", 8, 4, 4, 4), ("dsp", "os", 6, 6, 2, 5), ("dsp", "ws", 8, 8, 4, 2),
    ("dsp", "ws", 5, 7, 3, 4), ("packed", "os", 4, 4, 4, 4), ("packed", "os", 4, 4, 6, 2),
    ("packed", "os", 8, 8, 3, 3), ("packed", "os", 6, 6, 2, 5), ("packed", "os", 3, 3, 4, 4),
    ("packed", "os", 2, 8, 4, 4), ("packed", "ws", 8, 8, 3, 4), ("packed", "ws", 6, 6, 2, 5),
    ("packed", "ws", 4, 4, 4, 6), ("packed", "ws", 7, 5, 2, 6),
)  # fmt: skip


def _arrays() -> Iterator[PeConfiguration]:
    for kind, dataflow, w, a, rows, cols in _ARRAYS:
        family = "xc7" if kind in ("dsp", "packed") else "xcup"
        pe = _pe(kind, dataflow, w, a, family)
        for chosen in _packed(dataflow, w, a, family) if kind == "packed" else (pe,):
            yield PeConfiguration(
                kind, dataflow, family, w, a, chosen.accumulator_bits,
                chosen.weights, chosen.activations, rows, cols,
            )  # fmt: skip
