"""How a trial ends: written to its files, its attributes and the study, in that order."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import Trial, TrialState

from codesign.design import Design
from codesign.limits import Limit
from codesign.search import dashboard
from codesign.search.executors import Outcome
from codesign.search.problem import Evaluation
from codesign.search.rundir import RunDirectory
from codesign.search.suggest import Suggester
from costmodels.estimate import Cost


class UnusableResultError(Exception):
    """An evaluation whose metrics cannot be told: one is missing or not finite."""


class Teller:
    """Ends trials, so that a driver killed at any point leaves a whole trial or none.

    Args:
        study: The study.
        suggester: Is told as well.
        files: The run directory.
        objectives: Objective name to "max" or "min".
        limits: The constraints.
    """

    def __init__(
        self,
        study: optuna.Study,
        suggester: Suggester,
        files: RunDirectory,
        objectives: Mapping[str, str],
        limits: Sequence[Limit],
    ) -> None:
        self._study = study
        self._suggester = suggester
        self._files = files
        self._objectives = objectives
        self._limits = limits

    def complete(
        self, trial: Trial, design: Design, cost: Cost, outcome: Outcome
    ) -> dict[str, float]:
        """Complete a trial with what was measured and estimated.

        Returns:
            All metrics of the trial.

        Raises:
            UnusableResultError: An objective or a constrained metric is missing, or a metric is not
                finite; the trial is then still running.
        """
        assert outcome.evaluation is not None
        metrics = {**cost.metrics, **outcome.evaluation.metrics}
        self._check(metrics)
        metrics = {name: float(value) for name, value in metrics.items()}
        self._write_files(trial.number, design, cost, outcome.evaluation, metrics)
        dashboard.attach(self._study, trial, self._files, self._describe(design, metrics))
        attributes: dict[str, Any] = {
            "design_key": design.key,
            "seconds": round(outcome.seconds, 3),
            **({"retries": outcome.retries} if outcome.retries else {}),
        }
        self._tell(trial, attributes, metrics)
        return metrics

    def repeat(
        self, trial: Trial, design: Design, first: int, metrics: Mapping[str, float]
    ) -> None:
        """Complete a trial with the result of the earlier trial that has the same design."""
        stored = self._files.read_design(first)
        model = self._files.model_file(first)
        if model.exists():
            self._files.write_model(trial.number, model.read_bytes())
        self._files.write_json(self._files.design_file(trial.number), {**stored, "reuses": first})
        self._tell(trial, {"design_key": design.key, "reuses": first}, metrics)

    def refuse(self, trial: Trial, design: Design, cost: Cost, broken: Sequence[Limit]) -> str:
        """End a trial whose design breaks a hard limit, untrained; return the reason."""
        reason = "; ".join(limit.violation(cost.metrics[limit.metric]) for limit in broken)
        wanted = [*self._objectives, *(limit.metric for limit in self._limits)]
        known = {name: cost.metrics[name] for name in wanted if name in cost.metrics}
        for name, value in {**known, "design_key": design.key}.items():
            trial.set_user_attr(name, value)
        self._end(trial, TrialState.PRUNED, f"refused: {reason}")
        return reason

    def fail(self, trial: Trial, reason: str) -> None:
        """End a trial that has no result."""
        self._end(trial, TrialState.FAIL, reason)

    def _end(self, trial: Trial, state: TrialState, reason: str) -> None:
        trial.set_user_attr("reason", reason)
        self._study.tell(trial, state=state)
        self._suggester.tell(trial.number, state, [], {})

    def _tell(
        self, trial: Trial, attributes: Mapping[str, Any], metrics: Mapping[str, float]
    ) -> None:
        for name, value in {**attributes, **metrics}.items():
            trial.set_user_attr(name, value)
        constraints = {limit.name: limit.excess(metrics[limit.metric]) for limit in self._limits}
        for name, excess in constraints.items():
            trial.set_constraint(name, excess)
        values = [metrics[name] for name in self._objectives]
        self._study.tell(trial, values)
        self._suggester.tell(trial.number, TrialState.COMPLETE, values, constraints)

    def _check(self, metrics: Mapping[str, float]) -> None:
        for name in [*self._objectives, *(limit.metric for limit in self._limits)]:
            if name not in metrics:
                raise UnusableResultError(f"the evaluation gave no metric '{name}'")
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise UnusableResultError(f"{name} is {value}")

    def _write_files(
        self,
        number: int,
        design: Design,
        cost: Cost,
        evaluation: Evaluation,
        metrics: Mapping[str, float],
    ) -> None:
        self._files.write_model(number, evaluation.model)
        content = {
            "trial": number,
            "key": design.key,
            "design": design.to_json(),
            "metrics": metrics,
            "cost": cost.to_json(),
            "details": dict(evaluation.details),
        }
        self._files.write_json(self._files.design_file(number), content)

    def _describe(self, design: Design, metrics: Mapping[str, float]) -> str:
        """Return the trial's note: objectives, formats, accelerator, in Markdown."""
        lines = [f"- **{name}**: {metrics[name]:.6g} ({d})" for name, d in self._objectives.items()]
        formats: dict[str, int] = {}
        for _, layer in design.layers:
            key = f"{layer.weight} weights, {layer.activation_bits}-bit activations"
            formats[key] = formats.get(key, 0) + 1
        counted = sorted(formats.items(), key=lambda item: -item[1])
        lines += ["", "Layers by format:", *(f"- {n} x {key}" for key, n in counted)]
        functions = sorted({function for _, function in design.activations})
        a = design.accelerator
        lines += [
            "",
            f"Activation functions: {', '.join(functions)}",
            "",
            f"Accelerator: {a.mac_rows} x {a.mac_cols} MAC array, {a.shift_rows} x {a.shift_cols} "
            f"shift array, {a.dataflow.upper()} dataflow, {a.precision} precision, buffers "
            f"{a.input_buffer_kb}/{a.weight_buffer_kb}/{a.output_buffer_kb} kB, "
            f"{a.vector_lanes} vector and {a.depthwise_lanes} depthwise lanes"
            f"{', fused chains' if a.fused_chains else ''}.",
        ]
        return "\n".join(lines)
