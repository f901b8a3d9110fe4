"""What moves values and leaves them as they are."""

from collections.abc import Sequence

import numpy as np

from codesign.export.onnx_float.base import Mirror, Real, emits
from codesign.integer.model import IntegerNode


@emits("constant", kind="constant")
def constant(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Leave it to the quantiser how stored codes are written."""
    return ""


@emits("concat", kind="move")
def concat(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write a Concat."""
    return b.add("Concat", [x.name for x in inputs], axis=node.attributes["dim"])


@emits("reshape", kind="move")
def reshape(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write a Reshape whose size that grows with the batch is -1."""
    sizes = [d if isinstance(d, int) else -1 for d in node.shape]
    return b.add("Reshape", [inputs[0].name, b.integers(sizes, "sizes")])


@emits("permute", kind="move")
def permute(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write a Transpose."""
    return b.add("Transpose", [inputs[0].name], perm=list(node.attributes["order"]))


@emits("slice", kind="move")
def part(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write a Slice."""
    a = node.attributes
    ends = [b.integers([a[key]], key) for key in ("start", "stop")]
    where = [b.integers([a["dim"]], "axis"), b.integers([a["step"]], "step")]
    return b.add("Slice", [inputs[0].name, *ends, *where])


@emits("select", kind="move")
def select(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write a Gather of one index, which takes the dimension away."""
    a = node.attributes
    return b.add("Gather", [inputs[0].name, b.integers(a["index"], "index")], axis=a["dim"])


@emits("gather", kind="move")
def gather(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write a Gather of many."""
    a = node.attributes
    return b.add("Gather", [inputs[0].name, b.integers(a["indices"], "indices")], axis=a["dim"])


@emits("expand", kind="move")
def expand(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write an Expand; sizes that grow with the batch are read off the input's shape."""
    if all(isinstance(d, int) for d in node.shape):
        sizes = b.integers(node.shape, "sizes")
    else:
        batch = b.add("Shape", ["images"], start=0, end=1)
        parts = [_size(b, d, batch) for d in node.shape]
        sizes = b.add("Concat", parts, axis=0)
    return b.add("Expand", [inputs[0].name, sizes])


def _size(b: Mirror, size: int | str, batch: str) -> str:
    """Return a dimension's size, (1,) int64."""
    if isinstance(size, int):
        return b.integers([size], "size")
    times = int(size.removesuffix("*B"))
    return batch if times == 1 else b.add("Mul", [batch, b.integers([times], "times")])


@emits("pad", kind="move")
def pad(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write a Pad with zeros, which the code it adds stands for."""
    pads = np.asarray(node.attributes["pads"], dtype=np.int64)
    return b.add("Pad", [inputs[0].name, b.integers(pads.T.reshape(-1), "pads")])
