"""What an executor is: a pool that evaluates designs and survives what they do."""

import os
from dataclasses import dataclass
from typing import Protocol

from codesign.design import Design
from codesign.errors import RunError, UserError
from codesign.search.problem import Evaluation
from codesign.settings import SearchSettings

WORKERS_PER_GPU = 4


@dataclass(frozen=True)
class Outcome:
    """How the evaluation of a trial ended: with an evaluation or with an error.

    Attributes:
        number: The trial's number.
        evaluation: What was measured, or None.
        error: Why there is none.
        seconds: Wall-clock seconds of the last attempt.
        retries: Attempts that died with their worker before the last one.
    """

    number: int
    evaluation: Evaluation | None
    error: str | None
    seconds: float
    retries: int = 0


@dataclass(frozen=True)
class Resources:
    """What an executor may use.

    Attributes:
        workers: Designs evaluated at a time; 0 asks a cluster for all it has.
        gpus_per_worker: GPUs of one worker, a fraction where workers share one; 0 for none.
        address: Address of a Ray cluster; empty starts a local one.
        retries: Times a design is evaluated again after its worker died.
        timeout_s: Seconds an evaluation may take; 0 for no limit.
    """

    workers: int = 1
    gpus_per_worker: float = 0.0
    address: str = ""
    retries: int = 1
    timeout_s: float = 0.0

    @classmethod
    def of(cls, settings: SearchSettings) -> "Resources":
        """Return the resources that the settings ask for, with the defaults of this machine.

        Raises:
            UserError: `device=cuda` and there is no CUDA device.
        """
        gpus = _gpus(settings.device)
        workers = settings.workers
        if not workers and not settings.ray_address:
            cores = len(os.sched_getaffinity(0))
            workers = min(cores, WORKERS_PER_GPU * gpus) if gpus else cores
        share = min(1.0, gpus / workers) if gpus and workers else float(bool(gpus))
        return cls(workers, share, settings.ray_address, settings.retries, settings.timeout_s)


class Executor(Protocol):
    """A pool of workers. Every submitted trial comes back from `wait` exactly once."""

    @property
    def free(self) -> int:
        """Designs that can be submitted now."""
        ...

    @property
    def busy(self) -> int:
        """Designs being evaluated."""
        ...

    def submit(self, number: int, design: Design) -> None:
        """Start evaluating a trial's design; only where `free` is positive."""
        ...

    def wait(self, timeout_s: float) -> list[Outcome]:
        """Return trials that ended, after at most about `timeout_s` seconds if none does.

        Raises:
            RunError: Workers cannot be started.
        """
        ...

    def close(self) -> None:
        """Stop the workers, whatever they do."""
        ...


def describe_error(error: BaseException) -> str:
    """Return an exception in one line."""
    text = " ".join(str(error).split())
    if isinstance(error, UserError | RunError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _gpus(device: str) -> int:
    """Return how many CUDA devices are to be used."""
    if device == "cpu":
        return 0
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cuda" and not count:
        raise UserError("device=cuda, but torch sees no CUDA device: use device=auto or cpu.")
    return count
