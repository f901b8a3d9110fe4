"""One accelerator over all format choices of every layer, by the formulas of `estimate`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from costmodels.accelerator import Accelerator
from costmodels.cycles import CycleModel
from costmodels.errors import CostModelError
from costmodels.estimate import checked_batch, cycle_model, price_grid
from costmodels.grid import Grid
from costmodels.many import LAYER_FIGURES
from costmodels.validate import check_accelerator
from costmodels.workload import MatrixLayer, VectorOperation, Workload


@dataclass(frozen=True)
class Format:
    """A choice of number formats for a layer; the fields are those of `MatrixLayer`."""

    weight_bits: int
    activation_bits: int
    weight_scheme: str = "uniform"
    log2_share: float = 0.0


@dataclass(frozen=True)
class LayerCosts:
    """Cost of every layer in every format on one accelerator.

    Attributes:
        layers: Names of the layers.
        formats: The formats.
        figures: LAYER_FIGURES by name and "engine", arrays of shape (layers, formats).
    """

    layers: tuple[str, ...]
    formats: tuple[Format, ...]
    figures: Mapping[str, NDArray[Any]]


def estimate_layers(
    layers: Sequence[MatrixLayer | VectorOperation],
    formats: Sequence[Format],
    accelerator: Accelerator,
    *,
    batch: int = 1,
    cycles: str | CycleModel = "closed_form",
) -> LayerCosts:
    """Price each layer in each format, for one image or a batch.

    A layer's cycles, bytes and utilisation are those that `estimate` gives it in a network whose
    other layers have any of the formats, as layers follow one another. Only reconfigurable PEs make
    them depend on the others, by what the PEs are built for: here, for the widest of all the
    formats, so that the figures are those of a network in which some layer on the MAC array has
    them. Resources are not a sum over layers; `estimate` gives them.

    Args:
        layers: The layers, and vector operations, of which those fused into one of the layers are
            priced with it; the others are left out.
        formats: The formats.
        accelerator: The FPGA design.
        batch: As for `estimate`.
        cycles: As for `estimate`.

    Raises:
        CostModelError: Something in the input cannot be priced; the message names it.
    """
    model = cycle_model(cycles)
    check_accelerator(accelerator)
    if not formats:
        raise CostModelError("formats: there are none; give at least one")
    names = tuple(layer.name for layer in layers if isinstance(layer, MatrixLayer))
    operations = [
        _in_format(layer, choice, i) for i, choice in enumerate(formats) for layer in layers
    ]
    workload = Workload("formats", tuple(op for op in operations if op is not None), 0)
    images = checked_batch(workload, batch)
    priced, _ = price_grid(images, Grid.of(accelerator), model, "yosys")
    timing = priced.timing
    figures = {name: timing.figure(name)[0] for name in LAYER_FIGURES}
    figures["engine"] = np.array(timing.engines)
    shape = len(formats), len(names)
    by_layer = {name: values.reshape(shape).T for name, values in figures.items()}
    return LayerCosts(names, tuple(formats), by_layer)


def _in_format(
    operation: MatrixLayer | VectorOperation, choice: Format, index: int
) -> MatrixLayer | VectorOperation | None:
    """Return the operation in the format, under a name of its own; None if it stands alone."""
    name = f"{operation.name} in format {index}"
    if isinstance(operation, MatrixLayer):
        return replace(operation, name=name, **vars(choice))
    if operation.fused_into is None:
        return None
    return replace(operation, name=name, fused_into=f"{operation.fused_into} in format {index}")
