"""How long bands take on engines that work at once on successive bands.

The bands advance together: in step j, stage s of a chain works on band j - s, and the next step
begins when all are done. In a step an engine does the work of all of its stages, one after another;
engines do theirs at the same time. B bands of S stages take

    sum over j = 0 ... B + S - 2 of  max over engines of  sum over s, 0 <= j - s < B, of  t

where t is the time of stage s on that engine for band j - s: one time for the first band, one for
the last, and one for all between. Steps in which every stage works on a band between are equal, so
that at most 2 S + 1 different ones are added up. B = 1 is layer by layer, each layer the longest of
its engines.
"""

from collections.abc import Sequence

import numpy as np

from costmodels.systolic import Integers

Stages = Sequence[Integers]


def pipeline_cycles(first: Stages, middle: Stages, last: Stages, bands: Integers) -> Integers:
    """Return the cycles of all bands.

    Args:
        first: Cycles of the first band in each stage, arrays whose first axis is the engines.
        middle: Cycles of a band between, likewise.
        last: Cycles of the last band, which is the only one of a single band.
        bands: Number of bands, of the shape of the arrays' other axes.
    """
    count, total = len(middle), np.zeros_like(middle[0][0])
    before = np.zeros_like(middle[0])  # of the stages that are past their first band
    for j in range(count):
        total = total + np.where(bands - 1 > j, (before + first[j]).max(axis=0), 0)
        before = before + middle[j]
    total = total + np.maximum(bands - 1 - count, 0) * before.max(axis=0)
    for i in range(count):  # step B - 1 + i: stage i has the last band
        busy = last[i]
        for stage in range(i + 1, count):
            behind = bands - 1 - (stage - i)
            band = np.where(behind > 0, middle[stage], np.where(behind == 0, first[stage], 0))
            busy = busy + band
        total = total + busy.max(axis=0)
    return total
