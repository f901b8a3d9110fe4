"""python -m codesign.quantize: post-training quantisation of any timm model.

The command itself needs data, teachers and scores, which lie above this package: it is
`codesign.posttrain`.
"""

from codesign.cli import run_command


def main(arguments: list[str]) -> int:
    """Quantise a model and return the exit code."""
    from codesign.posttrain.command import main as quantize

    return quantize(arguments)


if __name__ == "__main__":
    run_command(main)
