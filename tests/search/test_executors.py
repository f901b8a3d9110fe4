"""Executors by name: resources, and the serial one's contract (Ray's is in test_faults)."""

import os
import time
from functools import partial

import pytest
from analytic import OUTLINE, AnalyticProblem

from codesign.errors import RunError, UserError
from codesign.search.executors import EXECUTORS, Resources, base
from codesign.search.executors.base import describe_error
from codesign.settings import SearchSettings
from codesign.space import SearchSpace


@pytest.fixture
def designs():
    return [d for _, d in SearchSpace(SearchSettings(), OUTLINE).baselines()]


def resources(gpus, monkeypatch, **settings):
    monkeypatch.setattr(base, "_gpus", lambda device: gpus)
    return Resources.of(SearchSettings(**settings))


def test_workers_share_gpus_by_fractions(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    assert resources(0, monkeypatch) == Resources(16, 0.0, "", 1, 1800.0)
    one = resources(1, monkeypatch)
    assert (one.workers, one.gpus_per_worker) == (4, 0.25)
    eight = resources(1, monkeypatch, workers=8)
    assert (eight.workers, eight.gpus_per_worker) == (8, 0.125)
    two = resources(4, monkeypatch, workers=2)
    assert (two.workers, two.gpus_per_worker) == (2, 1.0)


def test_a_cluster_decides_how_many_workers(monkeypatch):
    cluster = resources(0, monkeypatch, ray_address="head:6379")
    assert (cluster.workers, cluster.address) == (0, "head:6379")


def test_cuda_must_be_there(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Resources.of(SearchSettings(device="auto")).gpus_per_worker == 0
    with pytest.raises(UserError, match="device=cuda, but torch sees no CUDA device"):
        Resources.of(SearchSettings(device="cuda"))


def test_serial_returns_every_trial_once(tmp_path, designs):
    pool = EXECUTORS.get("serial")(partial(AnalyticProblem, tmp_path), Resources())
    assert pool.wait(0.0) == []
    for number, design in enumerate(designs):
        assert (pool.free, pool.busy) == (1, 0)
        pool.submit(number, design)
        assert (pool.free, pool.busy) == (0, 1)
        (outcome,) = pool.wait(1.0)
        assert (outcome.number, outcome.error) == (number, None)
        assert outcome.evaluation == AnalyticProblem(tmp_path).evaluate(design)
    pool.close()


def test_serial_limits_time_and_goes_on(tmp_path, designs):
    factory = partial(AnalyticProblem, tmp_path, faults={designs[0].key: "hang"})
    pool = EXECUTORS.get("serial")(factory, Resources(timeout_s=0.2))
    pool.submit(0, designs[0])
    started = time.monotonic()
    (slow,) = pool.wait(1.0)
    assert slow.evaluation is None and "timed out after 0.2 s" in slow.error
    assert slow.seconds <= time.monotonic() - started < 100
    pool.submit(1, designs[1])
    (quick,) = pool.wait(1.0)
    assert quick.error is None


def test_errors_are_one_line():
    assert describe_error(ValueError("a\nb")) == "ValueError: a b"
    assert describe_error(RunError("the loss is nan")) == "the loss is nan"
    assert describe_error(KeyError()) == "KeyError"


def test_unknown_executor():
    with pytest.raises(UserError, match=r"unknown executor 'dask'.*ray, serial"):
        EXECUTORS.get("dask")
