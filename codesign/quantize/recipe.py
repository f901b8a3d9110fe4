"""Recipe: every choice of post-training quantisation that is not the design's own."""

from dataclasses import dataclass, fields, replace
from typing import Any

from codesign.registry import Registry


@dataclass(frozen=True)
class Recipe:
    """How a calibrated network comes about. Each method is one; a user may change single choices.

    Attributes:
        observer: How a tensor's range is chosen from what is observed.
        norm_inputs: Codes of what only norms and sums read: "tensor", or "ptf" (a power-of-two
            factor for each channel, FQ-ViT).
        layer_norm: Arithmetic of LayerNorm.
        softmax: Arithmetic of softmax.
        attention_bits: Width of the codes of probabilities.
        activation_codes: Codes behind a table activation such as GELU: "uniform" or "two_scale".
        division: Arithmetic of a division of activations: "exact" or "log2" (Trio-ViT).
        scales: "free", or "power_of_two" (P2-ViT): requantisation by shifts alone.
        transforms: Rewrites that keep the float function, in order.
        bias_correction: Whether biases are moved to the float model's mean outputs.
        reconstruction: "none" or "adaround": rounding learned block by block after calibration.
    """

    observer: str = "mse_p"
    norm_inputs: str = "tensor"
    layer_norm: str = "reciprocal"
    softmax: str = "table"
    attention_bits: int = 8
    activation_codes: str = "uniform"
    division: str = "exact"
    scales: str = "free"
    transforms: tuple[str, ...] = ()
    bias_correction: bool = True
    reconstruction: str = "none"

    def changed(self, choices: dict[str, Any]) -> "Recipe":
        """Return the recipe with other choices; None, "", 0 and [] leave the recipe's own.

        Transforms ["none"] are no transforms.
        """
        known = {field.name for field in fields(self)}
        wanted = {k: v for k, v in choices.items() if k in known and v}
        if "transforms" in wanted:
            wanted["transforms"] = tuple(t for t in wanted["transforms"] if t != "none")
        return replace(self, **wanted)


METHODS: Registry[Recipe] = Registry("quantisation method")
