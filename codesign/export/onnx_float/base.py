"""What every conversion of an operation shares: the graph under construction and the registry."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from codesign.integer.model import IntegerModel, IntegerNode
from codesign.numerics.fixed_point import Format

Values = NDArray[Any]
UNSEEN = 1 / 256
"""A factor that moves no result by more than this part of a code is left out."""

SMALLEST_SCALE = 1e-30
"""2**31 steps of it are still no visible value, and float32 holds it."""


@dataclass(frozen=True)
class Real:
    """A tensor of real values in the float graph: codes of a format, dequantised.

    Attributes:
        name: The ONNX tensor.
        format: The format whose codes' values it holds.
        shape: Its shape; sizes that grow with the batch are written "k*B".
    """

    name: str
    format: Format
    shape: tuple[int | str, ...]


class Quantiser(Protocol):
    """How one kind of file writes what is quantised."""

    def activation(self, b: "Mirror", value: str, node: IntegerNode, result: str) -> None:
        """Round a real tensor to the values of a node's format."""

    def moved(self, b: "Mirror", value: str, node: IntegerNode, result: str) -> str:
        """Return a tensor whose values are of the node's format already, marked as such or not."""

    def stored(self, b: "Mirror", codes: Values, node: IntegerNode, result: str) -> str:
        """Return the real values of a constant's codes."""

    def weight(self, b: "Mirror", codes: Values, scale: Values, axis: int, source: Format) -> str:
        """Return the real weights of integer codes with one scale a channel along an axis.

        Args:
            b: The graph.
            codes: Whole numbers, (outputs, ...) or (inputs, outputs).
            scale: (outputs,) real value of one step.
            axis: The outputs' dimension.
            source: Format of what the weights are multiplied with.
        """

    def bias(self, b: "Mirror", codes: Values, scale: Values) -> str:
        """Return the real biases of int32 codes, (channels,)."""


class Mirror:
    """Builds the float graph of an integer model node by node.

    Args:
        model: The integer model.
        quantiser: How its formats are written.
    """

    def __init__(self, model: IntegerModel, quantiser: Quantiser) -> None:
        self.model = model
        self.quantiser = quantiser
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.reals: dict[str, Real] = {}
        self.current = model.nodes[0]
        self._names: set[str] = set()

    def convert(self, node: IntegerNode, result: str) -> None:
        """Add one integer node's float form; its rounded values get the name `result`."""
        self.current = node
        emitter = EMITTERS[node.op]
        inputs = [self.reals[name] for name in node.inputs]
        value = emitter.emit(self, node, inputs)
        if emitter.kind == "move":
            value = self.quantiser.moved(self, value, node, result)
        elif emitter.kind == "constant":
            value = self.quantiser.stored(self, self.tensors()["value"], node, result)
        elif not node.format.codebook:
            self.quantiser.activation(self, value, node, result)
            value = result
        self.reals[node.name] = Real(value, node.format, node.shape)

    def add(self, op: str, inputs: Sequence[str], result: str = "", **attributes: Any) -> str:
        """Add an ONNX node and return its (first) result, named after the current node."""
        result = result or self._fresh(op.lower())
        domain = attributes.pop("domain", None)
        self.nodes.append(
            helper.make_node(op, list(inputs), [result], name=result, domain=domain, **attributes)
        )
        return result

    def constant(self, value: Values, role: str) -> str:
        """Add an initializer of NumPy's type of the value and return its name."""
        name = self._fresh(role)
        self.initializers.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def number(self, value: Any, role: str) -> str:
        """Add a float32 initializer, a number or an array, and return its name."""
        array = np.asarray(value, dtype=np.float32)
        name = self._fresh(role)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def shared(self, value: float, role: str) -> str:
        """Add a float32 number that many nodes read, once, and return its name."""
        name = f"{role}/{value:g}"
        if name not in self._names:
            self._names.add(name)
            self.initializers.append(numpy_helper.from_array(np.array(value, np.float32), name))
        return name

    def integers(self, values: Any, role: str) -> str:
        """Add an int64 initializer (shapes, axes, indices) and return its name."""
        name = self._fresh(role)
        self.initializers.append(numpy_helper.from_array(np.asarray(values, np.int64), name))
        return name

    def tensors(self) -> dict[str, Values]:
        """Return the current node's tensors by role, as int64."""
        keys = self.current.tensors
        return {role: self.model.tensors[key].astype(np.int64) for role, key in keys.items()}

    def scaled(self, value: str, factor: Any, allowed: float) -> str:
        """Multiply by a factor, unless it is 1 to within `allowed`."""
        if np.all(np.abs(np.asarray(factor) - 1.0) <= allowed):
            return value
        return self.add("Mul", [value, self.number(factor, "factor")])

    def cast_and_scaled(self, codes: str, factors: Values) -> str:
        """Return stored integers as float, times factors."""
        whole = self.add("Cast", [codes], to=TensorProto.FLOAT)
        return self.add("Mul", [whole, self.number(factors, "weight_scale")])

    def _fresh(self, role: str) -> str:
        stem = f"{self.current.name}/{role}"
        name, count = stem, 1
        while name in self._names:
            count += 1
            name = f"{stem}_{count}"
        self._names.add(name)
        return name


Emit = Callable[[Mirror, IntegerNode, Sequence[Real]], str]


@dataclass(frozen=True)
class Emitter:
    """How an operation is written in float.

    Attributes:
        emit: Adds the ONNX nodes and returns the tensor of real results.
        kind: "compute" gives results to be rounded, to a codebook excepted, whose levels it finds
            itself; "move" gives values of the format already; "constant" stores them.
    """

    emit: Emit
    kind: str


EMITTERS: dict[str, Emitter] = {}


def emits(*operations: str, kind: str = "compute") -> Callable[[Emit], Emit]:
    """Return a decorator that files how operations of the integer graph are written in float."""

    def decorate(function: Emit) -> Emit:
        EMITTERS.update(dict.fromkeys(operations, Emitter(function, kind)))
        return function

    return decorate


def unseen(fmt: Format) -> float:
    """Return the relative error that moves no result of a format by a visible part of a code."""
    return UNSEEN / fmt.magnitude


def positive(scale: Values) -> Values:
    """Return scales with a positive number in place of 0, that of a channel of multiplier 0."""
    return np.maximum(scale, SMALLEST_SCALE)


def narrowest(codes: Values) -> Values:
    """Return whole numbers as int8, int16 or int32."""
    peak = np.abs(codes).max()
    return codes.astype(np.int8 if peak < 2**7 else np.int16 if peak < 2**15 else np.int32)


def dyadic(attributes: Mapping[str, Any]) -> float:
    """Return multiplier / 2**shift of a node's attributes."""
    return float(np.ldexp(float(attributes["multiplier"]), -int(attributes["shift"])))


def along(values: Any, axis: int) -> Values:
    """Return one number a channel, shaped for the channels' axis (-1 is the last)."""
    return np.asarray(values).reshape(-1, *[1] * (-1 - axis))


def channelwise(values: Values, rank: int, axis: int) -> Values:
    """Return one number a channel, shaped for a tensor of a rank whose channels lie along axis."""
    return values.reshape([-1 if d == axis else 1 for d in range(rank)])


def steps(fmt: Format) -> Values:
    """Return the real value of one step: a number, or one for each channel of its axis."""
    if not fmt.shifts:
        return np.asarray(fmt.scale)
    return along(fmt.scale * np.exp2(np.asarray(fmt.shifts, dtype=np.float64)), fmt.axis)


def real_values(codes: Values, fmt: Format) -> Values:
    """Return the real values of codes in their tensor's own shape, float64."""
    if fmt.codebook:
        return np.asarray(fmt.codebook, dtype=np.float64)[codes] * fmt.scale
    return (codes - fmt.zero_point) * steps(fmt)
