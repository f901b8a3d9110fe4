"""The page: one HTML file with its plots, style and script inside."""

import json
from collections import Counter
from collections.abc import Sequence
from html import escape
from importlib import resources

import yaml

from codesign.report import figures
from codesign.report.labels import number, unit, words
from codesign.report.tables import baselines_table, front_table, reasons_table
from codesign.report.trials import INFEASIBLE, REFUSED, kind, knee_number, value
from codesign.search.records import StudyRecord, TrialRecord

_MOST_COLUMNS = 40


def report_page(record: StudyRecord, run: str) -> str:
    """Return the report as an HTML page that needs no other file and no network.

    Args:
        record: The study.
        run: The run's folder as the commands take it, for the next command to type.
    """
    body = "".join(
        [
            _head(record),
            _pareto(record),
            _front(record, run),
            _bits(record),
            _resources(record),
            _baselines(record),
            _reasons(record),
            _settings(record),
        ]
    )
    data = json.dumps({t.number: _tip(record, t) for t in record.trials}).replace("<", "\\u003c")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(record.name)}: co-design study</title><style>{_file('style.css')}</style>"
        f'</head><body><main>{body}</main><div id="tip"></div>'
        f'<script type="application/json" id="trials">{data}</script>'
        f"<script>{_file('script.js')}</script></body></html>\n"
    )


def _file(name: str) -> str:
    return resources.files("codesign.report").joinpath(name).read_text(encoding="utf-8")


def _head(record: StudyRecord) -> str:
    model = (record.settings.get("model") or {}).get("name", "")
    data = (record.settings.get("data") or {}).get("name", "")
    board = (record.settings.get("hardware") or {}).get("board", "")
    states = Counter(t.state for t in record.trials)
    tiles = [(str(states["complete"]), "complete trials"), (str(len(record.front)), "on the front")]
    tiles += [(str(states[s]), s) for s in ("refused", "failed", "running") if states[s]]
    tiles += [
        (f"{number(name, v)} {unit(name)}".strip(), f"teacher, {words(name).lower()}")
        for name, v in record.teacher.items()
    ]
    tiles += [_best(record, name) for name in record.objectives if record.front]
    if record.hypervolume:
        tiles.append((f"{record.hypervolume[-1][1]:.4g}", "hypervolume"))
    cells = "".join(
        f"<div class=tile><b>{escape(a)}</b><span>{escape(b)}</span></div>" for a, b in tiles
    )
    subject = ", ".join(escape(str(part)) for part in (model, data, board) if part)
    return (
        f"<h1>{escape(record.name)}</h1><p class=soft>{subject}</p><div class=tiles>{cells}</div>"
    )


def _best(record: StudyRecord, objective: str) -> tuple[str, str]:
    choose = max if record.objectives[objective] == "max" else min
    best = choose(t.values[objective] for t in record.front)
    text = f"{number(objective, best)} {unit(objective)}".strip()
    return text, f"best {words(objective)} on the front"


def _pareto(record: StudyRecord) -> str:
    plots = [*figures.pareto_svgs(record), figures.hypervolume_svg(record), figures.legend_svg()]
    hidden = sum(kind(t) == REFUSED for t in record.trials)
    note = (
        f" {hidden} designs were refused before training: they have costs but no accuracy, "
        if hidden
        else ""
    )
    note += "and are shown where both axes are costs." if hidden else ""
    reference = ", ".join(
        f"{words(k)} {number(k, v)} {unit(k)}".strip() for k, v in record.reference_point.items()
    )
    volume = f" Hypervolume against {reference}." if reference else ""
    return (
        "<h2>Pareto front</h2><p>Point at a trial to read it; click to find it in every plot and "
        f"in the table.{escape(note)}{escape(volume)}</p>"
        f"<div class=plots>{''.join(f'<div>{p}</div>' for p in plots)}</div>"
    )


def _front(record: StudyRecord, run: str) -> str:
    trials = sorted(record.front, key=lambda t: [t.values[o] for o in record.objectives])
    if not trials:
        return (
            "<h2>Front</h2><p>No complete trial keeps all limits, so there is no front. The table "
            "of failed, refused and infeasible trials says what stood in the way.</p>"
        )
    shown = trials[:: -(-len(trials) // _MOST_COLUMNS)]
    thinned = f"<p class=soft>{len(shown)} of {len(trials)} designs, evenly spaced.</p>"
    command = f"python -m codesign.export run={run} trial={knee_number(record)}"
    return (
        f"<h2>Front</h2>{thinned if len(shown) < len(trials) else ''}{front_table(record, shown)}"
        f"<p>Export the knee, the design nearest to the best of every objective:</p>"
        f"<pre>{escape(command)}</pre>"
    )


def _bits(record: StudyRecord) -> str:
    trials = figures.chosen_front(record)
    if not trials:
        return ""
    maps = "".join(
        f"<h3>{of.capitalize()} bits</h3><div class=wide>{figures.bits_svg(trials, of)}</div>"
        for of in ("weight", "activation")
    )
    return f"<h2>Bits per layer</h2><p>A row for each design{_thinned(record, trials)}.</p>{maps}"


def _resources(record: StudyRecord) -> str:
    trials = figures.chosen_front(record)
    plots = figures.resource_svgs(record, trials)
    if not plots:
        return ""
    return (
        f"<h2>Resources</h2><p>Share of the board that each design uses{_thinned(record, trials)}; "
        "dashed: the ceiling that the settings allow.</p>"
        f'<div class="plots small">{"".join(f"<div>{p}</div>" for p in plots)}</div>'
    )


def _thinned(record: StudyRecord, trials: Sequence[TrialRecord]) -> str:
    total = len(record.front)
    return f" ({len(trials)} of {total}, evenly spaced)" if len(trials) < total else ""


def _baselines(record: StudyRecord) -> str:
    if not any(t.label for t in record.trials):
        return ""
    return f"<h2>Baselines</h2>{baselines_table(record)}"


def _reasons(record: StudyRecord) -> str:
    title = "<h2>Failed, refused and infeasible trials</h2>"
    trials = [t for t in record.trials if t.state == "failed" or kind(t) in (REFUSED, INFEASIBLE)]
    return f"{title}{reasons_table(trials)}" if trials else f"{title}<p>None.</p>"


def _settings(record: StudyRecord) -> str:
    text = yaml.safe_dump(json.loads(json.dumps(record.settings, default=str)), sort_keys=False)
    board = yaml.safe_dump(dict(record.board), sort_keys=False)
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td class=long>{escape(source)}</td></tr>"
        for name, source in record.provenance.items()
    )
    backed = (
        f"<div class=wide><table><tbody>{rows}</tbody></table></div>"
        if rows
        else "<p>Not recorded.</p>"
    )
    return (
        f"<h2>Where the cost figures come from</h2>{backed}<h2>Settings</h2>"
        f"<details><summary>All settings</summary><pre>{escape(text)}</pre></details>"
        f"<details><summary>Board</summary><pre>{escape(board)}</pre></details>"
    )


def _tip(record: StudyRecord, trial: TrialRecord) -> str:
    """Return the lines shown beside a point."""
    state = "on the front" if trial.on_front else trial.state
    lines = [f"Trial {trial.number}{f', {trial.label}' if trial.label else ''}: {state}"]
    for name in record.objectives:
        found = value(trial, name)
        text = "not measured" if found is None else f"{number(name, found)} {unit(name)}"
        lines.append(f"{words(name)}: {text.strip()}")
    lines += [f"over the limit on {n}" for n, excess in trial.constraints.items() if excess > 0]
    lines += [f"same design as trial {trial.reuses}"] if trial.reuses is not None else []
    return "\n".join(lines + ([trial.reason] if trial.reason else []))
