"""What a transform is: a structure that depends on the graph alone, and values fitted to data."""

from abc import ABC, abstractmethod

from torch import Tensor

from codesign.design import Design
from codesign.graph.ir import Graph
from codesign.quantize.recipe import Recipe
from codesign.registry import Registry


class Transform(ABC):
    """A rewrite of the float graph that eases quantisation and keeps the function.

    The structure is fixed before any image is seen, so that the cost models price what will be
    built; the values come from calibration images.

    Attributes:
        name: Public name.
    """

    name: str

    def rewrite(self, graph: Graph) -> Graph:
        """Return the graph with the nodes this transform needs, neutral for now."""
        return graph

    @abstractmethod
    def fit(self, graph: Graph, images: Tensor, design: Design, recipe: Recipe) -> Graph:
        """Return the rewritten graph with tensors fitted to images; its float function is kept.

        Args:
            graph: What `rewrite` returned, perhaps rewritten by later transforms too.
            images: (images, channels, height, width) float32.
            design: The number formats that the values are to suit.
            recipe: How the network will be quantised.
        """


TRANSFORMS: Registry[Transform] = Registry("transform (quantize.transforms)")
