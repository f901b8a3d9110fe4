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
        weight_scheme: "uniform", "log2" (zero and plus or minus powers of two), or another of
            `codesign.numerics.weights`.
        activation_bits: Width in bits of the activation codes that enter the layer, 2 to 8.
        weight_option: The scheme's own number (a pruning ratio, a share of channels), if any.
    """

    weight_bits: int
    weight_scheme: str
    activation_bits: int
    weight_option: float | None = None

    @property
    def weight(self) -> str:
        """The weight format as spaces name it, for example "log2_4" or "log2std_4@0.5"."""
        option = "" if self.weight_option is None else f"@{self.weight_option:.6g}"
        return f"{self.weight_scheme}_{self.weight_bits}{option}"

    @classmethod
    def parse(cls, weight: str, activation_bits: int) -> "LayerFormat":
        """Return the format that `weight` names.

        Raises:
            ValueError: It is not of the form "<scheme>_<bits>" or "<scheme>_<bits>@<number>".
        """
        scheme, _, rest = weight.partition("_")
        bits, at, option = rest.partition("@")
        if not (scheme and bits.isdigit()):
            raise ValueError(f"'{weight}' is not <scheme>_<bits> or <scheme>_<bits>@<number>")
        number = float(f"{float(option):.6g}") if at else None
        return cls(int(bits), scheme, activation_bits, number)

    def to_json(self) -> dict[str, Any]:
        """Return the format as JSON-able values; an option that is not there is left out."""
        return {key: value for key, value in asdict(self).items() if value is not None}


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
            "layers": {name: layer.to_json() for name, layer in self.layers},
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
        kernel: Whether a product of activations reads it, as in linear attention, whose divisor
            needs values that are not negative: such a function is not replaced.
    """

    name: str
    stage: str
    function: str
    kernel: bool = False


@dataclass(frozen=True)
class NetworkOutline:
    """The searchable parts of a captured network, in graph order.

    Attributes:
        layers: The layers with weights.
        activations: The places of activation functions.
        softmaxes: Number of softmaxes, each in front of a product of activations.
    """

    layers: tuple[LayerInfo, ...]
    activations: tuple[ActivationSite, ...]
    softmaxes: int = 0

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that hold activations, in graph order."""
        return tuple(dict.fromkeys(site.stage for site in self.activations))
