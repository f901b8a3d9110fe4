"""The time of a chain's bands against a simulation of its engines, job by job."""

from collections import defaultdict

import numpy as np
from chain_workloads import mbconv
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodels.chains.bands import cut
from costmodels.chains.detect import find_chains
from costmodels.chains.pipeline import pipeline_cycles

ENGINES = 3
times = st.lists(st.integers(0, 50), min_size=ENGINES, max_size=ENGINES)


def simulated(first: list, middle: list, last: list, bands: int) -> int:
    """Play the jobs: an engine takes those of a step in the order of the stages.

    A step begins when every job of the step before has ended.
    """
    count, barrier = len(middle), 0
    for step in range(bands + count - 1):
        free = defaultdict(lambda start=barrier: start)
        for stage in range(count):
            band = step - stage
            if not 0 <= band < bands:
                continue
            kind = last if band == bands - 1 else first if band == 0 else middle
            for engine, cycles in enumerate(kind[stage]):
                free[engine] += cycles
        barrier = max(free.values())
    return barrier


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(times, times, times), min_size=1, max_size=5), st.integers(1, 12))
def test_cycles_are_those_of_the_jobs_played(stages: list, bands: int) -> None:
    first, middle, last = zip(*stages, strict=True)
    columns = ([np.array(stage)[:, None] for stage in kind] for kind in (first, middle, last))
    found = int(pipeline_cycles(*columns, np.array([bands]))[0])
    assert found == simulated(first, middle, last, bands)


@settings(max_examples=100, deadline=None)
@given(st.lists(times, min_size=1, max_size=5), st.integers(1, 12))
def test_no_quicker_than_the_busiest_engine_no_slower_than_one_stage_at_a_time(
    stages: list, bands: int
) -> None:
    columns = [np.array(stage)[:, None] for stage in stages]
    found = int(pipeline_cycles(columns, columns, columns, np.array([bands]))[0])
    totals = np.array(stages).sum(axis=0) * bands
    assert totals.max() <= found <= bands * sum(max(stage) for stage in stages)
    # beyond the busiest engine, at most a step for each stage that waits to begin or has ended
    assert found <= totals.max() + 2 * (len(stages) - 1) * np.array(stages).sum(axis=0).max()


def rows_by_arrival(size: int, kernel: int, stride: int, height: int) -> tuple[list, list]:
    """Play the arrival of rows: a window is worked on as soon as its last row is there."""
    above, out, made = kernel // 2, -(-size // stride), 0
    arrived, done = [0], [0]
    while made < out:
        arrived.append(min(size, arrived[-1] + height * stride))
        while made < out and min(made * stride - above + kernel, size) <= arrived[-1]:
            made += 1
        done.append(made)
    return np.diff(arrived).tolist(), np.diff(done).tolist()


@settings(max_examples=200, deadline=None)
@given(st.integers(3, 40), st.sampled_from([3, 5, 7]), st.sampled_from([1, 2]))
def test_bands_are_what_the_arrival_of_rows_allows(size: int, kernel: int, stride: int) -> None:
    (chain,) = find_chains(mbconv(size, kernel=kernel, stride=stride))
    cuts = cut(chain)
    assert cuts.bands[0] == 1 and cuts.rows[0, :, 2].tolist() == [size, *[-(-size // stride)] * 2]
    for bands, height, rows in zip(cuts.bands[1:], cuts.height[1:], cuts.rows[1:], strict=True):
        before, window = rows_by_arrival(size, kernel, stride, int(height))
        assert len(before) == bands
        for stage, played in zip(rows, (before, window, window), strict=True):
            assert [stage[0], *[stage[1]] * (bands - 2), stage[2]] == played
