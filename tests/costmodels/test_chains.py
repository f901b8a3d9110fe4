"""Fused chains: what is found, by hand; what it takes, played; and properties that must hold."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from chain_workloads import attention, fused, mbconv, mlp, network, pointwise
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_workloads import conv, linear

from costmodels import systolic
from costmodels.accelerator import Accelerator
from costmodels.batch import batched
from costmodels.board import load_board
from costmodels.chains import find_chains
from costmodels.chains.bands import cut, cut_at
from costmodels.chains.busy import Hardware
from costmodels.chains.price import NEVER, price_chain
from costmodels.cost import Cost
from costmodels.cycles import CycleModel
from costmodels.engines import engine_sizes, plan
from costmodels.errors import CostModelError
from costmodels.estimate import estimate
from costmodels.grid import Grid
from costmodels.latency import analytical_cycles
from costmodels.many import LAYER_FIGURES, estimate_many
from costmodels.workload import MatrixLayer, VectorOperation, Workload

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


# What it takes, played from first principles.


def played(workload: Workload, accelerator: Accelerator, height: int) -> tuple[int, int] | None:
    """Cycles and bytes of the one chain of a workload in bands of a height, or None: no room."""
    (chain,) = find_chains(workload)
    place = cut(chain).height.tolist().index(height)
    kinds = cut(chain).rows[place].tolist()
    bands = -(-chain.stages[-1].rows.count // height)
    halves = [8192 * getattr(accelerator, f"{n}_buffer_kb") for n in ("input", "weight", "output")]
    held, kept = [0, 0, 0], [0, 0, 0]
    rows = [[k[2]] if bands == 1 else [k[0], *[k[1]] * (bands - 2), k[2]] for k in kinds]
    before = None
    for stage, counts in zip(chain.stages, rows, strict=True):
        op = stage.operation
        vector = isinstance(op, VectorOperation)
        per_row = (8 * op.input_elements // chain.units // stage.rows.count) if not vector else 0
        if before:  # of the stage before, in its rows
            per_row = 8 * before[1] // chain.units // before[0].rows.count
        window = (
            stage.rows.kept if before else -(-stage.rows.kept // getattr(op, "stride_height", 1))
        )
        most = max((before or (None, None, counts))[2]) + window
        held[2 if vector else stage.operand] += most * per_row
        if not vector:
            weights = op.input_elements if stage.operand else op.weight_elements
            constants = 0 if op.kind == "matmul" else 56 * op.n * op.repeats
            kept[0 if stage.operand else 1] += (8 * weights + constants) // chain.units
            before = stage, op.output_elements, counts
        else:
            before = stage, op.elements, counts
    if any(size > half for size, half in zip(held, halves, strict=True)):
        return None
    resident = all(a + b <= half for a, b, half in zip(held, kept, halves, strict=True))
    jobs = [
        [_job(chain, s, stage, n, b, bands, resident, accelerator) for b, n in enumerate(counts)]
        for s, (stage, counts) in enumerate(zip(chain.stages, rows, strict=True))
    ]
    jobs = [stage * chain.units for stage in jobs]
    total, steps = 0, len(jobs[0]) + len(jobs) - 1
    for step in range(steps):
        busy = np.zeros(5, dtype=np.int64)
        for s, stage in enumerate(jobs):
            if 0 <= step - s < len(stage):
                busy += stage[step - s]
        total += int(busy.max())
    return total, _bytes(chain, 1 if resident else bands)


def _job(
    chain: Any, s: int, stage: Any, rows: int, band: int, bands: int, resident: bool, a: Accelerator
) -> np.ndarray:
    """Cycles of MAC array, depthwise engine, vector unit and DRAM for one band of a stage."""
    op, share = stage.operation, rows / stage.rows.count / chain.units
    busy = np.zeros(5, dtype=np.int64)
    flow, bits = sum(_side(work) for work in stage.works), 0
    if isinstance(op, MatrixLayer):
        size = {"m": op.m, "n": op.n, stage.rows.along: rows * stage.rows.width}
        if op.kind == "depthwise" and a.depthwise_lanes:
            busy[1] = -(-op.repeats // a.depthwise_lanes) * size["m"] * op.k
        else:
            repeats = op.repeats // chain.units
            busy[0] = repeats * systolic.cycles(
                size["m"], op.k, size["n"], a.mac_rows, a.mac_cols, a.dataflow
            )
        weights = 8 * (op.input_elements if stage.operand else op.weight_elements)
        weights += 0 if op.kind == "matmul" else 56 * op.n * op.repeats
        if not resident:
            bits += weights // chain.units
        elif chain.units > 1:
            bits += -(-(weights // chain.units) // bands)
        elif band == 0:
            bits += weights
        flow += 8 * op.input_elements * (s == 0)
        flow += 8 * op.output_elements * (s == len(chain.stages) - 1)
    bits += -(-flow // (chain.units * stage.rows.count)) * rows  # whole bits a row
    passes = {"softmax": 3}
    longest = 0
    for work in stage.works:
        cycles = -(-round(work.elements * share) // a.vector_lanes)
        longest = max(longest, cycles * passes.get(work.function, 1))
    busy[2] = longest
    per_cycle = 8 * load_board(a.board).bytes_per_cycle(a.clock_mhz)
    busy[3] = np.ceil(bits / per_cycle)
    return busy


def _side(work: VectorOperation) -> int:
    return work.elements * work.input_bits * (work.function == "add")


def _bytes(chain: Any, reads: int) -> int:
    total = 0
    for s, stage in enumerate(chain.stages):
        op, bits = stage.operation, 0
        if isinstance(op, MatrixLayer):
            weights = op.input_elements if stage.operand else op.weight_elements
            constants = 0 if op.kind == "matmul" else 56 * op.n * op.repeats
            bits = (8 * weights + constants) * reads
            bits += 8 * op.input_elements * (s == 0)
            bits += 8 * op.output_elements * (s == len(chain.stages) - 1)
        total += -(-bits // 8) + sum(-(-_side(work) // 8) for work in stage.works)
    return total


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


@settings(max_examples=400, deadline=None)
@given(st.one_of(blocks, pairs, heads), accelerators)
def test_every_cut_as_played(workload: Workload, accelerator: Accelerator) -> None:
    """Also those that are not the best: weights that do not stay, keys that come band by band."""
    (chain,) = find_chains(workload)
    board, grid = load_board(accelerator.board), Grid.of(accelerator)
    planned = plan(workload, accelerator, board.dsp_type)
    bits = np.array([8 * board.bytes_per_cycle(accelerator.clock_mhz)])
    sizes = engine_sizes(planned, grid)
    hardware = Hardware(planned, *sizes, grid, bits, analytical_cycles)
    for height in cut(chain).height.tolist():
        made = cut_at(chain, [height])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("costmodels.chains.price.cut", lambda _, made=made: made)
            found = price_chain(chain, hardware)
        total, size = played(workload, accelerator, height) or (NEVER, None)
        assert found.cycles[0] == total
        assert size is None or found.dram_bytes[0].sum() == size


@settings(max_examples=150, deadline=None)
@given(st.one_of(blocks, pairs, heads), accelerators)
def test_the_best_of_the_cuts_as_played(workload: Workload, accelerator: Accelerator) -> None:
    """Every cut is played; the quickest, of equal ones with the fewest bytes, is the price."""
    chain, before = (
        find_chains(workload)[0],
        estimate(workload, replace(accelerator, fused_chains=False)),
    )
    tried = [played(workload, accelerator, h) for h in cut(chain).height.tolist()]
    options = [found for found in tried if found is not None]
    alone = [x for x in before.layers if x.name in chain.operations]
    own = sum(x.cycles for x in alone), sum(x.dram_bytes for x in alone)
    best = min([own, *options])
    cost = estimate(workload, accelerator)
    layers = [x for x in cost.layers if x.name in chain.operations]
    assert (sum(x.cycles for x in layers), sum(x.dram_bytes for x in layers)) == best
    assert bool(cost.chains) == (best != own)
    assert all((x.chain == chain.name) == bool(cost.chains) for x in layers)


@settings(max_examples=60, deadline=None)
@given(st.one_of(blocks, pairs, heads), accelerators, st.sampled_from([1, 3]))
def test_never_slower_and_never_below_the_compulsory_traffic(
    workload: Workload, accelerator: Accelerator, batch: int
) -> None:
    plain, cost = both(workload, replace(accelerator, fused_chains=False), batch=batch)
    assert cost.metrics["fpga.cycles"] <= plain.metrics["fpga.cycles"]
    assert cost.metrics["fpga.cycles"] == sum(layer.cycles for layer in cost.layers)
    moved = sum(layer.dram_bytes for layer in cost.layers)
    images = batched(workload, batch).layers
    if cost.chains:
        least = images[0].input_elements + images[-1].output_elements
        least += sum(layer.weight_elements for layer in images if layer.kind != "matmul")
        assert moved >= least
        assert all(0 <= layer.utilisation <= 1 and layer.cycles > 0 for layer in cost.layers)
    for chain in cost.chains:
        for name in ("input", "weight", "output"):
            half = 1024 * getattr(accelerator, f"{name}_buffer_kb")
            assert 0 <= getattr(chain, f"{name}_bytes") <= half
    assert [layer.name for layer in cost.layers] == [layer.name for layer in plain.layers]


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


@pytest.mark.parametrize(("size", "stride"), itertools.product((8, 14, 28), (1, 2)))
def test_bands_by_powers_of_two_are_nearly_as_good_as_any(size: int, stride: int) -> None:
    """All heights, not those tried alone: none is more than 15 % quicker."""
    workload = mbconv(size, 16, 64, 16, stride=stride)
    for kilobytes, dataflow in itertools.product((2, 8, 64), ("os", "ws")):
        buffers = {f"{n}_buffer_kb": kilobytes for n in ("input", "weight", "output")}
        accelerator = replace(FUSED, mac_rows=16, mac_cols=16, dataflow=dataflow, **buffers)
        found = estimate(workload, accelerator).metrics["fpga.cycles"]
        assert found <= 1.15 * _best_of_all(workload, accelerator)


def _best_of_all(workload: Workload, accelerator: Accelerator) -> float:
    (chain,) = find_chains(workload)
    rows = chain.stages[-1].rows
    best = estimate(workload, replace(accelerator, fused_chains=False)).metrics["fpga.cycles"]
    for height in range(rows.lag + 1, rows.count + 1):
        one = played_at(workload, accelerator, height)
        best = min(best, one) if one else best
    return best


def played_at(workload: Workload, accelerator: Accelerator, height: int) -> int | None:
    """`played` for a height that is perhaps not tried."""
    made = cut_at(find_chains(workload)[0], [height])
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "cut", lambda chain: made)
        found = played(workload, accelerator, height) if len(made.height) else None
    return found[0] if found else None
