"""How far a float file's answers lie from the integer model's, in codes and in classes."""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from codesign.errors import RunError
from codesign.integer.model import IntegerModel
from codesign.integer.torch_executor import TorchExecutor
from codesign.registry import Registry

BATCH_IMAGES = 32
Images = NDArray[np.float32]
Runner = Callable[[onnx.ModelProto, Images, int], Images]
RUNNERS: Registry[Runner] = Registry("runner")


@dataclass(frozen=True)
class MirrorReport:
    """Differences of a float file from the integer model over the same images.

    Attributes:
        runner: What executed the file.
        images: Images compared.
        codes: Logits compared, as codes of the logits' format.
        differing: Codes that differ.
        largest: Largest difference, in codes.
        mean: Mean absolute difference over all codes compared, in codes.
        top1_differing: Images whose class differs.
        accuracy: Fraction of images the file classifies correctly; None without labels.
        integer_accuracy: The same of the integer model.
    """

    runner: str
    images: int
    codes: int
    differing: int
    largest: int
    mean: float
    top1_differing: int
    accuracy: float | None = None
    integer_accuracy: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return dataclasses.asdict(self)

    def line(self) -> str:
        """Return the report as one line of text."""
        text = (
            f"{self.runner}, {self.images} images: {self.differing} of {self.codes} logit codes"
            f" differ (by {self.largest} at most, {self.mean:.2f} on average),"
            f" and {self.top1_differing} of {self.images} classes"
        )
        if self.accuracy is None or self.integer_accuracy is None:
            return text + "."
        return (
            text + f"; top-1 {self.accuracy:.2%}, the integer model's {self.integer_accuracy:.2%}."
        )


def measure_differences(
    model: IntegerModel,
    proto: onnx.ModelProto,
    images: Tensor | Images,
    *,
    runner: str = "onnxruntime",
    labels: Tensor | NDArray[np.integer[Any]] | None = None,
    threads: int = 1,
) -> MirrorReport:
    """Run a float file and the integer model on images and compare their logits.

    Args:
        model: The integer model.
        proto: What `qdq_onnx` or `qonnx_onnx` made of it.
        images: (images, channels, height, width) real values, as the input quantiser takes them.
        runner: "onnxruntime" (default optimisation), "qonnx" (node by node) or "qonnx-cleaned".
        labels: (images,) classes, for the accuracies.
        threads: Threads of ONNX Runtime.

    Raises:
        UserError: There is no such runner.
        RunError: The file's logits are not numbers.
    """
    run = RUNNERS.get(runner)
    pictures = torch.as_tensor(images).to(torch.float32)
    logits = run(proto, pictures.numpy(), threads).astype(np.float64)
    if not np.isfinite(logits).all():
        raise RunError(f"{runner} gives logits that are not finite: the float file is not valid.")
    codes = TorchExecutor(model).run(model.input_format.quantize(pictures)).numpy()
    fmt = model.logits_format
    difference = np.abs(np.floor(logits / fmt.scale + 0.5) + fmt.zero_point - codes)
    classes, expected = logits.argmax(axis=1), codes.argmax(axis=1)
    report = MirrorReport(
        runner=runner,
        images=len(logits),
        codes=difference.size,
        differing=int((difference > 0).sum()),
        largest=int(difference.max()),
        mean=float(difference.mean()),
        top1_differing=int((classes != expected).sum()),
    )
    if labels is None:
        return report
    truth = np.asarray(labels)
    return dataclasses.replace(
        report,
        accuracy=float((classes == truth).mean()),
        integer_accuracy=float((expected == truth).mean()),
    )


@RUNNERS.register("onnxruntime")
def run_onnxruntime(proto: onnx.ModelProto, images: Images, threads: int) -> Images:
    """Return the logits that ONNX Runtime gives with its default optimisation, on the CPU."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    starts = range(0, len(images), BATCH_IMAGES)
    return np.concatenate(
        [session.run(None, {name: images[i : i + BATCH_IMAGES]})[0] for i in starts]
    )


@RUNNERS.register("qonnx")
def run_qonnx(proto: onnx.ModelProto, images: Images, threads: int) -> Images:
    """Return the logits that qonnx gives, node by node, for a batch of all images."""
    return _execute(_with_shapes(proto, len(images)), images, clean=False)


@RUNNERS.register("qonnx-cleaned")
def run_qonnx_cleaned(proto: onnx.ModelProto, images: Images, threads: int) -> Images:
    """Return the same behind qonnx's cleanup, whose time grows with the square of the layers."""
    return _execute(_with_shapes(proto, len(images)), images, clean=True)


def _execute(proto: onnx.ModelProto, images: Images, *, clean: bool) -> Images:
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.util.cleanup import cleanup_model

    with readable_nodes(proto.ir_version):
        wrapper = ModelWrapper(proto, fix_missing_initializer_valueinfo=False)
        wrapper = cleanup_model(wrapper) if clean else wrapper
        source, result = (ends[0].name for ends in (wrapper.graph.input, wrapper.graph.output))
        return np.asarray(execute_onnx(wrapper, {source: images})[result])


def _with_shapes(proto: onnx.ModelProto, images: int) -> onnx.ModelProto:
    """Return a copy for another batch that states the shape of every tensor.

    qonnx wants that. Its quantisers stand in as identities while ONNX infers the shapes.
    """
    copy, plain = onnx.ModelProto(), onnx.ModelProto()
    copy.CopyFrom(proto)
    for end in (*copy.graph.input, *copy.graph.output):
        end.type.tensor_type.shape.dim[0].dim_value = images
    plain.CopyFrom(copy)
    for node in plain.graph.node:
        if node.domain:
            kept = onnx.helper.make_node("Identity", node.input[:1], node.output)
            node.CopyFrom(kept)
    inferred = onnx.shape_inference.infer_shapes(plain, strict_mode=True, data_prop=True)
    copy.graph.value_info.extend(inferred.graph.value_info)
    for tensor in copy.graph.initializer:
        info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        copy.graph.value_info.append(info)
    return copy


@contextmanager
def readable_nodes(ir_version: int) -> Iterator[None]:
    """Make qonnx wrap the single nodes it hands to ONNX Runtime in a given IR version.

    qonnx 1.0 takes the newest that the onnx package knows. That of onnx 1.23, 14, is more than ONNX
    Runtime 1.31 reads, 13.
    """
    from qonnx.core import onnx_exec

    make = functools.partial(onnx_exec.qonnx_make_model, ir_version=ir_version)
    plain = {"SANITIZE_QUANT_TENSORS": "0"}  # no tensor is annotated: it would only look
    with mock.patch.object(onnx_exec, "qonnx_make_model", make), mock.patch.dict(os.environ, plain):
        yield
