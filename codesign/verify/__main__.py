"""python -m codesign.verify: check every file of a bundle and replay it with all executors."""

from codesign.cli import run_command


def main(arguments: list[str]) -> int:
    """Verify a bundle and return the exit code."""
    from codesign.verify.command import main as verify

    return verify(arguments)


if __name__ == "__main__":
    run_command(main)
