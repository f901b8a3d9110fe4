"""Opened: a bundle's files as values, each read and checked when it is first asked for."""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from codesign.bundle.files import Arrays, read_json, read_model, read_npz
from codesign.design import Design
from codesign.errors import UserError
from codesign.export.derived import read_cost
from codesign.integer.model import IntegerModel
from costmodels.estimate import Cost
from costmodels.workload import Workload
from costmodels.workload_json import workload_from_json

T = TypeVar("T")

GOLDEN, IMAGES = "golden/golden.npz", "golden/images.npz"


class Opened:
    """A bundle's files as values.

    Every property raises UserError, one line that names the file, where a file is missing,
    damaged, or a path leads out of the bundle.

    Args:
        folder: The bundle.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def model(self) -> IntegerModel:
        """The integer model of graph.json and weights.npz."""
        return read_model(self.folder)

    @cached_property
    def hardware(self) -> dict[str, Any]:
        """hardware.json."""
        return read_json(self.folder, "hardware.json")

    @cached_property
    def cost(self) -> Cost:
        """The cost of cost.json."""
        return self._parsed("cost.json", read_cost)

    @cached_property
    def workload(self) -> Workload:
        """The workload of workload.json."""
        return self._parsed("workload.json", workload_from_json)

    @cached_property
    def design(self) -> Design:
        """The design of design.json."""
        return self._parsed("design.json", Design.from_json)

    def _parsed(self, name: str, parse: Callable[[Mapping[str, Any]], T]) -> T:
        values = read_json(self.folder, name)
        try:
            return parse(values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{name} is damaged: {type(error).__name__} {error}.") from error

    @cached_property
    def golden(self) -> Arrays:
        """Node to its golden codes, integers, in the order of the graph."""
        found = read_npz(self.folder, GOLDEN)
        names = [node.name for node in self.model.nodes]
        for name in [*names, *found]:
            if name not in found:
                raise UserError(f"{GOLDEN} lacks the codes of {name}.")
            if name not in names or found[name].dtype.kind not in "iu":
                raise UserError(f"{GOLDEN} holds {name}, which is not a node's integers.")
        return {name: found[name] for name in names}

    @cached_property
    def images(self) -> Arrays:
        """Arrays of golden/images.npz: "images", "labels", "expected_classes", "indices"."""
        found = read_npz(self.folder, IMAGES)
        for key in ("images", "labels", "expected_classes", "indices"):
            if key not in found:
                raise UserError(f"{IMAGES} lacks {key}.")
        return found

    @property
    def input_codes(self) -> NDArray[np.int64]:
        """The golden inputs' codes, int64 (images, channels, height, width)."""
        return self.golden[self.model.nodes[0].name].astype(np.int64)

    @property
    def logits(self) -> NDArray[np.int64]:
        """The golden logits' codes, int64 (images, classes)."""
        return self.golden[self.model.nodes[-1].name].astype(np.int64)
