"""PictureSplit: encoded images decoded when they are used, in the model's own transform."""

import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from codesign.data.dataset import Batch, Plan, Split
from codesign.errors import UserError
from codesign.timm_import import import_timm

Transform = Callable[[Image.Image], Tensor]


class PictureSplit(Split):
    """Images that are decoded when they are used, by a small pool of threads.

    Args:
        open_picture: Index to an opened PIL image; it may fail as PIL does.
        describe: Index to what names the image in an error message, such as its path.
        labels: int64 (N).
        transform: The model's transform for evaluation.
        mode: PIL mode of the images, "RGB" or "L".
    """

    def __init__(
        self,
        open_picture: Callable[[int], Image.Image],
        describe: Callable[[int], str],
        labels: Tensor,
        transform: Transform,
        mode: str = "RGB",
    ) -> None:
        self._open = open_picture
        self._describe = describe
        self.labels = labels
        self._transform = transform
        self._mode = mode

    def images(self, indices: Sequence[int], augment_seed: int | None = None) -> Tensor:
        """Return the decoded images; see `Split.images`."""
        return torch.stack([f.result() for f in self._submit(indices, augment_seed)])

    def _read(self, plan: Plan) -> Iterator[Batch]:
        waiting: tuple[list[int], list[Future[Tensor]]] | None = None
        for positions, seed in plan:
            ahead = positions, self._submit(positions, seed)
            if waiting:
                yield self._collect(*waiting)
            waiting = ahead
        if waiting:
            yield self._collect(*waiting)

    def _submit(self, indices: Sequence[int], augment_seed: int | None) -> list[Future[Tensor]]:
        seeds: list[int | None] = [None] * len(indices)
        if augment_seed is not None:
            seeds = list(range(augment_seed, augment_seed + len(indices)))
        return [_pool().submit(self._one, i, s) for i, s in zip(indices, seeds, strict=True)]

    def _collect(self, positions: list[int], futures: list[Future[Tensor]]) -> Batch:
        return torch.stack([f.result() for f in futures]), self.labels[positions]

    def _one(self, index: int, seed: int | None) -> Tensor:
        try:
            with self._open(index) as opened:
                picture = opened.convert(self._mode)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise UserError(
                f"cannot read the image {self._describe(index)} ({error}): "
                "replace it or take it out of the data set"
            ) from error
        if seed is not None:
            picture = random_crop_and_flip(picture, random.Random(seed))
        return self._transform(picture)


@cache
def _pool() -> ThreadPoolExecutor:
    """Threads that decode, shared by all splits; PIL releases the lock while it decodes."""
    return ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="decode")


def random_crop_and_flip(picture: Image.Image, generator: random.Random) -> Image.Image:
    """Cut out a random part and mirror it half of the time.

    The part covers 35 to 100 % of the area at an aspect ratio within 3/4 to 4/3 of the picture's
    own, after the crop of C. Szegedy et al., "Going Deeper with Convolutions", 2015, section 6
    (which starts at 8 %: too little for a short training from trained weights). timm's own random
    transforms draw from a global generator, so that threads would make them irreproducible.

    Args:
        picture: Any PIL image.
        generator: Source of the choice.

    Returns:
        The part, in the picture's own resolution.
    """
    area = generator.uniform(0.35, 1.0)
    aspect = generator.uniform(3 / 4, 4 / 3)
    width = max(1, round(picture.width * min(1.0, (area * aspect) ** 0.5)))
    height = max(1, round(picture.height * min(1.0, (area / aspect) ** 0.5)))
    left = generator.randint(0, picture.width - width)
    top = generator.randint(0, picture.height - height)
    part = picture.crop((left, top, left + width, top + height))
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if generator.random() < 0.5 else part


def model_input(
    model_data_config: Mapping[str, Any], image_size: int | None
) -> tuple[tuple[int, int, int], Transform]:
    """Return the input shape (C, H, W) and timm's evaluation transform for a model.

    Args:
        model_data_config: What `timm.data.resolve_data_config` says of the model.
        image_size: Height and width in pixels; None means the model's own.
    """
    channels, height, width = model_data_config.get("input_size", (3, 224, 224))
    if image_size:
        height = width = image_size
    shape = (channels, height, width)
    keys = ("interpolation", "mean", "std", "crop_pct", "crop_mode")
    options = {key: model_data_config[key] for key in keys if key in model_data_config}
    transform = import_timm().data.create_transform(input_size=shape, is_training=False, **options)
    return shape, transform
