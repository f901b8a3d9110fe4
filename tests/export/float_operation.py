"""One node of an integer model as a float file, run on the real values of codes."""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from codesign.export.onnx_float.base import Mirror, Real
from codesign.export.onnx_float.measure import readable_nodes
from codesign.export.onnx_float.mirror import IR_VERSION, OPSET
from codesign.export.onnx_float.qdq import QDQ
from codesign.export.onnx_float.qonnx import DOMAIN, QONNX
from codesign.integer import replay
from codesign.integer.model import IntegerModel, IntegerNode


def whole(codes, fmt):
    """The whole numbers of codes, from the definition of a format."""
    if fmt.codebook:
        return np.array(fmt.codebook)[codes]
    x = codes - fmt.zero_point
    if not fmt.shifts:
        return x
    return x * (2 ** np.array(fmt.shifts)).reshape(-1, *[1] * (-1 - fmt.axis))


def random_codes(rng, shape, fmt):
    """Codes whose first images are all-smallest, all-largest, zero and alternating."""
    codes = rng.integers(fmt.low, fmt.high + 1, size=shape)
    codes[0], codes[1] = fmt.low, fmt.high
    codes[2] = fmt.zero_point
    flat = codes[3].reshape(-1)
    flat[::2], flat[1::2] = fmt.low, fmt.high
    return codes


def node_model(op, operands, target, attributes=None, tensors=None, shape=()):
    """Return (model, its last node, codes by node): inputs of their own, and one operation."""
    nodes = [
        IntegerNode("images" if i == 0 else f"x{i}", "input", (), fmt, ("1*B", *codes.shape[1:]))
        for i, (codes, fmt) in enumerate(operands)
    ]
    inputs = tuple(node.name for node in nodes)
    keys = {role: f"op/{role}" for role in tensors or {}}
    node = IntegerNode("op", op, inputs, target, ("1*B", *shape), attributes or {}, keys)
    arrays = {keys[role]: np.asarray(value) for role, value in (tensors or {}).items()}
    model = IntegerModel("one", (*nodes, node), arrays)
    given = {n.name: codes for n, (codes, _) in zip(nodes, operands, strict=True)}
    return model, node, given


def integer_result(model, node, given):
    """The codes that the NumPy executor gives for one node."""
    json = model.graph_json()["nodes"]
    by_name = {n["name"]: n for n in json}
    tensors = {role: model.tensors[key] for role, key in node.tensors.items()}
    pairs = [(given[name], by_name[name]["format"]) for name in node.inputs]
    batch = max((len(codes) for codes, _ in pairs), default=1)
    return replay.OPERATIONS[node.op](by_name[node.name], tensors, pairs, batch)


def float_result(model, node, given, kind):
    """The real results of one node in the float file of a kind, "qdq" or "qonnx".

    The batch is the longest of the codes given, whether the node reads them or not.
    """
    builder = Mirror(model, QDQ() if kind == "qdq" else QONNX())
    formats = {n.name: n for n in model.nodes}
    feeds = {}
    batch = max(len(codes) for codes in given.values())
    for i, name in enumerate(dict.fromkeys(node.inputs)):
        fmt = formats[name].format
        feeds[f"in{i}"] = (whole(given[name], fmt) * fmt.scale).astype(np.float32)
        builder.current = formats[name]
        real = builder.quantiser.moved(builder, f"in{i}", formats[name], f"real{i}")
        builder.reals[name] = Real(real, fmt, formats[name].shape)
    if node.op == "expand":
        feeds["images"] = np.zeros((batch, 1), np.float32)
    builder.convert(node, "out")
    shape = [int(d[:-2]) * batch if isinstance(d, str) else d for d in node.shape]
    proto = _proto(builder, builder.reals[node.name].name, feeds, shape)
    if kind == "qdq":
        onnx.checker.check_model(proto, full_check=True)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        # 1.32 would make operands of 16 bits INT8 before a product with INT8 weights
        options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
        session = ort.InferenceSession(proto.SerializeToString(), options)
        return session.run(None, feeds)[0]
    return _run_qonnx(proto, feeds)


def _proto(builder, result, feeds, shape):
    ends = [helper.make_tensor_value_info(k, TensorProto.FLOAT, v.shape) for k, v in feeds.items()]
    out = helper.make_tensor_value_info(result, TensorProto.FLOAT, shape)
    graph = helper.make_graph(builder.nodes, "node", ends, [out], builder.initializers)
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)


def _run_qonnx(proto, feeds):
    if not proto.graph.node:  # a constant
        return numpy_helper.to_array(proto.graph.initializer[0])
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    with readable_nodes(IR_VERSION):
        wrapper = ModelWrapper(proto).transform(InferShapes())
        return execute_onnx(wrapper, feeds)[proto.graph.output[0].name]


def codes_apart(real, codes, fmt):
    """Return how many codes lie between real results and codes, after checking they are on codes.

    With a codebook the codes are counted in the order of their values.
    """
    assert real.shape == codes.shape
    expected = whole(codes, fmt)
    if fmt.codebook:
        levels = np.unique(fmt.codebook)
        place = np.abs(real[..., None] / fmt.scale - levels).argmin(axis=-1)
        np.testing.assert_allclose(real, levels[place] * fmt.scale, rtol=1e-5, atol=1e-12)
        return np.abs(place - np.searchsorted(levels, expected))
    steps = whole(np.full(codes.shape, fmt.zero_point + 1), fmt)
    got, expected = real / fmt.scale / steps, expected / steps
    np.testing.assert_allclose(got, np.round(got), atol=0.01)
    got = np.round(got)
    assert got.min() >= fmt.low - fmt.zero_point
    assert got.max() <= fmt.high - fmt.zero_point
    return np.abs(got - expected)
