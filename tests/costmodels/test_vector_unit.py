"""Cycles and bytes of the vector unit, counted by hand."""

import pytest

from codesign.numerics.activation import ACTIVATIONS
from codesign.numerics.division import DIVISIONS
from codesign.numerics.layer_norm import LAYER_NORMS
from codesign.numerics.softmax import SOFTMAXES
from costmodels.errors import CostModelError
from costmodels.vector_unit import (
    FUNCTIONS,
    fused_cycles,
    lane_cost,
    operation_bytes,
    operation_cycles,
)
from costmodels.workload import VectorOperation


def test_element_wise_work_streams() -> None:
    assert operation_cycles(VectorOperation("a", "relu", 100), lanes=8) == 13


def test_softmax_passes_three_times_and_does_not_wait() -> None:
    """Maximum, sum, quotient; the divider is a pipeline."""
    softmax = VectorOperation("s", "softmax", 60, row_length=10)
    assert operation_cycles(softmax, lanes=4) == 3 * 15


def test_shiftmax_waits_for_its_reciprocal() -> None:
    """6 rows on 4 lanes wait twice: 10 cycles until the sum is loaded, 5 of its 14-bit division.

    The other 9 pass while the elements of the last pass are on their way to the product.
    """
    shiftmax = VectorOperation("s", "shiftmax", 60, row_length=10)
    assert operation_cycles(shiftmax, lanes=4) == 3 * 15 + 2 * (10 + 5)


def test_layer_norm_passes_twice_and_takes_a_root_and_a_division() -> None:
    """A 26-bit root, a 35-bit quotient, two cycles to load, two until the sums are there, three
    products and sums of the variance."""
    norm = VectorOperation("n", "layer_norm", 60, row_length=10)
    assert operation_cycles(norm, lanes=4) == 2 * 15 + 2 * (2 + 3 + 1 + 26 + 1 + 35)


def test_fused_element_wise_work_is_one_pipeline() -> None:
    chain = [VectorOperation("a", "requantize", 80), VectorOperation("b", "hardswish", 80)]
    assert fused_cycles(chain, lanes=8) == 10


def test_fused_row_work_waits() -> None:
    chain = [VectorOperation("a", "requantize", 80), VectorOperation("b", "softmax", 80, 80)]
    assert fused_cycles(chain, lanes=8) == 10 + 3 * 10


def test_nothing_fused_takes_no_time() -> None:
    assert fused_cycles([], lanes=8) == 0


@pytest.mark.parametrize(
    ("operation", "bits"),
    [
        (VectorOperation("a", "relu", 24, input_bits=6, output_bits=4), 24 * 10),
        (VectorOperation("a", "add", 24), 24 * (2 * 8 + 8)),
        (VectorOperation("a", "pool", 24, row_length=6), 24 * 8 + 4 * 8),
    ],
)
def test_bytes_are_operands_read_and_results_written(operation: VectorOperation, bits: int) -> None:
    assert operation_bytes(operation) * 8 == bits


def test_unknown_function_lists_the_known() -> None:
    with pytest.raises(CostModelError, match=r"no function 'gelu'\. Known: add, affine, clip"):
        operation_cycles(VectorOperation("act", "gelu", 4), lanes=1)


def test_wide_codes_of_a_codebook_need_the_longer_search() -> None:
    def lut(bits: int) -> float:
        operation = VectorOperation("s", "codebook_softmax", 8, 8, output_bits=bits)
        return lane_cost([operation]).lut

    assert lut(3) == lut(4) < lut(5) == lut(8)


def test_shift_requantisation_alone_needs_no_multiplier() -> None:
    shifts = [VectorOperation("a", "requantize_shift", 8)]
    assert lane_cost(shifts).dsp == 0
    assert lane_cost([*shifts, VectorOperation("b", "requantize", 8)]).dsp == lane_cost([]).dsp > 0


def test_every_function_of_the_integer_model_has_a_price() -> None:
    kinds = [ACTIVATIONS, DIVISIONS, LAYER_NORMS, SOFTMAXES]
    named = {kind.get(name).hardware_function for kind in kinds for name in kind.names()}
    assert named <= set(FUNCTIONS)
