"""Where designs are evaluated: in this process, or by Ray actors."""

from collections.abc import Callable

from codesign.registry import Registry
from codesign.search.executors.base import Executor, Outcome, Resources
from codesign.search.problem import Problem

ProblemFactory = Callable[[], Problem]
EXECUTORS: Registry[Callable[[ProblemFactory, Resources], Executor]] = Registry("executor")


@EXECUTORS.register("serial")
def serial(factory: ProblemFactory, resources: Resources) -> Executor:
    """Return the executor that evaluates in this process, without Ray."""
    from codesign.search.executors.serial import SerialExecutor

    return SerialExecutor(factory, resources)


@EXECUTORS.register("ray")
def ray(factory: ProblemFactory, resources: Resources) -> Executor:
    """Return the executor that evaluates in Ray actors."""
    from codesign.search.executors.ray import RayExecutor

    return RayExecutor(factory, resources)


__all__ = ["EXECUTORS", "Executor", "Outcome", "ProblemFactory", "Resources"]
