"""The search: an Optuna study that only its driver touches, and workers that evaluate designs.

`python -m codesign.search space=NAME` runs it; `read_study` reads what it left.
"""

from typing import Any

__all__ = ["choose_trial", "read_study", "run_search"]


def __getattr__(name: str) -> Any:
    """Import the search when one of its functions is first used: Optuna takes its time."""
    if name in ("choose_trial", "read_study"):
        from codesign.search import read

        return getattr(read, name)
    if name == "run_search":
        from codesign.search.run import run_search

        return run_search
    raise AttributeError(f"module 'codesign.search' has no attribute '{name}'")
