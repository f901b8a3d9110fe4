"""Checks of the ONNX files: their form, their bytes, and what ONNX Runtime computes."""

import numpy as np
import onnx
import torch

from codesign.bundle.files import read_bytes
from codesign.errors import UserError
from codesign.export.derived import INTEGER_ONNX, PRODUCER, QDQ_ONNX, QONNX_ONNX, onnx_bytes
from codesign.export.onnx_float import QUANT_OPS, qdq_onnx, qonnx_onnx
from codesign.export.onnx_integer import OnnxExecutor, integer_onnx
from codesign.export.onnx_integer import check as check_form
from codesign.integer.torch_executor import TorchExecutor
from codesign.verify.compare import difference
from codesign.verify.opened import Opened
from codesign.verify.registry import check, report

OTHER_INPUTS = 24
"""Inputs beside the golden ones: uniform random codes, all smallest, all largest."""


@check("onnxruntime")
def integer_file(opened: Opened) -> str:
    """model.integer.onnx is valid, of integers alone, and gives our logits in ONNX Runtime."""
    content = read_bytes(opened.folder, INTEGER_ONNX)
    check_form(_load(content, INTEGER_ONNX))
    ready = OnnxExecutor(content)
    others = _other_inputs(opened)
    ours = TorchExecutor(opened.model).run(torch.from_numpy(others)).numpy().astype(np.int64)
    faults = [
        difference(f"{INTEGER_ONNX}, golden logits", opened.logits, ready.run(opened.input_codes)),
        difference(f"{INTEGER_ONNX}, logits of random codes", ours, ready.run(others)),
        _bytes_fault(INTEGER_ONNX, content, integer_onnx(opened.model)),
    ]
    report(*faults)
    return f"logits of {len(opened.logits)} golden and {len(others)} other inputs equal ours"


@check("mirrors")
def float_files(opened: Opened) -> str:
    """model.qdq.onnx and model.qonnx.onnx are those of the integer model."""
    qdq, qonnx = (read_bytes(opened.folder, name) for name in (QDQ_ONNX, QONNX_ONNX))
    named = _quant_op(_load(qonnx, QONNX_ONNX))
    report(
        _bytes_fault(QDQ_ONNX, qdq, qdq_onnx(opened.model)),
        _bytes_fault(QONNX_ONNX, qonnx, qonnx_onnx(opened.model, quant_op=named)),
    )
    return f"{QDQ_ONNX} and {QONNX_ONNX} ({named}) are made from the integer model"


def _quant_op(proto: onnx.ModelProto) -> str:
    """Return the name that a QONNX file gives its quantisers."""
    present = {node.op_type for node in proto.graph.node}
    return next((name for name in QUANT_OPS if name in present), QUANT_OPS[0])


def _other_inputs(opened: Opened) -> np.ndarray:
    fmt, shape = opened.model.input_format, opened.input_codes.shape[1:]
    rng = np.random.default_rng(0)
    codes = rng.integers(fmt.low, fmt.high + 1, size=(OTHER_INPUTS, *shape))
    codes[0], codes[1] = fmt.low, fmt.high
    return codes


def _bytes_fault(name: str, content: bytes, made: onnx.ModelProto) -> str | None:
    """Return that a file is not what this version makes, None where it is.

    A file of another version of the converter or of onnx may differ: it says so itself.
    """
    if content == onnx_bytes(made):
        return None
    if _load(content, name).producer_version != PRODUCER:
        return None
    return f"{name} is another file than its integer model gives"


def _load(content: bytes, name: str) -> onnx.ModelProto:
    try:
        return onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own errors
        raise UserError(f"{name} is no ONNX file: {error}") from error
