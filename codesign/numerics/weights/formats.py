"""Weight formats as spaces and designs write them: "<scheme>_<bits>", perhaps with "@<number>"."""

from codesign.design import LayerFormat
from codesign.numerics.weights.base import SCHEMES, WeightScheme


def scheme_of(layer: LayerFormat) -> WeightScheme:
    """Return the scheme of a layer's weights.

    Raises:
        UserError: There is none of that name.
    """
    return SCHEMES.get(layer.weight_scheme)


def parse_format(weight: str, activation_bits: int = 8) -> LayerFormat:
    """Return the layer format that a weight format such as "mixed_4@0.5" names, checked.

    Raises:
        ValueError: The scheme, the width or the number is none there is; the message says which
            and what is allowed.
    """
    layer = LayerFormat.parse(weight, activation_bits)
    if layer.weight_scheme not in SCHEMES.names():
        raise ValueError(f"'{layer.weight_scheme}' is not one of {', '.join(SCHEMES.names())}")
    scheme = scheme_of(layer)
    least, most = scheme.widths
    if not least <= layer.weight_bits <= most:
        raise ValueError(f"{layer.weight_bits} is out of range, {least} to {most} bits")
    _check_option(scheme, layer)
    return layer


def _check_option(scheme: WeightScheme, layer: LayerFormat) -> None:
    option, value = scheme.option, layer.weight_option
    if option is None and value is not None:
        raise ValueError(f"{scheme.name} takes no number: write {scheme.name}_{layer.weight_bits}")
    if option is None or (value is None and not option.required):
        return
    if value is None or not option.least <= value < option.below:
        raise ValueError(
            f"{scheme.name} takes {option.meaning}, at least {option.least:g} and below"
            f" {option.below:g}: write for example {scheme.name}_{layer.weight_bits}@0.5"
        )
