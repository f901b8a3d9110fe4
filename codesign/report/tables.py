"""The tables of the page: the front with every metric, and what failed or was refused."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape

from codesign.report.labels import label, number, unit, words
from codesign.report.other_plots import of_powers
from codesign.report.trials import knee_number, value
from codesign.search.records import StudyRecord, TrialRecord

_MOST_REASONS = 40


def front_table(record: StudyRecord, trials: Sequence[TrialRecord]) -> str:
    """Return the trials as columns and their metrics, accelerators and formats as rows."""
    knee = knee_number(record)
    heads = "".join(
        f'<th data-trial="{t.number}">#{t.number}{" knee" if t.number == knee else ""}'
        f"{'<br>' + escape(t.label) if t.label else ''}</th>"
        for t in trials
    )
    rows = [
        _group("Objectives", trials),
        *(_metric_row(record, m, trials) for m in record.objectives),
    ]
    rest = [m for m in _metrics(trials) if m not in record.objectives]
    for family in dict.fromkeys(m.partition(".")[0] if "." in m else "" for m in rest):
        rows.append(_group(words(family) if family else "Network", trials))
        members = [m for m in rest if (m.partition(".")[0] if "." in m else "") == family]
        rows += [_metric_row(record, m, trials) for m in members]
    rows += [_group("Accelerator", trials), *_accelerator_rows(trials)]
    rows += [_group("Formats", trials), *_format_rows(trials)]
    head = f"<tr><th>Metric</th><th class=text>Unit</th>{heads}<th class=text>Backed by</th></tr>"
    return _table(head, rows)


def _metrics(trials: Sequence[TrialRecord]) -> list[str]:
    return list(dict.fromkeys(name for t in trials for name in t.metrics))


def _group(title: str, trials: Sequence[TrialRecord]) -> str:
    cells = '<td class="text"></td>' * (len(trials) + 2)
    return f"<tr class=group><th>{escape(title)}</th>{cells}</tr>"


def _metric_row(record: StudyRecord, metric: str, trials: Sequence[TrialRecord]) -> str:
    values = [value(t, metric) for t in trials]
    measured = [v for v in values if v is not None]
    direction = record.objectives.get(metric)
    best = {"max": max, "min": min}[direction](measured) if direction and measured else None
    cells = [
        f'<td data-trial="{t.number}"{" class=best" if v is not None and v == best else ""}>'
        f"{'not measured' if v is None else number(metric, v)}</td>"
        for t, v in zip(trials, values, strict=True)
    ]
    goal = {"max": " ↑", "min": " ↓"}.get(direction or "", "")
    source = backing(record.provenance, metric)
    return _row(words(metric) + goal, unit(metric), cells, source)


def _row(title: str, units: str, cells: Sequence[str], source: str = "") -> str:
    return (
        f"<tr><th>{escape(title)}</th><td class=text>{escape(units)}</td>{''.join(cells)}"
        f"<td class=long>{escape(source)}</td></tr>"
    )


def backing(provenance: Mapping[str, str], metric: str) -> str:
    """Return what backs a metric: the entry of the longest prefix of its name, or ""."""
    parts = metric.split(".")
    prefixes = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((provenance[p] for p in prefixes if p in provenance), "")


def _accelerator_rows(trials: Sequence[TrialRecord]) -> list[str]:
    designs = [asdict(t.design.accelerator) if t.design else {} for t in trials]
    names = list(dict.fromkeys(name for design in designs for name in design))
    return [
        _row(words(n), unit(n), _text_cells(trials, [str(d.get(n, "")) for d in designs]))
        for n in names
    ]


def _format_rows(trials: Sequence[TrialRecord]) -> list[str]:
    weights, activations, powers, functions = [], [], [], []
    for trial in trials:
        layers = [layer for _, layer in trial.design.layers] if trial.design else []
        count = max(1, len(layers))
        weights.append(f"{sum(x.weight_bits for x in layers) / count:.2f}")
        activations.append(f"{sum(x.activation_bits for x in layers) / count:.2f}")
        powers.append(f"{sum(map(of_powers, layers))} of {len(layers)}")
        used = dict.fromkeys(f for _, f in trial.design.activations) if trial.design else {}
        functions.append(", ".join(used))
    return [
        _row("Mean weight width of a layer", "bits", _text_cells(trials, weights)),
        _row("Mean activation width of a layer", "bits", _text_cells(trials, activations)),
        _row("Layers with weights of powers of two", "", _text_cells(trials, powers)),
        _row("Activation functions", "", _text_cells(trials, functions)),
    ]


def _text_cells(trials: Sequence[TrialRecord], texts: Sequence[str]) -> list[str]:
    return [
        f'<td data-trial="{t.number}">{escape(text)}</td>'
        for t, text in zip(trials, texts, strict=True)
    ]


def reasons_table(trials: Sequence[TrialRecord]) -> str:
    """Return why trials have no place on the front, like reasons (numbers apart) together.

    Args:
        trials: Failed, refused and infeasible trials.
    """
    alike: dict[tuple[str, str], list[TrialRecord]] = {}
    for trial in trials:
        reason = re.sub(r"\d+(\.\d+)?([eE][-+]?\d+)?", "…", _reason(trial))
        state = "over a limit" if trial.state == "complete" else trial.state
        alike.setdefault((state, reason), []).append(trial)
    rows = [
        f"<tr><td class=text>{escape(state)}</td><td>{len(group)}</td>"
        f"<td class=long>{escape(_reason(group[0]))}</td>"
        f"<td class=long>{_numbers(group)}</td></tr>"
        for (state, _), group in sorted(alike.items(), key=lambda item: -len(item[1]))
    ]
    more = (
        f"<p class=soft>and {len(rows) - _MOST_REASONS} more.</p>"
        if len(rows) > _MOST_REASONS
        else ""
    )
    head = "<th class=text>State</th><th>Trials</th><th class=text>Reason (of the first)</th>"
    return _table(f"<tr>{head}<th class=text>Numbers</th></tr>", rows[:_MOST_REASONS]) + more


def _reason(trial: TrialRecord) -> str:
    over = [f"{name} by {excess:.4g}" for name, excess in trial.constraints.items() if excess > 0]
    if trial.state == "complete" and over:
        return f"trained, then over the limit on {', '.join(over)}"
    return trial.reason or "no reason recorded"


def _numbers(trials: Sequence[TrialRecord]) -> str:
    text = ", ".join(f"#{t.number}" for t in trials[:12])
    return text + (f" and {len(trials) - 12} more" if len(trials) > 12 else "")


def baselines_table(record: StudyRecord) -> str:
    """Return the baselines with their objectives, whatever became of them."""
    heads = "".join(f"<th>{escape(label(o))}</th>" for o in record.objectives)
    rows = []
    for trial in (t for t in record.trials if t.label):
        found = [value(trial, o) for o in record.objectives]
        cells = "".join(
            f"<td>{'not measured' if v is None else number(o, v)}</td>"
            for o, v in zip(record.objectives, found, strict=True)
        )
        state = "on the front" if trial.on_front else trial.state
        rows.append(
            f"<tr><th>{escape(trial.label or '')}</th><td>#{trial.number}</td>"
            f"<td class=text>{escape(state)}</td>{cells}</tr>"
        )
    head = f"<th>Baseline</th><th>Trial</th><th class=text>State</th>{heads}"
    return _table(f"<tr>{head}</tr>", rows)


def _table(head: str, rows: Sequence[str]) -> str:
    body = "".join(rows)
    return f"<div class=wide><table><thead>{head}</thead><tbody>{body}</tbody></table></div>"
