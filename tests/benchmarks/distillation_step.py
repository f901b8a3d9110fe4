"""Time one distillation step of the quantised network beside the float step and Brevitas.

    pip install brevitas && python tests/benchmarks/distillation_step.py [threads=1] [steps=7]

Same model (mobilevit_xxs, 64 x 64, batch 64), same process, steps in turn; prints the minimum of
each and the ratios. Brevitas quantises weights and activations per layer to int8; ours every
tensor, softmax and LayerNorm included.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace

import timm
import torch
from brevitas.graph.quantize import layerwise_quantize

from codesign.design import Design, LayerFormat
from codesign.graph.capture import capture
from codesign.graph.execute import run
from codesign.graph.outline import outline
from codesign.integer.torch_executor import TorchExecutor
from codesign.quantize.calibrate import calibrate
from codesign.quantize.lower import lower
from codesign.quantize.network import QuantizedNetwork
from costmodels.accelerator import Accelerator


def main(arguments: list[str]) -> None:
    """Print the seconds of each step and the ratios."""
    options = dict(argument.split("=", 1) for argument in arguments)
    torch.set_num_threads(int(options.get("threads", "1")))
    images = torch.rand(64, 3, 64, 64)
    graph = capture(timm.create_model("mobilevit_xxs", num_classes=10), (3, 64, 64), "mobilevit")
    network = quantised(graph, images)
    trained = {name: t.clone().requires_grad_() for name, t in graph.tensors.items()}
    float_graph = replace(graph, tensors=trained)
    peer = layerwise_quantize(timm.create_model("mobilevit_xxs", num_classes=10)).eval()
    executor = TorchExecutor(lower(network))
    codes = executor.model.input_format.quantize(images)
    jobs = {
        "float step": lambda: step(lambda: run(float_graph, images)),
        "our quantised step": lambda: step(lambda: network.forward(images)),
        "Brevitas step": lambda: step(lambda: peer(images)),
        "float evaluation": lambda: evaluate(lambda: run(graph, images)),
        "integer evaluation": lambda: evaluate(lambda: executor.run(codes)),
    }
    seconds = measure(jobs, int(options.get("steps", "7")))
    base = {"evaluation": seconds["float evaluation"], "step": seconds["float step"]}
    for name, value in seconds.items():
        ratio = value / base[name.rsplit(" ", 1)[1]]
        print(f"{name:20s} {value:7.3f} s  {ratio:5.2f} x float")


def quantised(graph, images: torch.Tensor) -> QuantizedNetwork:
    """Return the all 8-bit uniform network."""
    o = outline(graph)
    layers = tuple((layer.name, LayerFormat(8, "uniform", 8)) for layer in o.layers)
    functions = tuple((site.name, site.function) for site in o.activations)
    network = QuantizedNetwork.build(graph, Design(layers, functions, Accelerator()))
    calibrate(network, images)
    return network


def step(forward: Callable[[], torch.Tensor]) -> None:
    """Run forward and backward once."""
    forward().square().mean().backward()


@torch.no_grad()
def evaluate(forward: Callable[[], torch.Tensor]) -> None:
    """Run forward once."""
    forward()


def measure(jobs: dict[str, Callable[[], None]], steps: int) -> dict[str, float]:
    """Return the least processor seconds of each job, the jobs taken in turn."""
    best = dict.fromkeys(jobs, float("inf"))
    for index in range(steps + 1):
        for name, job in jobs.items():
            start = time.process_time()
            job()
            if index:  # the first round warms up
                best[name] = min(best[name], time.process_time() - start)
    return best


if __name__ == "__main__":
    main(sys.argv[1:])
