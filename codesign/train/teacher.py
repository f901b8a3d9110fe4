"""The float teacher: the network's trained weights, made once and kept by content."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.console import Console
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from codesign.data import DataSet, DataSettings, Split
from codesign.errors import RunError, UserError
from codesign.files import content_key, write_atomic
from codesign.timm_import import import_timm
from codesign.train.model import FloatModel, ModelSettings, build_model, float_model
from codesign.train.progress import Progress

__all__ = ["TeacherState", "build_model", "teacher_state"]

RECIPE = 1  # counts changes of this file that change the weights
_FINE_TUNING = 0.1  # share of the learning rate where the body is trained already
_LARGEST_GRADIENT = 1.0


class TrainingSettings(Protocol):
    """What training the teacher reads of the settings: their `teacher` section."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float


class TeacherSettings(Protocol):
    """What the teacher reads of the settings of a run."""

    @property
    def model(self) -> ModelSettings: ...
    @property
    def data(self) -> DataSettings: ...
    @property
    def teacher(self) -> TrainingSettings: ...
    @property
    def seed(self) -> int: ...
    @property
    def device(self) -> str: ...


@dataclass(frozen=True)
class TeacherState:
    """The teacher's weights.

    Attributes:
        path: safetensors file that holds them.
        state: Tensor by name, on the CPU.
        metrics: "accuracy" (validation split) and "test_accuracy", as fractions.
    """

    path: Path
    state: dict[str, Tensor]
    metrics: dict[str, float]


def teacher_state(
    settings: TeacherSettings, data: DataSet, cache_dir: Path, console: Console | None = None
) -> TeacherState:
    """Return the float teacher, trained where it must be and cached where it has been.

    AdamW with a one-cycle schedule (L. N. Smith and N. Topin, "Super-Convergence", 2018), label
    smoothing and augmentation, `teacher.epochs` long. Weights that come trained from timm or from a
    checkpoint, classifier included, are taken as they are; with a fresh classifier all weights are
    fine-tuned at a tenth of `teacher.learning_rate`. The same settings, data, machine and number
    of threads give the same weights.

    Args:
        settings: The sections `model`, `data` and `teacher`, with `seed` and `device`.
        data: The data set that `settings.data` names.
        cache_dir: Folder of the cached weights, for example `runs/.cache/teachers`.
        console: Where progress goes: a bar on a terminal, else a line per epoch; None is silent.

    Raises:
        UserError: The model or the checkpoint is wrong, or the model does not take the images.
        RunError: The loss is not finite, or timm's weights cannot be fetched.
    """
    path = cache_dir / f"{_key(settings, data)}.safetensors"
    cached = _read(path)
    if cached:
        return cached
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        model = float_model(settings.model, data.num_classes)
        device = _device(settings.device)
        _check_input(model.module, data, settings.model.name)
        model.module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        _train(model, settings, data, console)
    batch_size = settings.teacher.batch_size
    metrics = {
        "accuracy": _accuracy(model.module, data.split("validation"), batch_size),
        "test_accuracy": _accuracy(model.module, data.split("test"), batch_size),
    }
    return _write(path, model.module, metrics)


def _train(
    model: FloatModel, settings: TeacherSettings, data: DataSet, console: Console | None
) -> None:
    """Train in place, unless the weights are trained already or no epochs are asked for."""
    recipe, module, split = settings.teacher, model.module, data.split("train")
    if recipe.epochs == 0 or (model.trained_body and model.trained_head):
        return
    peak = recipe.learning_rate * (_FINE_TUNING if model.trained_body else 1.0)
    steps = recipe.epochs * math.ceil(len(split) / recipe.batch_size)
    optimizer = torch.optim.AdamW(module.parameters(), lr=peak, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=steps)
    with Progress("teacher", steps, recipe.epochs, console) as progress:
        module.train()
        for epoch in range(recipe.epochs):
            seed = settings.seed * 1_000_003 + epoch
            for images, labels in split.batches(recipe.batch_size, shuffle_seed=seed, augment=True):
                loss = _step(module, optimizer, images, labels, recipe.label_smoothing)
                schedule.step()
                progress.step(loss)
            progress.end_epoch()
    module.eval()


def _step(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    smoothing: float,
) -> float:
    """Take one step and return the loss; a batch of one image, no good to batch norm, is left out.

    Raises:
        RunError: The loss is not finite.
    """
    if len(images) < 2:
        return 0.0
    device = next(module.parameters()).device
    images = images.to(device, memory_format=torch.channels_last)
    loss = F.cross_entropy(module(images), labels.to(device), label_smoothing=smoothing)
    value = loss.item()
    if not math.isfinite(value):
        raise RunError(
            f"the teacher's loss became {value}: lower teacher.learning_rate, or look for images "
            "and weights that are not finite"
        )
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(module.parameters(), _LARGEST_GRADIENT)
    optimizer.step()
    return value


@torch.inference_mode()
def _accuracy(module: nn.Module, split: Split, batch_size: int) -> float:
    device = next(module.parameters()).device
    correct = 0
    for images, labels in split.batches(batch_size):
        correct += int((module(images.to(device)).argmax(1).cpu() == labels).sum())
    return correct / len(split)


@torch.inference_mode()
def _check_input(module: nn.Module, data: DataSet, name: str) -> None:
    shape = "x".join(map(str, data.input_shape))
    try:
        logits = module(torch.zeros(1, *data.input_shape))
    except (RuntimeError, AssertionError, ValueError, IndexError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{name} does not take images of {shape} ({reason}): set data.image_size, or "
            "model.kwargs.img_size or model.kwargs.in_chans where the model has them"
        ) from error
    if getattr(logits, "shape", None) != (1, data.num_classes):
        raise UserError(
            f"{name} is not a classifier of {data.num_classes} classes: choose another model.name"
        )


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _key(settings: TeacherSettings, data: DataSet) -> str:
    """Return what the weights depend on, as one key."""
    model = _plain(settings.model)
    if settings.model.checkpoint:
        file = Path(settings.model.checkpoint).expanduser()
        # a file that is missing is reported when it is loaded
        model["checkpoint"] = _file_digest(file) if file.is_file() else str(file)
    return content_key(
        {
            "recipe": RECIPE,
            "versions": [str(torch.__version__), import_timm().__version__],
            "model": model,
            "data": [data.name, list(data.input_shape), data.fingerprint],
            "teacher": _plain(settings.teacher),
            "seed": settings.seed,
        }
    )


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(section: Any) -> dict[str, Any]:
    return dataclasses.asdict(section) if dataclasses.is_dataclass(section) else dict(vars(section))  # type: ignore[arg-type]


def _write(path: Path, module: nn.Module, metrics: Mapping[str, float]) -> TeacherState:
    # a copy of each: tied weights share memory, which the format does not allow
    state = {name: t.detach().cpu().clone().contiguous() for name, t in module.state_dict().items()}
    write_atomic(path, save(state, metadata={"metrics": json.dumps(metrics)}))
    return TeacherState(path, state, dict(metrics))


def _read(path: Path) -> TeacherState | None:
    """Return a cached teacher, or None where there is none that is whole."""
    try:
        with safe_open(path, framework="pt") as file:
            metrics = json.loads(file.metadata()["metrics"])
            return TeacherState(path, {k: file.get_tensor(k) for k in file.keys()}, metrics)  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError):
        return None
