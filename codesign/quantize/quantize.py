"""The front door: a float graph, a design and a recipe become a calibrated network."""

from collections.abc import Mapping

from torch import Tensor

from codesign.design import Design
from codesign.graph.ir import Graph
from codesign.quantize.calibrate import BATCH_IMAGES, calibrate
from codesign.quantize.network import QuantizedNetwork
from codesign.quantize.recipe import Recipe
from codesign.quantize.reconstruct import Progress, Schedule, float_tensors, reconstruct


def quantize(
    graph: Graph,
    design: Design,
    recipe: Recipe,
    images: Tensor,
    *,
    layer_means: Mapping[str, Tensor] | None = None,
    device: str = "cpu",
    batch_size: int = BATCH_IMAGES,
    reconstruction: Schedule | None = None,
    progress: Progress | None = None,
) -> QuantizedNetwork:
    """Return the calibrated network of a design, ready to lower or to distil.

    Args:
        graph: The float network.
        design: Formats of the layers, functions of the activations.
        recipe: How to quantise.
        images: Calibration images, (batch, channels, height, width) float32.
        layer_means: `calibrate.mean_outputs` of the float network, for bias correction.
        device: Where to work.
        batch_size: Images that calibration evaluates at once.
        reconstruction: How blocks are reconstructed, where the recipe asks for it; the default
            schedule if None.
        progress: Called after every block reconstructed (`codesign.quantize.reconstruct`).
    """
    network = QuantizedNetwork.build(graph, design, device, recipe, images)
    reference = float_tensors(network) if recipe.reconstruction == "adaround" else {}
    means = layer_means if recipe.bias_correction else None
    calibrate(network, images, layer_means=means, batch_size=batch_size)
    if recipe.reconstruction == "adaround":
        reconstruct(network, reference, images, reconstruction, progress=progress)
    return network
