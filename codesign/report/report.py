"""Writing the report of a study into its folder."""

from pathlib import Path

from codesign.files import write_atomic
from codesign.report.figures import report_png
from codesign.report.page import report_page
from codesign.search.records import StudyRecord


def write_report(record: StudyRecord, run_dir: Path) -> list[Path]:
    """Write `report.html` and `report.png`.

    Args:
        record: The study.
        run_dir: The study's folder.

    Returns:
        The files written. The page holds everything it needs and works offline.

    Raises:
        OSError: The folder is not writable or the disk is full.
    """
    page, sheet = run_dir / "report.html", run_dir / "report.png"
    write_atomic(page, report_page(record, str(run_dir)))
    write_atomic(sheet, report_png(record))
    return [page, sheet]
