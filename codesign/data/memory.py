"""MemorySplit: images held in memory, augmented by small random affine maps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from codesign.data.dataset import Split


@dataclass(frozen=True)
class Jitter:
    """How far augmentation may move an image.

    Attributes:
        shift: Largest shift along each axis, as a fraction of the image's size.
        scale: Largest relative change of size.
        rotation_degrees: Largest rotation in degrees.
    """

    shift: float = 0.0
    scale: float = 0.0
    rotation_degrees: float = 0.0


class MemorySplit(Split):
    """Images held in memory.

    Args:
        pixels: float32 (N, 1 or C, H, W); one channel is repeated to `channels`.
        labels: int64 (N).
        channels: Channels of the images handed out.
        jitter: How far augmentation may move an image.
    """

    def __init__(self, pixels: Tensor, labels: Tensor, channels: int, jitter: Jitter) -> None:
        self._pixels = pixels
        self.labels = labels
        self._channels = channels
        self._jitter = jitter

    def images(self, indices: Sequence[int], augment_seed: int | None = None) -> Tensor:
        """Return images, moved at random where a seed is given; see `Split.images`."""
        images = self._pixels[list(indices)]
        if augment_seed is not None:
            images = jitter(images, self._jitter, augment_seed)
        return images.expand(-1, self._channels, -1, -1).contiguous()


def jitter(images: Tensor, limits: Jitter, seed: int) -> Tensor:
    """Rotate, scale and shift each image at random; what enters from outside is 0.

    Args:
        images: float32 (n, C, H, W).
        limits: How far.
        seed: Seed of the choice; the same seed gives the same images.

    Returns:
        Images of the same shape, within the range of the input and 0 (bilinear sampling).
    """
    generator = torch.Generator().manual_seed(seed)
    angle, size, x, y = 2 * torch.rand(4, len(images), generator=generator) - 1
    angle = angle * math.radians(limits.rotation_degrees)
    size = 1 + size * limits.scale
    cos, sin = angle.cos() * size, angle.sin() * size
    # grid coordinates run from -1 to 1, so that a shift of a whole image is 2
    rows = [
        torch.stack(r, 1)
        for r in ((cos, -sin, x * 2 * limits.shift), (sin, cos, y * 2 * limits.shift))
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", align_corners=False)
