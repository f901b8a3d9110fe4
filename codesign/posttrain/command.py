"""The quantize command: prepare the float network, run the methods, print and write the results."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from codesign.files import write_atomic
from codesign.posttrain.bench import Bench, Result
from codesign.posttrain.choices import check_choices, methods_of
from codesign.posttrain.progress import Progress
from codesign.posttrain.run import result_json, run_methods
from codesign.posttrain.settings import PosttrainSettings, load_posttrain_settings
from codesign.posttrain.tables import float_line, layer_table, method_table, summary_lines
from codesign.search.evaluator import load_problem, prepare


def main(arguments: list[str]) -> int:
    """Quantise a model, print and write what was measured, and return the exit code.

    Returns:
        0, or 1 if one of several methods failed or an integer differs between the executors.
    """
    settings = load_posttrain_settings(arguments)
    methods = methods_of(settings.quantize.method)
    check_choices(settings)
    return quantize_model(settings, methods, Console())


def quantize_model(settings: PosttrainSettings, methods: list[str], console: Console) -> int:
    """Quantise the model that the settings name by each method; see `main`.

    Raises:
        UserError: The model, the data or a choice is wrong, or (one method only) does not suit.
        RunError: One method only: a layer could overflow, or a loss is not finite.
    """
    bench = load_bench(settings, Progress(console))
    results: list[Result] = []
    failures = run_methods(bench, methods, results.append)
    labelled = settings.data.name != "random"
    _print(console, results, failures, methods, labelled)
    path = settings.out_path
    write_atomic(path, json.dumps(_report(settings, bench, results, failures, labelled), indent=1))
    bench.progress.say(f"written: {path}")
    if settings.save and results:
        best = _best(results, labelled)
        write_atomic(Path(settings.save), best.model.to_bytes())
        bench.progress.say(f"integer model of {best.method}: {settings.save}")
    return 1 if failures or any(r.differing for r in results) else 0


def load_bench(settings: PosttrainSettings, progress: Progress) -> Bench:
    """Return the float network, trained or found in the cache, with its images.

    Raises:
        UserError: The model, the checkpoint or the data are wrong.
        RunError: The teacher's loss is not finite, or weights cannot be fetched.
    """
    search = settings.for_search()
    prepare(search, progress.console)
    problem = load_problem(search)
    return Bench(settings, problem.graph, problem.data, progress)


def _print(
    console: Console,
    results: Sequence[Result],
    failures: dict[str, str],
    methods: list[str],
    labelled: bool,
) -> None:
    if not labelled:
        console.print("random images have no true classes: agreement with float, no accuracy")
    if len(methods) > 1:
        if labelled and results:
            console.print(float_line(results[0]), highlight=False)
        console.print(method_table(results, failures, labelled=labelled))
        return
    for line in summary_lines(results[0], labelled=labelled):
        console.print(line, highlight=False)
    console.print(layer_table(results[0]))


def _report(
    settings: PosttrainSettings,
    bench: Bench,
    results: Sequence[Result],
    failures: dict[str, str],
    labelled: bool,
) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "model": settings.model.name,
        "data": settings.data.name,
        "layers": len(bench.graph.layers),
        "settings": asdict(settings),
        "results": [result_json(result, labelled=labelled) for result in results],
        "failed": failures,
    }


def _best(results: Sequence[Result], labelled: bool) -> Result:
    """Return the result with the most images right (or agreeing), then the cleanest logits."""

    def rank(result: Result) -> tuple[int, float]:
        c = result.comparison
        return (c.correct if labelled else c.agreeing, -c.logits.error_db)

    return max(results, key=rank)
