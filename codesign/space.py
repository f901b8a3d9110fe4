"""SearchSpace: from the settings to genes, from genes to a Design, and back."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from codesign.design import ActivationSite, Design, LayerFormat, LayerInfo, NetworkOutline
from codesign.errors import UserError
from codesign.settings import SearchSettings
from costmodels.accelerator import Accelerator

if TYPE_CHECKING:
    from optuna.distributions import CategoricalDistribution

Choice = str | int
Hardware = Mapping[str, Choice]
GATES = ("sigmoid", "hardsigmoid", "tanh")  # these scale other features: another range breaks them
HARDWARE_FRIENDLY = ("hardswish", "shift_swish", "shift_gelu", "relu")
FIXED_KEYS = ("weight", "activation_bits")


class SearchSpace:
    """The designs a search may choose from.

    Genes, all categorical and sampled in every trial (NSGA-II and GP fall back to random sampling
    for those that are not): `<layer>.weight` ("uniform_4", "log2_3", ...) and
    `<layer>.activation_bits` for each layer, `activation.<group>` for each stage, block or site,
    and `accelerator.<field>`. What the settings leave no choice about is no gene.

    Genes that a design makes irrelevant are ignored, so that equal hardware is an equal design:
    where nothing is done by shifts (neither layers nor products with probabilities that are powers
    of two) there is no shift array, without depthwise layers no depthwise engine.

    Args:
        settings: The settings of the search.
        outline: The layers and activations of the network.

    Raises:
        UserError: A pattern matches no layer, or a format does not exist.
    """

    def __init__(self, settings: SearchSettings, outline: NetworkOutline) -> None:
        self.outline = outline
        self._hardware = settings.hardware
        self._per = settings.network.activations.per
        self._shifted_products = bool(outline.softmaxes) and _probabilities_shift(settings)
        weights = tuple(
            LayerFormat.parse(f"{scheme}_{entry}", 8).weight
            for scheme, entries in settings.network.weights.items()
            for entry in entries
        )
        fixed = _fixed_formats(settings, outline)
        bits = tuple(settings.network.activation_bits)
        functions = tuple(settings.network.activations.choices)
        self._fixed = {f"{name}.{key}" for name, formats in fixed.items() for key in formats}
        self._choices: dict[str, tuple[Choice, ...]] = {}
        for name, formats in fixed.items():
            self._choices[f"{name}.weight"] = _only(formats.get("weight"), weights)
            self._choices[f"{name}.activation_bits"] = _only(formats.get("activation_bits"), bits)
        for site in self._sites:
            self._choices[self._activation_gene(site)] = functions
        for name, values in asdict(settings.accelerator).items():
            self._choices[f"accelerator.{name}"] = tuple(values)

    @property
    def _sites(self) -> list[ActivationSite]:
        return [
            site
            for site in self.outline.activations
            if site.function not in GATES and not site.kernel
        ]

    @property
    def genes(self) -> dict[str, tuple[Choice, ...]]:
        """Each gene's choices; a parameter with one choice is no gene."""
        return {name: choices for name, choices in self._choices.items() if len(choices) > 1}

    @property
    def single_choices(self) -> dict[str, tuple[Choice, ...]]:
        """Weight formats and activation widths of each layer, functions of each searched site."""
        single = {
            layer.name: (
                *self._choices[f"{layer.name}.weight"],
                *self._choices[f"{layer.name}.activation_bits"],
            )
            for layer in self.outline.layers
        }
        return single | {s.name: self._choices[self._activation_gene(s)] for s in self._sites}

    @property
    def log10_size(self) -> float:
        """Decimal logarithm of the number of combinations of genes."""
        return sum(math.log10(len(choices)) for choices in self.genes.values())

    @property
    def distributions(self) -> "dict[str, CategoricalDistribution]":
        """The genes as Optuna distributions."""
        from optuna.distributions import CategoricalDistribution

        return {name: CategoricalDistribution(choices) for name, choices in self.genes.items()}

    def decode(self, params: Mapping[str, Any]) -> Design:
        """Return the design that genes describe.

        Args:
            params: A choice for every gene.

        Raises:
            ValueError: A gene is missing or its value is not among its choices.
        """
        values = {name: choices[0] for name, choices in self._choices.items()}
        for name, choices in self.genes.items():
            if name not in params or params[name] not in choices:
                raise ValueError(f"gene '{name}' is {params.get(name)!r}, not one of {choices}")
            values[name] = params[name]
        return self._design(values)

    def _design(self, values: Mapping[str, Choice]) -> Design:
        """Return the design of a complete set of choices."""
        layers = tuple((info.name, _layer_format(info, values)) for info in self.outline.layers)
        searched = {site.name: str(values[self._activation_gene(site)]) for site in self._sites}
        activations = tuple(
            (site.name, searched.get(site.name, site.function)) for site in self.outline.activations
        )
        return Design(layers, activations, self._accelerator(layers, values))

    def encode(self, design: Design) -> dict[str, Choice]:
        """Return genes that `decode` turns into `design`.

        Genes that the design makes irrelevant take their first choice.

        Raises:
            ValueError: The design is not in this space.
        """
        wanted: dict[str, Any] = {
            f"accelerator.{field}": value for field, value in asdict(design.accelerator).items()
        }
        for name, layer in design.layers:
            wanted[f"{name}.weight"] = layer.weight
            wanted[f"{name}.activation_bits"] = layer.activation_bits
        for site in self._sites:
            wanted[self._activation_gene(site)] = design.activation_functions.get(site.name)
        params = {
            name: wanted[name] if wanted.get(name) in choices else choices[0]
            for name, choices in self.genes.items()
        }
        if self.decode(params) != design:
            raise ValueError(f"design {design.key} is not in this search space")
        return params

    def baselines(self) -> list[tuple[str, Design]]:
        """Return the hand-made designs that open a study, as far as the space contains them.

        All have the middle accelerator of the space, but for what their formats are for: 4-bit
        uniform layers get reconfigurable PEs, which pack them, and beside log2 layers the MAC
        array, left with the ends and attention, is the smallest. "float activation, 8-bit" keeps
        the float model's own functions; the others take the first of hardswish, shift_swish,
        shift_gelu and relu that the space offers (it needs no table), so that the four differ. A
        baseline whose formats the space does not offer is left out, as is one equal to an earlier
        one.
        """
        friendly = self._friendly_function
        wishes: list[tuple[str, str, int, Callable[[ActivationSite], str], Hardware]] = [
            ("8-bit uniform", "uniform_8", 8, friendly, {}),
            ("4-bit uniform", "uniform_4", 4, friendly, self._packing),
            ("4-bit log2", "log2_4", 4, friendly, self._smallest_mac_array),
            ("float activation, 8-bit", "uniform_8", 8, lambda site: site.function, {}),
        ]
        found: dict[Design, str] = {}
        for label, weight, bits, function, hardware in wishes:
            design = self._uniform_design(weight, bits, function, hardware)
            if design is not None:
                found.setdefault(design, label)
        return [(label, design) for design, label in found.items()]

    @property
    def _packing(self) -> Hardware:
        """Reconfigurable PEs, where the space offers them."""
        name = "accelerator.precision"
        return {name: "reconfigurable"} if "reconfigurable" in self._choices[name] else {}

    @property
    def _smallest_mac_array(self) -> Hardware:
        """The fewest rows and columns of the MAC array."""
        names = ("accelerator.mac_rows", "accelerator.mac_cols")
        return {name: min(self._choices[name], key=int) for name in names}

    def _uniform_design(
        self,
        weight: str,
        bits: int,
        function: Callable[[ActivationSite], str],
        hardware: Hardware,
    ) -> Design | None:
        """Return the design with one format for all searched layers, None if not in the space."""
        wanted: dict[str, Choice] = {}
        for layer in self.outline.layers:
            wanted[f"{layer.name}.weight"] = weight
            wanted[f"{layer.name}.activation_bits"] = bits
        for site in self._sites:
            if wanted.setdefault(self._activation_gene(site), function(site)) != function(site):
                return None
        for name in self._fixed:
            wanted.pop(name, None)
        if any(choice not in self._choices[name] for name, choice in wanted.items()):
            return None
        wanted.update(hardware)
        return self._design(
            {name: wanted.get(name, _middle(choices)) for name, choices in self._choices.items()}
        )

    def _friendly_function(self, site: ActivationSite) -> str:
        choices = [str(choice) for choice in self._choices[self._activation_gene(site)]]
        return next((f for f in HARDWARE_FRIENDLY if f in choices), choices[0])

    def _activation_gene(self, site: ActivationSite) -> str:
        """Return the gene that chooses a site's function."""
        depth = len(site.stage.split(".")) + 1
        groups = {
            "network": "all",
            "stage": site.stage,
            "block": ".".join(site.name.split(".")[:depth]),
            "site": site.name,
        }
        return f"activation.{groups[self._per]}"

    def _accelerator(
        self, layers: tuple[tuple[str, LayerFormat], ...], values: Mapping[str, Any]
    ) -> Accelerator:
        fields = {
            name.removeprefix("accelerator."): value
            for name, value in values.items()
            if name.startswith("accelerator.")
        }
        shifts = self._shifted_products or any(_shifts(layer) for _, layer in layers)
        if not (shifts and fields["shift_rows"] and fields["shift_cols"]):
            fields.update(shift_rows=0, shift_cols=0)
        if not any(info.kind == "depthwise" for info in self.outline.layers):
            fields["depthwise_lanes"] = 0
        return Accelerator(self._hardware.board, self._hardware.clock_mhz, **fields)


def _probabilities_shift(settings: SearchSettings) -> bool:
    """Return whether probabilities are powers of two, so that attention times value shifts."""
    from codesign.numerics.softmax import SOFTMAXES
    from codesign.quantize.methods import METHODS

    recipe = METHODS.get(settings.quantize.method).changed(asdict(settings.quantize))
    return SOFTMAXES.get(recipe.softmax).log2_width(recipe.attention_bits) is not None


def _shifts(layer: LayerFormat) -> bool:
    """Return whether a shift array, where there is one, runs the layer or a part of it."""
    if layer.weight_scheme == "uniform":
        return False
    from codesign.numerics.weights import scheme_of

    return scheme_of(layer).hardware != "uniform"


def _layer_format(info: LayerInfo, values: Mapping[str, Any]) -> LayerFormat:
    return LayerFormat.parse(
        str(values[f"{info.name}.weight"]), int(values[f"{info.name}.activation_bits"])
    )


def _fixed_formats(
    settings: SearchSettings, outline: NetworkOutline
) -> dict[str, dict[str, Choice]]:
    """Return each layer's formats that are taken out of the search; patterns win over ends."""
    fixed: dict[str, dict[str, Choice]] = {layer.name: {} for layer in outline.layers}
    ends = settings.network.first_and_last_bits
    for layer in (outline.layers[0], outline.layers[-1]) if ends else ():
        fixed[layer.name] = {"weight": f"uniform_{ends}", "activation_bits": ends}
    for pattern, formats in settings.network.fixed.items():
        names = [layer.name for layer in outline.layers if fnmatchcase(layer.name, pattern)]
        if not names:
            raise UserError(
                f"network.fixed: '{pattern}' matches no layer; the layers are "
                f"{', '.join(layer.name for layer in outline.layers)}."
            )
        _check_fixed(pattern, formats)
        for name in names:
            fixed[name].update(formats)
            if "weight" in formats:
                fixed[name]["weight"] = LayerFormat.parse(formats["weight"], 8).weight
    return fixed


def _check_fixed(pattern: str, formats: Any) -> None:
    from codesign.numerics.weights import parse_format

    if not isinstance(formats, Mapping) or set(formats) - set(FIXED_KEYS):
        raise UserError(f"network.fixed: '{pattern}' takes {{weight: .., activation_bits: ..}}.")
    try:
        parse_format(str(formats.get("weight", "uniform_8")))
    except ValueError as error:
        raise UserError(
            f"network.fixed: '{pattern}' has weight '{formats['weight']}': {error}; write for "
            "example uniform_8 or log2std_4@0.5."
        ) from error
    if formats.get("activation_bits", 8) not in range(2, 9):
        raise UserError(f"network.fixed: '{pattern}' needs activation_bits from 2 to 8.")


def check_functions(names: list[str]) -> None:
    """Check that activation functions exist.

    Raises:
        UserError: One does not; the message lists those there are.
    """
    from codesign.numerics.activation import ACTIVATIONS

    for name in names:
        ACTIVATIONS.get(name)


def _only(fixed: Choice | None, choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
    return choices if fixed is None else (fixed,)


def _middle(choices: tuple[Choice, ...]) -> Choice:
    """Return the median of numbers above zero, the first of words and of yes and no."""
    numbers = sorted(c for c in choices if type(c) is int and c > 0)
    return numbers[(len(numbers) - 1) // 2] if numbers else choices[0]
