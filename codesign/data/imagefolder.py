"""Folders of images, one folder per class, as ImageNet is usually stored."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from codesign.data.dataset import DATASETS, SPLITS, DataSet, DataSettings
from codesign.data.pictures import PictureSplit, Transform, model_input
from codesign.data.stratify import stratified_split
from codesign.errors import UserError
from codesign.files import content_key

Sample = tuple[Path, int]
_VALIDATION = ("validation", "val", "valid")
_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}


@DATASETS.register("imagefolder")
def imagefolder(settings: DataSettings, model_data_config: Mapping[str, Any]) -> DataSet:
    """Return a folder of images in the model's own timm transform.

    Either `path/train/<class>/*`, `path/validation/<class>/*` (or `val`, `valid`) and optionally
    `path/test/<class>/*`, or class folders only. What is missing is taken, by class with seed 0,
    from what is there: class folders only give 60/20/20 %, a missing validation folder 20 % of
    the training images, a missing test folder half of the validation images.

    Args:
        settings: `path` and `image_size` (None: the model's own).
        model_data_config: The model's data configuration.

    Returns:
        The data set; images are decoded when they are used.

    Raises:
        UserError: The path is missing, a folder is empty, or the classes of the splits differ; when
            an image is used that cannot be read.
    """
    root = _root(settings.path)
    folders = _split_folders(root)
    train = folders.get("train", root)
    names = tuple(_classes(train))
    samples = _complete({split: _scan(folder, names) for split, folder in folders.items()})
    shape, transform = model_input(model_data_config, settings.image_size)
    return DataSet(
        name="imagefolder",
        num_classes=len(names),
        input_shape=shape,
        splits={split: _picture_split(samples[split], transform, shape) for split in SPLITS},
        fingerprint=_fingerprint(root, samples),
        mean=tuple(model_data_config.get("mean", (0.0,))),
        std=tuple(model_data_config.get("std", (1.0,))),
        class_names=names,
    )


def _root(path: str | None) -> Path:
    if not path:
        raise UserError("data.name=imagefolder needs data.path=FOLDER, with one folder per class")
    root = Path(path).expanduser()
    if not root.is_dir():
        raise UserError(f"data.path={path} is not a folder: give the folder of the images")
    return root


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _split_folders(root: Path) -> dict[str, Path]:
    """Return the folders of the splits there are, or {"all": root} for class folders only."""
    if not (root / "train").is_dir():
        return {"all": root}
    found = {"train": root / "train"}
    validation = [root / name for name in _VALIDATION if (root / name).is_dir()]
    if validation:
        found["validation"] = validation[0]
    if (root / "test").is_dir():
        found["test"] = root / "test"
    return found


def _classes(folder: Path) -> list[str]:
    names = [p.name for p in _folders(folder)]
    if len(names) < 2:
        raise UserError(
            f"{folder} holds {len(names)} class folders: put the images of each class in a folder "
            "of its own, at least two"
        )
    return names


def _scan(folder: Path, names: Sequence[str]) -> list[Sample]:
    """List the images of a split, checking that it holds the classes `names` and no other."""
    present = {p.name for p in _folders(folder)}
    for name in sorted(present.symmetric_difference(names)):
        fault = "is missing from" if name in names else "is not a class of train/ but is in"
        raise UserError(f"class '{name}' {fault} {folder}: every split needs the same classes")
    samples: list[Sample] = []
    for label, name in enumerate(names):
        files = sorted(p for p in (folder / name).rglob("*") if p.suffix.lower() in _SUFFIXES)
        if not files:
            raise UserError(f"{folder / name} holds no images: fill it or remove the class")
        samples += [(file, label) for file in files]
    return samples


def _complete(found: dict[str, list[Sample]]) -> dict[str, list[Sample]]:
    """Fill in the splits that are missing, by division of those that are there."""
    if "all" in found:
        return _divide(found["all"], dict(zip(SPLITS, (0.6, 0.2, 0.2), strict=True)))
    if "validation" not in found:
        found |= _divide(found["train"], {"train": 0.8, "validation": 0.2})
    if "test" not in found:
        found |= _divide(found["validation"], {"validation": 0.5, "test": 0.5})
    return found


def _divide(samples: list[Sample], shares: Mapping[str, float]) -> dict[str, list[Sample]]:
    labels = [label for _, label in samples]
    counts = Counter(labels)
    for path, label in samples:
        if counts[label] < len(shares):
            raise UserError(
                f"{path.parent} holds fewer than {len(shares)} images: too few to divide into "
                f"{', '.join(shares)}; add images or give a folder per split"
            )
    parts = stratified_split(labels, tuple(shares.values()), seed=0)
    return {name: [samples[i] for i in part] for name, part in zip(shares, parts, strict=True)}


def _picture_split(
    samples: list[Sample], transform: Transform, shape: tuple[int, int, int]
) -> PictureSplit:
    return PictureSplit(
        open_picture=lambda i: Image.open(samples[i][0]),
        describe=lambda i: str(samples[i][0]),
        labels=torch.tensor([label for _, label in samples], dtype=torch.int64),
        transform=transform,
        mode="L" if shape[0] == 1 else "RGB",
    )


def _fingerprint(root: Path, samples: Mapping[str, list[Sample]]) -> str:
    return content_key(
        {
            split: [[str(path.relative_to(root)), path.stat().st_size] for path, _ in part]
            for split, part in samples.items()
        }
    )
