"""The evaluate command: the accuracy of a bundle or of a saved integer model, once more."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from codesign import cli
from codesign.cli import setting
from codesign.data import DataSet
from codesign.errors import RunError, UserError
from codesign.evaluate.accuracy import BATCH_IMAGES, Score, score
from codesign.evaluate.bundle import from_bundle
from codesign.evaluate.executors import Run, executor
from codesign.evaluate.recorded import DataChoice, is_recorded, recorded_correct, recorded_data
from codesign.integer.model import IntegerModel

PROGRAM = "codesign.evaluate"
USAGE = "bundle=DIR"
SPLITS = ("train", "validation", "test")
PATIENCE_SECONDS = 3.0


@dataclass
class EvaluatedData:
    """The images; what is left out is as recorded with the model."""

    name: str | None = setting(None, "data set: digits, imagefolder, timm:<reader>, random")
    path: str | None = setting(None, "folder of the images, where they lie elsewhere now")
    image_size: int | None = setting(None, "pixels a side")


@dataclass
class EvaluateSettings:
    """Score an integer model on a data set, by default on the one its design was scored on."""

    bundle: str = setting("", "folder of an export bundle (this or model is required)")
    model: str = setting("", "npz file of a model that codesign.quantize saved, or of a trial")
    split: str = setting("validation", "train, validation or test")
    executor: str = setting("torch", "torch, numpy, or onnxruntime (the bundle's ONNX file)")
    device: str = setting("cpu", "cpu or cuda")
    batch_images: int = setting(BATCH_IMAGES, "images at once")
    data: EvaluatedData = field(default_factory=EvaluatedData)


def main(arguments: list[str]) -> int:
    """Score a model and print what it reaches.

    Returns:
        0, or 1 where the images are those that the model was scored on and the number classified
        correctly is another than recorded.
    """
    settings = cli.read_settings(EvaluateSettings, arguments, PROGRAM, USAGE)
    _check(settings)
    model, run = _load(settings)
    choice = DataChoice(settings.data.name, settings.data.path, settings.data.image_size)
    data = recorded_data(model, choice)
    split = data.split(settings.split)
    progress = _Progress(len(split))
    found = score(model, split, run=run, batch_images=settings.batch_images, progress=progress)
    print(f"{model.name}, {len(model.nodes)} nodes, executor {settings.executor}")
    print(f"data {data.name}, split {settings.split}: {found.images} images")
    print(
        f"accuracy {found.accuracy:.4f} ({found.correct} of {found.images}), loss {found.loss:.4f}"
    )
    verdict, code = compare(model, data, settings.split, found)
    print(verdict)
    return code


def compare(model: IntegerModel, data: DataSet, split: str, found: Score) -> tuple[str, int]:
    """Return the line that compares a score with the recorded one, and the exit code."""
    recorded = recorded_correct(model)
    if recorded is None:
        return "recorded: nothing to compare with", 0
    correct, images = recorded
    line = f"recorded: {correct} of {images} on validation"
    if split != "validation" or not is_recorded(model, data):
        what = "another split" if split != "validation" else "other images"
        return f"{line}; not compared with {what}", 0
    if (found.correct, found.images) == recorded:
        return f"{line}: equal", 0
    return f"{line}: DIFFERS", 1


def _check(settings: EvaluateSettings) -> None:
    if bool(settings.bundle) == bool(settings.model):
        raise UserError("which model? Give bundle=DIR (an export bundle), or model=FILE.npz.")
    if settings.split not in SPLITS:
        raise UserError(f"split: '{settings.split}' is not one of {', '.join(SPLITS)}.")
    if settings.device not in ("cpu", "cuda"):
        raise UserError(f"device: '{settings.device}' is not one of cpu, cuda.")
    if settings.batch_images < 1:
        raise UserError(f"batch_images={settings.batch_images} must be at least 1.")
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise RunError("device=cuda: this machine has no CUDA device that torch can use.")


def _load(settings: EvaluateSettings) -> tuple[IntegerModel, Run]:
    """Return the model and the executor that the settings name."""
    if settings.bundle:
        bundle = from_bundle(settings.bundle)
        return bundle.model, bundle.executor(settings.executor, settings.device)
    model = IntegerModel.load(Path(settings.model).expanduser())
    return model, executor(settings.executor, model, settings.device)


class _Progress:
    """Prints how many images are done, every few seconds."""

    def __init__(self, images: int) -> None:
        self._images = images
        self._last = time.monotonic()

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now - self._last >= PATIENCE_SECONDS and done < self._images:
            self._last = now
            print(f"  {done} of {self._images} images", flush=True)
