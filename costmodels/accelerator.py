"""Accelerator: the hardware template's free parameters, as one value."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Accelerator:
    """One instance of the accelerator template.

    Attributes:
        board: Name of the board, a file in `costmodels/boards/`.
        clock_mhz: Clock of the whole design in MHz.
        mac_rows: Rows of the MAC array (PEs that multiply).
        mac_cols: Columns of the MAC array.
        shift_rows: Rows of the shift array (PEs in LUTs, for log2 layers); 0 with `shift_cols` 0
            means there is none and log2 layers run on the MAC array.
        shift_cols: Columns of the shift array.
        dataflow: "os", "ws" or "is".
        precision: "static" (PEs built for the widest layer they serve) or "reconfigurable"
            (narrow layers run at the packed rate).
        input_buffer_kb: Input buffer in kB (1 kB = 1024 bytes), each of its two halves.
        weight_buffer_kb: Weight buffer in kB, each of its two halves.
        output_buffer_kb: Output buffer in kB, each of its two halves.
        vector_lanes: Lanes of the vector unit.
        depthwise_lanes: Lanes of the depthwise engine; 0 sends depthwise layers to the array.
        mac_pe: What multiplies in the MAC array and the depthwise lanes: "dsp", or "lut" to leave
            the DSPs alone; then nothing packs.
        fused_chains: Attention, depthwise-separable blocks and MLPs run band by band, their
            intermediate results on chip, where that is quicker (`costmodels.chains`); false runs
            layer by layer.
    """

    board: str = "zcu104"
    clock_mhz: float = 200.0
    mac_rows: int = 16
    mac_cols: int = 16
    shift_rows: int = 16
    shift_cols: int = 16
    dataflow: str = "os"
    precision: str = "static"
    input_buffer_kb: int = 64
    weight_buffer_kb: int = 64
    output_buffer_kb: int = 64
    vector_lanes: int = 16
    depthwise_lanes: int = 16
    mac_pe: str = "dsp"
    fused_chains: bool = False
