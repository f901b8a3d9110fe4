"""Reading the package's reference tables: CSV files whose comments name their source."""

import csv
from functools import cache
from pathlib import Path

REFERENCE = Path(__file__).parent / "reference"


@cache
def read_table(name: str) -> tuple[dict[str, str], ...]:
    """Return the rows of `reference/<name>.csv` as column name to text."""
    lines = (REFERENCE / f"{name}.csv").read_text().splitlines()
    return tuple(csv.DictReader(line for line in lines if not line.startswith("#")))
