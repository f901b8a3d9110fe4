"""python -m codesign.evaluate: score a bundle, or a saved integer model, on a data set."""

from codesign.cli import run_command


def main(arguments: list[str]) -> int:
    """Score a model and return the exit code."""
    from codesign.evaluate.command import main as evaluate

    return evaluate(arguments)


if __name__ == "__main__":
    run_command(main)
