"""What each method makes of planted outliers: logits' SQNR in dB and agreement with float.

    python tests/benchmarks/outliers.py

Small random networks in which every layer's outputs have the variance 1, in three states: as they
are; with a few channels behind each LayerNorm up to 32 times as large and the next weights'
columns as much smaller (the same function); with channels of the residual stream up to 24 times as
large; with channels in front of depthwise layers up to 32 times as large. All layers have 8-bit
weights and activations; probabilities have the method's width. The network's logits are those of
the integer model.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from planted_outliers import before_depthwise, behind_norms, in_the_residual_stream, sqnr_db
from random_networks import uniform_design
from rich.console import Console
from rich.table import Table
from small_networks import calibration_images, network, other_images

from codesign.graph.execute import run
from codesign.graph.ir import Graph
from codesign.integer.torch_executor import TorchExecutor
from codesign.quantize.lower import lower
from codesign.quantize.methods import METHODS
from codesign.quantize.quantize import quantize


def networks() -> dict[str, Graph]:
    """Return the planted networks by the column's title."""
    return {
        "ViT": network("vit"),
        "ViT, norms": behind_norms(network("vit")),
        "ViT, residual": in_the_residual_stream(network("vit")),
        "Swin": network("swin"),
        "Swin, norms": behind_norms(network("swin")),
        "MBConv": network("hardswish"),
        "MBConv, depthwise": before_depthwise(network("hardswish")),
    }


def quality(graph: Graph, method: str) -> tuple[float, float]:
    """Return the SQNR in dB and the agreement of classes in percent."""
    images = other_images()
    quantized = quantize(graph, uniform_design(graph), METHODS.get(method), calibration_images())
    model = lower(quantized)
    codes = TorchExecutor(model).run(model.input_format.quantize(images))
    found, wanted = model.logits_format.dequantize(codes).float(), run(graph, images)
    agreement = (found.argmax(1) == wanted.argmax(1)).float().mean()
    return sqnr_db(wanted, found), 100 * float(agreement)


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    graphs = networks()
    table = Table("method", *graphs, title="logits' SQNR, dB (agreement with float, %)")
    for method in METHODS.names():
        cells = []
        for graph in graphs.values():
            decibels, agreement = quality(graph, method)
            cells.append(f"{decibels:.1f} ({agreement:.0f})")
        table.add_row(method, *cells)
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
