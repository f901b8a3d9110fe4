"""What backs each figure of a Cost: exact, within a measured error, or relative only."""

_ARRAY = {
    "analytical": "closed form; one more a product than SCALE-Sim 3.0.0 reports, exactly "
    "(SCALE-Sim counts from 0)",
    "scalesim": "SCALE-Sim 3.0.0, as it reports them",
}

_FIGURES = {
    "fpga.dsp": "packing rule exact by brute force; array count exact against the 8 DPUCZDX8G "
    "architectures of AMD PG338; vector unit from Yosys 0.70 synthesis",
    "fpga.mac_array_dsp": "exact against the 8 DPUCZDX8G architectures of AMD PG338",
    "fpga.shift_array_dsp": "exact: shift-and-add PEs hold no multiplier",
    "fpga.vector_dsp": "Yosys 0.70 synthesis (xcup) of one lane, times the lanes",
    "fpga.depthwise_dsp": "exact by construction: one DSP a lane, none where all weights are log2",
    "fpga.control_dsp": "exact against the 8 DPUCZDX8G architectures of AMD PG338",
    "fpga.lut": "relative: log2 PEs and vector lanes from Yosys 0.70 synthesis (xcup; above what "
    "Vivado needs), packed DSP PEs from one synthesis point, control from PG338's intercept",
    "fpga.ff": "relative: as fpga.lut",
    "fpga.bram36": "block count exact against Yosys for each memory; the buffers' word widths are "
    "the template's",
    "fpga.uram": "block count exact by the shape of the block (AMD UG573)",
    "fpga.dsp_pct": "as fpga.dsp, over the board's count",
    "fpga.lut_pct": "as fpga.lut, over the board's count",
    "fpga.ff_pct": "as fpga.ff, over the board's count",
    "fpga.bram_pct": "as fpga.bram36, over the board's count",
    "fpga.uram_pct": "as fpga.uram, over the board's count",
    "fpga.mac_array_lut": "relative: as fpga.lut",
    "fpga.shift_array_lut": "Yosys 0.70 synthesis (xcup); beyond the 21 synthesised width pairs a "
    "line within 5.3 % of them on average, 16 % at worst",
    "fpga.vector_lut": "Yosys 0.70 synthesis (xcup) of one lane, times the lanes",
    "fpga.depthwise_lut": "relative: as fpga.lut",
    "fpga.control_lut": "relative: the intercept of a plane through PG338's eight architectures",
    "fpga.vector_cycles": "relative: the template's vector unit, one element a lane and cycle",
    "fpga.dram_cycles": "relative: fpga.dram_mb at the board's sustained bandwidth (assumed)",
    "fpga.dram_mb": "the least over the template's tilings, equal to brute force where that is "
    "feasible; every layer goes through DRAM",
    "fpga.energy_mj": "relative: recalled energies per event, no board measured",
    "model": "exact: counted",
    "gpu": "as the profile says: a file of costmodels/gpu/profiles",
}


def provenance(cycles: str) -> dict[str, str]:
    """Return what backs each metric, by prefix of its name.

    Args:
        cycles: The model the arrays' cycles come from, "analytical" or "scalesim".
    """
    array = _ARRAY[cycles]
    latency = (
        f"relative: array cycles are {array}; published accelerators reach 34 to 97 % of such "
        "bounds, and DRAM and vector cycles are the template's"
    )
    timed = {name: latency for name in ("fpga.latency_ms", "fpga.fps", "fpga.cycles")}
    compute = f"array cycles: {array}; depthwise engine: one multiply-accumulate a lane and cycle"
    simulated = {"scalesim": _ARRAY["scalesim"]} if cycles == "scalesim" else {}
    return {**timed, "fpga.compute_cycles": compute, **_FIGURES, **simulated}
