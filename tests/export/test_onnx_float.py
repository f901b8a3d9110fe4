"""The two float files of whole networks: their form, who reads them, and how far they differ."""

from functools import cache

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from float_operation import codes_apart, float_result
from mixed_networks import network
from onnx import TensorProto, numpy_helper
from random_networks import lowered, random_images, small_vit, uniform_design

from codesign.errors import RunError, UserError
from codesign.export.onnx_float import measure_differences, qdq_onnx, qonnx_onnx
from codesign.export.onnx_float.measure import readable_nodes
from codesign.graph.workload import workload
from codesign.integer import replay
from codesign.quantize.recipe import Recipe

FQ_VIT = Recipe(norm_inputs="ptf", layer_norm="fq_vit", softmax="log_int", attention_bits=4)
TWO_SCALES = Recipe(activation_codes="two_scale", softmax="log_sqrt2", attention_bits=5)
POWERS = Recipe(scales="power_of_two", softmax="two_scale")
NETWORKS = {
    "mobilenet": ("mobilenet", None),
    "vit": ("vit", None),
    "fq_vit": ("vit", FQ_VIT),
    "two_scales": ("vit", TWO_SCALES),
    "powers_of_two": ("vit", POWERS),
}
LOOSE = {"log_int_softmax": 2, "layer_norm_8bit": 2, "softmax": 1}
"""Operations whose integer arithmetic the float operator does not copy: codes apart, at most."""


@cache
def model(name):
    kind, recipe = NETWORKS[name]
    return network(kind, recipe=recipe)[0]


@cache
def images():
    return random_images(12, 32, seed=5)


def session(proto):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(proto.SerializeToString(), options)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_node_agrees_on_the_integer_models_own_codes(name):
    m = model(name)
    given = {}
    codes = m.quantize_input(images().numpy())
    replay.run(m.graph_json(), dict(m.tensors), codes, keep=given)
    for node in m.nodes[1:]:
        operands = {"images of the batch": codes, **{k: given[k] for k in node.inputs}}
        real = float_result(m, node, operands, "qdq")
        apart = codes_apart(real, given[node.name], node.format)
        assert apart.max() <= LOOSE.get(node.op, 1), node
        if node.op not in LOOSE and name != "powers_of_two":  # whose ratios make ties of halves
            assert (apart > 0).mean() <= 0.03, node


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("quant_op", ["qdq", "IntQuant", "Quant"])
def test_files_are_valid_deterministic_and_named_after_modules(name, quant_op):
    m = model(name)
    make = qdq_onnx if quant_op == "qdq" else lambda m: qonnx_onnx(m, quant_op=quant_op)
    proto = make(m)
    onnx.checker.check_model(proto, full_check=True)
    assert proto.SerializeToString() == make(m).SerializeToString()
    domains = {entry.domain for entry in proto.opset_import}
    assert {node.domain for node in proto.graph.node} <= domains
    results = {result for node in proto.graph.node for result in node.output}
    for node in m.nodes:
        if node.op in ("conv2d", "linear"):
            assert f"{node.name}/weight" in results or f"{node.name}/mul" in results
            assert node.name in results or node is m.nodes[-1]
    ends = [proto.graph.input[0].name, proto.graph.output[0].name]
    assert ends == ["images", "logits"]
    custom = {node.op_type for node in proto.graph.node if node.domain}
    assert custom == (set() if quant_op == "qdq" else {quant_op})


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_are_stored_as_the_narrowest_integers(name):
    m = model(name)
    kinds = set()
    stored = {t.name: t for t in qdq_onnx(m).graph.initializer}
    assert not {t.data_type for t in stored.values()} & {TensorProto.INT2, TensorProto.UINT2}
    for node in m.nodes:
        if node.op not in ("conv2d", "linear"):
            continue
        weight = m.tensors[node.tensors["weight"]]
        tensor = stored[f"{node.name}/weight_codes"]
        values = numpy_helper.to_array(tensor).astype(np.int64)
        np.testing.assert_array_equal(values.T if node.op == "linear" else values, weight)
        if tensor.data_type == TensorProto.INT4:
            assert len(tensor.raw_data) == (weight.size + 1) // 2
        low, high = int(weight.min()), int(weight.max())
        fits = next(b for b in (4, 8, 16) if -(2 ** (b - 1)) <= low and high < 2 ** (b - 1))
        expected = {4: TensorProto.INT4, 8: TensorProto.INT8, 16: TensorProto.INT16}[fits]
        assert tensor.data_type == expected
        kinds.add(fits)
    assert kinds == ({4, 8, 16} if name == "mobilenet" else {4, 8})


def test_any_batch_gives_the_same_logits():
    running = session(qdq_onnx(model("vit")))
    together = running.run(None, {"images": images().numpy()})[0]
    alone = [running.run(None, {"images": x[None].numpy()})[0] for x in images()]
    np.testing.assert_array_equal(together, np.concatenate(alone))


def test_qonnx_runs_the_file_as_it_is_and_cleaned():
    m = model("vit")
    for quant_op in ("IntQuant", "Quant"):
        proto = qonnx_onnx(m, quant_op=quant_op)
        plain, cleaned = (
            measure_differences(m, proto, images()[:2], runner=runner).to_json()
            for runner in ("qonnx", "qonnx-cleaned")
        )
        assert {**plain, "runner": ""} == {**cleaned, "runner": ""}


def test_8_bit_networks_are_close():
    m = lowered(small_vit(), uniform_design(small_vit()), random_images(16, 32))
    reports = [
        measure_differences(m, qdq_onnx(m), images()),
        measure_differences(m, qonnx_onnx(m), images(), runner="qonnx"),
    ]
    codes = replay.run(m.graph_json(), dict(m.tensors), m.quantize_input(images().numpy()))
    for report in reports:
        assert report.images == 12
        assert report.codes == codes.size
        assert report.mean < 0.03 * np.abs(codes).mean()
        assert report.top1_differing <= 1


def test_reports_count_what_differs():
    """Against logits made by hand from the file's own output."""
    m = model("vit")
    proto = qdq_onnx(m)
    logits = session(proto).run(None, {"images": images().numpy()})[0].astype(np.float64)
    codes = replay.run(m.graph_json(), dict(m.tensors), m.quantize_input(images().numpy()))
    labels = codes.argmax(axis=1)
    labels[:3] += 1
    report = measure_differences(m, proto, images().numpy(), labels=torch.from_numpy(labels))
    pairs = list(zip(logits.flat, codes.flat, strict=True))
    apart = [abs(round(v / m.logits_format.scale) - c) for v, c in pairs]
    assert report.differing == sum(d > 0 for d in apart) > 0
    assert report.largest == max(apart)
    assert report.mean == pytest.approx(sum(apart) / len(apart))
    classes = logits.argmax(axis=1)
    assert report.top1_differing == int((classes != codes.argmax(axis=1)).sum())
    assert report.integer_accuracy == 9 / 12
    assert report.accuracy == pytest.approx(float((classes == labels).mean()))
    text = report.line()
    assert f"{report.differing} of {report.codes}" in text
    assert "75.00%" in text
    assert set(report.to_json()) >= {"runner", "images", "differing", "largest", "mean"}
    assert "%" not in measure_differences(m, proto, images()).line()


def test_a_wrong_file_is_found():
    m = model("vit")
    proto = qdq_onnx(m)
    honest = measure_differences(m, proto, images())
    scale = next(t for t in proto.graph.initializer if t.name.endswith("qkv/weight_scale"))
    scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) * 1.5, scale.name))
    assert measure_differences(m, proto, images()).mean > 3 * honest.mean


def test_logits_that_are_no_numbers_are_refused():
    m = model("vit")
    proto = qdq_onnx(m)
    last = next(t for t in proto.graph.initializer if t.name == f"{m.nodes[-1].name}/scale")
    last.CopyFrom(numpy_helper.from_array(np.array(np.nan, np.float32), last.name))
    with pytest.raises(RunError, match="onnxruntime gives logits that are not finite"):
        measure_differences(m, proto, images())


def test_other_names_are_refused():
    with pytest.raises(UserError, match="quant_op=Quantize: choose IntQuant or Quant"):
        qonnx_onnx(model("vit"), quant_op="Quantize")
    with pytest.raises(UserError, match=r"unknown runner 'onnx'.*onnxruntime"):
        measure_differences(model("vit"), qdq_onnx(model("vit")), images(), runner="onnx")


def test_qonnx_counts_the_weight_bits_and_macs_that_we_count():
    """qonnx's own cost analysis of the file, an account of widths that is not ours."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.infer_shapes import InferShapes
    from qonnx.util.inference_cost import inference_cost

    graph = small_vit()
    for bits in (3, 8):
        design = uniform_design(graph, bits)
        m = lowered(graph, design, random_images(8, 32))
        proto = qonnx_onnx(m, quant_op="Quant")
        with readable_nodes(proto.ir_version):
            wrapper = ModelWrapper(proto).transform(InferShapes())
            cost = inference_cost(wrapper, discount_sparsity=False)["total_cost"]
        weights = [m.tensors[n.tensors["weight"]] for n in m.nodes if "weight" in n.tensors]
        assert cost["total_mem_w_elems"] == sum(w.size for w in weights)
        assert cost["total_mem_w_bits"] == bits * sum(w.size for w in weights)
        assert cost["total_macs"] == sum(layer.macs for layer in workload(graph, design).layers)
