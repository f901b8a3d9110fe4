"""The embedded data set: scikit-learn's 1,797 handwritten digits of 8 x 8 pixels."""

from collections.abc import Mapping
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

from codesign.data.dataset import DATASETS, SPLITS, DataSet, DataSettings
from codesign.data.memory import Jitter, MemorySplit
from codesign.data.stratify import stratified_split

DEFAULT_SIZE = 64
_JITTER = Jitter(shift=0.06, scale=0.06, rotation_degrees=6.0)


@DATASETS.register("digits")
def digits(settings: DataSettings, model_data_config: Mapping[str, Any]) -> DataSet:
    """Return the digits, upsampled, split 60/20/20 by class with seed 0.

    Pixels are in [0, 1] and not normalised further: the sixteen grey levels of the source divided
    by 16, resized bicubically and clamped.

    Args:
        settings: `image_size` in pixels; None means 64.
        model_data_config: "input_size" gives the number of channels.

    Returns:
        1,797 images of 10 classes. Source: E. Alpaydin and C. Kaynak, "Optical Recognition of
        Handwritten Digits", UCI Machine Learning Repository, 1998, test part, as bundled with
        scikit-learn.
    """
    size = settings.image_size or DEFAULT_SIZE
    channels = int(model_data_config.get("input_size", (3,))[0])
    source = load_digits()
    grey = torch.from_numpy(source.images / 16.0).float().unsqueeze(1)
    pixels = F.interpolate(grey, (size, size), mode="bicubic", align_corners=False).clamp(0, 1)
    labels = torch.from_numpy(source.target).long()
    parts = stratified_split(labels.tolist(), (0.6, 0.2, 0.2), seed=0)
    return DataSet(
        name="digits",
        num_classes=10,
        input_shape=(channels, size, size),
        splits={
            name: MemorySplit(pixels[part], labels[part], channels, _JITTER)
            for name, part in zip(SPLITS, parts, strict=True)
        },
        fingerprint=f"digits-1797-{size}-{_JITTER}",
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        class_names=tuple("0123456789"),
    )
