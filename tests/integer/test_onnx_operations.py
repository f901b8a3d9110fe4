"""Each operation in ONNX Runtime against the NumPy and the torch executor, in every format."""

import numpy as np
import pytest
from one_operation import random_codes, run
from onnx_cases import CASES

from codesign.export.onnx_integer.operations import CONVERT
from codesign.integer import replay


def test_every_operation_is_converted_and_tried():
    assert set(CONVERT) == set(replay.OPERATIONS) == set(CASES)


@pytest.mark.parametrize("op", CASES)
def test_operation_in_every_format(op):
    rng, varied = np.random.default_rng(3), 0
    for operands, target, attributes, tensors, shape in CASES[op]:
        pairs = [(random_codes(rng, (6, *sizes), fmt), fmt) for sizes, fmt in operands]
        codes = run(op, pairs, target, attributes, tensors, shape)
        varied += len(np.unique(codes)) > 1
    assert varied > len(CASES[op]) / 2
