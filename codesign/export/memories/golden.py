"""The golden codes as memories, for test benches that read nothing but text."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.export.memories.elements import Element
from codesign.export.memories.memory import Memories, Writer
from codesign.graph.ir import SHAPE_OPERATIONS
from codesign.integer.model import IntegerModel, IntegerNode

_PRODUCTS = frozenset({"conv2d", "linear", "matmul"})
_ACTIVATIONS = frozenset({"lookup", "hardswish", "shift_swish", "shift_gelu"})


def golden_files(model: IntegerModel, codes: Mapping[str, NDArray[np.integer[Any]]]) -> Memories:
    """Return golden/mem/*.mem: input, logits, and every output that hardware stores, by image.

    Codes that a shape operation only moves are those of the layer before it; codes that an
    activation function alone reads never leave the output stage; constants are in mem/. Those have
    no file here: golden.npz has them all.

    Args:
        model: The integer model.
        codes: Node name to its codes, images (or images x windows) first.
    """
    writer = Writer("golden/mem")
    names = stored(model)
    for node in model.nodes:
        if node.name in names:
            role = _role(model, node)
            stem = writer.names.stem(node.name)
            element, description = Element.of_format(node.format), "codes of the golden images"
            writer.add(node.name, role, codes[node.name], element, description, stem=stem)
    return writer.memories()


def stored(model: IntegerModel) -> set[str]:
    """Return the nodes whose codes hardware stores."""
    readers: dict[str, list[IntegerNode]] = {}
    for node in model.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    outside = SHAPE_OPERATIONS | {"constant"}
    kept = {n.name for n in model.nodes if n.op not in outside and not _fused(n, readers)}
    return kept | {model.nodes[0].name, model.nodes[-1].name}


def _fused(node: IntegerNode, readers: Mapping[str, list[IntegerNode]]) -> bool:
    """Return whether an activation function in the layer's own output stage alone reads a node."""
    following = readers.get(node.name, [])
    return node.op in _PRODUCTS and [n.op in _ACTIVATIONS for n in following] == [True]


def _role(model: IntegerModel, node: IntegerNode) -> str:
    ends = {model.nodes[0].name: "input", model.nodes[-1].name: "logits"}
    return ends.get(node.name, "output")
