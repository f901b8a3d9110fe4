"""Checks of a recipe: every choice by name, before any work is done."""

from collections.abc import Sequence

from codesign.errors import UserError
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
    if not 2 <= recipe.attention_bits <= 8:
        raise UserError(f"quantize.attention_bits={recipe.attention_bits} must be 2 to 8.")


def _known() -> dict[str, Sequence[str]]:
    return {
        "observer": OBSERVERS.names(),
        "norm_inputs": ("tensor", "ptf"),
        "activation_codes": ("uniform", "two_scale"),
        "scales": ("free", "power_of_two"),
        "reconstruction": ("none", "adaround"),
    }
