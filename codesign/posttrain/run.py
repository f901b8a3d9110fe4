"""Run one or several methods on one float network, and put what was measured in words."""

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from codesign.errors import RunError, UserError
from codesign.posttrain.bench import Bench, Result


def run_methods(bench: Bench, methods: list[str], done: Callable[[Result], None]) -> dict[str, str]:
    """Run methods one by one; return why those failed that did.

    A single method's error is raised: there is nothing else to show.

    Args:
        bench: The float network and its images.
        methods: Names of the methods.
        done: Called with each result.
    """
    failures: dict[str, str] = {}
    for method in methods:
        try:
            done(bench.run(method))
        except (UserError, RunError) as error:
            if len(methods) == 1:
                raise
            failures[method] = str(error)
            bench.progress.say(f"{method}: {error}")
    return failures


def result_json(result: Result, *, labelled: bool) -> dict[str, Any]:
    """Return a result as JSON-able values; a float infinity (no error at all) becomes None."""
    c, size = result.comparison, result.size
    return {
        "method": result.method,
        "recipe": asdict(result.recipe),
        "images": c.images,
        "float_accuracy": c.float_correct / c.images if labelled else None,
        "accuracy": c.correct / c.images if labelled else None,
        "accuracy_drop_points": result.accuracy_drop if labelled else None,
        "agreement": c.agreeing / c.images,
        "logits_sqnr_db": finite(-c.logits.error_db),
        "weight_kb": size.weight_kb,
        "mean_weight_bits": size.mean_weight_bits,
        "sparsity": size.sparsity,
        "differing_integers": result.differing,
        "compared_integers": result.compared,
        "kept_step": result.kept_step,
        "seconds": round(result.seconds, 3),
        "layers": [
            {
                "layer": name,
                "error_db": finite(db),
                "weight": result.formats[name].weight,
                "activation_bits": result.formats[name].activation_bits,
                "sparsity": size.layer_sparsity[name],
            }
            for name, db in result.layer_errors.items()
        ],
    }


def finite(value: float) -> float | None:
    """Return the value, or None for one that is not finite, which JSON cannot hold."""
    return value if math.isfinite(value) else None
