"""Random number formats, functions and recipes for a captured network."""

import random
from dataclasses import dataclass, replace

import torch
from random_modules import random_module
from random_networks import random_images

from codesign.design import Design, LayerFormat
from codesign.errors import RunError, UserError
from codesign.graph.capture import capture
from codesign.graph.ir import Graph
from codesign.graph.outline import outline
from codesign.integer.model import IntegerModel
from codesign.numerics.activation import ACTIVATIONS
from codesign.numerics.division import DIVISIONS
from codesign.numerics.layer_norm import LAYER_NORMS
from codesign.numerics.softmax import SOFTMAXES
from codesign.numerics.weights import SCHEMES, parse_format
from codesign.quantize.calibrate import mean_outputs
from codesign.quantize.lower import lower
from codesign.quantize.methods import METHODS
from codesign.quantize.observers import OBSERVERS
from codesign.quantize.quantize import quantize
from codesign.quantize.recipe import Recipe
from codesign.quantize.transforms import TRANSFORMS
from costmodels.accelerator import Accelerator

GATES = ("sigmoid", "hardsigmoid", "tanh")
CALIBRATION_IMAGES = 12
DRAWS = 8


def random_weight_format(rng: random.Random) -> str:
    """Return a weight format of any scheme, width and share."""
    scheme = SCHEMES.get(rng.choice(SCHEMES.names()))
    text = f"{scheme.name}_{rng.randint(*scheme.widths)}"
    option = scheme.option
    if option is not None and (option.required or rng.random() < 0.7):
        text += f"@{rng.uniform(option.least, 0.9 * option.below):.3f}"
    return text


def random_formats(names: list[str], rng: random.Random) -> tuple[tuple[str, LayerFormat], ...]:
    """Return a format of 2 to 8 bits for each layer."""
    return tuple((n, parse_format(random_weight_format(rng), rng.randint(2, 8))) for n in names)


def random_design(graph: Graph, rng: random.Random) -> Design:
    """Return formats of every kind and functions of every name; gates and kernels keep theirs."""
    functions = []
    for site in outline(graph).activations:
        kept = site.kernel or site.function in GATES
        functions.append((site.name, site.function if kept else rng.choice(ACTIVATIONS.names())))
    formats = random_formats([node.name for node in graph.layers], rng)
    return Design(formats, tuple(functions), Accelerator())


def random_recipe(seed: int, rng: random.Random) -> Recipe:
    """Return a method by name on even seeds, else free choices; kinds of rows take turns."""
    if seed % 2 == 0:
        return METHODS.get(METHODS.names()[seed // 2 % len(METHODS.names())])
    softmax = SOFTMAXES.get(SOFTMAXES.names()[seed // 2 % len(SOFTMAXES.names())])
    return Recipe(
        observer=rng.choice(OBSERVERS.names()),
        norm_inputs=rng.choice(["tensor", "ptf"]),
        layer_norm=rng.choice(LAYER_NORMS.names()),
        softmax=softmax.name,
        attention_bits=rng.choice(softmax.widths),
        activation_codes=rng.choice(["uniform", "two_scale"]),
        division=rng.choice(DIVISIONS.names()),
        scales=rng.choice(["free", "power_of_two"]),
        transforms=tuple(name for name in TRANSFORMS.names() if rng.random() < 0.3),
        bias_correction=rng.random() < 0.5,
    )


@dataclass(frozen=True)
class Drawn:
    """A random network made integer, and what it was made with.

    Attributes:
        model: The integer model.
        design: Its formats and functions.
        recipe: How it was quantised.
        refusals: Why designs drawn before this one were refused.
    """

    model: IntegerModel
    design: Design
    recipe: Recipe
    refusals: tuple[str, ...]


def calibrated(seed: int) -> Drawn:
    """Return a random network with a random design and recipe.

    What is refused, with the reason that a user would read, is drawn again.
    """
    rng = random.Random(seed)
    pixels = rng.choice([8, 9, 12])
    images = random_images(CALIBRATION_IMAGES, pixels, seed)
    refusals: list[str] = []
    for draw in range(DRAWS):
        module = random_module(seed, pixels, draw)
        graph = capture(module, (3, pixels, pixels), f"fuzz{seed}")
        recipe, design = random_recipe(seed, rng), random_design(graph, rng)
        try:
            model = lowered(graph, design, recipe, images)
            return Drawn(model, design, recipe, tuple(refusals))
        except (RunError, UserError) as error:
            refusals.append(str(error))
    raise AssertionError(f"seed {seed}: refused {DRAWS} times: {refusals}")


def lowered(graph: Graph, design: Design, recipe: Recipe, images: torch.Tensor) -> IntegerModel:
    """Return a design's integer model; the graph's own tensors stay as they are."""
    graph = replace(graph, tensors={k: v.clone() for k, v in graph.tensors.items()})
    means = mean_outputs(graph, images) if recipe.bias_correction else None
    return lower(quantize(graph, design, recipe, images, layer_means=means))
