"""Published accelerators as the template prices them, and the energy model's calibration.

    python tests/benchmarks/published.py [fit=write]
        [out=costmodels/reference/published_model.csv]

Prints predicted against published resources, frames a second and power, and why it misses where it
does. The rules are the same for every row; nothing is tuned to one:

- The array has the published multiply-accumulates a cycle, or as many as the packing rule gets out
  of the published DSPs; it is output stationary, as near to a square as the number allows (at most
  1 : 2). As many vector lanes as columns; depthwise lanes as published, else half the array, which
  is what the one design that states them has (EfficientViT).
- Buffers share the published block RAMs (6 halves of equal size), else 64 kB a half.
- All run layer by layer; what fused chains would change is printed beside the other accelerators.
- Cores of one board share its DRAM; frames a second are cores over one core's latency.
- Networks are timm's, random weights, all layers at the stated widths; multi-threaded figures are
  compared, for one thread also waits for the processor.

Power: board + area x LUTs + factor x on-chip energy + DRAM energy, each image's energy times the
published images a second. Board, area and factor are fitted to published powers at rest and at
work; the error is that of each design predicted by a fit to the others. fit=write stores them,
out= the predictions.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from published_designs import Prediction, predict_design, predict_dpu, store
from published_power import (
    PARAMETERS,
    Power,
    calibration_errors,
    fit,
    left_out,
    powers,
    write_calibration,
)

from costmodels.packing import Packing, array_dsps
from costmodels.tables import read_table

DPU_DEPTHWISE_LUT = 4930  # what depthwise convolution adds to a B4096: PG338 v3.4


def ranks(values: Sequence[float]) -> np.ndarray:
    """Return the rank of each value."""
    return np.argsort(np.argsort(np.array(values)))


def summary(title: str, predictions: Sequence[Prediction]) -> str:
    """Return mean error, range and rank correlation of the images a second."""
    errors = [p.error for p in predictions]
    rank = np.corrcoef(
        ranks([p.predicted_fps for p in predictions]), ranks([p.published_fps for p in predictions])
    )[0, 1]
    return (
        f"{title}: {len(errors)} figures, mean error {np.mean(np.abs(errors)):.0%}, from "
        f"{min(errors):+.0%} to {max(errors):+.0%}, rank correlation {rank:.2f}"
    )


def print_resources() -> None:
    """Print DSPs of AMD's architectures: two products a DSP at twice the clock."""
    equal = 0
    rows = read_table("dpuczdx8g")
    for row in rows:
        pixels, inputs, outputs = (
            int(row[name]) for name in ("pixels", "input_channels", "output_channels")
        )
        low = array_dsps(pixels * inputs, outputs, Packing(2, 2), "os") + 2
        equal += low == int(row["dsp_low"])
        equal += low + pixels * outputs == int(row["dsp_high"])
    print(f"DSPs of AMD's DPUCZDX8G: {equal} of {2 * len(rows)} equal (PG338 v1.2, table 9)")


def print_frames(predictions: Sequence[Prediction]) -> None:
    """Print predicted against published images a second."""
    print(f"\n{'design':27s}{'board':8s}{'network':26s}{'published':>10s}{'predicted':>10s}"
          f"{'error':>7s}{'wait':>6s}")  # fmt: skip
    for p in predictions:
        print(
            f"{p.name:27s}{p.board:8s}{p.network:26s}{p.published_fps:10.1f}"
            f"{p.predicted_fps:10.1f}{p.error:+7.0%}{p.bound:6.0%}"
        )


def print_chains(rows: Sequence[dict[str, str]], plain: Sequence[Prediction]) -> None:
    """Print the images a second of other accelerators with fused chains beside those without."""
    print(f"\n{'fused chains':27s}{'network':26s}{'published':>10s}{'without':>10s}{'':7s}"
          f"{'with':>10s}")  # fmt: skip
    for row, before in zip(rows, plain, strict=True):
        after = predict_design(row, fused_chains=True)
        print(
            f"{before.name:27s}{before.network:26s}{before.published_fps:10.1f}"
            f"{before.predicted_fps:10.1f}{before.error:+7.0%}"
            f"{after.predicted_fps:10.1f}{after.error:+7.0%}"
        )


def print_luts(predictions: Sequence[Prediction]) -> None:
    """Print predicted against published LUTs; of AMD's DPU those of one core (PG338)."""
    published = {row["name"]: row["lut"] for row in read_table("published") if row["lut"]}
    core = next(row for row in read_table("dpuczdx8g") if row["architecture"] == "B4096")
    published["DPU x1"] = str(int(core["lut_low"]) + DPU_DEPTHWISE_LUT)
    print(f"\n{'LUTs of':27s}{'network':26s}{'published':>10s}{'predicted':>10s}{'error':>7s}")
    for p in predictions:
        if p.name in published and (p.design != "dpu" or p.network == "mobilenetv2_100"):
            lut = int(published[p.name])
            print(f"{p.name:27s}{p.network:26s}{lut:10d}{p.lut:10d}{p.lut / lut - 1:+7.0%}")


def print_reasons(predictions: Sequence[Prediction]) -> None:
    """Print what is known of why designs are missed by more than a quarter."""
    notes = {row["name"]: row["note"] for row in read_table("published")}
    print("\nmissed by more than 25 %:")
    for p in predictions:
        if abs(p.error) > 0.25 and p.name in notes:
            print(f"  {p.name}: {notes[p.name]}")
    names = sorted({p.network for p in predictions if abs(p.error) > 0.25 and p.design == "dpu"})
    print(f"  AMD DPU, {', '.join(names)}: squeeze-and-excitation takes it far longer than its")
    print("  operations account for; AMD does not publish how it runs")


def print_powers(points: Sequence[Power]) -> None:
    """Print the calibration, and each power by the fit and by a fit without its design."""
    parameters = fit(points)
    without = left_out(points)
    text = ", ".join(f"{n} {v:.3g}" for n, v in zip(PARAMETERS, parameters, strict=True))
    print(f"\nfit to {len(points)} powers of {len({p.design for p in points})} designs: {text}")
    print(f"{'power':27s}{'published W':>12s}{'fitted':>8s}{'left out':>9s}{'error':>7s}")
    for p, other in zip(points, without, strict=True):
        fitted = p.predicted(parameters)
        print(f"{p.name:27s}{p.watts:12.2f}{fitted:8.2f}{other:9.2f}{other / p.watts - 1:+7.0%}")
    fitted, missed = calibration_errors(points)
    print(f"mean error fitted {fitted:.0%}, a design left out {missed:.0%}")


def main(arguments: Sequence[str]) -> int:
    """Run; return the exit code."""
    options = dict(argument.partition("=")[::2] for argument in arguments)
    if set(options) - {"fit", "out"} or options.get("fit", "print") not in ("print", "write"):
        print(__doc__, file=sys.stderr)
        return 2
    print_resources()
    dpu = [predict_dpu(row) for row in read_table("published_dpu")]
    others = [predict_design(row) for row in read_table("published")]
    print_frames([*dpu, *others])
    pipelined = {row["name"] for row in read_table("published") if row["pipelined"] == "1"}
    plain = [p for p in dpu if not p.gated]
    print("\n" + summary("AMD DPU", dpu))
    print(summary("AMD DPU without squeeze-and-excitation", plain))
    for board in ("kv260", "zcu104", "zcu102"):
        print(summary(f"the same, {board}", [p for p in plain if p.board == board]))
    print(summary("layer by layer", [p for p in others if p.name not in pipelined]))
    print(summary("pipelined", [p for p in others if p.name in pipelined]))
    print_chains(read_table("published"), others)
    print_luts([*dpu, *others])
    print_reasons([*dpu, *others])
    points = powers([*dpu, *others])
    print_powers(points)
    if options.get("out"):
        store([*dpu, *others], Path(options["out"]))
    if options.get("fit") == "write":
        write_calibration(points)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
