"""The schema of interchange.json."""

from typing import Any

from codesign.export.schema.terms import Schema, choice, closed, document, mapping, real, whole


def interchange_schema() -> dict[str, Any]:
    """Return the schema of what was measured of the float mirrors."""
    return document(
        "How far the float mirrors are from the integer model",
        {"mirrors": mapping(_report(), "report by the mirror's file name")},
    )


def _report() -> Schema:
    share = {"type": "number", "minimum": 0, "maximum": 1}
    return closed(
        {
            "runner": choice(("onnxruntime", "qonnx"), "what executed the file"),
            "images": whole("images that both answered", 1),
            "codes": whole("logits compared, as codes of the logits' format", 1),
            "differing": whole("codes that differ"),
            "largest": whole("largest difference in codes"),
            "mean": real("mean absolute difference in codes"),
            "top1_differing": whole("images whose class differs"),
            "accuracy": {"description": "the file's share of correct classes", **share},
            "integer_accuracy": {"description": "the integer model's", **share},
        }
    )
