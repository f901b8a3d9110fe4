"""The table of the front that a search prints."""

import io

from rich.console import Console
from studies import make_study

from codesign.search.summary import print_table


def printed(goals: dict[str, str]) -> str:
    out = io.StringIO()
    print_table(Console(file=out, width=120), make_study(goals=goals))
    return out.getvalue()


def headings(text: str) -> list[str]:
    """The words above the rule, column by column, as far as they are in a line."""
    lines = text.splitlines()
    rule = next(i for i, line in enumerate(lines) if line.strip(" ─") == "" and "─" in line)
    return " ".join(lines[1:rule]).split()


def test_metrics_of_one_name_say_whose_they_are() -> None:
    words = headings(
        printed({"accuracy": "max", "fpga.latency_ms": "min", "gpu.a100.latency_ms": "min"})
    )
    assert {"fpga", "gpu", "a100"} <= set(words) and words.count("latency") == 2


def test_a_name_that_is_alone_is_short() -> None:
    words = headings(printed({"accuracy": "max", "fpga.latency_ms": "min", "fpga.dsp": "min"}))
    assert "fpga" not in words and {"latency", "dsp", "ms"} <= set(words)
