"""Images that run together: a workload of one image as that of a batch."""

from dataclasses import replace
from typing import Any

from costmodels.checks import check_whole
from costmodels.workload import MatrixLayer, VectorOperation, Workload

MAX_BATCH = 2**16
"""Far above what a device is fed at a time: a slip of the keyboard."""


def batched(workload: Workload, images: int) -> Workload:
    """Return what a batch asks of hardware when each layer takes all its images in turn.

    A layer's weights are used for the whole batch: it has `images` times the rows (M), those of one
    image after those of another. Products of activations have no weights and repeat by image; the
    vector unit has as many times the elements. Convolutions keep the geometry of one image. Tiles
    that end between two images are charged a halo that they do not need, never the reverse.

    Args:
        workload: The network for one image.
        images: Images of the batch; 1 returns the workload itself.

    Raises:
        CostModelError: `images` is not a whole number of 1 or more.
    """
    check_whole("batch", "batch", images, most=MAX_BATCH)
    if images == 1:
        return workload
    operations = tuple(_repeated(operation, images) for operation in workload.operations)
    return replace(workload, operations=operations)


def _repeated(
    operation: MatrixLayer | VectorOperation, images: int
) -> MatrixLayer | VectorOperation:
    if isinstance(operation, VectorOperation):
        return replace(operation, elements=operation.elements * images)
    names = ["input_elements", "output_elements"]
    names += ["repeats", "weight_elements"] if operation.kind == "matmul" else ["m"]
    changed: dict[str, Any] = {name: getattr(operation, name) * images for name in names}
    return replace(operation, **changed)
