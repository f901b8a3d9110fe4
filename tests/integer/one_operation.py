"""Models of one operation, run by every executor on the same codes."""

import numpy as np
import torch
from random_networks import DEVICES

from codesign.export.onnx_integer import OnnxExecutor, integer_onnx
from codesign.integer import replay
from codesign.integer.model import IntegerModel, IntegerNode
from codesign.integer.torch_executor import TorchExecutor
from codesign.numerics.fixed_point import Format


def random_codes(rng, shape, fmt):
    """Return codes whose first images are all-smallest, all-largest, zero and alternating."""
    codes = rng.integers(fmt.low, fmt.high + 1, size=shape)
    codes[0] = fmt.low
    codes[1] = fmt.high
    codes[2] = np.clip(fmt.zero_point, fmt.low, fmt.high)
    flat = codes[3].reshape(-1)
    flat[::2], flat[1::2] = fmt.low, fmt.high
    return codes


def run(op, operands, target, attributes=None, tensors=None, shape=()):
    """Return the codes an operation gives, after checking that all executors agree.

    Args:
        op: Operation.
        operands: (codes with a leading batch axis, their Format) for each.
        target: Format of the result.
        attributes: The node's attributes.
        tensors: Role to array.
        shape: Shape of the result without the batch.
    """
    batch = len(operands[0][0])
    flat = [codes.reshape(batch, -1) for codes, _ in operands]
    width = sum(part.shape[1] for part in flat)
    nodes = [IntegerNode("input", "input", (), Format(16, 1.0, 0, True), ("1*B", width))]
    start = 0
    for i, ((codes, fmt), part) in enumerate(zip(operands, flat, strict=True)):
        stop = start + part.shape[1]
        cut = {"dim": 1, "start": start, "stop": stop, "step": 1}
        nodes.append(IntegerNode(f"part{i}", "slice", ("input",), fmt, ("1*B", stop - start), cut))
        sizes = ("1*B", *codes.shape[1:])
        nodes.append(IntegerNode(f"x{i}", "reshape", (f"part{i}",), fmt, sizes))
        start = stop
    inputs = tuple(f"x{i}" for i in range(len(operands)))
    keys = {role: f"op/{role}" for role in tensors or {}}
    nodes.append(IntegerNode("op", op, inputs, target, ("1*B", *shape), attributes or {}, keys))
    arrays = {keys[role]: np.asarray(value) for role, value in (tensors or {}).items()}
    model = IntegerModel("one", tuple(nodes), arrays)
    codes = np.concatenate(flat, axis=1).astype(np.int64)
    replayed = replay.run(model.graph_json(), arrays, codes)
    for device in DEVICES:
        fast = TorchExecutor(model, device).run(torch.from_numpy(codes)).cpu()
        assert fast.numpy().shape == replayed.shape
        np.testing.assert_array_equal(fast.numpy().astype(np.int64), replayed)
    kept = {}
    OnnxExecutor(integer_onnx(model, every_node=True)).run(codes, keep=kept)
    np.testing.assert_array_equal(kept["op"], replayed)
    return replayed
