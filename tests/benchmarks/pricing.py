"""How quick the cost models are: one accelerator, 100,000, and beside ZigZag and SCALE-Sim.

    OMP_NUM_THREADS=1 python tests/benchmarks/pricing.py [accelerators=100000] [full=false] [lpf=6]

Prints the seconds of `import costmodels` and of its front door; of one network on one accelerator;
and of a network of 50 layers on many accelerators, drawn from the choices of a search space and
drawn at random, with no two alike; these two are seconds of one core, whatever else runs. Then the
same dozen layers by us, by SCALE-Sim (with full=true its whole run too, which takes minutes) and,
where it is installed (`pip install zigzag-dse`), by ZigZag. Exits 1 where a target is missed: 0.2 s
to import `costmodels`, 1 ms for one network, 5 s for 100,000 accelerators.
"""

import importlib.util
import logging
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zigzag_peer import ACCELERATOR, LAYERS, scalesim_seconds, zigzag

from costmodels.accelerator import Accelerator
from costmodels.board import load_board
from costmodels.estimate import estimate
from costmodels.many import estimate_many
from costmodels.workload import MatrixLayer, VectorOperation, Workload

IMPORT_S, ONE_MS, MANY_S = 0.2, 1.0, 5.0
TOKENS, WIDTH, HEADS, BLOCKS = 197, 192, 3, 8
SIZES = ("mac_rows", "mac_cols", "shift_rows", "shift_cols", "vector_lanes", "depthwise_lanes")
BUFFERS = ("input_buffer_kb", "weight_buffer_kb", "output_buffer_kb")
WORDS = {"dataflow": ["os", "ws", "is"], "precision": ["static", "reconfigurable"]}
CHOICES: dict[str, Sequence[Any]] = {
    **WORDS,
    **dict.fromkeys(SIZES, (8, 16, 32)),
    **dict.fromkeys(BUFFERS, (32, 64, 128)),
}
ANY: dict[str, Sequence[Any]] = {
    **WORDS,
    **dict.fromkeys(SIZES, range(4, 129)),
    **dict.fromkeys(BUFFERS, range(8, 513)),
}


def network(seed: int = 0) -> Workload:
    """Return eight blocks of DeiT-T with patches and classifier: 50 layers, their formats drawn."""
    rng = random.Random(seed)

    def layer(name: str, m: int, k: int, n: int, repeats: int = 1) -> MatrixLayer:
        kind = "linear" if repeats == 1 else "matmul"
        scheme = rng.choice(["uniform", "log2", "apot"]) if repeats == 1 else "uniform"
        bits = rng.randint(3, 5) if scheme != "uniform" else rng.randint(3, 8)
        sizes = repeats * m * k, repeats * m * n, repeats * k * n
        formats = bits, scheme, rng.randint(4, 8), rng.randint(4, 8)
        return MatrixLayer(name, kind, m, k, n, repeats, *formats, *sizes)

    operations: list[MatrixLayer | VectorOperation] = [layer("patches", 196, 768, WIDTH)]
    for i in range(BLOCKS):
        operations += _block(f"blocks.{i}", layer)
    operations += [layer("head", 1, WIDTH, 1000)]
    return Workload("deit", tuple(operations), 8 * 10**7)


def _block(name: str, layer: Callable[..., MatrixLayer]) -> list[MatrixLayer | VectorOperation]:
    elements, depth = TOKENS * WIDTH, WIDTH // HEADS
    scores = HEADS * TOKENS * TOKENS
    return [
        VectorOperation(f"{name}.norm1", "layer_norm", elements, WIDTH),
        layer(f"{name}.qkv", TOKENS, WIDTH, 3 * WIDTH),
        layer(f"{name}.qk", TOKENS, depth, TOKENS, HEADS),
        VectorOperation(f"{name}.softmax", "softmax", scores, TOKENS, fused_into=f"{name}.qk"),
        layer(f"{name}.av", TOKENS, TOKENS, depth, HEADS),
        layer(f"{name}.proj", TOKENS, WIDTH, WIDTH),
        VectorOperation(f"{name}.add1", "add", elements, fused_into=f"{name}.proj"),
        VectorOperation(f"{name}.norm2", "layer_norm", elements, WIDTH),
        layer(f"{name}.fc1", TOKENS, WIDTH, 4 * WIDTH),
        VectorOperation(f"{name}.act", "table", 4 * elements, fused_into=f"{name}.fc1"),
        layer(f"{name}.fc2", TOKENS, 4 * WIDTH, WIDTH),
        VectorOperation(f"{name}.add2", "add", elements, fused_into=f"{name}.fc2"),
    ]


def drawn(count: int, choices: Mapping[str, Sequence[Any]], seed: int = 0) -> list[Accelerator]:
    """Return accelerators with every field of `choices` drawn from them."""
    rng = random.Random(seed)
    return [
        Accelerator(**{name: rng.choice(values) for name, values in choices.items()})
        for _ in range(count)
    ]


def import_seconds(module: str) -> float:
    """Return the least of five imports in processes of their own, less Python's own start."""
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    command = [sys.executable, "-c", code]
    return min(
        float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
        for _ in range(5)
    )


def one_ms(workload: Workload, accelerator: Accelerator) -> float:
    """Return the median milliseconds of an estimate of a workload that was not seen before."""
    times = []
    for _ in range(200):
        fresh = replace(workload)  # what a workload remembers of itself is forgotten
        start = time.process_time()
        estimate(fresh, accelerator)
        times.append(1e3 * (time.process_time() - start))
    return sorted(times)[len(times) // 2]


def many(workload: Workload, count: int) -> float:
    """Print the seconds of two sets of accelerators; return the larger."""
    worst = 0.0
    for name, choices in (("of a search space", CHOICES), ("at random", ANY)):
        accelerators = drawn(count, choices)
        start = time.process_time()
        costs = estimate_many(workload, accelerators)
        seconds = time.process_time() - start
        index = random.Random(1).randrange(count)
        one = estimate(workload, accelerators[index]).metrics
        assert one == {key: float(values[index]) for key, values in costs.metrics.items()}
        each = 1e9 * seconds / count / len(workload.layers)
        print(f"  {count:,} {name}: {seconds:.2f} s, {each:.0f} ns a layer and accelerator")
        worst = max(worst, seconds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"  peak resident memory {peak:.0f} MB, accelerators and metrics included")
    return worst


def peers(full: bool, lpf: int) -> None:
    """Print the seconds of the dozen layers by us, SCALE-Sim and ZigZag."""
    dozen = Workload("dozen", LAYERS, 0)
    mine = one_ms(dozen, ACCELERATOR) / 1e3
    print(f"{len(LAYERS)} layers: ours {1e3 * mine:.2f} ms")
    for whole in (False, True) if full else (False,):
        seconds = scalesim_seconds(whole)
        how = "in full" if whole else "its compute model by fold"
        print(f"  SCALE-Sim, {how}: {seconds:.2f} s, {seconds / mine:,.0f} x; cycles equal")
    if importlib.util.find_spec("zigzag") is None:
        print("  ZigZag is not installed (pip install zigzag-dse)")
        return
    bits = int(load_board(ACCELERATOR.board).bytes_per_cycle(ACCELERATOR.clock_mhz) * 8)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for layer in LAYERS:
            zigzag(layer, Path(folder), bits, lpf)
    seconds = time.perf_counter() - start
    print(f"  ZigZag: {seconds:.1f} s, {seconds / mine:,.0f} x")


def main(arguments: list[str]) -> int:
    """Print all figures; return 1 where a target is missed."""
    logging.disable(logging.CRITICAL)
    options = {"accelerators": "100000", "full": "false", "lpf": "6"}
    options |= dict(argument.split("=", 1) for argument in arguments)
    bare, front = import_seconds("costmodels"), import_seconds("costmodels.estimate")
    print(f"import costmodels: {bare:.3f} s; costmodels.estimate with NumPy: {front:.3f} s")
    workload, count = network(), int(options["accelerators"])
    one = one_ms(workload, Accelerator())
    print(
        f"{len(workload.layers)} layers, {len(workload.operations)} operations\n"
        f"  one accelerator: {one:.2f} ms"
    )
    seconds = many(workload, count)
    peers(options["full"] == "true", int(options["lpf"]))
    return int(bare > IMPORT_S or one > ONE_MS or seconds > MANY_S * max(1, count / 1e5))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
