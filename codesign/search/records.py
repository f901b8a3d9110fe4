"""What a study holds, as plain values: read by the report, the export and the tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from codesign.design import Design


@dataclass(frozen=True)
class TrialRecord:
    """One trial of a study.

    Attributes:
        number: The trial's number in the study.
        state: "complete", "failed", "refused" (over budget, never trained) or "running".
        values: Objective name to value; empty unless complete.
        metrics: Every metric of the trial by its dotted name (accuracy as a fraction).
        constraints: Constraint name to amount over the limit (feasible where <= 0).
        design: The design, or None where it could not be decoded.
        reason: Why the trial failed or was refused.
        label: Name of the baseline, or None for a sampled design.
        reuses: Number of the earlier trial with the same design, whose result this one shares.
        on_front: Whether the trial is on the Pareto front of the feasible complete trials.
        seconds: Wall-clock seconds of the evaluation.
    """

    number: int
    state: str
    values: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    constraints: Mapping[str, float] = field(default_factory=dict)
    design: Design | None = None
    reason: str | None = None
    label: str | None = None
    reuses: int | None = None
    on_front: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class StudyRecord:
    """A whole study.

    Attributes:
        name: Name of the study.
        objectives: Objective name to "max" or "min", in order.
        trials: Every trial, in order of number.
        hypervolume: (trial number, hypervolume of the front so far) after each complete trial.
        reference_point: Objective name to the hypervolume's reference value.
        settings: The resolved settings.
        teacher: Metrics of the float teacher, for example {"accuracy": .., "test_accuracy": ..}.
        board: Board limits by resource, for example {"dsp": 1728, "lut": 230400, ...}.
        provenance: What backs the cost figures, by the longest matching prefix of their name.
    """

    name: str
    objectives: Mapping[str, str]
    trials: tuple[TrialRecord, ...]
    hypervolume: tuple[tuple[int, float], ...]
    reference_point: Mapping[str, float]
    settings: Mapping[str, Any]
    teacher: Mapping[str, float]
    board: Mapping[str, float]
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def front(self) -> tuple[TrialRecord, ...]:
        """The trials on the Pareto front."""
        return tuple(trial for trial in self.trials if trial.on_front)
