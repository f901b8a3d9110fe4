"""Our DRAM traffic, cycles, energy and speed beside ZigZag's and SCALE-Sim's, a dozen layers.

    pip install -e .[zigzag]
    python tests/benchmarks/zigzag_peer.py [full=false] [lpf=6] [write=true]

ZigZag (Mei et al., IEEE Transactions on Computers 2021) searches the temporal mapping of each layer
on an accelerator described in YAML; here a weight-stationary array of 16 x 16 with three buffers.
It knows nothing of our tiling or our closed forms. Both count accesses; energies are at the same
three prices. full=false leaves out SCALE-Sim's full runs, which take minutes. Exits 1 where we move
less than the operands hold, or where our traffic is not within a factor of two of ZigZag's.
write=true stores ZigZag's figures, which the tests compare ours with.

Why the two differ:
- Traffic: ZigZag's tiles are products of the sizes' prime factors, merged until `lpf` are left;
  ours have any size. DeiT-T fc2 moves 640 kB at lpf=6 and 488 kB at lpf=9 (which takes minutes a
  layer); ours is 484.
- Energy: ZigZag reads and writes partial sums in the output buffer once a fold of the reduction;
  `energy.py` counts each sum once.
- Cycles: ZigZag charges the array's fill and drain once, `systolic.cycles` once a fold (which
  SCALE-Sim does); and it waits for buffers that a tile fills by more than a half.
"""

import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import yaml

from costmodels.accelerator import Accelerator
from costmodels.board import load_board
from costmodels.cost import LayerCost
from costmodels.engines import lane_widths, place
from costmodels.estimate import estimate
from costmodels.operands import accumulator_bits
from costmodels.scalesim import layer_task, simulate
from costmodels.systolic import cycles
from costmodels.tables import REFERENCE
from costmodels.tiling import CONSTANT_BITS
from costmodels.workload import MatrixLayer, Workload

SIDE, BUFFER_KB, BITS, SUM_BITS = 16, 64, 8, 32
MAC_PJ, BUFFER_PJ_PER_BIT, DRAM_PJ_PER_BIT = 1.5, 0.2, 17.0  # of one order with energy.csv
TABLE = REFERENCE / "zigzag.csv"
ACCELERATOR = Accelerator(
    mac_rows=SIDE,
    mac_cols=SIDE,
    dataflow="ws",
    input_buffer_kb=BUFFER_KB,
    weight_buffer_kb=BUFFER_KB,
    output_buffer_kb=BUFFER_KB,
)


def product(name: str, m: int, n: int, k: int) -> MatrixLayer:
    """Return a linear layer of 8-bit codes."""
    return MatrixLayer(
        name, "linear", m, k, n, 1, BITS, "uniform", BITS, BITS, m * k, m * n, k * n
    )  # fmt: skip


def convolution(name: str, size: int, channels: int, filters: int) -> MatrixLayer:
    """Return a 3 x 3 convolution of 8-bit codes with padding."""
    m, k = size * size, 9 * channels
    pixels = size * size * channels
    return MatrixLayer(
        name, "conv", m, k, filters, 1, BITS, "uniform", BITS, BITS, pixels, m * filters,
        k * filters, size + 2, size + 2, 3, 3, 1, 1, channels, filters,
    )  # fmt: skip


LAYERS = (
    product("MobileViT-XXS stage 2 qkv", 1024, 192, 64),
    product("MobileViT-XXS stage 3 fc1", 256, 160, 80),
    product("MobileViT-XXS stage 4 fc2", 64, 96, 192),
    product("MobileViT-XXS pointwise", 1024, 64, 48),
    product("DeiT-T qkv", 197, 576, 192),
    product("DeiT-T fc1", 197, 768, 192),
    product("DeiT-T fc2", 197, 192, 768),
    product("Swin-T stage 1 fc1", 3136, 384, 96),
    product("Swin-T stage 3 qkv", 196, 1152, 384),
    product("classifier", 1, 1000, 384),
    convolution("MobileViT-XXS 3x3", 16, 48, 64),
    convolution("ResNet-18 3x3", 28, 64, 64),
)


def memory(kilobytes: float, operands: Sequence[str], bits: int, pj_per_bit: float) -> dict:
    """Return a ZigZag memory with a read and a write port of `bits` bits."""
    reads, writes = [f"{operand}, tl" for operand in operands], [f"{o}, fh" for o in operands]
    sums = (
        operands[-1] == "O"
    )  # they also come up from below and go up again, on ports of their own
    kinds = [("read", reads), ("write", writes)]
    kinds += [("read", ["O, th"]), ("write", ["O, fl"])] if sums else []
    ports = [
        {"name": f"{kind[0]}_port_{number}", "type": kind, "bandwidth_min": bits,
         "bandwidth_max": bits, "allocation": allocation}
        for number, (kind, allocation) in enumerate(kinds)
    ]  # fmt: skip
    return {
        "size": int(kilobytes * 8192), "r_cost": pj_per_bit * bits, "w_cost": pj_per_bit * bits,
        "area": 0, "latency": 1, "operands": list(operands), "ports": ports,
        "served_dimensions": ["D1", "D2"],
    }  # fmt: skip


def register(bits: int, operand: str) -> dict:
    """Return a register of each PE; its energy is part of the MAC's."""
    return memory(bits / 8192, [operand], bits, 0.0) | {"served_dimensions": []}


def hardware(dram_bits: int) -> dict:
    """Return ZigZag's description of `ACCELERATOR`: one half of each double buffer is a memory."""
    return {
        "name": "template",
        "memories": {
            "weight_register": register(BITS, "I2"),
            "sum_register": register(SUM_BITS, "O"),
            "input_buffer": memory(BUFFER_KB, ["I1"], SIDE * BITS, BUFFER_PJ_PER_BIT),
            "weight_buffer": memory(BUFFER_KB, ["I2"], SIDE * BITS, BUFFER_PJ_PER_BIT),
            "output_buffer": memory(BUFFER_KB, ["O"], SIDE * SUM_BITS, BUFFER_PJ_PER_BIT),
            "dram": memory(1e6, ["I1", "I2", "O"], dram_bits, DRAM_PJ_PER_BIT),
        },
        "operational_array": {
            "unit_energy": MAC_PJ,
            "unit_area": 1,
            "dimensions": ["D1", "D2"],
            "sizes": [SIDE, SIDE],
            "systolic_dimensions": ["D1", "D2"],
        },
    }


MAPPING = [
    {
        "name": "default",
        "spatial_mapping": {"D1": [f"K, {SIDE}"], "D2": [f"C, {SIDE}"]},
        "memory_operand_links": {"O": "O", "W": "I2", "I": "I1"},
    }
]


def zigzag_layer(number: int, layer: MatrixLayer) -> dict:
    """Return a layer as ZigZag's workload has it."""
    sums = accumulator_bits(layer)
    common = {
        "id": number,
        "name": f"layer{number}",
        "operand_precision": {"W": BITS, "I": BITS, "O": sums, "O_final": BITS},
        "operand_source": {"I": number, "W": number},
    }
    if layer.kind == "linear":
        return common | {
            "operator_type": "Gemm",
            "equation": "O[b][k]+=I[b][c]*W[c][k]",
            "loop_dims": ["B", "K", "C"],
            "loop_sizes": [layer.m, layer.n, layer.k],
        }
    size = layer.in_height - 2
    return common | {
        "operator_type": "Conv",
        "equation": "O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]",
        "dimension_relations": ["ix=1*ox+1*fx", "iy=1*oy+1*fy"],
        "loop_dims": ["B", "K", "C", "OY", "OX", "FY", "FX"],
        "loop_sizes": [1, layer.n, layer.in_channels, size, size, 3, 3],
        "pr_loop_dims": ["IX", "IY"],
        "pr_loop_sizes": [size, size],
        "padding": [[1, 1], [1, 1]],
    }


def zigzag(layer: MatrixLayer, folder: Path, dram_bits: int, lpf: int) -> dict[str, float]:
    """Return what ZigZag says of a layer, at least energy: bytes, picojoules, cycles."""
    from zigzag.api import get_hardware_performance_zigzag

    for name, content in (("hardware", hardware(dram_bits)), ("mapping", MAPPING)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    (folder / "workload.yaml").write_text(yaml.safe_dump([zigzag_layer(0, layer)], sort_keys=False))
    energy, latency, results = get_hardware_performance_zigzag(
        *(str(folder / f"{name}.yaml") for name in ("workload", "hardware", "mapping")),
        opt="energy",
        lpf_limit=lpf,
        dump_folder=str(folder / "out"),
        loma_show_progress_bar=False,
    )
    evaluation = results[0][1][0][0]
    picojoules = sum(levels[-1] for levels in evaluation.mem_energy_breakdown.values())
    return {
        "dram_bytes": picojoules / DRAM_PJ_PER_BIT / 8,
        "energy_pj": energy,
        "computation": evaluation.latency_total0,
        "cycles": latency,
    }


def constant_bytes(layer: MatrixLayer) -> int:
    """Return the bytes of biases and requantisation, which ZigZag knows nothing of."""
    return layer.n * CONSTANT_BITS // 8


def write_table(lpf: int, peers: Sequence[dict[str, float]]) -> None:
    """Store ZigZag's figures by layer."""
    lines = [f"# ZigZag {version('zigzag-dse')}, opt=energy, lpf_limit={lpf}; made by"]
    lines += ["# tests/benchmarks/zigzag_peer.py write=true", "layer,dram_bytes,energy_pj,cycles"]
    for layer, peer in zip(LAYERS, peers, strict=True):
        figures = (peer[name] for name in ("dram_bytes", "energy_pj", "computation"))
        lines.append(",".join([layer.name, *(f"{figure:.0f}" for figure in figures)]))
    temporary = TABLE.with_suffix(".tmp")
    temporary.write_text("\n".join(lines) + "\n")
    temporary.replace(TABLE)


def least_bytes(layer: MatrixLayer) -> int:
    """Return the bytes that any schedule moves: each operand once."""
    return layer.input_elements + layer.weight_elements + layer.output_elements


def ours(layer: MatrixLayer) -> tuple[LayerCost, float]:
    """Return our cost of a layer, and its picojoules by the accesses that `energy.py` counts."""
    workload = Workload("one", (layer,), 0)
    cost = estimate(workload, ACCELERATOR).layers[0]
    ((placement,), _) = place(workload, ACCELERATOR, load_board(ACCELERATOR.board).dsp_type)
    bits = sum(lane_widths(placement, ACCELERATOR.dataflow)[:2]) * cost.compute_cycles
    bits += layer.output_elements * placement.accumulator_bits
    dram = cost.dram_bytes * 8 * DRAM_PJ_PER_BIT
    return cost, layer.macs * MAC_PJ + bits * BUFFER_PJ_PER_BIT + dram


def compare(
    dram_bits: int, folder: Path, lpf: int
) -> tuple[list[tuple[float, ...]], list[dict[str, float]], float]:
    """Print a row a layer; return ratios, ZigZag's figures and its seconds."""
    print(f"{'layer':26s} {'DRAM kB':>8s} {'ZigZag':>8s} {'ratio':>6s} {'nJ':>8s} {'ZigZag':>8s} "
          f"{'ratio':>6s} {'array':>8s} {'overlap':>8s} {'ZigZag':>8s} {'+DRAM':>8s}")  # fmt: skip
    ratios, peers, seconds = [], [], 0.0
    for layer in LAYERS:
        cost, energy = ours(layer)
        start = time.perf_counter()
        peer = zigzag(layer, folder, dram_bits, lpf)
        seconds += time.perf_counter() - start
        peers.append(peer)
        overlap = int(cycles(layer.m, layer.k, layer.n, SIDE, SIDE, "ws", overlap=True))
        moved = cost.dram_bytes - constant_bytes(layer)
        row = moved / peer["dram_bytes"], energy / peer["energy_pj"], overlap / peer["computation"]
        ratios.append((*row, moved / least_bytes(layer)))
        print(
            f"{layer.name:26s} {moved / 1e3:8.1f} {peer['dram_bytes'] / 1e3:8.1f} {row[0]:6.2f} "
            f"{energy / 1e3:8.0f} {peer['energy_pj'] / 1e3:8.0f} {row[1]:6.2f} "
            f"{cost.compute_cycles:8d} {overlap:8d} {peer['computation']:8.0f} "
            f"{peer['cycles']:8.0f}",
            flush=True,
        )
    return ratios, peers, seconds


def our_seconds() -> float:
    """Return the median seconds of one estimate of all layers on one accelerator."""
    network = Workload("dozen", LAYERS, 0)
    times = []
    for rows in range(8, 28):  # another accelerator each time, so that nothing is remembered
        start = time.perf_counter()
        estimate(network, replace(ACCELERATOR, mac_rows=rows))
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def scalesim_seconds(full: bool) -> float:
    """Return the seconds of SCALE-Sim for all layers; raise where its cycles are not ours."""
    start = time.perf_counter()
    for layer in LAYERS:
        reported = simulate(layer_task(layer, SIDE, SIDE, "ws"), full=full)
        assert reported + 1 == ours(layer)[0].compute_cycles, layer.name
    return time.perf_counter() - start


def main() -> int:
    """Print the comparison; return 1 where it fails."""
    logging.disable(logging.CRITICAL)
    options = dict(argument.split("=", 1) for argument in sys.argv[1:])
    lpf = int(options.get("lpf", 6))
    board = load_board(ACCELERATOR.board)
    dram_bits = int(board.bytes_per_cycle(ACCELERATOR.clock_mhz) * 8)
    with tempfile.TemporaryDirectory() as folder:
        ratios, peers, seconds = compare(dram_bits, Path(folder), lpf)
    if options.get("write") == "true":
        write_table(lpf, peers)
    traffic, energy, cycles, least = np.array(ratios).T
    for name, values in (("traffic", traffic), ("energy", energy), ("cycles", cycles)):
        print(f"{name}, ours / ZigZag: geometric mean {np.exp(np.log(values).mean()):.2f}, "
              f"{values.min():.2f} to {values.max():.2f}")  # fmt: skip
    mine = our_seconds()
    print(f"seconds for the {len(LAYERS)} layers: ours {mine:.4f}; ZigZag {seconds:.1f} "
          f"({seconds / mine:.0f} x)")  # fmt: skip
    for full in (False, True) if options.get("full") != "false" else (False,):
        peer = scalesim_seconds(full)
        how = "in full" if full else "its compute model by fold"
        print(f"SCALE-Sim, {how}: {peer:.2f} ({peer / mine:.0f} x), cycles equal", flush=True)
    return int(least.min() < 1 or traffic.min() < 0.5 or traffic.max() > 2)


if __name__ == "__main__":
    sys.exit(main())
