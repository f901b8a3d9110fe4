"""python -m codesign.export: hand a trial to the hardware team."""

from codesign.cli import run_command


def main(arguments: list[str]) -> int:
    """Export a trial and return its exit code."""
    from codesign.export.command import main as export

    return export(arguments)


if __name__ == "__main__":
    run_command(main)
