"""Networks whose float function is kept, or known, while some of their channels grow by far."""

import dataclasses

import torch

from codesign.graph.execute import run
from codesign.graph.ir import Graph, Node
from codesign.quantize.transforms import sites


def _chosen(count: int, share: float, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(count, generator=generator)
    return order[: max(1, round(share * count))]


def behind_norms(graph: Graph, factor: float = 32.0, share: float = 0.06, seed: int = 0) -> Graph:
    """Return the same function with larger channels behind LayerNorms.

    A few channels of each LayerNorm that only linear layers read are multiplied by up to
    `factor`, and their columns of the weights divided by it.
    """
    tensors = dict(graph.tensors)
    for name, readers in sites.norm_sites(graph).items():
        gamma = tensors[graph[name].parameters["weight"]]
        channels = _chosen(len(gamma), share, seed)
        scale = torch.ones_like(gamma)
        scale[channels] = torch.logspace(0.5, 1, len(channels), factor)
        for key in graph[name].parameters.values():
            tensors[key] = tensors[key] * scale
        for arrival in readers:
            key = arrival.reader.parameters["weight"]
            tensors[key] = sites.columns(tensors[key], 1 / scale[arrival.channels.index.long()])
    return dataclasses.replace(graph, tensors=tensors)


def before_depthwise(
    graph: Graph, factor: float = 32.0, share: float = 0.1, seed: int = 0
) -> Graph:
    """Return a graph with larger channels in front of depthwise layers, whose filters are smaller.

    The function is the same where nothing or a ReLU is between; behind other activations it is
    another network of the same kind.
    """
    tensors = dict(graph.tensors)
    for node in graph.layers:
        if not sites.is_depthwise(graph, node):
            continue
        source = graph[node.inputs[0]]
        producer = graph[source.inputs[0]] if source.op == "activation" else source
        if producer.op != "conv2d":
            continue
        key = node.parameters["weight"]
        channels = _chosen(len(tensors[key]), share, seed)
        scale = torch.ones(len(tensors[key]))
        scale[channels] = torch.logspace(0.5, 1, len(channels), factor)
        for name in producer.parameters.values():
            tensors[name] = sites.rows_scaled(tensors[name], scale)
        tensors[key] = sites.rows_scaled(tensors[key], 1 / scale)
    return dataclasses.replace(graph, tensors=tensors)


def in_the_residual_stream(
    graph: Graph, factor: float = 24.0, share: float = 0.06, seed: int = 0
) -> Graph:
    """Return a vision transformer's graph with larger channels between its blocks.

    All that writes the stream (embeddings, projections, second MLP layers) is scaled, and each
    LayerNorm that reads it weighs those channels less and the others more, as they have less of
    the variance. It is another network of the same kind.
    """
    tensors = dict(graph.tensors)
    width = len(tensors[graph[first_norm(graph)].parameters["weight"]])
    channels = _chosen(width, share, seed)
    scale = torch.ones(width)
    scale[channels] = torch.logspace(0.5, 1, len(channels), factor)
    for node in graph.nodes:
        if node.op in ("conv2d", "linear") and node.name.endswith(("proj", "fc2")):
            for key in node.parameters.values():
                tensors[key] = sites.rows_scaled(tensors[key], scale)
        elif node.op == "constant":
            key = node.parameters["value"]
            tensors[key] = tensors[key] * scale
        elif node.op == "layer_norm":
            key = node.parameters["weight"]
            tensors[key] = tensors[key] / scale * scale.square().mean().sqrt()
    return dataclasses.replace(graph, tensors=tensors)


def first_norm(graph: Graph) -> str:
    """Return the first LayerNorm."""
    return next(node.name for node in graph.nodes if node.op == "layer_norm")


def lively(graph: Graph, images: torch.Tensor) -> Graph:
    """Return a random network in which everything matters, as in a trained one.

    Each layer's weights and bias are set so that its output channels have the variance 1 over the
    images, and means between -1/2 and 1/2; constants (class token, position embedding) get the
    variance 1.
    """
    tensors = dict(graph.tensors)
    generator = torch.Generator().manual_seed(0)

    def normalise(node: Node, result: torch.Tensor) -> torch.Tensor | None:
        if node.op == "constant" and result.numel() > 1:
            key = node.parameters["value"]
            tensors[key] = tensors[key] / tensors[key].std()
            return tensors[key]
        if node.op not in ("conv2d", "linear"):
            return None
        dims = [d for d in range(result.dim()) if d != result.dim() + sites.channel_axis(node)]
        std, mean = torch.std_mean(result, dim=dims, keepdim=True)
        wanted = 0
        key = node.parameters["weight"]
        tensors[key] = sites.rows_scaled(tensors[key], 1 / std.flatten())
        if "bias" in node.parameters:
            wanted = torch.rand(mean.shape, generator=generator) - 0.5
            key = node.parameters["bias"]
            tensors[key] = (tensors[key] - mean.flatten()) / std.flatten() + wanted.flatten()
        else:
            wanted = mean / std
        return (result - mean) / std + wanted

    with torch.no_grad():
        run(graph, images, hook=normalise)
    return dataclasses.replace(graph, tensors=tensors)


def varied_images(count: int, size: int, seed: int = 0) -> torch.Tensor:
    """Return images that differ more than `random_images`: Gaussian noise on several scales."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(count, 3, size, size)
    for cells in (2, 4, 8, 16):
        noise = torch.randn(count, 3, cells, cells, generator=generator)
        total += torch.nn.functional.interpolate(noise, (size, size), mode="bilinear")
    return total


def sqnr_db(wanted: torch.Tensor, found: torch.Tensor) -> float:
    """Return the signal-to-noise ratio of logits in dB, the signal being what images differ in."""
    signal = (wanted - wanted.mean(dim=0)).square().mean()
    return float(10 * torch.log10(signal / (wanted - found).square().mean()))
