"""Run an integer model quickly with torch, on the CPU or a GPU.

Codes are held as float32 whole numbers. A layer is evaluated in float32 where the sum of its
weights' magnitudes proves that no partial sum reaches 2**24, else in float64; requantisation is in
float64, exact below 2**53. The integers are those of `codesign.integer.replay`, to the last one.
"""

import numpy as np
import torch
from torch import Tensor

from codesign.graph.execute import last_uses, move
from codesign.graph.ir import SHAPE_OPERATIONS
from codesign.graph.ir import Node as GraphNode
from codesign.integer.model import IntegerModel, IntegerNode
from codesign.integer.torch_operations import PREPARE, Step

CHUNK_IMAGES = 32
"""Images evaluated at once: larger batches fall out of the caches."""


class TorchExecutor:
    """An integer model made ready to run.

    Args:
        model: The model.
        device: A torch device name.
    """

    def __init__(self, model: IntegerModel, device: str = "cpu") -> None:
        self.model = model
        self.device = device
        self._by_name = {node.name: node for node in model.nodes}
        self._steps = {node.name: self._prepare(node) for node in model.nodes[1:]}
        self._last = last_uses(_as_graph_nodes(model))

    @torch.no_grad()
    def run(self, codes: Tensor, keep: dict[str, Tensor] | None = None) -> Tensor:
        """Return the logits' codes of a batch of input codes, float32 whole numbers.

        Args:
            codes: (batch, channels, height, width) whole numbers of any type.
            keep: Receives every node's codes if given; the batch is then run in one piece.
        """
        codes = codes.to(self.device, torch.float32)
        if keep is not None:
            return self._run_chunk(codes, keep)
        return torch.cat([self._run_chunk(part, None) for part in codes.split(CHUNK_IMAGES)])

    def predict(self, images: Tensor) -> Tensor:
        """Return the class of each image, (batch,) int64."""
        codes = self.model.input_format.quantize(images)
        return self.run(codes).argmax(dim=1).cpu()

    def _run_chunk(self, codes: Tensor, keep: dict[str, Tensor] | None) -> Tensor:
        values = {self.model.nodes[0].name: codes}
        result = codes
        for node in self.model.nodes[1:]:
            inputs = [values[name] for name in node.inputs]
            if node.op in SHAPE_OPERATIONS:
                result = move(_as_graph_node(node), inputs[0], codes.shape[0])
            else:
                result = self._steps[node.name](inputs)
            values[node.name] = result
            for name in () if keep is not None else self._last[node.name]:
                del values[name]
        if keep is not None:
            keep.update(values)
        return result

    def _prepare(self, node: IntegerNode) -> Step:
        tensors = {
            role: torch.from_numpy(np.array(self.model.tensors[key])).to(self.device)
            for role, key in node.tensors.items()
        }
        sources = [self._by_name[name].format for name in node.inputs]
        if node.op in SHAPE_OPERATIONS:
            return lambda x: x[0]
        return PREPARE[node.op](node, tensors, sources)


def _as_graph_node(node: IntegerNode) -> GraphNode:
    return GraphNode(node.name, node.op, node.inputs, node.shape, node.attributes)


def _as_graph_nodes(model: IntegerModel) -> list[GraphNode]:
    return [_as_graph_node(node) for node in model.nodes]
