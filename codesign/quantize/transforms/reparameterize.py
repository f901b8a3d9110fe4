"""Scale reparameterisation: LayerNorm outputs whose channels share one scale and zero point.

RepQ-ViT (Li et al., ICCV 2023, arXiv 2212.08254): each channel c of a LayerNorm's
output gets the scale s_c and zero point z_c it would want by itself. With their means S and Z and

    r_c = s_c / S        b_c = -z_c s_c / r_c + Z S

gamma_c becomes gamma_c / r_c, beta_c becomes beta_c / r_c - b_c, column c of the weights behind is
multiplied by r_c, and their biases take up W_new b. The function is the same, and one scale now
suits all channels. The published code then takes S and Z as the tensor's format; here the recipe's
observer looks at the tensor again. Factors are held within 1/64 to 64, which the paper does not do.
"""

from dataclasses import replace

import torch
from torch import Tensor

from codesign.design import Design
from codesign.graph.ir import Graph
from codesign.quantize.observers import OBSERVERS
from codesign.quantize.recipe import Recipe
from codesign.quantize.transforms import sites
from codesign.quantize.transforms.base import TRANSFORMS, Transform

OBSERVER = "percentile_mse"
LARGEST = 64.0


class Reparameterize(Transform):
    """Gives the channels behind a LayerNorm one scale and zero point."""

    name = "reparameterize"

    def rewrite(self, graph: Graph) -> Graph:
        """Give the LayerNorms and the layers behind the parameters they need."""
        roles: dict[str, tuple[str, ...]] = {}
        for name, readers in sites.norm_sites(graph).items():
            roles[name] = ("weight", "bias")
            roles.update({a.reader.name: ("bias",) for a in readers})
        return sites.with_parameters(graph, roles)

    def fit(self, graph: Graph, images: Tensor, design: Design, recipe: Recipe) -> Graph:
        """Move scales and offsets from the LayerNorms into the layers behind."""
        found = sites.norm_sites(graph)
        observers = {name: OBSERVERS.get(OBSERVER)(-1) for name in found}
        sites.watch(graph, images, {name: o.update for name, o in observers.items()})
        tensors = dict(graph.tensors)
        for name, readers in found.items():
            bits = min(design.layer_formats[a.reader.name].activation_bits for a in readers)
            factor, offset = common_scale(*observers[name].ranges(bits), bits)
            gamma, beta = (graph[name].parameters[role] for role in ("weight", "bias"))
            tensors[gamma] = tensors[gamma] / factor
            tensors[beta] = tensors[beta] / factor - offset
            for arrival in readers:
                index = arrival.channels.index.to(factor.device, torch.int64)
                weight, bias = (arrival.reader.parameters[role] for role in ("weight", "bias"))
                tensors[weight] = sites.columns(tensors[weight], factor[index])
                response = sites.offset_response(tensors[weight], offset[index])
                tensors[bias] = tensors[bias] + response
        return replace(graph, tensors=tensors)


def common_scale(low: Tensor, high: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return (r, b) of the module's equation, (channels,) each.

    Args:
        low: Lowest value of each channel.
        high: Highest value of each channel.
        bits: Width of the codes.
    """
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = (high - low) / (2**bits - 1)
    alive = scale > 0
    scale = torch.where(alive, scale, 1.0)
    zero_point = torch.round(-low / scale)
    mean_scale, mean_zero = (
        (v * alive).sum() / alive.sum().clamp(min=1) for v in (scale, zero_point)
    )
    factor = (scale / mean_scale.clamp(min=1e-8)).clamp(1 / LARGEST, LARGEST)
    offset = -zero_point * scale / factor + mean_zero * mean_scale
    return torch.where(alive, factor, 1.0), torch.where(alive, offset, 0.0)


TRANSFORMS.register(Reparameterize.name)(Reparameterize())
