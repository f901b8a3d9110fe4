"""Lowering of what normalises rows: softmax and LayerNorm."""

import numpy as np

from codesign.errors import RunError
from codesign.graph.ir import Node, resolve
from codesign.numerics.layer_norm import layer_norm_constants
from codesign.numerics.softmax import MAX_ROW, exponential_table
from codesign.quantize.lowerings.base import Integers, Lowering, lowers


@lowers("softmax")
def _softmax(b: Lowering, node: Node) -> None:
    source, target = b.format(node.inputs[0]), b.target(node)
    if resolve(node.shape, 1)[-1] > MAX_ROW:
        raise RunError(f"{node.name}: softmax over more than {MAX_ROW} elements")
    table = exponential_table(source).numpy().astype(np.int32)
    b.add(node, target, {"levels": target.high}, {"table": table})


@lowers("layer_norm")
def _layer_norm(b: Lowering, node: Node) -> None:
    source, target = b.format(node.inputs[0]), b.target(node)
    channels = resolve(node.shape, 1)[-1]
    values = {
        role: b.network.tensors[name].detach().cpu().double().numpy()
        for role, name in node.parameters.items()
    }
    gamma = values.get("weight", np.ones(channels))
    beta = values.get("bias", np.zeros(channels))
    c = layer_norm_constants(gamma, beta, node.attributes["epsilon"], source, target)
    tensors: Integers = {
        "scale": c.scale.astype(np.int16),
        "offset": c.offset.astype(np.int32),
    }
    b.add(node, target, {"epsilon": c.epsilon, "shift": c.shift}, tensors)
