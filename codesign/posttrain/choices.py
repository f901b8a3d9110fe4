"""From the settings of the command to methods, formats and a design."""

from collections.abc import Mapping
from dataclasses import replace

from codesign.design import ActivationSite, Design, LayerFormat, NetworkOutline
from codesign.errors import UserError
from codesign.numerics.activation import ACTIVATIONS
from codesign.numerics.weights import parse_format
from codesign.posttrain.settings import PosttrainSettings
from codesign.quantize.methods import METHODS
from codesign.quantize.recipe_check import check_recipe
from codesign.search.evaluator import recipe_of
from codesign.space import GATES
from costmodels.accelerator import Accelerator


def methods_of(text: str) -> list[str]:
    """Return the methods that `method=` names: one, a list in brackets, or all.

    Raises:
        UserError: A method is unknown (the message lists those there are) or none is named.
    """
    names = [name.strip(" '\"") for name in text.strip().strip("[]").split(",")]
    names = [name for name in names if name]
    if names == ["all"]:
        return METHODS.names()
    if not names:
        raise UserError(f"method={text} names none. Known: {', '.join(METHODS.names())}, or all.")
    for name in names:
        METHODS.get(name)
    return list(dict.fromkeys(names))


def design_of(
    settings: PosttrainSettings, network: NetworkOutline, assigned: Mapping[str, str] | None = None
) -> Design:
    """Return the design in which layers have the widths that the settings name.

    Args:
        settings: The settings of the command.
        network: The network's layers and activations.
        assigned: Layer to a weight format of its own, in place of the settings'.

    Raises:
        UserError: The scheme, its width or the activation function is none there is.
    """
    check_choices(settings)
    names = [layer.name for layer in network.layers]
    formats = dict.fromkeys(names, layer_format(settings))
    for name, weight in (assigned or {}).items():
        formats[name] = parse_format(weight, settings.a_bits)
    formats |= end_formats(settings, network)
    functions = tuple(
        (s.name, s.function if _kept(s) else settings.activation or s.function)
        for s in network.activations
    )
    return Design(tuple(formats.items()), functions, Accelerator())


def end_formats(settings: PosttrainSettings, network: NetworkOutline) -> dict[str, LayerFormat]:
    """Return the formats of the first and the last layer where they have their own."""
    bits = settings.first_and_last_bits
    ends = (network.layers[0].name, network.layers[-1].name) if bits else ()
    return dict.fromkeys(ends, LayerFormat(bits, "uniform", bits))


def _kept(site: ActivationSite) -> bool:
    """Return whether a site keeps its function: a gate, or the kernel of an attention."""
    return site.function in GATES or site.kernel


def check_choices(settings: PosttrainSettings) -> None:
    """Check the choices that only the numerics know, before anything is trained.

    Raises:
        UserError: The scheme, its width, the activation function or (one method only: of several
            the others go on) a choice of the recipe is none there is.
    """
    methods = methods_of(settings.quantize.method)
    if len(methods) == 1:
        check_recipe(recipe_of(replace(settings.quantize, method=methods[0])))
    layer_format(settings)
    if settings.activation:
        ACTIVATIONS.get(settings.activation)


def layer_format(settings: PosttrainSettings) -> LayerFormat:
    """Return the format of the layers between the first and the last.

    Raises:
        UserError: The scheme or its width is none there is.
    """
    scheme, at, option = settings.scheme.partition("@")
    try:
        return parse_format(f"{scheme}_{settings.w_bits}{at}{option}", settings.a_bits)
    except ValueError as error:
        raise UserError(f"scheme={settings.scheme} w_bits={settings.w_bits}: {error}.") from error
