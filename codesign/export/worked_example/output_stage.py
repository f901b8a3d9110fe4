"""The activation function behind the first layer, where its code never leaves the output stage."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.errors import RunError
from codesign.export.worked_example.first_layer import FirstLayer, Index
from codesign.export.worked_example.places import Places
from codesign.integer.model import IntegerModel, IntegerNode
from codesign.numerics.fixed_point import Format

Work = Callable[[IntegerModel, IntegerNode, Format, int], tuple[list[str], int]]
_WORK: dict[str, Work] = {}


def works(op: str) -> Callable[[Work], Work]:
    """Return a decorator that files how an activation's result is worked out."""

    def decorate(function: Work) -> Work:
        _WORK[op] = function
        return function

    return decorate


def following(
    model: IntegerModel,
    layer: FirstLayer,
    index: Index,
    golden: Mapping[str, NDArray[np.integer[Any]]],
    places: Places,
) -> str:
    """Return the step from a layer's code to the activation's, empty where there is none.

    Raises:
        RunError: The result is not the golden code.
    """
    readers = [node for node in model.nodes if layer.node.name in node.inputs]
    if len(readers) != 1 or readers[0].op not in _WORK:
        return ""
    node = readers[0]
    if layer.node.format.shifts or node.format.shifts or node.format.codebook:
        return ""
    code, expected = int(layer.outputs[index]), int(golden[node.name][index])
    steps, result = _WORK[node.op](model, node, layer.node.format, code)
    if result != expected:
        raise RunError(f"worked example of {node.name}: {result}, golden code {expected}")
    spot = places.code(node.name, index)
    there = f"; {places.golden[node.name]['path']}: {spot}" if spot else ""
    return "\n".join(
        [
            f"The code goes on to `{node.name}` ({node.op}), which alone reads it:",
            "",
            "```",
            *steps,
            "```",
            "",
            f"`{node.name}`{list(index)} of golden/golden.npz holds {expected}{there}.",
        ]
    )


@works("lookup")
def _lookup(
    model: IntegerModel, node: IntegerNode, source: Format, code: int
) -> tuple[list[str], int]:
    result = int(model.tensors[node.tensors["table"]][code - source.low])
    return [f"stored      = table[{code} - {source.low}] = {result}"], result


@works("hardswish")
def _hardswish(
    model: IntegerModel, node: IntegerNode, source: Format, code: int
) -> tuple[list[str], int]:
    a, x = node.attributes, code - source.zero_point
    gate = int(np.clip(x + a["three"], 0, 2 * a["three"]))
    steps = [
        f"x           = {code} - {source.zero_point} = {x}",
        f"gate        = clamp({x} + three {a['three']}, 0, {2 * a['three']}) = {gate}",
    ]
    final, result = _requantised(node, x * gate, f"{x} * {gate}")
    return steps + final, result


@works("requantize")
def _requantize(
    model: IntegerModel, node: IntegerNode, source: Format, code: int
) -> tuple[list[str], int]:
    x = code - source.zero_point
    return _requantised(node, x, f"{code} - {source.zero_point}")


def _requantised(node: IntegerNode, value: int, how: str) -> tuple[list[str], int]:
    a, f = node.attributes, node.format
    scaled = (value * a["multiplier"] + (1 << (a["shift"] - 1))) >> a["shift"]
    result = int(np.clip(f.zero_point + scaled, f.low, f.high))
    terms = f"{value} * multiplier {a['multiplier']} + 2^{a['shift'] - 1}"
    return [
        f"value       = {how} = {value}",
        f"rounded     = ({terms}) >> {a['shift']} = {scaled}",
        f"stored      = clamp({f.zero_point} + {scaled}, {f.low}, {f.high}) = {result}",
    ], result
