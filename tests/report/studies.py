"""Studies made up for the report's tests: plausible figures, every state of a trial."""

import numpy as np

from codesign.design import Design, LayerFormat
from codesign.search.pareto import front_mask, minimised
from codesign.search.records import StudyRecord, TrialRecord
from costmodels.accelerator import Accelerator

OBJECTIVES = {
    "accuracy": "max",
    "fpga.latency_ms": "min",
    "fpga.dsp": "min",
    "model.weight_kb": "min",
}
BOARD = {"dsp": 1728, "lut": 230400, "ff": 460800, "bram36": 312, "uram": 96}
REASON = "refused: fpga.lut_pct {:.2f} > 70"


def make_design(generator, layers):
    formats = tuple(
        (
            f"stages.{i // 8}.{i % 8}.conv{i % 3}_1x1.conv",
            LayerFormat(
                int(generator.choice([3, 4, 5, 6, 8])),
                "log2" if generator.random() < 0.3 else "uniform",
                int(generator.choice([4, 6, 8])),
            ),
        )
        for i in range(layers)
    )
    accelerator = Accelerator(mac_rows=int(generator.choice([8, 16, 32])))
    return Design(formats, (("stages.0.act", "relu"), ("stages.1.act", "silu")), accelerator)


def make_metrics(generator, design):
    bits = np.mean([layer.weight_bits for _, layer in design.layers])
    latency = float(400 / design.accelerator.mac_rows * generator.lognormal(0, 0.4))
    dsp = int(design.accelerator.mac_rows * 16 * generator.choice([0.5, 1, 2]))
    lut = float(20000 + 1_000_000 / latency * generator.random())
    accuracy = 0.99 - 0.8 * np.exp(-bits) - 0.03 * generator.random()
    return {
        "accuracy": float(accuracy),
        "accuracy_post_training": float(accuracy - 0.2),
        "fpga.latency_ms": latency,
        "fpga.dsp": dsp,
        "fpga.lut": lut,
        "fpga.lut_pct": 100 * lut / BOARD["lut"],
        "fpga.bram36": float(generator.integers(40, 260)),
        "fpga.uram": 0.0,
        "gpu.a100.latency_ms": latency / 9,
        "model.weight_kb": float(150 * bits),
    }


def make_study(
    trials=40, layers=6, objectives=3, feasible=True, name="mobilevit_mixed", seed=0, goals=None
):
    """A study of `goals` (or the first `objectives`); without a front unless `feasible`."""
    generator = np.random.default_rng(seed)
    goals = goals or dict(list(OBJECTIVES.items())[:objectives])
    records = []
    for i in range(trials):
        design = make_design(generator, layers)
        metrics = make_metrics(generator, design)
        common = {"number": i, "design": design, "seconds": 21.5}
        common["label"] = {0: "all 8 bit", 1: "all 4 bit"}.get(i)
        if i % 7 == 5:
            costs = {k: v for k, v in metrics.items() if k.startswith("fpga")}
            reason = REASON.format(70 + i)
            records.append(TrialRecord(state="refused", metrics=costs, reason=reason, **common))
        elif i % 11 == 9:
            records.append(TrialRecord(state="failed", reason="loss <nan> & more", **common))
        else:
            over = {"fpga.lut_pct": metrics["fpga.lut_pct"] - (50 if feasible else 0)}
            values = {o: metrics[o] for o in goals}
            records.append(
                TrialRecord(
                    state="complete", values=values, metrics=metrics, constraints=over, **common
                )
            )
    records = mark_front(records, goals)
    return StudyRecord(
        name=name,
        objectives=goals,
        trials=tuple(records),
        hypervolume=tuple(
            (t.number, 1 - 0.8 * 0.93**t.number) for t in records if t.state == "complete"
        ),
        reference_point={o: 0.0 if d == "max" else 1000.0 for o, d in goals.items()},
        settings={
            "model": {"name": "mobilevit_xxs"},
            "data": {"name": "digits"},
            "hardware": {"board": "zcu104"},
            "constraints": {"fpga.lut_pct": 70, "fpga.dsp_pct": {"max": 80}},
        },
        teacher={"accuracy": 0.992, "test_accuracy": 0.989},
        board=BOARD,
        provenance={
            "fpga": "analytical template, relative",
            "fpga.latency_ms": "closed-form cycles, equal to SCALE-Sim 3.0.0",
        },
    )


def mark_front(records, goals):
    from dataclasses import replace

    able = [
        t
        for t in records
        if t.state == "complete" and all(excess <= 0 for excess in t.constraints.values())
    ]
    if not able:
        return records
    points = [minimised([t.values[o] for o in goals], list(goals.values())) for t in able]
    front = {t.number for t, on in zip(able, front_mask(points), strict=True) if on}
    return [replace(t, on_front=t.number in front) for t in records]
