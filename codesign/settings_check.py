"""Checks of settings that a type cannot express."""

import re
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from codesign.errors import UserError
from codesign.limits import parse_limits
from codesign.settings import (
    AcceleratorSettings,
    CostSettings,
    NetworkSettings,
    QuantizeSettings,
    SearchSettings,
)
from costmodels.validate import MAX_PES

MAY_BE_ZERO = {"shift_rows", "shift_cols", "depthwise_lanes"}
NAMES = {
    "executor": ("ray", "serial"),
    "device": ("auto", "cpu", "cuda"),
    "sampler.name": ("nsga2", "tpe", "gp", "random"),
    "cost.cycles": ("closed_form", "scalesim"),
    "cost.fabric": ("yosys", "finn"),
    "cost.gpu_precision": ("int8", "int4", "fp16", "fp32"),
    "network.activations.per": ("network", "stage", "block", "site"),
}
CHOICES = {
    "accelerator.dataflow": ("os", "ws", "is"),
    "accelerator.precision": ("static", "reconfigurable"),
    "accelerator.mac_pe": ("dsp", "lut"),
}
AT_LEAST: dict[str, float] = {
    "trials": 1,
    "seed": 0,
    "workers": 0,
    "retries": 0,
    "timeout_s": 0,
    "sampler.population": 2,
    "cost.batch": 1,
    "teacher.epochs": 0,
    "teacher.batch_size": 1,
    "quantize.calibration_images": 1,
    "quantize.reconstruction_steps": 0,
    "quantize.reconstruction_batch": 1,
    "quantize.calibration_batch": 1,
    "distill.steps": 0,
    "distill.batch_size": 1,
    "distill.feature_weight": 0,
}
POSITIVE = ("hardware.clock_mhz", "teacher.learning_rate", "distill.learning_rate")


def check_settings(settings: SearchSettings) -> None:
    """Check values and their combinations.

    Raises:
        UserError: The first thing that is wrong: which key, its value, and what it may be.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", settings.study):
        raise UserError(
            f"study='{settings.study}': use letters, digits, dots, dashes, underscores."
        )
    for key, names in NAMES.items():
        _one_of(key, _value(settings, key), names)
    for key, least in AT_LEAST.items():
        if not _value(settings, key) >= least:
            raise UserError(f"{key}={_value(settings, key)} must be at least {least:g}.")
    for key in POSITIVE:
        if not 0 < _value(settings, key) < float("inf"):
            raise UserError(f"{key}={_value(settings, key)} must be a positive number.")
    if not 0 < settings.distill.judge_fraction < 1:
        raise UserError("distill.judge_fraction must be between 0 and 1, both excluded.")
    _check_cost(settings.cost)
    _check_quantize(settings.quantize)
    if not 0 <= settings.quantize.reconstruction_drop < 1:
        raise UserError("quantize.reconstruction_drop must be from 0 to below 1.")
    _check_objectives(settings)
    _check_network(settings.network)
    _check_accelerator(settings.accelerator)


def _check_cost(cost: CostSettings) -> None:
    for option in ("drain", "overlap"):
        if getattr(cost, option) and cost.cycles == "scalesim":
            raise UserError(
                f"cost.{option}=true needs cost.cycles=closed_form: SCALE-Sim has no such option."
            )


def _check_quantize(quantize: QuantizeSettings) -> None:
    from codesign.quantize.methods import METHODS
    from codesign.quantize.recipe_check import check_recipe

    check_recipe(METHODS.get(quantize.method).changed(asdict(quantize)))


def _check_objectives(settings: SearchSettings) -> None:
    if not settings.objectives:
        raise UserError("objectives is empty: name at least one, such as {accuracy: max}.")
    for name, direction in settings.objectives.items():
        _one_of(f"objectives.{name}", direction, ("max", "min"))
    parse_limits(settings.constraints)


def _check_network(network: NetworkSettings) -> None:
    if not network.weights:
        raise UserError("network.weights is empty: give for example {uniform: [4, 8]}.")
    for scheme, formats in network.weights.items():
        _check_formats(scheme, formats)
    _check_list("network.activation_bits", network.activation_bits, 2, 8)
    ends = network.first_and_last_bits
    if ends and not 2 <= ends <= 8:
        raise UserError(f"network.first_and_last_bits={ends} must be 2 to 8, or 0 to search them.")
    _no_repeats("network.activations.choices", network.activations.choices)


def _check_formats(scheme: str, formats: Sequence[Any]) -> None:
    from codesign.numerics.weights import SCHEMES, parse_format

    key = f"network.weights.{scheme}"
    _one_of("a scheme of network.weights", scheme, SCHEMES.names())
    _no_repeats(key, formats)
    named = []
    for entry in formats:
        if isinstance(entry, bool) or not isinstance(entry, int | str):
            raise UserError(f"{key}: {entry!r} is no width in bits; write for example 4.")
        try:
            named.append(parse_format(f"{scheme}_{entry}").weight)
        except ValueError as error:
            raise UserError(f"{key}: {error}.") from error
    _no_repeats(key, named)


def _check_accelerator(accelerator: AcceleratorSettings) -> None:
    for name, values in vars(accelerator).items():
        key = f"accelerator.{name}"
        if key in CHOICES:
            _no_repeats(key, values)
            for value in values:
                _one_of(key, value, CHOICES[key])
        elif name == "fused_chains":
            _no_repeats(key, values)
        else:
            _check_list(key, values, 0 if name in MAY_BE_ZERO else 1, MAX_PES)
    for array in ("mac", "shift"):
        rows, cols = (max(getattr(accelerator, f"{array}_{side}")) for side in ("rows", "cols"))
        if rows * cols > MAX_PES:
            raise UserError(
                f"accelerator.{array}_rows and accelerator.{array}_cols: {rows} x {cols} is more "
                f"than {MAX_PES:,} PEs, which no board holds."
            )


def _check_list(key: str, values: Sequence[int], least: int, most: int) -> None:
    _no_repeats(key, values)
    for value in values:
        if not least <= value <= most:
            raise UserError(f"{key}: {value} is out of range, {least} to {most}.")


def _no_repeats(key: str, values: Sequence[Any]) -> None:
    if not values:
        raise UserError(f"{key} is empty: list at least one choice.")
    if len(set(values)) != len(values):
        raise UserError(f"{key}={list(values)} lists a choice twice.")


def _one_of(key: str, value: Any, names: Collection[str]) -> None:
    if value not in names:
        raise UserError(f"{key}: '{value}' is not one of {', '.join(names)}.")


def _value(settings: SearchSettings, key: str) -> Any:
    value: Any = settings
    for part in key.split("."):
        value = getattr(value, part)
    return value
