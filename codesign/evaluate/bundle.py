"""from_bundle: an export bundle as a model that can be asked and scored."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codesign.bundle.files import read_bytes, read_json, read_model
from codesign.bundle.manifest import faults
from codesign.data import DataSet, Split
from codesign.design import Design
from codesign.errors import UserError
from codesign.evaluate.accuracy import BATCH_IMAGES, Progress, Score, score
from codesign.evaluate.executors import Run, executor
from codesign.evaluate.recorded import DataChoice, recorded_data
from codesign.integer.model import IntegerModel

ONNX = "model.integer.onnx"


@dataclass(frozen=True)
class Bundle:
    """An export bundle, read.

    Attributes:
        path: Its folder.
        model: The integer model.
        design: The design: formats, functions, accelerator.
        hardware: hardware.json.
        cost: cost.json: metrics and layers, each with what backs it.
    """

    path: Path
    model: IntegerModel
    design: Design
    hardware: Mapping[str, Any]
    cost: Mapping[str, Any]

    @cached_property
    def data(self) -> DataSet:
        """The data set the design was scored on, made again from what the bundle records.

        Raises:
            UserError: The bundle does not record it, or its images are not where they were.
        """
        return recorded_data(self.model)

    def executor(self, name: str = "torch", device: str = "cpu") -> Run:
        """Return an executor of the model: input codes to logits' codes.

        Args:
            name: "torch", "numpy", or "onnxruntime", which runs the bundle's model.integer.onnx.
            device: "cpu" or, for torch, "cuda".

        Raises:
            UserError: The name is unknown, the device is not for it, or the file is damaged.
        """
        onnx = read_bytes(self.path, ONNX) if name == "onnxruntime" else None
        return executor(name, self.model, device, onnx)

    def predict(self, images: Tensor | NDArray[np.floating[Any]]) -> NDArray[np.int64]:
        """Return the class of each image, int64 (N).

        Args:
            images: (N, C, H, W) as the input quantiser receives them: `data` hands them out so,
                pixels from 0 to 1 less the model's mean and divided by its deviation.

        Raises:
            UserError: The images have another shape than the model takes.
        """
        batch = torch.as_tensor(images)
        shape = tuple(self.model.nodes[0].shape[1:])
        if tuple(batch.shape[1:]) != shape:
            raise UserError(f"images of shape {tuple(batch.shape)}: the model takes (N, *{shape}).")
        classes: NDArray[np.int64] = self._ready.predict(batch).numpy()
        return classes

    def evaluate(
        self,
        split: str | Split = "validation",
        *,
        data: DataSet | DataChoice | None = None,
        executor: str = "torch",
        device: str = "cpu",
        batch_images: int = BATCH_IMAGES,
        progress: Progress = lambda images: None,
    ) -> Score:
        """Return the model's score on labelled images.

        Args:
            split: "train", "validation" or "test" of the data set, or a split of any.
            data: The data set, or which one to load; None is the one the design was scored on.
            executor: "torch", "numpy" or "onnxruntime".
            device: Where torch runs.
            batch_images: Images at once.
            progress: Called with the number of images done, after each batch.

        Raises:
            UserError: The data cannot be read or do not fit the model, or the executor is unknown.
        """
        if isinstance(split, str):
            if not isinstance(data, DataSet):
                data = recorded_data(self.model, data) if data else self.data
            split = data.split(split)
        run = self.executor(executor, device)
        return score(self.model, split, run=run, batch_images=batch_images, progress=progress)

    @cached_property
    def _ready(self) -> Any:
        from codesign.integer.torch_executor import TorchExecutor

        return TorchExecutor(self.model)


def from_bundle(path: str | Path, *, verify: bool = False) -> Bundle:
    """Load an export bundle.

    Args:
        path: The bundle's folder.
        verify: Whether to compare every file with the manifest first
            (`codesign.verify.verify.verify_bundle` replays the network as well).

    Raises:
        UserError: There is no such folder, or a file is missing, damaged, or not the manifest's.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: give the folder of an export bundle.")
    if verify and (found := faults(folder)):
        raise UserError(f"the bundle {folder} is damaged: {found[0]}.")
    stored = read_json(folder, "design.json")
    try:
        design = Design.from_json(stored)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"design.json of the bundle {folder} is no design: {error}") from error
    return Bundle(
        path=folder,
        model=read_model(folder),
        design=design,
        hardware=read_json(folder, "hardware.json"),
        cost=read_json(folder, "cost.json"),
    )
