"""Float models: any timm model by name, with its own, given or fresh weights."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from codesign.errors import RunError, UserError
from codesign.timm_import import import_timm
from codesign.train.checkpoint import load_checkpoint


class ModelSettings(Protocol):
    """What building a model reads of the settings of a run.

    Attributes:
        name: timm model name, for example "mobilevit_xxs".
        kwargs: Arguments of the timm model, for example {"img_size": 64}.
        pretrained: Whether to take timm's weights.
        checkpoint: File of weights, or None.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def kwargs(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def pretrained(self) -> bool: ...  # noqa: D102
    @property
    def checkpoint(self) -> str | None: ...  # noqa: D102


@dataclass(frozen=True)
class FloatModel:
    """A float model and where its weights come from.

    Attributes:
        module: The model, in evaluation mode.
        trained_body: Whether the weights below the classifier come from a trained model.
        trained_head: Whether those of the classifier do.
    """

    module: nn.Module
    trained_body: bool
    trained_head: bool


def build_model(settings: ModelSettings, num_classes: int) -> nn.Module:
    """Return the timm model that the settings name; see `float_model`."""
    return float_model(settings, num_classes).module


def float_model(settings: ModelSettings, num_classes: int) -> FloatModel:
    """Build the timm model that the settings name.

    Args:
        settings: The `model` section of the settings.
        num_classes: Classes of the data set; a classifier of other sizes is started afresh.

    Returns:
        The model; fresh weights are drawn from torch's global generator.

    Raises:
        UserError: The name or an argument is unknown, timm has no weights for it, or the
            checkpoint does not fit.
        RunError: timm's weights cannot be fetched.
    """
    _check_name(settings.name)
    pretrained = settings.pretrained and not settings.checkpoint
    module = _create(settings, num_classes, pretrained).eval()
    if settings.checkpoint:
        path = Path(settings.checkpoint).expanduser()
        return FloatModel(module, True, load_checkpoint(module, path, _head(module)))
    published = getattr(module, "pretrained_cfg", {}).get("num_classes")
    return FloatModel(module, settings.pretrained, settings.pretrained and published == num_classes)


def trained_model(
    settings: ModelSettings, num_classes: int, state: Mapping[str, Tensor]
) -> nn.Module:
    """Return the model that the settings name with the weights of a teacher, fetching nothing."""
    module = _create(settings, num_classes, pretrained=False)
    module.load_state_dict(dict(state))
    return module.eval()


def data_config(settings: ModelSettings) -> dict[str, Any]:
    """Return what timm says of the images a model takes: "input_size", "mean", "std", ...

    Raises:
        UserError: The model's name or an argument is unknown.
    """
    import_timm()
    from timm.data import resolve_data_config

    _check_name(settings.name)
    module = _create(settings, num_classes=None, pretrained=False)
    return dict(resolve_data_config({}, model=module))


def _check_name(name: str) -> None:
    timm = import_timm()
    architecture, _, tag = name.partition(".")
    if ":" in name:  # a hub's own name, for timm to resolve
        return
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3, cutoff=0.4)
        hint = f" Nearest: {', '.join(near)}." if near else ""
        raise UserError(f"model.name={name} is not a timm model.{hint}")
    tagged = timm.list_pretrained(architecture + "*")
    if tag and name not in tagged:
        near = [n for n in tagged if n.startswith(architecture + ".")]
        raise UserError(f"model.name={name}: timm has no such weights. It has: {', '.join(near)}.")


def _create(settings: ModelSettings, num_classes: int | None, pretrained: bool) -> nn.Module:
    arguments = dict(settings.kwargs)
    if num_classes is not None:
        arguments["num_classes"] = num_classes
    try:
        return import_timm().create_model(settings.name, pretrained=pretrained, **arguments)
    except (TypeError, AssertionError) as error:
        raise UserError(
            f"model.kwargs={dict(settings.kwargs)} does not suit {settings.name}: {_line(error)}"
        ) from error
    except Exception as error:  # the hub's client raises errors of several libraries
        if not pretrained:
            raise UserError(f"timm cannot build model.name={settings.name}: {_line(error)}") from (
                error
            )
        if "No pretrained weights exist" in str(error):
            raise UserError(
                f"timm has no weights for {settings.name}: set model.pretrained=false or give "
                "model.checkpoint=FILE"
            ) from error
        raise RunError(
            f"cannot fetch timm's weights of {settings.name} ({_line(error)}): check the network, "
            "or give model.checkpoint=FILE"
        ) from error


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _head(module: nn.Module) -> tuple[str, ...]:
    """Return the prefixes of the classifier's tensors, as timm's configuration names them."""
    names = getattr(module, "pretrained_cfg", {}).get("classifier") or ()
    return tuple(f"{n}." for n in ([names] if isinstance(names, str) else names))
