"""Folders of images made for the tests."""

from types import SimpleNamespace

import numpy as np
from PIL import Image

MODEL = {
    "input_size": (3, 24, 24),
    "mean": (0.5, 0.4, 0.3),
    "std": (0.2, 0.3, 0.4),
    "interpolation": "bicubic",
    "crop_pct": 0.9,
}


def settings(name, path=None, image_size=None):
    return SimpleNamespace(name=name, path=path and str(path), image_size=image_size)


def write_images(folder, count, seed=0, size=(40, 32)):
    """Write images of noise; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    paths = []
    for i in range(count):
        pixels = generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        paths.append(folder / f"{i}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths
