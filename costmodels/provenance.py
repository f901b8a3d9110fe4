"""What backs each figure of a Cost: exact, within a measured error, or relative only."""

_FIGURES = {
    "fpga.dsp": "packing rule exact by brute force; array count exact against the 8 DPUCZDX8G "
    "architectures of AMD PG338 and Yosys 0.70 synthesis of 155 PEs and arrays; vector unit from "
    "that synthesis; DDR controllers from FINN",
    "fpga.mac_array_dsp": "exact against the 8 DPUCZDX8G architectures of AMD PG338 and Yosys 0.70 "
    "synthesis of 155 PEs and arrays",
    "fpga.shift_array_dsp": "exact: shift-and-add PEs hold no multiplier",
    "fpga.vector_dsp": "Yosys 0.70 synthesis (xcup) of one lane, times the lanes",
    "fpga.depthwise_dsp": "exact by construction: one DSP a lane, none where all weights are log2",
    "fpga.control_dsp": "exact against the 8 DPUCZDX8G architectures of AMD PG338",
    "fpga.lut": "relative: PEs and vector lanes from Yosys 0.70 synthesis (above what Vivado "
    "needs), control from PG338's intercept, DDR and HBM controllers from FINN",
    "fpga.ff": "relative: as fpga.lut",
    "fpga.bram36": "block count equal to Yosys 0.70 in 42 of 50 memories, else 1 to 3 blocks of 18 "
    "kbit more; the buffers' word widths are the template's",
    "fpga.uram": "block count exact by the shape of the block (AMD UG573)",
    "fpga.dsp_pct": "as fpga.dsp, over the board's count",
    "fpga.lut_pct": "as fpga.lut, over the board's count",
    "fpga.ff_pct": "as fpga.ff, over the board's count",
    "fpga.bram_pct": "as fpga.bram36, over the board's count",
    "fpga.uram_pct": "as fpga.uram, over the board's count",
    "fpga.shift_array_lut": "Yosys 0.70 synthesis (xcup) of 28 width pairs; within 10 % of the "
    "synthesis of 34 other PEs and arrays; wider codes from a fit",
    "fpga.vector_lut": "Yosys 0.70 synthesis (xcup) of one lane, times the lanes",
    "fpga.memory_controller_lut": "FINN, platforms.py; none on Zynq, whose controller is hard",
    "fpga.memory_controller_dsp": "FINN, platforms.py; none on Zynq, whose controller is hard",
    "fpga.control_lut": "relative: the intercept of a plane through PG338's eight architectures",
    "fpga.vector_cycles": "relative: the template's vector unit, one element a lane and cycle",
    "fpga.dram_cycles": "relative: fpga.dram_mb at the board's sustained bandwidth (assumed)",
    "fpga.dram_mb": "the least over the template's tilings, equal to brute force where that is "
    "feasible; every layer goes through DRAM but for what a fused chain keeps on chip",
    "fpga.energy_mj": "relative: recalled energies of a LUT, a DSP and a bit, fitted with three "
    "parameters to 11 published powers of 7 designs: mean error 38 %, a design left out 54 %",
    "model": "exact: counted",
    "gpu": "as the profile says: a file of costmodels/gpu/profiles",
}


_MULTIPLIERS = {
    "yosys": "packed DSPs: equal to Yosys 0.70 synthesis (xc7) in 87 of 88 PEs and arrays; "
    "multipliers in LUTs: that of 49 width pairs (xcup), within 3 % of 42 other PEs and arrays and "
    "within 12 % of 14 of 9 to 12 weight bits; reconfigurable PEs are relative",
    "finn": "packed DSPs: equal to Yosys 0.70 synthesis (xc7) in 87 of 88 PEs and arrays; "
    "multipliers in LUTs: relative, by the formula of FINN-R (Blott et al., TRETS 2018), which "
    "states no error; reconfigurable PEs are relative",
}


def provenance(array: str, fabric: str = "yosys") -> dict[str, str]:
    """Return what backs each metric, by prefix of its name.

    Args:
        array: What backs the arrays' cycles (`cycles.CycleModel.backing`).
        fabric: The profile that prices multipliers in LUTs, "yosys" or "finn".
    """
    text = _MULTIPLIERS[fabric]
    multipliers = {
        "fpga.mac_array_lut": text,
        "fpga.depthwise_lut": f"{text}; log2 lanes as fpga.shift_array_lut",
    }
    latency = (
        f"relative: array cycles are {array}; DRAM and vector cycles are the template's. Against "
        "AMD's DPU, 12 networks without squeeze-and-excitation on three boards: mean error 7 %, at "
        "most 25 %; with it up to 156 % too fast; other accelerators from 91 % below to 79 % above"
    )
    timed = {name: latency for name in ("fpga.latency_ms", "fpga.fps", "fpga.cycles")}
    compute = f"array cycles: {array}; depthwise engine: one multiply-accumulate a lane and cycle"
    return {**timed, "fpga.compute_cycles": compute, "scalesim": array, **_FIGURES, **multipliers}
