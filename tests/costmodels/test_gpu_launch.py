"""The kernels that runtimes launch, against their published rules."""

from dataclasses import replace

import pytest
from sample_workloads import conv, linear, matmul

from costmodels.gpu import kernels, load_profile
from costmodels.gpu.swin import swin
from costmodels.workload import VectorOperation, Workload


def names(operations, precision="int8", profile="fastertransformer"):
    launched = kernels(Workload("w", tuple(operations), 0), precision, load_profile(profile).fusion)
    return [kernel.name for kernel in launched]


def vector(name, function, elements=512, fused=None, row=1):
    return VectorOperation(name, function, elements, row, fused_into=fused)


def attention(kind="softmax"):
    return (
        linear("qkv"),
        matmul("qk"),
        vector("qk.requantize", "requantize", 768, "qk"),
        vector("softmax", kind, 768, "qk", 16),
        matmul("av", 16, 16, 8),
        linear("proj"),
    )


@pytest.mark.parametrize("kind", ["softmax", "log_int_softmax", "codebook_softmax", "shiftmax"])
def test_attention_is_one_kernel_for_every_softmax(kind) -> None:
    assert names(attention(kind)) == ["qkv", "qk", "proj"]


def test_compiled_attention_is_one_kernel_for_the_plain_softmax_alone() -> None:
    assert names(attention(), "fp16", "torch_compile") == ["qkv", "qk", "proj"]
    expected = ["qkv", "qk", "softmax", "av", "proj"]
    assert names(attention("shiftmax"), "fp16", "torch_compile") == expected
    assert names(attention("shiftmax"), "int8", "tensorrt") == expected


def test_softmax_kinds_differ_in_elements_not_in_bytes() -> None:
    fusion = load_profile().fusion
    cost = {
        kind: kernels(Workload("w", attention(kind), 0), "int8", fusion)[1]
        for kind in ("softmax", "log_int_softmax", "shiftmax")
    }
    assert len({kernel.activation_bytes for kernel in cost.values()}) == 1
    elements = [kernel.elements for kernel in cost.values()]
    assert elements == sorted(set(elements))


def test_fused_attention_moves_queries_keys_values_and_result() -> None:
    kernel = kernels(Workload("w", attention(), 0))[1]
    heads, tokens, head = 3, 16, 8
    assert kernel.activation_bytes == 4 * heads * tokens * head


def test_probabilities_on_either_side_are_no_traffic() -> None:
    """A log2 softmax puts the probabilities in the weights' place: V^T P^T."""
    turned = (*attention()[:4], matmul("av", 8, 16, 16), linear("proj"))
    plain = kernels(Workload("w", attention(), 0))[1]
    assert kernels(Workload("w", turned, 0))[1].activation_bytes == plain.activation_bytes


def test_products_without_softmax_stay_apart() -> None:
    assert names((matmul("kv"), matmul("qkv"))) == ["kv", "qkv"]


def block(function):
    return (
        linear("fc1"),
        vector("fc1.requantize", "requantize", 512, "fc1"),
        vector("act", function, 512, "fc1"),
        linear("fc2"),
        vector("fc2.requantize", "requantize", 512, "fc2"),
        vector("add", "add"),
        vector("norm", "layer_norm", row=32),
    )


@pytest.mark.parametrize(
    ("profile", "precision", "function", "launched"),
    [
        ("fastertransformer", "int8", "table", ["fc1", "act", "fc2", "add"]),
        ("fastertransformer", "int8", "relu", ["fc1", "fc2", "add"]),
        ("fastertransformer", "fp16", "table", ["fc1", "act", "fc2", "add"]),
        ("tensorrt", "fp16", "table", ["fc1", "fc2", "add"]),
        ("tensorrt", "int8", "shift_swish", ["fc1", "act", "fc2", "add"]),
        ("tensorrt", "int8", "clip", ["fc1", "fc2", "add"]),
        ("torch_compile", "fp16", "table", ["fc1", "act", "fc2", "add"]),
        ("torch_compile", "int8", "table", ["fc1", "fc1.requantize", "fc2", "fc2.requantize"]),
        ("torch_eager", "fp16", "relu", ["fc1", "act", "fc2", "add", "norm"]),
        (
            "torch_eager",
            "int8",
            "relu",
            ["fc1", "fc1.requantize", "act", "fc2", "fc2.requantize", "add", "norm"],
        ),
    ],
)
def test_fusion_rules(profile, precision, function, launched) -> None:
    assert names(block(function), precision, profile) == launched


def test_integer_gelu_moves_its_codes_twice_more() -> None:
    kernel = kernels(Workload("w", block("table"), 0), "int8", load_profile().fusion)[1]
    assert (kernel.name, kernel.activation_bytes) == ("act", 2 * 512)


def test_sums_leave_an_eager_integer_product_in_32_bits() -> None:
    first, rescale, *_ = kernels(
        Workload("w", block("relu"), 0), "int8", load_profile("torch_eager").fusion
    )
    assert first.activation_bytes == 16 * 24 + 4 * 512
    assert rescale.activation_bytes == 4 * 512 + 512


def test_add_and_norm_read_two_and_write_two() -> None:
    """SwinBlockINT8.cc: codes of the branch and an FP16 residual in, FP16 sum and codes out."""
    *_, kernel = kernels(Workload("w", block("relu"), 0))
    assert kernel.activation_bytes == 512 * (1 + 2 + 2 + 1)
    *_, kernel = kernels(Workload("w", block("relu"), 0), "fp16")
    assert kernel.activation_bytes == 512 * 4 * 2


def test_one_pointwise_kernel_reads_once_and_writes_once() -> None:
    run = (vector("a", "table"), vector("b", "mul"), vector("c", "hardswish"))
    (kernel,) = kernels(Workload("w", run, 0), "fp16", load_profile("torch_compile").fusion)
    assert kernel.activation_bytes == 3 * 512 * 2
    assert len(kernels(Workload("w", run, 0), "fp16")) == 3


@pytest.mark.parametrize(
    ("scheme", "bits", "precision"),
    [
        ("uniform", 8, "int8"),
        ("uniform", 4, "int8"),
        ("log2", 4, "int8"),
        ("log2", 5, "fp16"),
        ("apot", 7, "fp16"),
        ("mixed", 5, "fp16"),
    ],
)
def test_weights_wider_than_a_byte_run_in_fp16(scheme, bits, precision) -> None:
    share = {"log2_share": 0.5} if scheme == "mixed" else {}
    layer = linear(weight_scheme=scheme, weight_bits=bits, **share)
    (kernel,) = kernels(Workload("w", (layer,), 0))
    assert kernel.gemms[0].precision == precision
    assert kernel.weight_bytes == layer.weight_elements * (2 if precision == "fp16" else 1)


def test_packed_weights_take_half_a_byte() -> None:
    layer = linear(weight_bits=3)
    (kernel,) = kernels(Workload("w", (layer,), 0), "int4")
    assert kernel.weight_bytes == layer.weight_elements / 2
    assert kernel.gemms[0].precision == "int8"
    (kernel,) = kernels(Workload("w", (replace(layer, activation_bits=4),), 0), "int4")
    assert kernel.gemms[0].precision == "int4"


def test_pools_write_one_element_a_window() -> None:
    (kernel,) = kernels(Workload("w", (vector("pool", "pool", 640, row=64),), 0), "fp16")
    assert kernel.activation_bytes == 2 * (640 + 10)


def test_swin_launches_the_kernels_of_fastertransformer() -> None:
    """A block: qkv, attention, proj, add with norm, fc1, GELU, fc2, add (SwinBlockINT8.cc).

    Beside them the norm that begins each stage, three merges, patches and their norm, pool, head.
    """
    for precision in ("fp16", "int8"):
        assert len(kernels(swin("tiny"), precision)) == 12 * 8 + 4 + 3 + 4


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (linear(), "product"),
        (linear(k=20), "unaligned_product"),
        (conv(kernel=3), "convolution"),
        (conv(kernel=1), "pointwise"),
        (replace(conv(kernel=3), in_channels=3), "stem"),
        (replace(conv(kernel=3), in_channels=3, stride_height=3, stride_width=3), "patches"),
        (conv(channels=8, filters=8, groups=8), "depthwise"),
        (conv(channels=8, filters=8, groups=2), "grouped"),
        (matmul("qk", 16, 8, 16), "batched_product"),
        (matmul("qk", 49, 32, 49), "unaligned_batched_product"),
    ],
)
def test_kernels_say_of_what_kind_they_are(layer, kind) -> None:
    (kernel,) = kernels(Workload("w", (layer,), 0), "fp16")
    assert (kernel.kind, kernel.depth) == (kind, layer.k)
    if kind == "product":
        assert kernels(Workload("w", (layer,), 0), "int8")[0].kind == "integer_product"


def test_rows_are_counted_where_kernels_work_by_row() -> None:
    operations = (
        vector("norm", "layer_norm", 640, row=64),
        vector("pool", "pool", 640, row=64),
        vector("act", "table", 640),
        *attention()[1:5],
    )
    norm, pool, act, fused = kernels(Workload("w", operations, 0), "fp16")
    assert [(k.kind, k.rows) for k in (norm, pool, act)] == [
        ("layer_norm", 10),
        ("pool", 10),
        ("table", 0),
    ]
    heads, blocks = 3, 1  # of 128 queries each
    assert (fused.kind, fused.rows, fused.depth) == ("attention", heads * blocks, 16)


def test_operands_wider_than_codes_take_two_bytes_in_an_integer_network() -> None:
    """What a network leaves in floating point, such as attention between INT8 layers."""
    wide = replace(linear(), weight_bits=16, activation_bits=16, output_bits=16)
    (kernel,) = kernels(Workload("w", (wide,), 0), "int8")
    moved = wide.input_elements + wide.output_elements
    assert (kernel.gemms[0].precision, kernel.activation_bytes) == ("fp16", 2 * moved)
    values = replace(linear(), output_bits=16)
    (kernel,) = kernels(Workload("w", (values,), 0), "int8")
    assert kernel.activation_bytes == values.input_elements + 2 * values.output_elements
    quantizer = replace(vector("q", "quantize", 512), input_bits=16)
    (kernel,) = kernels(Workload("w", (quantizer,), 0), "int8")
    assert kernel.activation_bytes == 512 * (2 + 1)
