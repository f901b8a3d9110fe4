"""Which outputs of the first layer are worked out."""

import numpy as np
from numpy.typing import NDArray

from codesign.export.worked_example.first_layer import FirstLayer, Index


def choose(layer: FirstLayer) -> list[Index]:
    """Return the outputs to show, image first.

    The first has the most inputs that are not zero, and a code in the middle of the channels
    there. A second is added unless the first rounds a negative number down: the output with the
    smallest code among those that do (then a negative bias, then saturation). Where some channels
    are log2 and others not, each kind is shown.
    """
    chosen = [_typical(layer)]
    if not _negative(layer)[chosen[0][1:]]:
        chosen += _second(layer, _allowed(layer, chosen))
    rest = _allowed(layer, chosen)
    if not rest.all() and rest.any():
        chosen += _second(layer, rest) or [_first_of(rest)]
    return chosen


def _typical(layer: FirstLayer) -> Index:
    full = np.unravel_index(int(layer.terms.argmax()), layer.terms.shape)
    axis = layer.channel_axis - 1
    place: list[int | slice] = [int(i) for i in full]
    place[axis] = slice(None)
    codes = layer.outputs[0][tuple(place)]
    order = np.argsort(codes, kind="stable")
    chosen = [int(i) for i in full]
    chosen[axis] = int(order[len(order) // 2])
    return (0, *chosen)


def _negative(layer: FirstLayer) -> NDArray[np.bool_]:
    """Return where a negative number is rounded down, and not to itself."""
    rest = layer.numerators & (np.left_shift(1, layer.shifts) - 1)
    return np.asarray((layer.numerators < 0) & (rest != 0))


def _allowed(layer: FirstLayer, chosen: list[Index]) -> NDArray[np.bool_]:
    """Return the outputs whose kind of weights has not been shown; all where every kind has."""
    axis = layer.channel_axis
    kinds = [layer.kind(channel) for channel in range(layer.outputs.shape[axis])]
    shown = {kinds[index[axis]] for index in chosen}
    fresh = np.array([kind not in shown for kind in kinds])
    if not fresh.any():
        fresh[:] = True
    shape = (-1, *[1] * (layer.outputs.ndim - 1 - axis))
    return np.broadcast_to(fresh.reshape(shape), layer.outputs[0].shape)


def _second(layer: FirstLayer, allowed: NDArray[np.bool_]) -> list[Index]:
    codes, f = layer.outputs[0], layer.node.format
    wanted = (
        _negative(layer) & (codes > f.low),
        _negative(layer),
        np.broadcast_to(layer.along("bias") < 0, codes.shape),
        (codes == f.low) | (codes == f.high),
    )
    for where in wanted:
        fit = where & allowed
        if fit.any():
            masked = np.where(fit, codes, np.iinfo(np.int64).max)
            place = np.unravel_index(int(masked.argmin()), codes.shape)
            return [(0, *(int(i) for i in place))]
    return []


def _first_of(allowed: NDArray[np.bool_]) -> Index:
    return (0, *(int(i) for i in np.argwhere(allowed)[0]))
