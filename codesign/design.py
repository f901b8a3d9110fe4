"""Design: one candidate, the network's number formats and the accelerator, as one value."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from codesign.files import content_key
from costmodels.accelerator import Accelerator


@dataclass(frozen=True)
class LayerFormat:
    """The number formats of one layer with weights.

    Attributes:
        weight_bits: Width of a weight code in bits, 2 to 8.
        weight_scheme: "uniform", or "log2" (zero and plus or minus powers of two).
        activation_bits: Width in bits of the activation codes that enter the layer, 2 to 8.
    """

    weight_bits: int
    weight_scheme: str
    activation_bits: int

    @property
    def weight(self) -> str:
        """The weight format as the search space names it, for example "log2_4"."""
        return f"{self.weight_scheme}_{self.weight_bits}"


@dataclass(frozen=True)
class Design:
    """One candidate of the search. Equal designs compare and hash equal.

    Attributes:
        layers: (timm module path, LayerFormat) of every layer with weights, in graph order.
        activations: (activation site, function name) of every activation, in graph order.
        accelerator: The hardware the network runs on.
    """

    layers: tuple[tuple[str, LayerFormat], ...]
    activations: tuple[tuple[str, str], ...]
    accelerator: Accelerator

    @cached_property
    def layer_formats(self) -> Mapping[str, LayerFormat]:
        """Layer name to format."""
        return dict(self.layers)

    @cached_property
    def activation_functions(self) -> Mapping[str, str]:
        """Activation site to function name."""
        return dict(self.activations)

    @cached_property
    def key(self) -> str:
        """Sixteen hex digits that identify the design by content."""
        return content_key(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return the design as JSON-able values."""
        return {
            "schema_version": 1,
            "layers": {name: asdict(layer) for name, layer in self.layers},
            "activations": dict(self.activations),
            "accelerator": asdict(self.accelerator),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Design":
        """Rebuild a design from `to_json`'s values."""
        return cls(
            layers=tuple((name, LayerFormat(**v)) for name, v in value["layers"].items()),
            activations=tuple(value["activations"].items()),
            accelerator=Accelerator(**value["accelerator"]),
        )


@dataclass(frozen=True)
class LayerInfo:
    """What the search space needs to know of one layer with weights.

    Attributes:
        name: timm module path.
        kind: "conv", "depthwise" or "linear".
        stage: The stage the layer belongs to, for example "stages.2".
        weight_elements: Number of weights.
        macs: Multiply-accumulates for one image.
    """

    name: str
    kind: str
    stage: str
    weight_elements: int
    macs: int


@dataclass(frozen=True)
class ActivationSite:
    """One place in the network where an activation function stands.

    Attributes:
        name: timm module path of the activation (unique).
        stage: The stage it belongs to.
        function: The function the float model has there, for example "silu".
    """

    name: str
    stage: str
    function: str


@dataclass(frozen=True)
class NetworkOutline:
    """The searchable parts of a captured network, in graph order."""

    layers: tuple[LayerInfo, ...]
    activations: tuple[ActivationSite, ...]

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that hold activations, in graph order."""
        return tuple(dict.fromkeys(site.stage for site in self.activations))
