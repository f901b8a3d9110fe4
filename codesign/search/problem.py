"""What the search needs of the thing it optimises: a price and an evaluation for a design."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from codesign.design import Design, NetworkOutline
from costmodels.estimate import Cost
from costmodels.workload import Workload

if TYPE_CHECKING:
    from codesign.quantize.sensitivity import Choices, Sensitivities


@dataclass(frozen=True)
class Evaluation:
    """What a worker returns for a design.

    Attributes:
        metrics: Measured metrics by dotted name: "accuracy", "accuracy_post_training",
            "accuracy_distilled" (fractions of the validation split), "seconds.calibrate", ...
        model: The integer model that was scored, as the bytes of its file.
        details: JSON-able extras kept with the trial (per-layer figures, the loss's history).
    """

    metrics: Mapping[str, float]
    model: bytes
    details: Mapping[str, Any] = field(default_factory=dict)


class Problem(Protocol):
    """A network, its data and its cost models, ready to score designs.

    The driver holds one to price designs; each worker holds one to evaluate them.
    """

    outline: NetworkOutline
    teacher: Mapping[str, float]

    def workload(self, design: Design) -> Workload:
        """Return what the design's network asks of hardware."""
        ...

    def price(self, design: Design) -> Cost:
        """Return the design's cost in milliseconds of work, without training anything."""
        ...

    def sensitivities(
        self, choices: "Choices", progress: Callable[[int, int], None]
    ) -> "Sensitivities":
        """Return what each choice alone does to the float network (`quantize.sensitivity`)."""
        ...

    def evaluate(self, design: Design) -> Evaluation:
        """Calibrate, distil, convert and score the design; the seed is the design's key."""
        ...

    def test_accuracy(self, model: bytes) -> float:
        """Return the accuracy of an evaluated integer model on the test split, a fraction."""
        ...
