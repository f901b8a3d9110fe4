"""IntegerModel: a network of integer operations, the thing that is scored and shipped."""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.errors import UserError
from codesign.numerics.fixed_point import Format

SCHEMA_VERSION = 1
Integers = NDArray[np.integer[Any]]
DAMAGE = (
    *(ValueError, KeyError, TypeError, AttributeError, OSError, EOFError, MemoryError),
    *(NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error),
)
"""What NumPy, zipfile and json raise on files that are damaged or something else."""


@dataclass(frozen=True)
class IntegerNode:
    """One integer operation; `codesign/numerics/README.md` specifies each.

    Attributes:
        name: Unique; layers and activations carry their timm module path.
        op: Name of the operation.
        inputs: Names of the nodes it reads.
        format: How its codes stand for real numbers.
        shape: Shape of its result; sizes that grow with the batch are written "k*B".
        attributes: JSON-able integers, lists of integers and names.
        tensors: Role ("weight", "bias", "multiplier", ...) to a key of the model's tensors.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    format: Format
    shape: tuple[int | str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class IntegerModel:
    """A network between the input quantiser and the logits, in integers alone.

    Attributes:
        name: The model's name.
        nodes: In execution order; the first is the input, the last gives the logits.
        tensors: Weights, biases, multipliers, shifts and tables by key.
        info: JSON-able facts about where the model comes from.
    """

    name: str
    nodes: tuple[IntegerNode, ...]
    tensors: Mapping[str, Integers]
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def input_format(self) -> Format:
        """Format of the image's codes."""
        return self.nodes[0].format

    @property
    def logits_format(self) -> Format:
        """Format of the logits' codes."""
        return self.nodes[-1].format

    def quantize_input(self, images: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
        """Return the codes of images (ties up), int64 of the same shape."""
        f = self.input_format
        codes = np.floor(images.astype(np.float64) / f.scale + 0.5) + f.zero_point
        return np.clip(codes, f.low, f.high).astype(np.int64)

    def with_info(self, **info: Any) -> "IntegerModel":
        """Return the model with more facts."""
        return replace(self, info={**self.info, **info})

    def graph_json(self) -> dict[str, Any]:
        """Return everything but the tensors as JSON-able values."""
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "info": dict(self.info),
            "nodes": [
                {
                    "name": node.name,
                    "op": node.op,
                    "inputs": list(node.inputs),
                    "format": node.format.to_json(),
                    "shape": list(node.shape),
                    "attributes": dict(node.attributes),
                    "tensors": dict(node.tensors),
                }
                for node in self.nodes
            ],
        }

    def to_bytes(self) -> bytes:
        """Return the model as one npz file; equal models give equal bytes."""
        graph = json.dumps(self.graph_json(), sort_keys=True).encode()
        return pack_npz({**self.tensors, "graph.json": np.frombuffer(graph, dtype=np.uint8)})

    @classmethod
    def from_bytes(cls, data: bytes, where: str = "model") -> "IntegerModel":
        """Read what `to_bytes` wrote.

        Raises:
            UserError: The bytes are not such a file.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                tensors = {key: file[key] for key in file.files}
            graph = json.loads(tensors.pop("graph.json").tobytes())
            return cls.from_json(graph, tensors)
        except DAMAGE as error:
            raise UserError(f"{where} is not an integer model: {error}") from error

    @classmethod
    def from_json(cls, graph: Mapping[str, Any], tensors: Mapping[str, Integers]) -> "IntegerModel":
        """Rebuild a model from `graph_json`'s values and its tensors."""
        if graph["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema version {graph['schema_version']}, not {SCHEMA_VERSION}")
        nodes = _nodes(graph["nodes"])
        _check_references(nodes, tensors)
        return cls(graph["name"], nodes, dict(tensors), graph["info"])

    @classmethod
    def load(cls, path: Path) -> "IntegerModel":
        """Read a model file.

        Raises:
            UserError: The file is missing or is not an integer model.
        """
        try:
            return cls.from_bytes(path.read_bytes(), str(path))
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error


def _nodes(values: Sequence[Mapping[str, Any]]) -> tuple[IntegerNode, ...]:
    return tuple(
        IntegerNode(
            name=v["name"],
            op=v["op"],
            inputs=tuple(v["inputs"]),
            format=Format.from_json(v["format"]),
            shape=tuple(v["shape"]),
            attributes=v["attributes"],
            tensors=v["tensors"],
        )
        for v in values
    )


def _check_references(nodes: Sequence[IntegerNode], tensors: Mapping[str, Integers]) -> None:
    known: set[str] = set()
    for node in nodes:
        missing = [name for name in node.inputs if name not in known]
        missing += [key for key in node.tensors.values() if key not in tensors]
        if missing:
            raise ValueError(f"node {node.name} reads {missing[0]}, which is not there")
        known.add(node.name)


def pack_npz(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """Return an npz file with fixed time stamps and order, so that equal arrays are equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for key in sorted(tensors):
            entry = io.BytesIO()
            np.lib.format.write_array(entry, np.ascontiguousarray(tensors[key]), allow_pickle=False)
            info = zipfile.ZipInfo(f"{key}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, entry.getvalue())
    return buffer.getvalue()
