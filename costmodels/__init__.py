"""Cost models of FPGA accelerators and GPUs for quantised vision networks."""
