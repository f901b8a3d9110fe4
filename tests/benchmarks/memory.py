"""Measure the memory that quantising Swin-T at 224 pixels takes.

    python tests/benchmarks/memory.py [model=NAME] [images=32] [limit_gb=6] [key=value ...]

Runs `python -m codesign.quantize` (W8A8, random weights, random images) in a process of its own and
prints its peak resident memory. Exits 1 if that passes the limit or the command fails. The other
keys go to the command.
"""

import resource
import subprocess
import sys
import tempfile
import time

DEFAULTS = {"model": "swin_tiny_patch4_window7_224", "images": "32", "limit_gb": "6"}


def main(arguments: list[str]) -> int:
    """Run the command and print its seconds and its peak memory."""
    options = {**DEFAULTS, **dict(argument.split("=", 1) for argument in arguments)}
    limit_gb = float(options.pop("limit_gb"))
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        fixed = {"data": "random", "teacher.epochs": "0", "runs_dir": folder}
        fixed |= {"measured_images": "8", "compared_images": "1", "device": "cpu"}
        words = [f"{key}={value}" for key, value in (fixed | options).items()]
        done = subprocess.run([sys.executable, "-m", "codesign.quantize", *words], check=False)
    peak_gb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20  # kB on Linux
    seconds = time.perf_counter() - start
    print(
        f"{options['model']}: exit code {done.returncode}, {seconds:.0f} s, "
        f"peak resident memory {peak_gb:.2f} GB (limit {limit_gb:g} GB)"
    )
    return 1 if done.returncode or peak_gb > limit_gb else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
