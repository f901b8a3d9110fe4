"""Capture a timm model once, as a Graph, through torch.export with a dynamic batch."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from codesign.errors import UserError
from codesign.graph import aten
from codesign.graph.aten.base import Constant, is_in_place, owner
from codesign.graph.constants import fetch, fold, size_at
from codesign.graph.fold import fold_affine, fold_batch_norm, remove_dead_nodes
from codesign.graph.ir import Dim, Graph, Node, Shape, unique


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
    converter = Converter(name)
    with torch.no_grad():
        converter.convert_all(module)
    return remove_dead_nodes(fold_affine(fold_batch_norm(remove_dead_nodes(converter.graph()))))


class Converter:
    """Turns the nodes of an exported module into nodes of our Graph, one by one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state: dict[str, Tensor] = {}
        self.nodes: dict[str, Node] = {}
        self.value: dict[fx.Node, Any] = {}
        self.symbol: Any = None
        self._place: dict[fx.Node, int] = {}

    def convert_all(self, module: fx.GraphModule, inputs: Sequence[Any] | None = None) -> Any:
        """Convert a module's nodes; return the values of its outputs.

        Args:
            module: The exported module, or a part of it with a graph of its own.
            inputs: Values of the part's placeholders; None for the whole.
        """
        given = iter(inputs or ())
        for node in module.graph.nodes:
            self._place[node] = len(self._place)
            if node.op == "placeholder" and inputs is not None:
                self.value[node] = next(given)
            elif node.op == "get_attr":
                self.value[node] = self._attribute(module, str(node.target))
            elif node.op == "output" and inputs is not None:
                return [self.value[item] for item in cast(Sequence[fx.Node], node.args[0])]
            else:
                self.convert(node)
        return None

    def convert(self, node: fx.Node) -> None:
        """Add what one exported node stands for."""
        if node.op == "placeholder":
            self.symbol = node.meta["val"].shape[0].node.expr
            self.value[node] = self.add("input", "input", (), node)
        elif node.op == "output":
            self._output(node)
        elif node.op == "call_function" and self._matters(node):
            folded = fold(self, node)
            self.value[node] = aten.convert(self, node) if folded is None else folded
            if is_in_place(node):
                self._changed(node)

    def add(
        self,
        name: str,
        op: str,
        inputs: tuple[str, ...],
        node: fx.Node,
        *,
        shape: Shape | None = None,
        attributes: Mapping[str, Any] | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> str:
        """Add a node and return its (unique) name."""
        name = unique(name, self.nodes)
        shape = self.shape(node) if shape is None else shape
        self.nodes[name] = Node(name, op, inputs, shape, attributes or {}, parameters or {})
        return name

    def tensor(self, name: str, value: Tensor) -> str:
        """File a tensor of the graph and return its (unique) name."""
        known = self.state.get(name)
        if known is None or _view(known) != _view(value):
            name = unique(name, self.state)
        self.state[name] = value
        return name

    def parameter(self, constant: Constant, node: fx.Node, role: str) -> str:
        """Return the tensor name of a constant that is a layer's parameter.

        Raises:
            UserError: The constant grows with the batch.
        """
        if constant.value is not constant.twice:
            raise self.unsupported(node, f"a {role} that depends on the batch")
        name = constant.name or f"{self.path(node)}.{role}".lstrip(".")
        return self.tensor(name, constant.value.float())

    def constant(self, value: Any) -> Constant | None:
        """Return an operand's constant, None if it is an activation."""
        found = self.value.get(value) if isinstance(value, fx.Node) else value
        return found if isinstance(found, Constant) else None

    def operand(self, value: Any, node: fx.Node) -> str:
        """Return the node name of an operand, making a constant node of a constant."""
        found = self.value[value] if isinstance(value, fx.Node) else value
        if isinstance(found, Constant):
            return self.constant_node(found, node)
        if not isinstance(found, str):
            raise self.unsupported(node, "an operand that is no tensor")
        return found

    def constant_node(self, constant: Constant, node: fx.Node) -> str:
        """Add a node that holds a constant, expanded over the batch where it grows with it."""
        tensor = constant.value.float()
        base = constant.name or f"{self.path(node)}.value".lstrip(".")
        name = self.tensor(base, tensor)
        shape = tuple(tensor.shape)
        held = self.add(
            f"{base}.constant", "constant", (), node, shape=shape, parameters={"value": name}
        )
        if constant.value is constant.twice or shape == tuple(constant.twice.shape):
            return held
        return self._over_batch(held, constant, node)

    def _over_batch(self, held: str, constant: Constant, node: fx.Node) -> str:
        one, two = constant.value, constant.twice
        axes = [d for d in range(one.dim()) if two.shape[d] != one.shape[d]]
        repeats = [2 if d in axes else 1 for d in range(one.dim())]
        if len(axes) != 1 or not torch.equal(one.repeat(repeats), two):
            raise self.unsupported(node, "a constant that depends on the batch")
        axis, shape = axes[0], tuple(one.shape)
        grown: Shape = (*shape[:axis], f"{shape[axis]}*B", *shape[axis + 1 :])
        if shape[axis] == 1:
            return self.add(f"{held}.expand", "expand", (held,), node, shape=grown)
        split, wide = (
            (*shape[:axis], one_more, *shape[axis:]) for one_more in cast(Shape, (1, "1*B"))
        )
        held = self.add(f"{held}.reshape", "reshape", (held,), node, shape=split)
        held = self.add(f"{held}.expand", "expand", (held,), node, shape=wide)
        return self.add(f"{held}.reshape", "reshape", (held,), node, shape=grown)

    def shape(self, node: fx.Node) -> Shape:
        """Return the shape of an exported node's result."""
        return tuple(self.dim(size, node) for size in node.meta["val"].shape)

    def dim(self, size: Any, node: fx.Node) -> Dim:
        """Return a size as an int or as a multiple of the batch.

        Raises:
            UserError: The size depends on the batch in another way than by a factor.
        """
        if isinstance(size, int):
            return size
        one, two, three = (int(size_at(size, self.symbol, b)) for b in (1, 2, 3))
        if one == two == three:
            return one
        if (two, three) != (2 * one, 3 * one):
            raise self.unsupported(node, f"a size {size} that is no multiple of the batch")
        return f"{one}*B"

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

    def _attribute(self, module: fx.GraphModule, name: str) -> Any:
        value = fetch(module, name)
        return Constant(value, value, name) if isinstance(value, Tensor) else value

    def _matters(self, node: fx.Node) -> bool:
        """Whether a node computes tensors (not sizes) and somebody reads the result."""
        if not node.users and not is_in_place(node):
            return False
        value = node.meta.get("val")
        if isinstance(value, list | tuple):
            return any(isinstance(item, Tensor) for item in value)
        return isinstance(value, Tensor)

    def _changed(self, node: fx.Node) -> None:
        """Let all later readers of a tensor changed in place see the new values.

        Raises:
            UserError: The tensor shares its memory with another one that is read later.
        """
        target = cast(fx.Node, node.args[0])
        changed, new = self.value[target], self.value[node]
        if not isinstance(changed, str):
            return  # constants are computed in place
        root, now = owner(target), self._place[node]
        for other, value in list(self.value.items()):
            if owner(other) is not root or other is node:
                continue
            if value == changed:
                self.value[other] = new
            elif any(self._place.get(user, now + 1) > now for user in other.users):
                raise self.unsupported(node, "a part changed in place")

    def _output(self, node: fx.Node) -> None:
        results = node.args[0]
        if not isinstance(results, list | tuple) or len(results) != 1:
            raise UserError(f"model '{self.name}' does not return one tensor of logits.")
        name = self.operand(cast(fx.Node, results[0]), node)
        self.nodes[name] = self.nodes.pop(name)


def _view(tensor: Tensor) -> tuple[Any, ...]:
    """Return what tells whether two tensors are the same elements in the same places."""
    return tensor.data_ptr(), tensor.shape, tensor.stride()
