"""The settings of `python -m codesign.quantize`, and their shorthands."""

from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from codesign import cli
from codesign.errors import UserError
from codesign.settings import (
    DataSettings,
    DistillSettings,
    ModelSettings,
    QuantizeSettings,
    SearchSettings,
    TeacherSettings,
    load_settings,
)
from codesign.settings_check import check_settings
from codesign.settings_tree import SettingsTree, setting

PROGRAM = "codesign.quantize"
USAGE = "model=NAME method=NAME"
FROM_SPACE = ("model", "data", "teacher", "quantize", "distill", "seed", "device", "runs_dir")
SHORTHANDS = {
    **{item.name: f"quantize.{item.name}" for item in fields(QuantizeSettings)},
    "model": "model.name",
    "data": "data.name",
    "steps": "distill.steps",
    "images": "quantize.calibration_images",
}

_MORE_HELP = """\
method= takes a name, a list [minmax,fqvit], or all. Shorthands: model=NAME is model.name=NAME,
data=NAME is data.name=NAME, images=N is quantize.calibration_images=N, steps=N is distill.steps=N,
and every key of quantize may be written without its section: softmax=log_int, method=fqvit."""


@dataclass
class PostDistillSettings(DistillSettings):
    """Distillation after calibration."""

    steps: int = setting(0, "optimiser steps; 0 keeps what calibration gave")


@dataclass
class PosttrainSettings:
    """Quantise a model after its training and measure what that costs."""

    space: str = setting(
        "", "search space whose model, data, teacher and quantize settings to take"
    )
    out: str = setting("", "JSON file to write; empty: quantized/<model>_<method>.json in runs_dir")
    save: str = setting(
        "", "npz file for the integer model, of several methods the best; empty: none"
    )
    scheme: str = setting("uniform", "weight scheme of the layers; mixed@0.5 gives its number too")
    w_bits: int = setting(8, "bits of the weights")
    a_bits: int = setting(8, "bits of the codes entering a layer")
    first_and_last_bits: int = setting(8, "bits of the first and last layer; 0: as the others")
    mean_bits: float = setting(
        0.0, "mean bits per weight, reached by narrowing the layers that mind least; 0: w_bits"
    )
    activation: str = setting(
        "", "function for every activation but gates and kernels of linear attention"
    )
    compared_images: int = setting(4, "images on which every integer is replayed with NumPy")
    measured_images: int = setting(64, "validation images behind the errors of the layers")
    seed: int = setting(0, "seed of the teacher and of the choice of calibration images")
    device: str = setting("auto", "auto, cpu or cuda")
    runs_dir: str = setting("runs", "folder of the caches and of the results")
    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=DataSettings)
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    quantize: QuantizeSettings = field(default_factory=QuantizeSettings)
    distill: PostDistillSettings = field(default_factory=PostDistillSettings)

    def for_search(self) -> SearchSettings:
        """Return the same model, data and teacher as a search's settings.

        The method is a search's default: here it may be several.
        """
        sections = {name: getattr(self, name) for name in FROM_SPACE}
        sections["quantize"] = replace(self.quantize, method=QuantizeSettings().method)
        return SearchSettings(space=self.space, study="quantize", **sections)

    @property
    def out_path(self) -> Path:
        """The JSON file of the results."""
        if self.out:
            return Path(self.out)
        name = "_".join([self.model.name, *self.quantize.method.strip("[]").split(",")])
        plain = "".join(c if c.isalnum() or c in "._-" else "-" for c in name.replace(" ", ""))
        return Path(self.runs_dir) / "quantized" / f"{plain}.json"


def load_posttrain_settings(arguments: list[str]) -> PosttrainSettings:
    """Return the settings of a command line: defaults, then a space's, then `key=value`.

    Args:
        arguments: Words such as "model=deit_tiny_patch16_224" and "method=fqvit"; the shorthands
            leave out the section (`softmax=log_int` is `quantize.softmax=log_int`).

    Raises:
        UserError: A key is unknown or a value is wrong.
    """
    options, words = cli.split_options(arguments)
    if "--help" in options:
        cli.leave(_help())
    overrides = [(SHORTHANDS.get(key, key), text) for key, text in words]
    tree = SettingsTree(PosttrainSettings)
    if space := dict(overrides).get("space"):
        _take_space(tree, space)
    for key, text in overrides:
        tree.assign_text(key, text, "on the command line")
    settings = tree.value()
    _check(settings, {key for key, _ in overrides})
    if "--cfg" in options:
        cli.leave(yaml.safe_dump(asdict(settings), sort_keys=False))
    return settings


def _take_space(tree: SettingsTree[PosttrainSettings], space: str) -> None:
    given = load_settings([f"space={space}"])
    for name in FROM_SPACE:
        value = getattr(given, name)
        plain = asdict(value) if hasattr(value, "__dataclass_fields__") else value
        if name == "distill":
            del plain["steps"]  # post-training: no steps unless asked for
        tree.assign(name, plain, f"in space {space}")
    tree.assign("first_and_last_bits", given.network.first_and_last_bits, f"in space {space}")


def _check(settings: PosttrainSettings, given: set[str]) -> None:
    if not settings.space and "model.name" not in given:
        raise UserError("which model? Give model=NAME (any timm model), or space=NAME.")
    check_settings(settings.for_search())
    for key in ("w_bits", "a_bits", "first_and_last_bits"):
        value = getattr(settings, key)
        if not (2 <= value <= 8 or (value == 0 and key == "first_and_last_bits")):
            raise UserError(f"{key}={value} must be from 2 to 8.")
    for key in ("compared_images", "measured_images"):
        if getattr(settings, key) < 1:
            raise UserError(f"{key}={getattr(settings, key)} must be at least 1.")
    if settings.mean_bits and not 2 <= settings.mean_bits <= 8:
        raise UserError(f"mean_bits={settings.mean_bits} must be from 2 to 8, or 0.")
    for key, path in (("out", settings.out_path), ("save", Path(settings.save or "-"))):
        if path.is_dir():
            raise UserError(f"{key}={path} is a folder: give the name of a file in it.")


def _help() -> str:
    schema: Any = PosttrainSettings
    text = cli.help_text(schema, PROGRAM, USAGE).rstrip()
    return f"{text}\n\n{_MORE_HELP}\n"
