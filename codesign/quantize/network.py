"""QuantizedNetwork: the differentiable twin of the integer model, trained while distilling."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from codesign.design import Design, LayerFormat
from codesign.errors import RunError
from codesign.graph.execute import compute, last_uses, move
from codesign.graph.ir import LAYER_OPERATIONS, SHAPE_OPERATIONS, Graph, Node
from codesign.numerics.activation import ACTIVATIONS
from codesign.numerics.fixed_point import Format
from codesign.numerics.weights import WeightScheme, scheme_of
from codesign.numerics.weights.interval import Interval
from codesign.quantize.channels import moved_format
from codesign.quantize.plan import arrange, plan
from codesign.quantize.recipe import Recipe
from codesign.quantize.row_twins import quotient, row_twin
from codesign.quantize.transforms import TRANSFORMS

Visit = Callable[[Node, Tensor], None]


@dataclass
class QuantizedNetwork:
    """A planned graph with trainable tensors, weight scales and code formats.

    Attributes:
        graph: The planned graph (`codesign.quantize.plan`).
        layers: Layer name to number format.
        tensors: Trainable float parameters by name.
        formats: Node name to the format of its codes; filled by calibration.
        weight_scales: Layer name to its scale per output channel, as calibration chose it.
        alphas: Layer name to its trainable interval in standard deviations, for the schemes that
            learn it; `weight_scale` has the scale it stands for.
        schemes: Layer name to its scheme, fitted to the layer's weights by calibration.
        recipe: How the network is quantised.
    """

    graph: Graph
    layers: Mapping[str, LayerFormat]
    tensors: dict[str, Tensor]
    formats: dict[str, Format] = field(default_factory=dict)
    weight_scales: dict[str, Tensor] = field(default_factory=dict)
    alphas: dict[str, Tensor] = field(default_factory=dict)
    schemes: dict[str, WeightScheme] = field(default_factory=dict)
    recipe: Recipe = field(default_factory=Recipe)

    @classmethod
    def build(
        cls,
        graph: Graph,
        design: Design,
        device: str = "cpu",
        recipe: Recipe | None = None,
        images: Tensor | None = None,
    ) -> "QuantizedNetwork":
        """Return the network of a design, its tensors copied from the float graph.

        Args:
            graph: The float network.
            design: Formats of the layers, functions of the activations.
            device: Where the tensors go.
            recipe: How to quantise; the default recipe if None.
            images: Calibration images that the recipe's transforms are fitted to; without them
                the transforms stay neutral.
        """
        recipe = recipe or Recipe()
        graph = arrange(graph, design, recipe)
        for name in recipe.transforms if images is not None else ():
            assert images is not None
            graph = TRANSFORMS.get(name).fit(graph, images, design, recipe)
        tensors = {
            name: value.detach().clone().to(device).requires_grad_(value.is_floating_point())
            for name, value in graph.tensors.items()
        }
        planned = plan(graph, design, recipe)
        return cls(planned, design.layer_formats, tensors, recipe=recipe)

    def __post_init__(self) -> None:
        self._nodes = self.graph.by_name
        self._moved: dict[tuple[str, Format], Format] = {}
        self._last_uses = last_uses(self.graph.nodes)

    def forward(self, images: Tensor, visit: Visit | None = None) -> Tensor:
        """Return the logits of a batch, every value rounded to its code's value.

        Args:
            images: (batch, channels, height, width) float32.
            visit: Called with each node and its result.

        Raises:
            RunError: The integers of a softmax, norm or division do not hold its scales.
        """
        values: dict[str, Tensor] = {}
        for node in self.graph.nodes:
            inputs = [values[name] for name in node.inputs]
            result = self._twin(node, inputs, images)
            if visit is not None:
                visit(node, result)
            values[node.name] = result
            for name in self._last_uses[node.name]:
                del values[name]
        return values[self.graph.output.name]

    __call__ = forward

    def source_format(self, name: str) -> Format:
        """Return the format of the codes that arrive under a node's name."""
        node, moves = self._nodes[name], []
        while node.op in SHAPE_OPERATIONS:
            moves.append(node)
            node = self._nodes[node.inputs[0]]
        fmt = self.formats[node.name]
        if not fmt.shifts:
            return fmt
        if (name, fmt) not in self._moved:
            moved = fmt
            for move_ in reversed(moves):
                moved = moved_format(move_, self._nodes[move_.inputs[0]].shape, moved)
            self._moved[name, fmt] = moved
        return self._moved[name, fmt]

    def raw(self, node: Node, inputs: list[Tensor], images: Tensor) -> Tensor:
        """Return a node's result before its own quantiser, weights and bias quantised."""
        if node.op == "input":
            return images
        if node.op == "requantize":
            return inputs[0]
        if node.op == "divide":
            return quotient(self, node, inputs)
        if node.op in SHAPE_OPERATIONS:
            return move(node, inputs[0], images.shape[0])
        parameters = {role: self.tensors[name] for role, name in node.parameters.items()}
        if node.op in LAYER_OPERATIONS and node.name in self.weight_scales:
            parameters["weight"] = self.quantized_weight(node, parameters["weight"])
            if "bias" in parameters:
                parameters["bias"] = self.quantized_bias(node, parameters["bias"])
        return compute(node, inputs, parameters)

    def scheme(self, name: str) -> WeightScheme:
        """Return a layer's scheme, fitted if the layer is calibrated."""
        return self.schemes.get(name) or scheme_of(self.layers[name])

    def weight_scale(self, name: str) -> Tensor:
        """Return a layer's scale per output channel as it is now, differentiable where learned."""
        if name not in self.alphas:
            return self.weight_scales[name]
        scheme, weight = self.scheme(name), self.tensors[self._nodes[name].parameters["weight"]]
        assert isinstance(scheme, Interval)
        return scheme.scale_of(self.alphas[name], weight, self.layers[name].weight_bits)

    def quantized_weight(self, node: Node, weight: Tensor) -> Tensor:
        """Return the values of a layer's integer weights, differentiable."""
        scale, bits = self.weight_scale(node.name), self.layers[node.name].weight_bits
        return self.scheme(node.name).twin(weight, scale, bits)

    def quantized_bias(self, node: Node, bias: Tensor) -> Tensor:
        """Return a layer's bias in whole steps of its accumulator, differentiable."""
        step = self.weight_scale(node.name).detach() * self.source_format(node.inputs[0]).scale
        return bias + (torch.floor(bias.detach() / step + 0.5) * step - bias.detach())

    def _twin(self, node: Node, inputs: list[Tensor], images: Tensor) -> Tensor:
        if node.op == "activation":
            function = ACTIVATIONS.get(node.attributes["function"])
            source = Format(8, 1.0) if function.clips else self.source_format(node.inputs[0])
            return function.twin(inputs[0], source, self.formats[node.name])
        result = self.raw(node, inputs, images)
        if node.op in SHAPE_OPERATIONS or "fused" in node.attributes:
            return result
        try:
            rows = row_twin(self, node, inputs)
        except ValueError as error:
            raise RunError(f"layer {node.name}: {error}") from error
        return self.formats[node.name].fake_quantize(result) if rows is None else rows
