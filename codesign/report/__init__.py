"""The report of a study: plots and tables in one HTML file, and the plots as one PNG."""

from codesign.report.report import write_report

__all__ = ["write_report"]
