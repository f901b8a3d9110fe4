"""Fused chains: what is found, by hand; what it takes, played; and properties that must hold."""

from dataclasses import replace
from typing import Any

import pytest
from chain_workloads import attention, fused, mbconv, mlp, network, pointwise
from drawn_chains import accelerators, blocks, heads, pairs
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_workloads import conv, linear

from costmodels.accelerator import Accelerator
from costmodels.chains import find_chains
from costmodels.cost import Cost
from costmodels.cycles import CycleModel
from costmodels.errors import CostModelError
from costmodels.estimate import estimate
from costmodels.many import LAYER_FIGURES, estimate_many
from costmodels.workload import VectorOperation, Workload

SMALL = Accelerator(mac_rows=8, mac_cols=8, shift_rows=0, shift_cols=0, vector_lanes=4)
FUSED = replace(SMALL, fused_chains=True)


def both(workload: Workload, accelerator: Accelerator = SMALL, **options: Any) -> tuple[Cost, Cost]:
    fusing = replace(accelerator, fused_chains=True)
    return estimate(workload, accelerator, **options), estimate(workload, fusing, **options)


# What is found.


def test_the_three_kinds_by_hand() -> None:
    found = [find_chains(w) for w in (mbconv(), attention(bias=True), mlp())]
    assert [(c.kind, c.units, c.operations) for (c,) in found] == [
        ("separable", 1, ("pw1", "dw", "pw2")),
        ("attention", 3, ("qk", "bias", "softmax", "av")),
        ("mlp", 1, ("fc1", "fc2")),
    ]
    (turned,) = find_chains(attention(transposed=True))
    assert (turned.stages[-1].operand, turned.stages[-1].rows.along) == (1, "n")


def test_two_of_the_three_layers_are_a_chain_too() -> None:
    operations = mbconv().operations
    assert [c.operations for c in find_chains(network(*operations[3:]))] == [("dw", "pw2")]
    assert [c.operations for c in find_chains(network(*operations[:6]))] == [("pw1", "dw")]


def test_element_wise_work_between_layers_stays_in_the_chain() -> None:
    operations = list(mbconv().operations)
    count = operations[0].output_elements
    affine = VectorOperation("affine", "affine", count, 1, 8, 8, None, ("pw1.act",))
    depthwise = replace(operations[3], inputs=("affine",))
    (chain,) = find_chains(network(*operations[:3], affine, depthwise, *operations[4:]))
    assert chain.operations == ("pw1", "affine", "dw", "pw2")


@pytest.mark.parametrize("name", ["pw1", "pw1.act", "pw1.requantize"])
def test_a_result_that_anyone_else_reads_is_written(name: str) -> None:
    block = mbconv()
    count = block.layers[0].output_elements
    gate = VectorOperation("gate", "pool", count, count, 8, 8, None, (name,))
    assert [c.operations for c in find_chains(network(*block.operations, gate))] == [("dw", "pw2")]


def test_the_last_result_may_be_a_residual() -> None:
    block = mbconv(channels=6)
    count = block.layers[2].output_elements
    added = VectorOperation("add", "add", count, 1, 8, 8, None, ("pw2.act", "input"))
    (chain,) = find_chains(network(*block.operations, added))
    assert chain.operations == ("pw1", "dw", "pw2")


def test_what_is_no_chain() -> None:
    operations = mbconv().operations
    known = [replace(op, inputs=()) for op in operations]
    assert not find_chains(Workload("unknown", tuple(known), 0))  # nobody says who reads whom
    dense = replace(conv("dense", 8, 4, 12), inputs=("input",))
    assert not find_chains(network(*fused(dense), *operations[3:6]))
    strided = pointwise("pw2", 8, 12, 6, "dw.act", stride=2)
    assert [c.operations for c in find_chains(network(*operations[:6], strided))] == [("pw1", "dw")]
    scores, requantize, softmax, values = attention().operations
    assert not find_chains(network(scores, requantize, replace(values, inputs=("qk", "qkv"))))
    half = replace(softmax, elements=softmax.elements // 2)  # half of the scores are cut away
    assert not find_chains(network(scores, requantize, half, values))
    between = linear("other", 3, 4, 5)
    assert not find_chains(network(scores, requantize, between, softmax, values))


def test_no_operation_is_in_two_chains() -> None:
    one, two = mbconv(out=4), mbconv()
    renamed = {"pw1": "a1", "dw": "a2", "pw2": "a3"}

    def rename(name: str | None) -> Any:
        head, _, tail = (name or "").partition(".")
        return name and ".".join([renamed.get(head, head), *([tail] if tail else [])])

    following = [
        replace(
            op,
            name=rename(op.name),
            inputs=tuple("pw2.act" if n == "input" else rename(n) for n in op.inputs),
            **({"fused_into": rename(op.fused_into)} if hasattr(op, "fused_into") else {}),
        )
        for op in two.operations
    ]
    chains = find_chains(network(*one.operations, *following))
    assert [c.operations for c in chains] == [("pw1", "dw", "pw2"), ("a1", "a2", "a3")]


def test_a_chain_by_hand() -> None:
    """Two layers of 16 x 16 weights, 32 rows: two bands of 16 on a 16 x 16 array, vector idle."""
    first = replace(linear("a", 32, 16, 16), inputs=("input",))
    second = replace(linear("b", 32, 16, 16), inputs=("a",))
    accelerator = replace(SMALL, mac_rows=16, mac_cols=16, clock_mhz=1.0)
    plain, cost = both(network(first, second), accelerator)
    fold = 16 + 16 + 16 - 2  # DRAM at 1 MHz is never waited for
    assert plain.metrics["fpga.cycles"] == 2 * 2 * fold == cost.metrics["fpga.cycles"]
    weights, constants = 256, 7 * 16
    assert plain.metrics["fpga.dram_mb"] * 1e6 == 2 * (weights + constants) + 4 * 32 * 16
    assert round(cost.metrics["fpga.dram_mb"] * 1e6) == 2 * (weights + constants) + 2 * 32 * 16
    (chain,) = cost.chains
    assert (chain.bands, chain.rows, chain.resident, chain.bound_by) == (1, 32, True, "array")
    assert (chain.input_bytes, chain.weight_bytes) == (2 * 32 * 16, 2 * (weights + constants))
    assert [layer.cycles for layer in cost.layers] == [2 * fold, 2 * fold]
    assert [layer.dram_bytes for layer in cost.layers] == [weights + constants + 512] * 2


def test_engines_work_at_once_on_successive_bands() -> None:
    """Attention of 64 heads of one fold each: scores, softmax and values overlap."""
    accelerator = replace(SMALL, mac_rows=16, mac_cols=16, vector_lanes=4, clock_mhz=1.0)
    plain, cost = both(attention(16, 16, 16, 64), accelerator)
    fold, lanes = 16 + 16 + 16 - 2, 256 // 4
    assert plain.metrics["fpga.cycles"] == 64 * (max(fold, lanes) + 3 * lanes + fold)
    # requantised scores and softmax share the vector unit: 4 passes a head, the slowest engine
    assert cost.metrics["fpga.cycles"] == max(fold, lanes) + max(fold, 4 * lanes) + (
        62 * max(2 * fold, 4 * lanes) + max(fold, 3 * lanes) + fold
    )
    assert {layer.bound_by for layer in cost.layers} == {"vector"}


# Together with everything else.


def test_scale_sim_gives_equal_chains(tmp_path: Any) -> None:
    for workload in (mbconv(), attention(), mlp()):
        accelerator = replace(FUSED, depthwise_lanes=0)
        closed = estimate(workload, accelerator)
        simulated = estimate(workload, accelerator, cycles="scalesim", cache_dir=tmp_path)
        assert closed.chains and simulated.chains == closed.chains
        assert simulated.layers == closed.layers
    model = CycleModel("scalesim", reports_dir=tmp_path / "reports")  # bands are not run in full
    reported = estimate(mlp(), replace(FUSED, mac_rows=4, mac_cols=4), cycles=model)
    assert reported.layers == estimate(mlp(), replace(FUSED, mac_rows=4, mac_cols=4)).layers


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.one_of(blocks, heads, pairs), min_size=1, max_size=3),
    st.lists(st.tuples(accelerators, st.booleans()), min_size=1, max_size=6),
    st.sampled_from([1, 2]),
)
def test_many_are_priced_as_one(
    parts: list[Workload], drawn: list[tuple[Accelerator, bool]], batch: int
) -> None:
    operations = [_numbered(op, i) for i, part in enumerate(parts) for op in part.operations]
    grid = [replace(a, fused_chains=on) for a, on in drawn for on in (on, not on)]
    workload = network(*operations)
    costs = estimate_many(workload, grid, layers=LAYER_FIGURES, batch=batch)
    for i, accelerator in enumerate(grid):
        one = estimate(workload, accelerator, batch=batch)
        assert {n: float(v[i]) for n, v in costs.metrics.items()} == dict(one.metrics)
        for name in LAYER_FIGURES:
            assert costs.layers[name][i].tolist() == [getattr(x, name) for x in one.layers]
        assert costs.cost(i) == one


def _numbered(operation: Any, number: int) -> Any:
    changed = {"name": f"{number}/{operation.name}"}
    changed["inputs"] = tuple(f"{number}/{name}" for name in operation.inputs)
    if getattr(operation, "fused_into", None):
        changed["fused_into"] = f"{number}/{operation.fused_into}"
    return replace(operation, **changed)


def test_formats_that_need_both_arrays_are_fused_too() -> None:
    both_arrays = replace(SMALL, shift_rows=8, shift_cols=8, precision="reconfigurable")
    formats = {"weight_scheme": "mixed", "weight_bits": 4, "log2_share": 0.5}
    plain, cost = both(mbconv(16, 16, 64, 16, **formats), both_arrays)
    assert cost.metrics["fpga.cycles"] < plain.metrics["fpga.cycles"]
    assert {layer.engine for layer in cost.layers} == {"mac_array+shift_array", "depthwise"}
    apot = {"weight_scheme": "apot", "weight_bits": 5}
    plain, cost = both(mbconv(16, 16, 64, 16, **apot), both_arrays)
    assert cost.metrics["fpga.cycles"] < plain.metrics["fpga.cycles"]


def test_energy_falls_by_dram_and_time_and_not_on_chip() -> None:
    plain, cost = both(mbconv(16, 16, 64, 16))
    assert cost.metrics["fpga.energy_mj"] < plain.metrics["fpga.energy_mj"]
    assert cost.metrics["fpga.dram_mb"] < plain.metrics["fpga.dram_mb"]
    assert cost.metrics["fpga.compute_cycles"] >= plain.metrics["fpga.compute_cycles"]
    for name in ("dsp", "lut", "ff", "bram36", "uram"):
        assert cost.metrics[f"fpga.{name}"] == plain.metrics[f"fpga.{name}"]


def test_what_has_no_chains_costs_the_same() -> None:
    unknown = network(*(replace(op, inputs=()) for op in mbconv().operations))
    plain, cost = both(unknown)
    assert cost.metrics == plain.metrics and cost.layers == plain.layers and not cost.chains


def test_a_cost_with_chains_survives_json() -> None:
    cost = estimate(mbconv(), FUSED, batch=2)
    assert cost.chains and Cost.from_json(cost.to_json()) == cost


@pytest.mark.parametrize("value", [1, 0, "true", None])
def test_the_option_is_true_or_false(value: Any) -> None:
    with pytest.raises(CostModelError, match="fused_chains must be true or false"):
        estimate(mbconv(), replace(SMALL, fused_chains=value))
