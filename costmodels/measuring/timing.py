"""What a calibration times: micro-kernels, operators of models alone, whole models."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from costmodels.errors import CostModelError
from costmodels.gpu.launch import kernels
from costmodels.measuring.device import time_ms
from costmodels.measuring.fit import Timed, hold_out
from costmodels.measuring.int8_kernels import choose_kernels
from costmodels.measuring.layers import layers
from costmodels.measuring.microkernels import TYPES, micro_kernels
from costmodels.measuring.models import create_model, images
from costmodels.measuring.operators import Operator, operators
from costmodels.measuring.quantized import carried, quantize_linears
from costmodels.measuring.runtime import TORCH
from costmodels.measuring.trace import trace
from costmodels.measuring.traced_int8 import trace_int8

_GPU_MACS, _GPU_ELEMENTS = 3e11, 70e6
_CPU_MACS, _CPU_ELEMENTS = 3e8, 4.5e6


@dataclass(frozen=True)
class Plan:
    """What is timed; the entries are those of `calibrate.CalibrateOptions`."""

    models: Sequence[str]
    held_models: Sequence[str]
    int8_models: Sequence[str]
    batches: Sequence[int]
    operator_batches: Sequence[int]
    most_mmacs: float
    most_melements: float
    repeats: int
    graphs: bool
    seed: int


class Bench:
    """Times on one device what a plan asks for."""

    def __init__(self, plan: Plan, device: torch.device, say: Callable[[str], None]) -> None:
        self.plan, self.device, self.say = plan, device, say
        self.cuda = device.type == "cuda"
        self.floating = "fp16" if self.cuda else "fp32"

    def everything(self) -> list[Timed]:
        """Return all measurements; three in ten kernels are held out, by the seed.

        Raises:
            CostModelError: There is no such model, or a time is no positive number.
        """
        torch.backends.cudnn.benchmark = self.cuda
        with torch.no_grad():
            alone = [*self.micro_kernels(), *self.operators()]
            held = hold_out(len(alone), self.plan.seed)
            timed = [replace(one, held_out=out) for one, out in zip(alone, held, strict=True)]
            return [*timed, *self.models()]

    def micro_kernels(self) -> Iterator[Timed]:
        """Yield the micro-kernels as they are timed."""
        chosen = micro_kernels((self.floating, "int8"), *self.most())
        for i, micro in enumerate(chosen):
            taken = self.time_ms(micro.build(self.device))
            self.say(f"kernel {i + 1}/{len(chosen)}  {micro.name}: {taken:.4f} ms")
            precision = micro.name.split()[-1]
            yield Timed("kernel", micro.name, precision, 1, (micro.kernel,), taken, False)

    def most(self) -> tuple[float, float]:
        """Return the multiply-accumulates and the elements of the largest kernel."""
        macs, elements = (_GPU_MACS, _GPU_ELEMENTS) if self.cuda else (_CPU_MACS, _CPU_ELEMENTS)
        plan = self.plan
        return 1e6 * plan.most_mmacs or macs, 1e6 * plan.most_melements or elements

    def operators(self) -> Iterator[Timed]:
        """Yield the operators of layers and of models that the fit sees, equal ones once."""
        seen: set[str] = set()
        for name, model, shape in self.sources() if self.plan.operator_batches else ():
            for batch in self.plan.operator_batches:
                found = operators(model, self.images(batch, shape), self.floating, TORCH)
                new = [one for one in found if one.name not in seen]
                seen |= {one.name for one in new}
                self.say(f"operators  {name} batch {batch}: {len(new)} of {len(found)} are new")
                yield from self.each(new)

    def sources(self) -> Iterator[tuple[str, torch.nn.Module, tuple[int, int, int]]]:
        """Yield what runs the operators to time, and the channels, height and width it takes."""
        for name, layer, shape in layers():
            if math.prod(shape) <= self.most()[1]:
                yield name, self.placed(layer.eval()), shape
        for name in self.plan.models:
            model, size = self.model(name)
            yield name, model, (3, size, size)

    def each(self, found: Sequence[Operator]) -> Iterator[Timed]:
        """Yield each operator that can be run alone."""
        for one in found:
            try:
                taken = self.time_ms(one.call)
            except (RuntimeError, CostModelError) as error:
                self.say(f"operators  {one.name} left out: {str(error).splitlines()[0]}")
                continue
            yield Timed("kernel", one.name, self.floating, 1, (one.kernel,), taken, False)

    def models(self) -> Iterator[Timed]:
        """Yield the whole models, in floating point and with INT8 linear layers."""
        for name in (*self.plan.models, *self.plan.held_models):
            held = name in self.plan.held_models
            yield from self.runs(name, self.floating, held)
            if name in self.plan.int8_models:
                yield from self.runs(name, "int8", held)

    def runs(self, name: str, precision: str, held: bool) -> Iterator[Timed]:
        """Yield a model at each batch size."""
        model, size = self.model(name, precision)
        tracer = trace_int8 if precision == "int8" else trace
        traced = tracer(model, self.images(1, (3, size, size)), name, add_biases=self.cuda)
        launched = kernels(traced, precision, TORCH)
        for batch in self.plan.batches:
            image = self.images(batch, (3, size, size))
            with torch.inference_mode():
                taken = self.time_ms(partial(model, image))
            self.say(f"model  {name} {precision} batch {batch}: {taken:.4f} ms")
            yield Timed("model", name, precision, batch, launched, taken, held)

    def model(self, name: str, precision: str = "") -> tuple[torch.nn.Module, int]:
        """Return a model on the device, channels last, and its image size."""
        model, size = create_model(name, self.plan.seed)
        model = model.to(self.device)
        if precision == "int8":
            calibration = images(2, size, "fp32", self.device)
            int8 = choose_kernels("auto", self.device)
            quantize_linears(model, calibration, int8, fused=True)
        return self.placed(model), size

    def placed(self, model: torch.nn.Module) -> torch.nn.Module:
        """Return a model on the device, of its type, channels last."""
        model = carried(model.to(self.device), TYPES[self.floating])
        return model.to(memory_format=torch.channels_last)

    def images(self, batch: int, shape: tuple[int, int, int]) -> torch.Tensor:
        """Return random images of (channels, height, width), channels last."""
        found = torch.randn(batch, *shape, device=self.device).to(TYPES[self.floating])
        return found.contiguous(memory_format=torch.channels_last)

    def time_ms(self, work: Callable[[], object]) -> float:
        """Return the median milliseconds of a call, to the five digits that a record keeps."""
        plan = self.plan
        taken = time_ms(work, self.device, repeats=plan.repeats, graph=plan.graphs)
        return float(f"{taken:.5g}")
