"""The circuits of the vector unit that are synthesised."""

from dataclasses import dataclass

from costmodels.characterize.tool import Instance
from costmodels.vector_unit import FUNCTIONS


@dataclass(frozen=True)
class VectorConfiguration:
    """One lane of a circuit of `reference/vector_unit/*.v`, its parameters at their defaults."""

    module: str

    @property
    def mapped(self) -> bool:
        """The synthesis is whole."""
        return True

    @property
    def flow(self) -> str:
        """The synthesis command."""
        return "synth_xilinx -family xcup -flatten -noiopad"

    @property
    def instance(self) -> Instance:
        """The module."""
        return Instance(self.module, ())


def vector_configurations() -> list[VectorConfiguration]:
    """Return the circuits that the functions of the vector unit use."""
    functions = FUNCTIONS.values()
    names = [name for f in functions for name in (f.circuit, f.wide_circuit) if name]
    return [VectorConfiguration(name) for name in dict.fromkeys(names)]
