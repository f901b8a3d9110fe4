"""DataSet and Split: labelled images, drawn by index or in batches, reproducible from a seed."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from codesign.data.stratify import stratified_split
from codesign.errors import UserError
from codesign.registry import Registry

SPLITS = ("train", "validation", "test")
PREPARATION = ("input_size", "interpolation", "mean", "std", "crop_pct", "crop_mode")
"""What of a model's data configuration data sets read."""
Batch = tuple[Tensor, Tensor]
Plan = Iterator[tuple[list[int], int | None]]  # positions and augmentation seed of each batch


class DataSettings(Protocol):
    """What a data set reads of the settings of a run.

    Attributes:
        name: Registered name; "timm:<reader>" hands the rest to timm.
        path: Folder of the images, where the data set needs one.
        image_size: Height and width in pixels, or None for the data set's or the model's own.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def path(self) -> str | None: ...  # noqa: D102
    @property
    def image_size(self) -> int | None: ...  # noqa: D102


class Split(ABC):
    """Labelled images.

    Attributes:
        labels: Class indices, int64 (N).
    """

    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def images(self, indices: Sequence[int], augment_seed: int | None = None) -> Tensor:
        """Return float32 images (n, C, H, W); augmented reproducibly where a seed is given."""

    def load(self, indices: Sequence[int] | Tensor) -> Batch:
        """Return images and labels by index, without augmentation.

        Args:
            indices: Positions in the split.

        Returns:
            Images, float32 (n, C, H, W), and labels, int64 (n).
        """
        positions = [int(i) for i in indices]
        return self.images(positions), self.labels[positions]

    def batches(
        self, batch_size: int, *, shuffle_seed: int | None = None, augment: bool = False
    ) -> Iterator[Batch]:
        """Yield every image once, in batches; the last one may be smaller.

        Args:
            batch_size: Images of a batch.
            shuffle_seed: Seed of the order (and of the augmentation); None keeps the order.
            augment: Whether to augment the images, as training does.

        Returns:
            An iterator of images, float32 (n, C, H, W), and labels, int64 (n).
        """
        return self._read(self._plan(batch_size, shuffle_seed, augment))

    def _read(self, plan: Plan) -> Iterator[Batch]:
        """Yield the planned batches; a split that reads files overrides this to read ahead."""
        for positions, seed in plan:
            yield self.images(positions, seed), self.labels[positions]

    def _plan(self, batch_size: int, shuffle_seed: int | None, augment: bool) -> Plan:
        """Yield each batch's positions and augmentation seed."""
        generator = torch.Generator().manual_seed(shuffle_seed or 0)
        order = torch.arange(len(self))
        if shuffle_seed is not None:
            order = torch.randperm(len(self), generator=generator)
        for positions in order.split(batch_size):
            seed = int(torch.randint(2**62, (), generator=generator))
            yield positions.tolist(), seed if augment else None

    def subset(self, indices: Sequence[int] | Tensor) -> "Split":
        """Return the split that holds only the images at `indices`, in that order."""
        return Subset(self, [int(i) for i in indices])

    def partition(self, fraction: float, seed: int) -> tuple["Split", "Split"]:
        """Divide the split in two that keep the proportions of the classes.

        Args:
            fraction: Share of each class that goes to the first part, between 0 and 1.
            seed: Seed of the choice.

        Returns:
            The two parts; together they hold every image once.
        """
        first, second = stratified_split(self.labels.tolist(), (fraction, 1 - fraction), seed)
        return self.subset(first), self.subset(second)


class Subset(Split):
    """Some images of another split."""

    def __init__(self, base: Split, indices: Sequence[int]) -> None:
        self._base = base
        self._indices = list(indices)
        self.labels = base.labels[self._indices]

    def images(self, indices: Sequence[int], augment_seed: int | None = None) -> Tensor:
        """Return the base's images; see `Split.images`."""
        return self._base.images([self._indices[i] for i in indices], augment_seed)

    def _read(self, plan: Plan) -> Iterator[Batch]:
        return self._base._read(([self._indices[i] for i in part], seed) for part, seed in plan)


@dataclass(frozen=True)
class DataSet:
    """Three splits of labelled images in a model's input format.

    Attributes:
        name: The name in the settings.
        num_classes: Number of classes.
        input_shape: (C, H, W) of an image.
        splits: "train", "validation" and "test" to Split.
        fingerprint: Hex digits that change with the contents of the data set.
        mean: Per channel, subtracted from pixels in [0, 1] before the model sees them.
        std: Per channel, divides what is left.
        class_names: Names of the classes in order of index, where there are any.
        model_data_config: What of the model's data configuration it was made with.
    """

    name: str
    num_classes: int
    input_shape: tuple[int, int, int]
    splits: Mapping[str, Split]
    fingerprint: str
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    class_names: tuple[str, ...] = field(default=())
    model_data_config: Mapping[str, Any] = field(default_factory=dict)

    def preparation(self) -> dict[str, Any]:
        """Return how images are prepared, JSON-able: with the settings, all that `load_data` needs.

        Beside the configuration it has what tells later whether the images are the same ones.
        """
        return {
            "model_data_config": dict(self.model_data_config),
            "input_shape": list(self.input_shape),
            "num_classes": self.num_classes,
            "fingerprint": self.fingerprint,
        }

    def split(self, name: str) -> Split:
        """Return the split "train", "validation" or "test".

        Raises:
            ValueError: There is no split of that name.
        """
        if name not in self.splits:
            raise ValueError(f"no split '{name}': there are {', '.join(self.splits)}")
        return self.splits[name]


DatasetFactory = Callable[[DataSettings, Mapping[str, Any]], DataSet]
DATASETS: Registry[DatasetFactory] = Registry("data set")


def load_data(settings: DataSettings, model_data_config: Mapping[str, Any]) -> DataSet:
    """Load the data set that the settings name.

    Args:
        settings: The `data` section of the settings.
        model_data_config: What `timm.data.resolve_data_config` says of the model: "input_size"
            (C, H, W), "mean", "std", "interpolation", "crop_pct", ...

    Returns:
        The data set, in the model's input format.

    Raises:
        UserError: The name is unknown, or the files are missing, empty or unreadable.
    """
    size = settings.image_size
    if size is not None and size < 1:
        raise UserError(
            f"data.image_size={size} is not a size: give a number of pixels, such as 64"
        )
    found = DATASETS.get(settings.name.partition(":")[0])(settings, model_data_config)
    used = {key: model_data_config[key] for key in PREPARATION if key in model_data_config}
    return replace(found, model_data_config=used)
