"""interchange.json: how far the float mirrors are from the integers, measured while exporting."""

from collections.abc import Mapping
from typing import Any

import onnx

from codesign.data import Split
from codesign.export.derived import QDQ_ONNX, QONNX_ONNX
from codesign.export.golden import Golden
from codesign.export.onnx_float import MirrorReport, measure_differences
from codesign.integer.model import IntegerModel

MOST_IMAGES = 512
"""Images at most of the validation split that the QDQ file answers."""

MIRRORS = (QDQ_ONNX, QONNX_ONNX)

Reports = dict[str, MirrorReport]


def measure_mirrors(
    model: IntegerModel,
    mirrors: Mapping[str, str | bytes],
    validation: Split,
    golden: Golden,
) -> Reports:
    """Return what the mirrors answer beside the integer model, by file name.

    ONNX Runtime runs a QDQ file on the validation split, evenly spread images where it is large.
    qonnx runs a QONNX file on the golden images alone: it executes node by node.

    Args:
        model: The integer model.
        mirrors: The content of the files of `MIRRORS`.
        validation: The images the design was scored on.
        golden: The golden images.

    Raises:
        RunError: A mirror gives logits that are not numbers.
    """
    count = min(len(validation), MOST_IMAGES)
    spread = [i * len(validation) // count for i in range(count)]
    reports = {}
    for name, content in mirrors.items():
        if name == QONNX_ONNX:
            images, labels, runner = golden.images, golden.labels, "qonnx"
        else:
            pictures, classes = validation.load(spread)
            images, labels, runner = pictures.numpy(), classes.numpy(), "onnxruntime"
        proto = onnx.load_model_from_string(content)
        reports[name] = measure_differences(model, proto, images, runner=runner, labels=labels)
    return reports


def interchange_json(reports: Reports) -> dict[str, Any]:
    """Return the reports as JSON-able values."""
    return {
        "schema_version": 1,
        "mirrors": {name: report.to_json() for name, report in reports.items()},
    }
