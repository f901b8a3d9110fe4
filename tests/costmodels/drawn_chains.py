"""Random chains and accelerators for property tests."""

from chain_workloads import attention, mbconv, mlp
from hypothesis import strategies as st

from costmodels.accelerator import Accelerator

small_kb = st.sampled_from([1, 2, 4, 64])
accelerators = st.builds(
    Accelerator,
    fused_chains=st.just(True),
    board=st.sampled_from(["zcu104", "pynq_z2"]),
    clock_mhz=st.sampled_from([100.0, 2000.0, 2e4]),  # so high that DRAM is waited for
    mac_rows=st.sampled_from([2, 5, 8, 16]),
    mac_cols=st.sampled_from([2, 5, 8, 16]),
    shift_rows=st.just(0),
    shift_cols=st.just(0),
    dataflow=st.sampled_from(["os", "ws", "is"]),
    input_buffer_kb=small_kb,
    weight_buffer_kb=small_kb,
    output_buffer_kb=small_kb,
    vector_lanes=st.integers(1, 20),
    depthwise_lanes=st.sampled_from([0, 3, 16]),
)
blocks = st.builds(
    mbconv,
    size=st.integers(3, 20),
    channels=st.integers(1, 20),
    wide=st.integers(2, 40),
    out=st.integers(1, 20),
    kernel=st.sampled_from([3, 5]),
    stride=st.sampled_from([1, 2]),
)
pairs = st.builds(
    mlp, tokens=st.integers(1, 30), width=st.integers(1, 40), hidden=st.integers(1, 90)
)
heads = st.builds(
    attention,
    tokens=st.integers(1, 20),
    keys=st.integers(1, 20),
    depth=st.integers(1, 12),
    heads=st.integers(1, 4),
    transposed=st.booleans(),
    bias=st.booleans(),
)
