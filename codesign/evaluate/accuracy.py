"""Score integer models on labelled images."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from codesign.data import Split
from codesign.evaluate.executors import Run, executor
from codesign.integer.model import IntegerModel

BATCH_IMAGES = 128

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Score:
    """How a model did on a split.

    Attributes:
        correct: Images classified correctly.
        images: Images in all.
        loss: Mean cross entropy of the dequantised logits, in nats.
    """

    correct: int
    images: int
    loss: float

    @property
    def accuracy(self) -> float:
        """The fraction of images classified correctly."""
        return self.correct / self.images

    @property
    def rank(self) -> tuple[int, float]:
        """Larger is better: images correct, then the loss."""
        return (self.correct, -self.loss)


def score(
    model: IntegerModel,
    split: Split,
    device: str = "cpu",
    *,
    run: Run | None = None,
    batch_images: int = BATCH_IMAGES,
    progress: Progress = lambda images: None,
) -> Score:
    """Return the score of an integer model.

    Args:
        model: The model.
        split: The images.
        device: Where the torch executor runs.
        run: Another executor (`evaluate.executors`); None is torch.
        batch_images: Images at once.
        progress: Called with the number of images done, after each batch.
    """
    run = run or executor("torch", model, device)
    correct, images_done, loss = 0, 0, 0.0
    for images, labels in split.batches(batch_images):
        codes = run(model.input_format.quantize(images))
        correct += int((codes.argmax(dim=1) == labels).sum())
        logits = model.logits_format.dequantize(codes)
        loss += float(F.cross_entropy(logits, labels, reduction="sum"))
        images_done += len(labels)
        progress(images_done)
    return Score(correct, len(split), loss / len(split))


@torch.no_grad()
def float_accuracy(logits: Tensor, labels: Tensor) -> float:
    """Return the fraction of rows whose largest logit is at the label."""
    return float((logits.argmax(dim=1) == labels).double().mean())
