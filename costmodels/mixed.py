"""Mixed layers: the log2 and the uniform output channels of one layer as two."""

import math
from dataclasses import replace

from costmodels.workload import MatrixLayer


def split_mixed(layer: MatrixLayer) -> tuple[MatrixLayer | None, MatrixLayer | None]:
    """Return the uniform and the log2 channels of a mixed layer as layers, None where none are.

    In a grouped convolution every group is taken to have the same share; where a group has but one
    channel, whole groups are split.
    """
    count = layer.repeats if layer.n == 1 else layer.n
    log2 = math.floor(layer.log2_share * count + 0.5)
    return _channels(layer, "uniform", count - log2), _channels(layer, "log2", log2)


def _channels(layer: MatrixLayer, scheme: str, taken: int) -> MatrixLayer | None:
    if taken == 0:
        return None
    plain = replace(layer, weight_scheme=scheme, log2_share=0.0)
    count = layer.repeats if layer.n == 1 else layer.n
    sizes = {
        name: getattr(layer, name) * taken // count
        for name in ("output_elements", "weight_elements", "out_channels")
    }
    if layer.n > 1:
        return replace(plain, n=taken, **sizes)
    for name in ("input_elements", "in_channels"):
        sizes[name] = getattr(layer, name) * taken // count
    return replace(plain, repeats=taken, **sizes)
