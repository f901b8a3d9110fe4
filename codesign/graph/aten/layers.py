"""Layers with weights: convolutions and linear layers."""

from typing import TYPE_CHECKING, Any

from torch import Tensor, fx

from codesign.graph.aten.base import Constant, arguments, handles, pair
from codesign.graph.aten.moves import add_pad, add_reshape
from codesign.graph.ir import Dim

if TYPE_CHECKING:
    from codesign.graph.capture import Converter


@handles("conv2d")
def _conv2d(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    geometry = {key: pair(a[key]) for key in ("stride", "dilation")}
    weight = _weight(c, node)
    padding, source = _padding(c, node, a, weight.value, c.operand(a["input"], node))
    attributes = {**geometry, "padding": padding, "groups": a["groups"]}
    return add_layer(c, node, "conv2d", source, weight, _bias(c, node), attributes)


@handles("conv1d")
def _conv1d(c: "Converter", node: fx.Node) -> str:
    """Convolve over one dimension as over two, the first of size one."""
    a = arguments(node)
    source = c.operand(a["input"], node)
    batch, channels, length = c.nodes[source].shape
    flat = add_reshape(c, node, source, (batch, channels, 1, length))
    wide = _weight(c, node).changed(lambda weight: weight[:, :, None])
    flat_a: dict[str, Any] = {key: [1, *a[key]] for key in ("stride", "dilation")}
    given = a["padding"]
    flat_a["padding"] = [0, *given] if not isinstance(given, str) else given
    padding, flat = _padding(c, node, flat_a, wide.value, flat)
    attributes = {**flat_a, "padding": padding, "groups": a["groups"]}
    shape = c.shape(node)
    result = add_layer(
        c, node, "conv2d", flat, wide, _bias(c, node), attributes, (*shape[:2], 1, shape[2])
    )
    return add_reshape(c, node, result, shape)


@handles("conv_transpose2d")
def _conv_transpose2d(c: "Converter", node: fx.Node) -> str:
    """Convolve the input, zeros put between its pixels, with the turned kernel."""
    a = arguments(node)
    stride, padding, dilation = (pair(a[key]) for key in ("stride", "padding", "dilation"))
    extra = pair(a["output_padding"])
    weight = _weight(c, node)
    turned = _turned(weight.value, a["groups"])
    source = _stuffed(c, node, c.operand(a["input"], node), stride)
    pads = [[0, 0], [0, 0]]
    for i in range(2):
        margin = dilation[i] * (turned.shape[2 + i] - 1) - padding[i]
        # the zeros behind the last pixel are already there
        pads.append([margin, margin + extra[i] - (stride[i] - 1)])
    source = add_pad(c, node, source, pads)
    attributes = {
        "stride": [1, 1],
        "padding": [0, 0],
        "dilation": dilation,
        "groups": a["groups"],
    }
    constant = Constant(turned, turned, weight.name)
    return add_layer(c, node, "conv2d", source, constant, _bias(c, node), attributes)


def _turned(weight: Tensor, groups: int) -> Tensor:
    """Return the kernel of the convolution that a transposed one is: (out, in / groups, h, w)."""
    inputs, outputs, height, width = weight.shape
    parts = weight.reshape(groups, inputs // groups, outputs, height, width).transpose(1, 2)
    return parts.flip(3, 4).reshape(groups * outputs, inputs // groups, height, width)


def _stuffed(c: "Converter", node: fx.Node, source: str, stride: list[int]) -> str:
    """Put `stride - 1` zeros behind every pixel, in both directions."""
    if stride == [1, 1]:
        return source
    batch, channels, height, width = c.nodes[source].shape
    assert isinstance(height, int)
    assert isinstance(width, int)
    source = add_reshape(c, node, source, (batch, channels, height, 1, width, 1))
    pads = [[0, 0], [0, 0], [0, 0], [0, stride[0] - 1], [0, 0], [0, stride[1] - 1]]
    source = add_pad(c, node, source, pads)
    return add_reshape(c, node, source, (batch, channels, height * stride[0], width * stride[1]))


@handles("linear")
def _linear(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    source = c.operand(a["input"], node)
    return add_layer(c, node, "linear", source, _weight(c, node), _bias(c, node), {})


def add_layer(
    c: "Converter",
    node: fx.Node,
    op: str,
    source: str,
    weight: Constant,
    bias: Constant | None,
    attributes: dict[str, Any],
    shape: tuple[Dim, ...] | None = None,
) -> str:
    """Add a layer, called by the path of its weight."""
    parameters = {"weight": c.parameter(weight, node, "weight")}
    if bias is not None:
        parameters["bias"] = c.parameter(bias, node, "bias")
    path = (weight.name or f"{c.path(node)}.weight").removesuffix(".weight")
    path = path or op
    return c.add(
        path, op, (source,), node, shape=shape, attributes=attributes, parameters=parameters
    )


def _weight(c: "Converter", node: fx.Node) -> Constant:
    constant = c.constant(arguments(node)["weight"])
    if constant is None:
        raise c.unsupported(node, "a layer with a computed weight")
    return constant


def _bias(c: "Converter", node: fx.Node) -> Constant | None:
    bias = arguments(node)["bias"]
    constant = c.constant(bias)
    if bias is not None and constant is None:
        raise c.unsupported(node, "a layer with a computed bias")
    return constant


def _padding(
    c: "Converter", node: fx.Node, a: dict[str, Any], weight: Tensor, source: str
) -> tuple[list[int], str]:
    """Return a convolution's padding, the same on both sides, and its input, perhaps padded."""
    padding = a["padding"]
    if padding == "valid":
        return [0, 0], source
    if padding != "same":
        return pair(padding), source
    dilation = pair(a["dilation"])
    totals = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    if all(total % 2 == 0 for total in totals):
        return [total // 2 for total in totals], source
    pads = [[0, 0], [0, 0], *([total // 2, total - total // 2] for total in totals)]
    return [0, 0], add_pad(c, node, source, pads)
