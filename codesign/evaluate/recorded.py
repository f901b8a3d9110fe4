"""The data a model was scored on, made again from what its file records."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codesign.data import DataSet, load_data
from codesign.errors import UserError
from codesign.integer.model import IntegerModel


@dataclass(frozen=True)
class DataChoice:
    """The images to score on; what is None is as recorded with the model.

    Attributes:
        name: Registered name of the data set.
        path: Folder of the images, where the data set needs one.
        image_size: Height and width in pixels.
    """

    name: str | None = None
    path: str | None = None
    image_size: int | None = None


@dataclass(frozen=True)
class _DataSettings:
    name: str
    path: str | None
    image_size: int | None


def recorded_data(model: IntegerModel, choice: DataChoice | None = None) -> DataSet:
    """Return the data set a model was scored on, or another one prepared for it.

    Args:
        model: The model; its info records data set, path, size and the model's data configuration.
        choice: What to take in place of what is recorded.

    Raises:
        UserError: The model records no data, the images cannot be read, or they do not fit: other
            channels, another size, or more classes than the model has.
    """
    choice = choice or DataChoice()
    config, stored = _recorded(model)
    own = choice.name in (None, stored.get("name"))
    shape = tuple(model.nodes[0].shape[1:])
    size: Any = stored.get("image_size") if own else shape[-1]
    settings = _DataSettings(
        name=choice.name or str(stored.get("name")),
        path=choice.path or (stored.get("path") if own else None),
        image_size=choice.image_size or size,
    )
    data = load_data(settings, config)
    _check_fit(model, data)
    return data


def is_recorded(model: IntegerModel, data: DataSet) -> bool:
    """Return whether a data set holds the very images that the model's info speaks of."""
    preparation = model.info.get("preparation", {})
    same_name = data.name == model.info.get("data", {}).get("name")
    return same_name and data.fingerprint == preparation.get("fingerprint")


def recorded_correct(model: IntegerModel) -> tuple[int, int] | None:
    """Return (images classified correctly, images) of the validation split as recorded, if so."""
    correct, images = (model.info.get(f"validation_{key}") for key in ("correct", "images"))
    if isinstance(correct, int) and isinstance(images, int):
        return correct, images
    return None


def _recorded(model: IntegerModel) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the model's data configuration and the settings of its data."""
    stored, preparation = model.info.get("data"), model.info.get("preparation")
    if not isinstance(stored, dict) or not isinstance(preparation, dict):
        raise UserError(
            "the model does not record how its images were prepared: export its trial again."
        )
    config = preparation.get("model_data_config")
    if not isinstance(config, dict):
        raise UserError("the model's info is damaged: preparation.model_data_config is no mapping.")
    return config, stored


def _check_fit(model: IntegerModel, data: DataSet) -> None:
    shape, classes = tuple(model.nodes[0].shape[1:]), model.nodes[-1].shape[-1]
    if tuple(data.input_shape) != shape:
        raise UserError(
            f"data {data.name} has images of {_sizes(data.input_shape)} (channels x height x "
            f"width), the model takes {_sizes(shape)}: set data.image_size={shape[-1]}."
        )
    if isinstance(classes, int) and data.num_classes > classes:
        raise UserError(
            f"data {data.name} has {data.num_classes} classes, the model tells {classes} apart:"
            " give the data set it was made for."
        )


def _sizes(shape: tuple[Any, ...]) -> str:
    return " x ".join(str(size) for size in shape)
