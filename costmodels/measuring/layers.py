"""Layers alone, of sizes that image networks have: those that few of the timed models contain."""

from collections.abc import Iterator

from torch import nn

# Channels, height and width, group width, stride.
_GROUPED = ((64, 56, 16, 1), (128, 28, 16, 1), (128, 56, 16, 2), (336, 14, 24, 1), (512, 14, 16, 1))
# Channels and pixels of a side of a patch; channels, kernel and stride of a stem.
_PATCHES = ((64, 4), (96, 4), (192, 16), (384, 16), (512, 14), (768, 16), (768, 32))
_STEMS = ((64, 7, 2), (64, 7, 4), (32, 3, 2), (24, 3, 2), (16, 3, 2))
# Channels, height and width.
_MAPS = ((64, 112), (64, 56), (96, 56), (128, 28), (240, 28), (320, 14), (672, 14), (512, 7))


def layers() -> Iterator[tuple[str, nn.Module, tuple[int, int, int]]]:
    """Yield names, layers and the channels, height and width that they take."""
    for channels, size, width, stride in _GROUPED:
        grouped = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels // width)
        yield f"grouped {channels}", grouped, (channels, size, size)
    for channels, side in _PATCHES:
        yield f"patches {channels} of {side}", nn.Conv2d(3, channels, side, side), (3, 224, 224)
    for channels, side, stride in _STEMS:
        stem = nn.Conv2d(3, channels, side, stride, side // 2)
        yield f"stem {channels}", stem, (3, 224, 224)
    for channels, size in _MAPS:
        shape = channels, size, size
        yield f"max pool {channels}", nn.MaxPool2d(3, 2, 1), shape
        yield f"average pool {channels}", nn.AvgPool2d(3, 1, 1), shape
        yield f"global pool {channels}", nn.AdaptiveAvgPool2d(1), shape
        yield f"group norm {channels}", nn.GroupNorm(1, channels), shape
        yield f"batch norm {channels}", nn.BatchNorm2d(channels), shape
