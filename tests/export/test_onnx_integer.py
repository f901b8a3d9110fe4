"""The integer ONNX file of whole networks: integers, names, batches, bytes, and its check."""

from functools import cache

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from random_networks import captured, lowered, random_design, random_images, small_vit
from small_networks import network

from codesign.errors import RunError, UserError
from codesign.export.onnx_integer import OnnxExecutor, check, integer_onnx
from codesign.integer import replay
from codesign.integer.model import IntegerModel

MAKE = {
    "vit": small_vit,
    "mobilenet": lambda: captured("mobilenetv3_small_050", 32),
    "swin": lambda: network("swin"),
}


@cache
def model(name):
    graph = MAKE[name]()
    design = random_design(graph, 5)
    return lowered(graph, design, random_images(8, 32)).with_info(design=design.key)


def codes_for(model, count=7):
    """All-smallest, all-largest, alternating and random codes, and a smooth image's."""
    rng, f = np.random.default_rng(0), model.input_format
    codes = rng.integers(f.low, f.high + 1, size=(count, *model.nodes[0].shape[1:]))
    codes[0], codes[1] = f.low, f.high
    codes[2].reshape(-1)[::2], codes[2].reshape(-1)[1::2] = f.low, f.high
    codes[3] = model.quantize_input(random_images(1, 32).numpy())[0]
    return codes


@pytest.mark.parametrize("name", MAKE)
def test_every_node_has_the_numpy_executors_codes(name):
    m, kept, expected = model(name), {}, {}
    codes = codes_for(m)
    logits = OnnxExecutor(integer_onnx(m, every_node=True)).run(codes, keep=kept)
    replay.run(m.graph_json(), dict(m.tensors), codes, keep=expected)
    assert list(expected) == [node.name for node in m.nodes]
    for node, want in expected.items():
        np.testing.assert_array_equal(kept[node], want, err_msg=node)
    np.testing.assert_array_equal(logits, expected[m.nodes[-1].name])
    assert len(np.unique(logits)) > 10


@pytest.mark.parametrize("name", MAKE)
def test_one_file_takes_any_batch(name):
    m = model(name)
    proto = integer_onnx(m)
    check(proto)
    executor = OnnxExecutor(proto.SerializeToString())
    codes = codes_for(m, 35)
    expected = replay.run(m.graph_json(), dict(m.tensors), codes)
    for count in (1, 2, 35):
        np.testing.assert_array_equal(executor.run(codes[:count]), expected[:count])


def test_equal_models_give_equal_bytes():
    m = model("vit")
    again = IntegerModel.from_bytes(m.to_bytes())
    first, second = (integer_onnx(x).SerializeToString(deterministic=True) for x in (m, again))
    assert first == second
    one = IntegerModel(
        m.name, m.nodes, {k: v ^ (k == "head/bias") for k, v in m.tensors.items()}, m.info
    )
    assert integer_onnx(one).SerializeToString(deterministic=True) != first


def test_layers_bear_their_names_and_the_file_its_formats():
    m = model("mobilenet")
    proto = integer_onnx(m)
    outputs = {name: node for node in proto.graph.node for name in node.output}
    for node in m.nodes[1:]:
        assert outputs[node.name].name == node.name
        if node.op in ("conv2d", "linear"):
            kind = {"conv2d": "ConvInteger", "linear": "MatMulInteger"}[node.op]
            assert outputs[f"{node.name}/acc"].op_type == kind
    facts = {entry.key: entry.value for entry in proto.metadata_props}
    assert facts["design"] == m.info["design"]
    assert float(facts["input.scale"]) == m.input_format.scale
    assert float(facts["logits.scale"]) == m.logits_format.scale
    assert int(facts["input.zero_point"]) == m.input_format.zero_point
    assert [i.name for i in proto.graph.input] == [m.nodes[0].name]
    assert [o.name for o in proto.graph.output] == ["logits"]
    assert proto.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", 21)]


def test_equal_constants_are_stored_once():
    proto = integer_onnx(model("swin"))
    contents = [(t.data_type, tuple(t.dims), t.raw_data) for t in proto.graph.initializer]
    assert len(set(contents)) == len(contents)


def with_float_scale(proto):
    proto.graph.initializer.append(helper.make_tensor("scale", TensorProto.FLOAT, [], [0.5]))


def with_float_cast(proto):
    last = proto.graph.node[-1].output[0]
    proto.graph.node.append(helper.make_node("Cast", [last], ["real"], to=TensorProto.FLOAT))


def with_float_constant(proto):
    value = helper.make_tensor("v", TensorProto.DOUBLE, [], [0.5])
    proto.graph.node.insert(0, helper.make_node("Constant", [], ["half"], value=value))


def with_float_attribute(proto):
    proto.graph.node.insert(0, helper.make_node("Constant", [], ["half"], value_float=0.5))


def with_foreign_domain(proto):
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def with_foreign_operator(proto):
    last = proto.graph.node[-1].output[0]
    node = helper.make_node("Inverse", [last], ["other"], name="odd", domain="com.microsoft")
    proto.graph.node.append(node)


def with_wrong_shape(proto):
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 7


def with_missing_input(proto):
    proto.graph.node[0].input[0] = "nowhere"


FAULTS = {
    with_float_scale: "tensor scale is of type FLOAT",
    with_float_cast: "tensor real is of type FLOAT",
    with_float_constant: "half",
    with_float_attribute: "value_float",
    with_foreign_domain: "domain",
    with_foreign_operator: "operator odd is Inverse of domain com.microsoft",
    with_wrong_shape: "invalid ONNX",
    with_missing_input: "nowhere",
}


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda f: f.__name__)
def test_check_rejects(spoil):
    proto = onnx.ModelProto()
    proto.CopyFrom(integer_onnx(model("vit")))
    check(proto)
    spoil(proto)
    with pytest.raises(RunError, match=FAULTS[spoil]):
        check(proto)


def test_files_that_are_no_model_are_user_errors(tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(UserError, match=r"cannot read .*model\.onnx"):
        OnnxExecutor(path)
    for content in (b"", b"not a model", integer_onnx(model("vit")).SerializeToString()[:5000]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"cannot load .*model\.onnx"):
            OnnxExecutor(str(path))


def test_codes_outside_the_inputs_type_are_refused():
    executor = OnnxExecutor(integer_onnx(model("vit")))
    codes = codes_for(model("vit"))
    codes[0, 0, 0, 0] = 256
    with pytest.raises(UserError, match="0 to 256, not uint8"):
        executor.run(codes)


def test_an_unknown_operation_is_named():
    m = model("vit")
    odd = [n if n.op != "softmax" else type(n)(**{**vars(n), "op": "sinus"}) for n in m.nodes]
    with pytest.raises(RunError, match="sinus"):
        integer_onnx(IntegerModel(m.name, tuple(odd), m.tensors))
