"""Fold factors and offsets by channel into the layers around them, wherever that is exact."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from codesign.graph.ir import LAYER_OPERATIONS, SHAPE_OPERATIONS, Graph, Node, Shape, unique

_CHANNEL_AXIS = {"conv2d": -3, "linear": -1, "layer_norm": -1, "rms_norm": -1}


def fold_affine(graph: Graph) -> Graph:
    """Return the graph with affine operations folded into others, the float function kept.

    An affine operation goes into the layer, norm or affine operation whose result only it reads,
    seen through operations that only move values; else into a layer that alone reads it, if that
    does not pad. A single positive factor also goes into a product of matrices or a mean.
    """
    rewrite = _Rewrite(graph)
    for node in graph.nodes:
        if node.op == "affine" and node.name in rewrite.nodes:
            rewrite.fold(rewrite.nodes[node.name])
    return rewrite.result()


class _Rewrite:
    """The graph's nodes and tensors, being changed."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes = graph.by_name
        self.tensors = dict(graph.tensors)
        self.readers = {name: [r.name for r in rs] for name, rs in graph.consumers().items()}
        self.output = graph.output.name

    def result(self) -> Graph:
        """Return the changed graph."""
        nodes = dict(self.nodes)
        nodes[self.output] = nodes.pop(self.output)
        return replace(self.graph, tensors=self.tensors).with_nodes(list(nodes.values()))

    def fold(self, node: Node) -> None:
        """Fold one affine operation, if anything takes it."""
        scale, offset = (self.tensors[node.parameters[r]].double() for r in ("scale", "offset"))
        neutral = bool((scale == 1).all() and (offset == 0).all())
        if neutral or self._backward(node, scale, offset) or self._forward(node, scale, offset):
            self._remove(node)

    def _remove(self, node: Node) -> None:
        (source,) = node.inputs
        del self.nodes[node.name]
        self.readers[source].remove(node.name)
        for name in self.readers.pop(node.name):
            reader = self.nodes[name]
            inputs = tuple(source if i == node.name else i for i in reader.inputs)
            self.nodes[name] = replace(reader, inputs=inputs)
            if name not in self.readers[source]:
                self.readers[source].append(name)
        if node.name == self.output:
            self.output = source

    def _alone(self, name: str) -> bool:
        return len(self.readers[name]) == 1 and name != self.output

    def _backward(self, node: Node, scale: Tensor, offset: Tensor) -> bool:
        """Fold into what computes the operand."""
        name = node.inputs[0]
        axis: int | None = None if len(scale) == 1 else node.attributes["axis"]
        while self._alone(name):
            source = self.nodes[name]
            if source.op not in SHAPE_OPERATIONS:
                return self._into(source, axis, scale, offset)
            if source.op == "pad" and bool((offset != 0).any()):
                return False
            if axis is not None:
                axis = _axis_before(source, self.nodes[source.inputs[0]].shape, axis)
                if axis is None:
                    return False
            name = source.inputs[0]
        return False

    def _into(self, node: Node, axis: int | None, scale: Tensor, offset: Tensor) -> bool:
        """Fold into a node that computes; `axis` is None for a single number."""
        own = 1 - len(node.shape) if node.op == "group_norm" else _CHANNEL_AXIS.get(node.op)
        plain = bool((offset == 0).all())
        if node.op in ("matmul", "mean"):
            return plain and axis is None and self._times(node, float(scale))
        if node.op == "affine":
            return self._compose(node, axis, scale, offset)
        if own is None or axis not in (None, own) or (node.op == "rms_norm" and not plain):
            return False
        if node.op in LAYER_OPERATIONS:
            weight = self.tensors[node.parameters["weight"]].double()
            rows = scale.reshape(-1, *[1] * (weight.dim() - 1))
            channels, values = len(weight), {"weight": weight * rows}
        else:
            size = node.shape[own]
            assert isinstance(size, int)
            channels = size
            values = {"weight": self._or(node, "weight", torch.ones(channels)) * scale}
        bias = self._or(node, "bias", torch.zeros(channels)) * scale + offset
        if "bias" in node.parameters or not plain:
            values["bias"] = bias
        self._write(node, values)
        return True

    def _compose(self, node: Node, axis: int | None, scale: Tensor, offset: Tensor) -> bool:
        first, addend = (self.tensors[node.parameters[r]].double() for r in ("scale", "offset"))
        if len(first) > 1 and axis not in (None, node.attributes["axis"]):
            return False
        both = addend * scale + offset
        self._write(node, {"scale": (first * scale).expand(len(both)), "offset": both})
        if axis is not None:
            attributes = {**node.attributes, "axis": axis}
            self.nodes[node.name] = replace(self.nodes[node.name], attributes=attributes)
        return True

    def _forward(self, node: Node, scale: Tensor, offset: Tensor) -> bool:
        """Fold into what alone reads the result."""
        name, plain, moved = node.name, bool((offset == 0).all()), False
        while self._alone(name):
            reader = self.nodes[self.readers[name][0]]
            if reader.op in SHAPE_OPERATIONS and plain and len(scale) == 1:
                name, moved = reader.name, True
                continue
            if reader.op in ("matmul", "mean"):
                twice = len(set(reader.inputs)) < len(reader.inputs)
                single = plain and len(scale) == 1 and not twice
                return single and self._times(reader, float(scale))
            if reader.op not in LAYER_OPERATIONS or (moved and len(scale) > 1):
                return False
            return self._into_reader(reader, node, scale, offset)
        return False

    def _into_reader(self, layer: Node, node: Node, scale: Tensor, offset: Tensor) -> bool:
        """Fold into the layer that reads the result: its input channels take factor and offset."""
        padded = any(layer.attributes.get("padding", ()))
        if (padded and bool((offset != 0).any())) or (
            len(scale) > 1 and node.attributes["axis"] != _CHANNEL_AXIS[layer.op]
        ):
            return False
        weight = self.tensors[layer.parameters["weight"]].double()
        groups = layer.attributes.get("groups", 1)
        inputs = weight.shape[1] * groups
        columns, addend = (v.expand(inputs).reshape(groups, 1, -1) for v in (scale, offset))
        split = weight.reshape(groups, len(weight) // groups, weight.shape[1], -1)
        values = {"weight": (split * columns[..., None]).reshape(weight.shape)}
        if bool((offset != 0).any()):
            bias = self._or(layer, "bias", torch.zeros(len(weight)))
            values["bias"] = bias + (split * addend[..., None]).sum(dim=(2, 3)).reshape(-1)
        self._write(layer, values)
        return True

    def _times(self, node: Node, factor: float) -> bool:
        if factor <= 0:
            return False
        attributes = {**node.attributes, "factor": node.attributes.get("factor", 1.0) * factor}
        self.nodes[node.name] = replace(node, attributes=attributes)
        return True

    def _or(self, node: Node, role: str, otherwise: Tensor) -> Tensor:
        name = node.parameters.get(role)
        return self.tensors[name].double() if name is not None else otherwise.double()

    def _write(self, node: Node, values: dict[str, Tensor]) -> None:
        """Give a node other parameters; tensors that other nodes use too are not touched."""
        parameters: dict[str, Any] = dict(node.parameters)
        used = [name for n in self.nodes.values() for name in n.parameters.values()]
        for role, value in values.items():
            name = parameters.get(role, f"{node.name}.{role}")
            if used.count(name) > (role in parameters):
                name = unique(name, self.tensors)
            parameters[role], self.tensors[name] = name, value.float()
        self.nodes[node.name] = replace(self.nodes[node.name], parameters=parameters)


def _axis_before(node: Node, before: Shape, axis: int) -> int | None:
    """Return the channels' axis in front of a node that moves values, None if it is broken up."""
    place = axis + len(node.shape)
    if node.op == "permute":
        return int(node.attributes["order"][place]) - len(before)
    if node.op == "reshape":
        behind = node.shape[place + 1 :]
        for index in range(len(before)):
            if before[index] == node.shape[place] and _size(before[index + 1 :]) == _size(behind):
                return index - len(before)
        return None
    if node.op in ("slice", "pad", "gather") and before[place] == node.shape[place]:
        return axis if node.op != "gather" or node.attributes["dim"] != place else None
    return None


def _size(shape: Shape) -> int | None:
    """Return the number of elements, None if it grows with the batch."""
    total = 1
    for size in shape:
        if isinstance(size, str):
            return None
        total *= size
    return total
