"""Lowering: from a calibrated network to the IntegerModel, with every bound proved."""

from codesign.integer.model import IntegerModel
from codesign.quantize.lowerings import Lowering
from codesign.quantize.network import QuantizedNetwork


def lower(network: QuantizedNetwork) -> IntegerModel:
    """Return the integer model of a calibrated (and perhaps distilled) network.

    Raises:
        RunError: An accumulator could exceed 32 bits, or no requantisation fits; the message names
            the layer and the bound.
    """
    lowering = Lowering(network)
    for node in network.graph.nodes:
        lowering.convert(node)
    return IntegerModel(network.graph.name, tuple(lowering.nodes.values()), lowering.tensors)
