"""Evaluation by Ray actors, on this machine or a cluster."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from codesign.design import Design
from codesign.errors import RunError
from codesign.search.executors.base import Outcome, Resources, describe_error
from codesign.search.problem import Evaluation, Problem

OBJECT_STORE_BYTES = 200 * 2**20
DEATHS_WHILE_STARTING = 3
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Worker:
    """The actor: holds one problem (teacher, data, captured graph) for all its evaluations."""

    def __init__(self, factory: Callable[[], Problem]) -> None:
        self._factory = factory
        self._problem: Problem | None = None

    def start(self) -> None:
        """Build the problem."""
        import torch

        torch.set_num_threads(1)
        self._problem = self._factory()

    def evaluate(self, design: Design) -> Evaluation:
        """Evaluate a design."""
        if self._problem is None:
            self.start()
        assert self._problem is not None
        return self._problem.evaluate(design)


@dataclass
class Job:
    """What an actor is doing: starting (no design), or evaluating a trial's design."""

    actor: Any
    number: int = -1
    design: Design | None = None
    retries: int = 0
    started: float = 0.0


class RayExecutor:
    """A pool of actors; one that dies or overruns its time is replaced by a new one.

    A design whose worker died (killed, out of memory) is evaluated again `retries` times; one that
    raised or timed out is not. Replacing the actor, rather than Ray's own restart, makes a death
    during start-up visible and bounds how often it is repeated.

    Args:
        factory: Picklable; builds the problem in each worker.
        resources: Workers, GPU share, cluster address, retries, time limit.
    """

    def __init__(self, factory: Callable[[], Problem], resources: Resources) -> None:
        import ray

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        self._ray = ray
        self._resources = resources
        start_ray(resources)
        workers = resources.workers or int(ray.cluster_resources().get("CPU", 1))
        self._factory = ray.put(factory)
        self._actor_class = ray.remote(Worker).options(
            num_cpus=1,
            num_gpus=resources.gpus_per_worker,
            max_restarts=0,
            max_task_retries=0,
            runtime_env={"env_vars": ENVIRONMENT},
        )
        self._jobs: dict[Any, Job] = {}
        self._idle: list[Any] = []
        self._again: list[Job] = []
        self._deaths_while_starting = 0
        for _ in range(workers):
            self._add_actor()

    @property
    def free(self) -> int:
        """Actors that have started and have nothing to do."""
        return len(self._idle)

    @property
    def busy(self) -> int:
        """Trials being evaluated."""
        return sum(job.design is not None for job in self._jobs.values()) + len(self._again)

    def submit(self, number: int, design: Design) -> None:
        """Give a trial to an idle actor."""
        self._evaluate(Job(self._idle.pop(0), number, design))

    def wait(self, timeout_s: float) -> list[Outcome]:
        """Return trials that ended; replace actors that died or overran their time.

        Raises:
            RunError: The problem cannot be built in the workers, or they die building it.
        """
        if not self._jobs:
            return []
        ready, _ = self._ray.wait(list(self._jobs), num_returns=1, timeout=timeout_s)
        if ready:
            ready, _ = self._ray.wait(list(self._jobs), num_returns=len(self._jobs), timeout=0)
        outcomes = [outcome for ref in ready if (outcome := self._collect(ref))]
        return outcomes + self._expire()

    def close(self) -> None:
        """Kill the actors and leave Ray."""
        for actor in [job.actor for job in self._jobs.values()] + self._idle:
            self._ray.kill(actor)
        self._jobs, self._idle = {}, []
        self._ray.shutdown()

    def _add_actor(self) -> None:
        actor = self._actor_class.remote(self._factory)
        self._jobs[actor.start.remote()] = Job(actor)

    def _evaluate(self, job: Job) -> None:
        job.started = time.monotonic()
        self._jobs[job.actor.evaluate.remote(job.design)] = job

    def _collect(self, ref: Any) -> Outcome | None:
        """Return the outcome of a finished call, None if it was a start or is tried again."""
        job = self._jobs.pop(ref)
        try:
            evaluation = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            return self._failed(job, describe_error(error.cause or error))
        except self._ray.exceptions.RayError as error:
            return self._died(job, describe_error(error))
        self._release(job.actor)
        if job.design is None:
            self._deaths_while_starting = 0
            return None
        return self._outcome(job, evaluation, None)

    def _failed(self, job: Job, reason: str) -> Outcome:
        if job.design is None:
            raise RunError(f"the workers cannot load the problem: {reason}")
        self._release(job.actor)
        return self._outcome(job, None, reason)

    def _died(self, job: Job, reason: str) -> Outcome | None:
        self._ray.kill(job.actor)
        if job.design is None:
            self._deaths_while_starting += 1
            if self._deaths_while_starting >= DEATHS_WHILE_STARTING:
                raise RunError(f"workers die while they start; is memory short? {reason}")
        self._add_actor()
        if job.design is None:
            return None
        if job.retries >= self._resources.retries:
            times = job.retries + 1
            return self._outcome(job, None, f"its worker died {times} times: {reason}")
        self._again.append(Job(None, job.number, job.design, job.retries + 1))
        return None

    def _release(self, actor: Any) -> None:
        """Let an actor take a design that must be evaluated again, else be idle."""
        if self._again:
            job = self._again.pop(0)
            job.actor = actor
            self._evaluate(job)
        else:
            self._idle.append(actor)

    def _expire(self) -> list[Outcome]:
        """Kill and replace the actors whose evaluation overran the time limit."""
        limit = self._resources.timeout_s
        now = time.monotonic()
        late = [
            ref
            for ref, job in self._jobs.items()
            if limit and job.design is not None and now - job.started > limit
        ]
        outcomes = []
        for ref in late:
            job = self._jobs.pop(ref)
            self._ray.kill(job.actor)
            self._add_actor()
            outcomes.append(self._outcome(job, None, f"timed out after {limit:g} s"))
        return outcomes

    def _outcome(self, job: Job, evaluation: Evaluation | None, error: str | None) -> Outcome:
        seconds = time.monotonic() - job.started
        return Outcome(job.number, evaluation, error, seconds, job.retries)


def start_ray(resources: Resources) -> None:
    """Start a local Ray, or join the cluster at the address.

    Raises:
        RunError: It does not start.
    """
    import ray

    local: dict[str, Any] = {
        "num_cpus": resources.workers or None,
        "object_store_memory": OBJECT_STORE_BYTES,
        "include_dashboard": False,
    }
    try:
        ray.init(
            address=resources.address or "local",
            logging_level="ERROR",
            log_to_driver=False,
            **({} if resources.address else local),
        )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise RunError(f"Ray does not start: {describe_error(error)}") from error
