"""Checks of a recipe: every choice by name, before any work is done."""

from collections.abc import Sequence

from codesign.errors import UserError
from codesign.numerics.division import DIVISIONS
from codesign.numerics.layer_norm import LAYER_NORMS
from codesign.numerics.softmax import SOFTMAXES
from codesign.quantize.observers import OBSERVERS
from codesign.quantize.recipe import Recipe
from codesign.quantize.transforms import TRANSFORMS


def check_recipe(recipe: Recipe) -> None:
    """Check that every choice of a recipe is one there is.

    Raises:
        UserError: One is not; the message has its setting, its value and what is known.
    """
    for key, known in _known().items():
        value = getattr(recipe, key)
        if value not in known:
            raise UserError(f"quantize.{key}={value}: unknown. Known: {', '.join(sorted(known))}.")
    for name in recipe.transforms:
        TRANSFORMS.get(name)
    SOFTMAXES.get(recipe.softmax).check(recipe.attention_bits)


def _known() -> dict[str, Sequence[str]]:
    return {
        "observer": OBSERVERS.names(),
        "softmax": SOFTMAXES.names(),
        "layer_norm": LAYER_NORMS.names(),
        "division": DIVISIONS.names(),
        "norm_inputs": ("tensor", "ptf"),
        "activation_codes": ("uniform", "two_scale"),
        "scales": ("free", "power_of_two"),
        "reconstruction": ("none", "adaround"),
    }
