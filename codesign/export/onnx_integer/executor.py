"""Runs the integer model's ONNX file with ONNX Runtime, on the CPU."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from codesign.errors import UserError

CHUNK_IMAGES = 32
"""Images evaluated at once: larger batches fall out of the caches."""


class OnnxExecutor:
    """An integer ONNX model made ready to run, with ONNX Runtime's default optimisation.

    Args:
        source: The model, its serialised bytes or the path of its file.
        threads: Threads that ONNX Runtime may use.

    Raises:
        UserError: The file is missing, damaged, or not a model of one input.
    """

    def __init__(self, source: onnx.ModelProto | bytes | str | Path, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        what = str(source) if isinstance(source, str | Path) else "the model"
        try:
            self._session = onnxruntime.InferenceSession(
                _content(source), options, providers=["CPUExecutionProvider"]
            )
        except OSError as error:
            raise UserError(f"cannot read {what}: {error.strerror}.") from error
        except Exception as error:  # ONNX Runtime's errors have no common class but this one
            raise UserError(f"ONNX Runtime cannot load {what}: {_line(error)}") from error
        if len(self._session.get_inputs()) != 1:
            raise UserError(f"{what} has not one input: it is no integer model of an export.")
        self._input = self._session.get_inputs()[0]
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._dtype = np.dtype(self._input.type[len("tensor(") : -1])

    def run(
        self, codes: NDArray[Any], keep: dict[str, NDArray[np.int64]] | None = None
    ) -> NDArray[np.int64]:
        """Return the logits' codes of a batch of input codes, int64.

        Args:
            codes: (batch, channels, height, width) whole numbers within the input's format.
            keep: Receives the codes of the input and of every output of the file, which are those
                of every node where it was made so; the batch is then run in one piece.

        Raises:
            UserError: A code is outside the type of the model's input.
        """
        limits = np.iinfo(self._dtype)
        if codes.size and not limits.min <= codes.min() <= codes.max() <= limits.max:
            raise UserError(f"input codes from {codes.min()} to {codes.max()}, not {self._dtype}.")
        narrow = codes.astype(self._dtype)
        if keep is not None:
            results = self._session.run(self._outputs, {self._input.name: narrow})
            keep[self._input.name] = codes.astype(np.int64)
            keep.update(
                (name, result.astype(np.int64))
                for name, result in zip(self._outputs, results, strict=True)
            )
            return keep[self._outputs[0]]
        starts = range(0, max(len(narrow), 1), CHUNK_IMAGES)
        return np.concatenate([self._logits(narrow[i : i + CHUNK_IMAGES]) for i in starts])

    def _logits(self, codes: NDArray[Any]) -> NDArray[np.int64]:
        logits = self._session.run(self._outputs[:1], {self._input.name: codes})[0]
        return np.asarray(logits, dtype=np.int64)


def _content(source: onnx.ModelProto | bytes | str | Path) -> bytes:
    if isinstance(source, str | Path):
        return Path(source).read_bytes()
    return source if isinstance(source, bytes) else bytes(source.SerializeToString())


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
