"""python -m codesign.report: write a study's report again."""

from dataclasses import dataclass
from pathlib import Path

from codesign.cli import read_settings, run_command, setting
from codesign.errors import UserError


@dataclass
class ReportSettings:
    """What the command is told."""

    run: str = setting("", "folder of the study, for example runs/mobilevit_mixed (required)")


def main(arguments: list[str]) -> int:
    """Write the report of a study and return the exit code."""
    settings = read_settings(ReportSettings, arguments, "codesign.report", "run=DIR")
    if not settings.run:
        raise UserError("which study? Give run=DIR, for example run=runs/mobilevit_mixed.")
    from codesign.report import write_report
    from codesign.search.read import read_study

    for path in write_report(read_study(Path(settings.run)), Path(settings.run)):
        print(path)
    return 0


if __name__ == "__main__":
    run_command(main)
