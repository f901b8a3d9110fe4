"""Any data set that timm can read by index: `data.name=timm:<reader>`."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from codesign.data.dataset import DATASETS, DataSet, DataSettings, Split
from codesign.data.pictures import PictureSplit, Transform, model_input
from codesign.errors import UserError
from codesign.files import content_key
from codesign.timm_import import import_timm


@DATASETS.register("timm")
def timm_reader(settings: DataSettings, model_data_config: Mapping[str, Any]) -> DataSet:
    """Return the data set that `timm.data.create_dataset` knows under the name after "timm:".

    For example `timm:torch/cifar10` (in `data.path`, which it must have been downloaded to) or
    `timm:hfds/<name>`. The training images come from timm's split "train"; its split "validation"
    is halved, by class with seed 0, into validation and test.

    Args:
        settings: `name`, `path` and `image_size` (None: the model's own).
        model_data_config: The model's data configuration.

    Raises:
        UserError: timm cannot open the reader, or it can only be read in sequence.
    """
    name = settings.name.partition(":")[2]
    if not name:
        raise UserError("data.name=timm needs a reader, for example data.name=timm:torch/cifar10")
    shape, transform = model_input(model_data_config, settings.image_size)
    mode = "L" if shape[0] == 1 else "RGB"
    train = _split(name, settings.path, "train", transform, mode)
    held_out = _split(name, settings.path, "validation", transform, mode)
    validation, test = held_out.partition(0.5, seed=0)
    return DataSet(
        name=settings.name,
        num_classes=_num_classes(train, held_out),
        input_shape=shape,
        splits={"train": train, "validation": validation, "test": test},
        fingerprint=content_key([name, train.labels.tolist(), held_out.labels.tolist()]),
        mean=tuple(model_data_config.get("mean", (0.0,))),
        std=tuple(model_data_config.get("std", (1.0,))),
    )


def _split(
    name: str, path: str | None, split: str, transform: Transform, mode: str
) -> PictureSplit:
    try:
        source = import_timm().data.create_dataset(name, root=path, split=split)
    except Exception as error:  # readers raise errors of their own libraries
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise UserError(
            f"timm cannot open data.name=timm:{name}, split {split}, in data.path={path}: "
            f"{reason[0]}"
        ) from error
    if not hasattr(source, "__getitem__") or isinstance(source, torch.utils.data.IterableDataset):
        raise UserError(
            f"data.name=timm:{name} can only be read in sequence: use a reader that is indexed, "
            "such as hfds/ or torch/, or data.name=imagefolder"
        )
    return PictureSplit(
        open_picture=lambda i: _picture(source, i),
        describe=lambda i: f"{i} of split {split} of timm:{name}",
        labels=_labels(source),
        transform=transform,
        mode=mode,
    )


def _picture(source: Any, index: int) -> Image.Image:
    # timm's ImageDataset replaces an unreadable image by its neighbour; its reader does not
    if hasattr(source, "reader"):
        return Image.open(source.reader[index][0])
    return source[index][0]


def _labels(source: Any) -> Tensor:
    """Return the labels without decoding images where the source can tell them."""
    reader: Any = getattr(source, "reader", None)
    labels: Sequence[int] | Tensor
    if hasattr(source, "targets"):
        labels = source.targets
    elif hasattr(reader, "samples"):
        labels = [sample[1] for sample in reader.samples]
    elif hasattr(reader, "label_key"):
        labels = reader.dataset[reader.label_key]
    else:
        items = reader if reader is not None else source
        labels = [int(items[i][1]) for i in range(len(items))]
    return torch.as_tensor(labels, dtype=torch.int64)


def _num_classes(*splits: Split) -> int:
    return 1 + max(int(split.labels.max()) for split in splits)
