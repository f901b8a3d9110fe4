"""Score integer models on labelled images."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from codesign.data import Split
from codesign.integer.model import IntegerModel
from codesign.integer.torch_executor import TorchExecutor

BATCH_IMAGES = 128


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


def score(model: IntegerModel, split: Split, device: str = "cpu") -> Score:
    """Return the score of an integer model, run by the torch executor."""
    executor = TorchExecutor(model, device)
    correct, loss = 0, 0.0
    for images, labels in split.batches(BATCH_IMAGES):
        codes = executor.run(model.input_format.quantize(images)).cpu()
        correct += int((codes.argmax(dim=1) == labels).sum())
        logits = model.logits_format.dequantize(codes)
        loss += float(F.cross_entropy(logits, labels, reduction="sum"))
    return Score(correct, len(split), loss / len(split))


@torch.no_grad()
def float_accuracy(logits: Tensor, labels: Tensor) -> float:
    """Return the fraction of rows whose largest logit is at the label."""
    return float((logits.argmax(dim=1) == labels).double().mean())
