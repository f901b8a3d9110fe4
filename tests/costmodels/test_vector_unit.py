"""Cycles and bytes of the vector unit, counted by hand."""

import pytest

from costmodels.errors import CostModelError
from costmodels.vector_unit import fused_cycles, operation_bytes, operation_cycles
from costmodels.workload import VectorOperation


def test_element_wise_work_streams() -> None:
    assert operation_cycles(VectorOperation("a", "relu", 100), lanes=8) == 13


def test_softmax_passes_three_times_and_divides_once_a_row() -> None:
    """Maximum, sum, quotient; 6 rows on 4 lanes wait twice for a 32-cycle division."""
    softmax = VectorOperation("s", "softmax", 60, row_length=10)
    assert operation_cycles(softmax, lanes=4) == 3 * 15 + 2 * 32


def test_layer_norm_passes_twice_and_takes_a_root_and_a_division() -> None:
    norm = VectorOperation("n", "layer_norm", 60, row_length=10)
    assert operation_cycles(norm, lanes=4) == 2 * 15 + 2 * (16 + 32)


def test_fused_element_wise_work_is_one_pipeline() -> None:
    chain = [VectorOperation("a", "requantize", 80), VectorOperation("b", "hardswish", 80)]
    assert fused_cycles(chain, lanes=8) == 10


def test_fused_row_work_waits() -> None:
    chain = [VectorOperation("a", "requantize", 80), VectorOperation("b", "softmax", 80, 80)]
    assert fused_cycles(chain, lanes=8) == 10 + 3 * 10 + 32


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
    with pytest.raises(CostModelError, match=r"no function 'gelu'\. Known: add, clip"):
        operation_cycles(VectorOperation("act", "gelu", 4), lanes=1)
