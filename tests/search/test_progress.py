"""The live line and the log lines."""

import io

from rich.console import Console

from codesign.search import progress
from codesign.search.progress import Counts, Progress


def test_the_line_says_how_far_the_search_is(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    shown = Progress(Console(file=io.StringIO(), force_terminal=False))
    shown.counts = Counts(wanted=28, complete=4, failed=1, refused=2, front=3, hypervolume=0.25)
    with shown:
        assert shown.line().endswith("ETA -")
        now[0] += 60.0
        shown.counts.complete = 8
        shown.counts.busy = 2
        line = shown.line()
    assert line == (
        "8/28 trials, 1 failed, 2 refused; front 3, hypervolume 0.250; 2 busy; ETA 5:00"
    )
    assert len(line) < 80


def test_a_terminal_gets_the_live_line_and_a_file_does_not():
    for terminal in (True, False):
        out = io.StringIO()
        shown = Progress(Console(file=out, force_terminal=terminal, width=100))
        with shown:
            shown.counts = Counts(wanted=5)
            shown.update()
            shown.say("trial 0: done")
        assert "trial 0: done" in out.getvalue()
        assert ("0/5 trials" in out.getvalue()) == terminal


def test_words_in_brackets_are_shown_as_they_are():
    out = io.StringIO()
    Progress(Console(file=out, width=100)).say("failed, shape [3, 4] [bold]")
    assert out.getvalue() == "failed, shape [3, 4] [bold]\n"
