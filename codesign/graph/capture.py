"""Capture a timm model once, as a Graph, through torch.export with a dynamic batch."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import fx, nn

from codesign.errors import UserError
from codesign.graph import aten
from codesign.graph.fold import fold_batch_norm, remove_dead_nodes
from codesign.graph.ir import Dim, Graph, Node, unique


def capture(model: nn.Module, input_shape: tuple[int, int, int], name: str) -> Graph:
    """Return the model as a Graph in inference form, batch norms folded into the layers.

    Args:
        model: A classifier of images; it is put in evaluation mode.
        input_shape: (channels, height, width) of an image.
        name: The model's name, for messages and exports.

    Raises:
        UserError: torch.export cannot capture the model, or it has an operation without an
            integer form; the message names the operation, the node and the layer.
    """
    batch = torch.export.Dim("batch", min=1, max=4096)
    example = torch.zeros(2, *input_shape)
    try:
        program = torch.export.export(model.eval(), (example,), dynamic_shapes=({0: batch},))
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"model '{name}' cannot be captured by torch.export: {reason}") from error
    module = program.module()
    converter = Converter(module, name)
    for node in module.graph.nodes:
        converter.convert(node)
    return remove_dead_nodes(fold_batch_norm(converter.graph()))


class Converter:
    """Turns the nodes of an exported module into nodes of our Graph, one by one."""

    def __init__(self, module: fx.GraphModule, name: str) -> None:
        self.name = name
        self.state: Mapping[str, torch.Tensor] = {
            **dict(module.named_buffers()),
            **dict(module.named_parameters()),
        }
        self.nodes: dict[str, Node] = {}
        self.value: dict[fx.Node, Any] = {}
        self.symbol: Any = None

    def convert(self, node: fx.Node) -> None:
        """Add what one exported node stands for."""
        if node.op == "placeholder":
            self.symbol = node.meta["val"].shape[0].node.expr
            self.value[node] = self.add("input", "input", (), node)
        elif node.op == "get_attr":
            self.value[node] = aten.Parameter(str(node.target))
        elif node.op == "output":
            self._output(node)
        elif node.op == "call_function" and _is_tensor_work(node):
            self.value[node] = aten.convert(self, node)

    def add(
        self,
        name: str,
        op: str,
        inputs: tuple[str, ...],
        node: fx.Node,
        *,
        shape: tuple[Dim, ...] | None = None,
        attributes: Mapping[str, Any] | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> str:
        """Add a node and return its (unique) name."""
        name = unique(name, self.nodes)
        shape = self.shape(node) if shape is None else shape
        self.nodes[name] = Node(name, op, inputs, shape, attributes or {}, parameters or {})
        return name

    def operand(self, value: Any, node: fx.Node) -> str:
        """Return the node name of an operand, making a constant node of a parameter."""
        found = self.value[value]
        if isinstance(found, aten.Parameter):
            tensor = self.state[found.name]
            return self.add(
                f"{found.name}.constant",
                "constant",
                (),
                node,
                shape=tuple(tensor.shape),
                parameters={"value": found.name},
            )
        return str(found)

    def shape(self, node: fx.Node) -> tuple[Dim, ...]:
        """Return the shape of an exported node's result."""
        return tuple(self.dim(size, node) for size in node.meta["val"].shape)

    def dim(self, size: Any, node: fx.Node) -> Dim:
        """Return a size as an int or as a multiple of the batch.

        Raises:
            UserError: The size depends on the batch in another way than by a factor.
        """
        if isinstance(size, int):
            return size
        expression = size.node.expr
        factor = expression.subs(self.symbol, 1)
        if expression != factor * self.symbol:
            raise self.unsupported(node, f"a size {expression} that is no multiple of the batch")
        return f"{int(factor)}*B"

    def path(self, node: fx.Node) -> str:
        """Return the timm module path a node belongs to."""
        stack = node.meta.get("nn_module_stack") or {}
        paths = [path for path, _ in stack.values() if path]
        return paths[-1] if paths else ""

    def unsupported(self, node: fx.Node, what: str) -> UserError:
        """Return the error for something that has no integer form."""
        where = self.path(node) or "the top level"
        return UserError(
            f"model '{self.name}': {what} has no integer form yet (node {node.name}, in {where})."
        )

    def graph(self) -> Graph:
        """Return the finished graph."""
        used = {name for node in self.nodes.values() for name in node.parameters.values()}
        tensors = {
            name: value.detach().clone() for name, value in self.state.items() if name in used
        }
        return Graph(self.name, tuple(self.nodes.values()), tensors)

    def _output(self, node: fx.Node) -> None:
        results = node.args[0]
        if not isinstance(results, list | tuple) or len(results) != 1:
            raise UserError(f"model '{self.name}' does not return one tensor of logits.")
        name = self.value[cast(fx.Node, results[0])]
        self.nodes[name] = self.nodes.pop(name)


def _is_tensor_work(node: fx.Node) -> bool:
    """Whether a node computes tensors (not sizes) and somebody reads the result."""
    if not node.users:
        return False
    value = node.meta.get("val")
    if isinstance(value, list | tuple):
        return any(isinstance(item, torch.Tensor) for item in value)
    return isinstance(value, torch.Tensor)
