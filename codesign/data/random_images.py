"""Noise with random labels: for tests and benchmarks of any model, without any file."""

from collections.abc import Mapping
from typing import Any

import torch

from codesign.data.dataset import DATASETS, SPLITS, DataSet, DataSettings
from codesign.data.memory import Jitter, MemorySplit

NUM_CLASSES = 10
_IMAGES = 128


@DATASETS.register("random")
def random_images(settings: DataSettings, model_data_config: Mapping[str, Any]) -> DataSet:
    """Return 128 images a split of uniform noise in [0, 1], with random labels of 10 classes.

    There is nothing to learn: accuracy on it is chance. The same images come back every time.

    Args:
        settings: `image_size` in pixels; None means the model's own.
        model_data_config: "input_size" gives the input shape.
    """
    channels, height, width = model_data_config.get("input_size", (3, 224, 224))
    if settings.image_size:
        height = width = settings.image_size
    generator = torch.Generator().manual_seed(0)
    splits = {}
    for name in SPLITS:
        pixels = torch.rand(_IMAGES, channels, height, width, generator=generator)
        labels = torch.randint(NUM_CLASSES, (_IMAGES,), generator=generator)
        splits[name] = MemorySplit(pixels, labels, channels, Jitter())
    return DataSet(
        name="random",
        num_classes=NUM_CLASSES,
        input_shape=(channels, height, width),
        splits=splits,
        fingerprint=f"random-{_IMAGES}-{channels}x{height}x{width}",
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
    )
