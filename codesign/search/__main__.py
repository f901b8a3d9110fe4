"""python -m codesign.search: search a network and its accelerator together."""

from codesign.cli import run_command
from codesign.settings import load_settings


def main(arguments: list[str]) -> int:
    """Run a search and return its exit code."""
    settings = load_settings(arguments)
    from codesign.search.run import run_search

    return run_search(settings)


if __name__ == "__main__":
    run_command(main)
