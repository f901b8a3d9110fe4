"""DSP packing against exhaustive decoding, published tables and AMD's DPU."""

import itertools

import pytest

from costmodels.errors import CostModelError
from costmodels.packing import Packing, array_dsps, packing, port_adder_bits, steps
from costmodels.tables import read_table


def published() -> list[tuple[str, int, int, int, int]]:
    return [
        (row["dsp_type"], int(row["guard_bits"]), int(row["weight_bits"]), a, int(row[f"a{a}"]))
        for row in read_table("dsp_packing")
        for a in range(2, 9)
    ]


def test_rule_meets_the_searched_table() -> None:
    differing = [
        (kind, guard, w, a)
        for kind, guard, w, a, products in published()
        if packing(w, a, dsp_type=kind, guard_bits=guard, limit=12).products != products
    ]
    # one entry of 245 finds room for a third product that the rule's borrow bit denies
    assert differing == [("DSP48E2", 3, 8, 2)]


@pytest.mark.parametrize(("w", "a"), [(2, 2), (3, 2), (2, 3), (3, 3), (4, 4)])
def test_packed_products_decode_exactly(w: int, a: int) -> None:
    packed = packing(w, a, guard_bits=0, limit=4)
    slot = w + a
    weights = range(-(1 << (w - 1)), 1 << (w - 1))
    activations = range(-(1 << (a - 1)), 1 << (a - 1))
    extremes = [*weights][:: max(1, len(weights) - 1)], [*activations][:: max(1, (1 << a) - 1)]
    for ws in itertools.product(
        *[extremes[0] if packed.products > 4 else weights] * packed.weights
    ):
        for xs in itertools.product(extremes[1], repeat=packed.activations):
            wide = sum(value << (slot * i) for i, value in enumerate(ws))
            narrow = sum(value << (slot * packed.weights * j) for j, value in enumerate(xs))
            assert min(wide, narrow) >= -(1 << 26) and max(wide, narrow) < 1 << 26
            assert decode(wide * narrow, slot, packed) == [x * v for x in xs for v in ws]


def decode(product: int, slot: int, packed: Packing) -> list[int]:
    values = []
    for _ in range(packed.products):
        low = product & ((1 << slot) - 1)
        low -= (low >> (slot - 1)) << slot
        values.append(low)
        product = (product - low) >> slot
    return values


@pytest.mark.parametrize("row", read_table("dpuczdx8g"), ids=lambda row: row["architecture"])
def test_dsps_of_amds_dpu(row: dict[str, str]) -> None:
    pixels, inputs, outputs = (
        int(row[name]) for name in ("pixels", "input_channels", "output_channels")
    )
    packed = packing(8, 8)
    multipliers = array_dsps(pixels * inputs, outputs, packed, double_pumped=True)
    assert multipliers + 2 == int(row["dsp_low"])
    assert multipliers + pixels * outputs + 2 == int(row["dsp_high"])


def test_only_output_stationary_arrays_share_both_operands() -> None:
    assert packing(4, 4, dataflow="os") == Packing(2, 2)
    assert packing(4, 4, dataflow="ws").activations == 1
    assert packing(4, 4, dataflow="is").weights == 1


def test_ragged_arrays_round_up() -> None:
    assert array_dsps(3, 5, Packing(2, 2)) == 2 * 3
    assert array_dsps(3, 5, Packing(1, 2), "is") == 3 * 3


def test_product_too_wide_for_a_dsp_says_so() -> None:
    with pytest.raises(CostModelError, match="32 x 8-bit product does not fit one DSP48E2"):
        packing(32, 8)


@pytest.mark.parametrize("dsp_type", ["DSP48E1", "DSP48E2", "DSP58"])
@pytest.mark.parametrize("dataflow", ["os", "ws", "is"])
def test_steps_keep_products_apart(dsp_type: str, dataflow: str) -> None:
    """Extreme operands, all on their ports at once: each slot decodes to its own product."""
    for w, a in itertools.product(range(2, 9), repeat=2):
        packed = packing(w, a, dataflow=dataflow, dsp_type=dsp_type)
        spacing = steps(packed, w, a, dsp_type=dsp_type)
        for ws in itertools.product((-(1 << (w - 1)), (1 << (w - 1)) - 1), repeat=packed.weights):
            for xs in itertools.product((-(1 << (a - 1)), 1), repeat=packed.activations):
                weights = sum(v << (spacing.weight_step * i) for i, v in enumerate(ws))
                activations = sum(x << (spacing.activation_step * j) for j, x in enumerate(xs))
                decoded = decode(weights * activations, spacing.slot, packed)
                expected = {
                    i * spacing.weight_step + j * spacing.activation_step: v * x
                    for i, v in enumerate(ws)
                    for j, x in enumerate(xs)
                }
                slots = range(0, packed.products * spacing.slot, spacing.slot)
                assert decoded == [expected[slot] for slot in slots]


def test_packing_that_does_not_fit_has_no_steps() -> None:
    with pytest.raises(CostModelError, match="2 x 2 products of 8 x 8 bits do not fit one DSP48E2"):
        steps(Packing(2, 2), 8, 8)


def test_preadder_saves_one_adder() -> None:
    assert port_adder_bits(Packing(1, 1), 8, 8) == 0
    assert port_adder_bits(Packing(2, 1), 8, 8) == port_adder_bits(Packing(1, 2), 8, 8) == 0
    assert port_adder_bits(Packing(3, 1), 4, 4) == 4
    assert port_adder_bits(Packing(2, 2), 4, 4) == 4
