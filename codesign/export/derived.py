"""The files of a bundle that follow from others in it: the export writes them, `verify` repeats it.

They are functions of the integer model, the design, its cost, its workload and the golden codes,
all of which are in the bundle, so that no such file can say anything else unnoticed.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from codesign.design import Design
from codesign.export.hardware import hardware_json
from codesign.export.memories import golden_files, memory_files
from codesign.export.onnx_float import QUANT_OPS, qdq_onnx, qonnx_onnx
from codesign.export.onnx_integer import integer_onnx
from codesign.export.package import package_sv
from codesign.export.scalesim_files import scalesim_files
from codesign.export.schema import bundle_schemas
from codesign.integer.model import IntegerModel
from costmodels.batch import batched
from costmodels.board import load_board
from costmodels.engines import place
from costmodels.estimate import Cost
from costmodels.workload import Workload

Files = dict[str, str | bytes]
INTEGER_ONNX, QDQ_ONNX, QONNX_ONNX = "model.integer.onnx", "model.qdq.onnx", "model.qonnx.onnx"
ONNX_FILES = (INTEGER_ONNX, QDQ_ONNX, QONNX_ONNX)
CONVERTERS = 1
"""Counts changes of the ONNX converters that change what they write for the same model."""
PRODUCER = f"{CONVERTERS}, onnx {onnx.__version__}"


def derived_files(
    model: IntegerModel,
    design: Design,
    cost: Cost,
    workload: Workload,
    codes: Mapping[str, NDArray[np.integer[Any]]],
    *,
    quant_op: str = QUANT_OPS[0],
) -> Files:
    """Return path to content of every file that follows from these.

    Args:
        model: The integer model.
        design: The design.
        cost: What the cost models say of it.
        workload: What its network asks of hardware.
        codes: Node to its golden codes.
        quant_op: Name of the quantisers in the QONNX file.

    Raises:
        UserError: `quant_op` is none of `QUANT_OPS`.
    """
    model = as_written(model)
    accelerator = design.accelerator
    images = batched(workload, cost.batch)
    placements, _ = place(images, accelerator, load_board(accelerator.board).dsp_type)
    memories, golden = memory_files(model), golden_files(model, codes)
    hardware = hardware_json(
        model,
        accelerator,
        cost,
        workload,
        memories=memories.index,
        golden_memories=golden.index,
    )
    return {
        "hardware.json": json_text(hardware),
        **{
            f"schemas/{name.removesuffix('.json')}.schema.json": json_text(schema)
            for name, schema in bundle_schemas().items()
        },
        **scalesim_files(accelerator, placements, plain_name(model.name)),
        "rtl/accelerator_pkg.sv": package_sv(
            model, accelerator, workload, memories.index, batch=cost.batch
        ),
        **memories.files,
        **golden.files,
        INTEGER_ONNX: onnx_bytes(integer_onnx(model)),
        QDQ_ONNX: onnx_bytes(qdq_onnx(model)),
        QONNX_ONNX: onnx_bytes(qonnx_onnx(model, quant_op=quant_op)),
    }


def as_written(model: IntegerModel) -> IntegerModel:
    """Return the model as it is read back from graph.json: keys of mappings in order."""
    return IntegerModel.from_json(json.loads(json_text(model.graph_json())), model.tensors)


def json_text(value: Any) -> str:
    """Return a value as the JSON text of a bundle's files."""
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"


def onnx_bytes(proto: onnx.ModelProto) -> bytes:
    """Return an ONNX model as it is written; equal models of one version give equal bytes."""
    proto.producer_version = PRODUCER
    return bytes(proto.SerializeToString(deterministic=True))


def plain_name(name: str) -> str:
    """Return a name that is safe as that of a folder: SCALE-Sim makes one of its run's name."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in name)
    return plain[:100].lstrip("-") or "model"


def cost_json(cost: Cost, metrics: Mapping[str, float]) -> dict[str, Any]:
    """Return a cost, and the trial's metrics that stand beside it, as JSON-able values."""
    return {"schema_version": 1, **cost.to_json(), "trial_metrics": dict(metrics)}


def read_cost(values: Mapping[str, Any]) -> Cost:
    """Rebuild a cost from `cost_json`'s values.

    Raises:
        KeyError: A key is missing.
        TypeError: A layer or a chain has other keys.
    """
    return Cost.from_json(values)
