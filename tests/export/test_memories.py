"""Memory files against a scalar reader written from the specification, and their refusals."""

import json
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_reader import elements
from mixed_networks import network

from codesign.errors import RunError, UserError
from codesign.export.memories import golden_files, locate, memory_files, read_memory
from codesign.export.memories.names import FileNames
from codesign.integer import replay
from codesign.integer.model import IntegerModel, IntegerNode
from codesign.numerics.fixed_point import Format
from codesign.numerics.weights.base import SCHEMES
from codesign.quantize.recipe import Recipe

CODES = Format(8, 1.0)
SCHEME_WIDTHS = [(name, b) for name in SCHEMES.names() for b in range(2, 9)]
SCHEME_WIDTHS = [
    (n, b) for n, b in SCHEME_WIDTHS if SCHEMES.get(n).widths[0] <= b <= SCHEMES.get(n).widths[1]
]
OTHER_ROWS = Recipe(norm_inputs="ptf", layer_norm="fq_vit", softmax="log_sqrt2", attention_bits=4)


def one_layer(weight, attributes=None, name="layer", op="linear", role="weight", target=CODES):
    source = IntegerNode("input", "input", (), CODES, ("1*B", 3, 4, 4))
    key = f"{name}/{role}"
    node = IntegerNode(name, op, ("input",), target, ("1*B", 1), attributes or {}, {role: key})
    return IntegerModel("one", (source, node), {key: np.asarray(weight)})


def check_texts(memories):
    """Compare every file with what it should hold, read in two ways."""
    assert set(memories.files) == set(memories.values) == {e["path"] for e in memories.index}
    for entry in json.loads(json.dumps(memories.index)):
        text, expected = memories.files[entry["path"]], memories.values[entry["path"]]
        got = read_memory(text, entry)
        assert got.shape == expected.shape and got.dtype == np.int64
        np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(elements(text, entry), expected.ravel())


def joined_weights(memories, model, node):
    """Return a layer's weights from its files, a mixed layer's channels put in place."""
    found = {
        e["role"]: read_memory(memories.files[e["path"]], e)
        for e in memories.index
        if e["layer"] == node.name
    }
    if "weight" in found:
        return found["weight"]
    mask = found["log2_channel"]
    joined = np.zeros((len(mask), *model.tensors[node.tensors["weight"]].shape[1:]), dtype=int)
    for kind, part in enumerate(("weight_uniform", "weight_log2")):
        if part in found:
            joined[mask == kind] = found[part]
    return joined


@pytest.mark.parametrize(("scheme", "bits"), SCHEME_WIDTHS)
def test_every_level_of_every_scheme(scheme, bits):
    levels = SCHEMES.get(scheme).levels(bits).to(torch.int64)
    if scheme == "mixed":
        log2, uniform = (SCHEMES.get(s).levels(bits).to(torch.int64) for s in ("log2", "uniform"))
        rows = [torch.cat([own, -own]).repeat(40)[:40] for own in (uniform, log2, uniform, log2)]
        weight, extra = torch.stack(rows).numpy(), {"log2_channels": [1, 3]}
    else:
        weight, extra = torch.cat([levels, -levels]).repeat(5).reshape(5, -1).numpy(), {}
    model = one_layer(weight, {"weight_scheme": scheme, "weight_bits": bits, **extra})
    memories = memory_files(model)
    check_texts(memories)
    np.testing.assert_array_equal(joined_weights(memories, model, model.nodes[1]), weight)


@settings(deadline=None)
@given(
    st.integers(1, 32),
    st.booleans(),
    st.lists(st.integers(1, 7), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
)
def test_any_codes_of_any_shape(bits, signed, shape, seed):
    fmt = Format(bits, 1.0, signed=signed)
    values = np.random.default_rng(seed).integers(fmt.low, fmt.high + 1, size=shape)
    values.flat[0], values.flat[-1] = fmt.low, fmt.high
    node = IntegerNode("input", "input", (), fmt, ("1*B", *shape[1:]))
    memories = golden_files(IntegerModel("one", (node,), {}), {"input": values})
    check_texts(memories)
    (entry,) = memories.index
    assert entry["lanes"] & (entry["lanes"] - 1) == 0
    assert entry["word_bits"] == bits * entry["lanes"] <= 128
    place = np.unravel_index(seed % values.size, values.shape)
    line, lane = locate(entry, place)
    word = int(memories.files[entry["path"]].splitlines()[line - 1], 16)
    assert word >> (bits * lane) & (2**bits - 1) == int(values[place]) % 2**bits


@pytest.mark.parametrize(
    ("kind", "recipe"), [("vit", None), ("vit", OTHER_ROWS), ("mobilenet", None)]
)
def test_every_tensor_of_a_network_is_in_a_file(kind, recipe):
    model, _, _ = network(kind, recipe=recipe)
    memories = memory_files(model)
    check_texts(memories)
    files = {(e["layer"], e["role"]): e for e in memories.index}
    for node in model.nodes:
        for role, key in node.tensors.items():
            if role == "weight":
                got = joined_weights(memories, model, node)
            else:
                entry = files[node.name, role]
                got = read_memory(memories.files[entry["path"]], entry)
            np.testing.assert_array_equal(got, model.tensors[key])
    encodings = {e["encoding"] for e in memories.index}
    assert encodings == {"twos_complement", "unsigned", "sign_exponent", "sign_terms"}
    stored = json.loads(json.dumps(model.graph_json(), sort_keys=True))
    again = memory_files(IntegerModel.from_json(stored, model.tensors))
    assert (list(again.files.items()), again.index) == (
        list(memories.files.items()),
        memories.index,
    )


def test_lists_of_formats_and_gathers_are_files():
    model, _, _ = network("vit", recipe=OTHER_ROWS)
    memories = memory_files(model)
    files = {(e["layer"], e["role"]): memories.values[e["path"]].tolist() for e in memories.index}
    roles = {role for _, role in files}
    assert {"channel_shift", "codebook", "thresholds", "codes", "mantissa", "exponent"} <= roles
    moves = {"reshape", "permute", "slice", "select", "expand", "gather", "pad"}
    for node in model.nodes:
        lists = {"channel_shift": node.format.shifts, "codebook": node.format.codebook}
        for role, values in lists.items():
            present = bool(values) and node.op not in moves
            assert files.get((node.name, role), []) == (list(values) if present else [])
    source = IntegerNode("input", "input", (), CODES, ("1*B", 5))
    moved = {"dim": 1, "indices": [4, 0, 2, 1, 3]}
    gather = IntegerNode("moved", "gather", ("input",), CODES, ("1*B", 5), moved)
    (entry,) = memory_files(IntegerModel("one", (source, gather), {})).index
    assert (entry["role"], entry["element_bits"], entry["shape"]) == ("indices", 3, [5])


def golden_of(kind):
    model, work, _ = network(kind)
    images = np.random.default_rng(0).integers(0, 256, size=(3, 3, 32, 32))
    codes = {}
    tensors = {key: np.asarray(value) for key, value in model.tensors.items()}
    replay.run(model.graph_json(), tensors, images, keep=codes)
    return model, work, codes


@pytest.mark.parametrize("kind", ["vit", "mobilenet"])
def test_golden_files_hold_what_the_cost_model_stores(kind):
    """The workload says what is written to memory: all but what is fused into an output stage."""
    model, work, codes = golden_of(kind)
    memories = golden_files(model, codes)
    check_texts(memories)
    held = {e["layer"]: e for e in memories.index}
    for name, entry in held.items():
        np.testing.assert_array_equal(memories.values[entry["path"]], codes[name])
    alone = {v.fused_into for v in work.vector_operations if v.name in codes} - {None}
    computed = {op.name for op in work.operations if op.name in codes}
    joined = {n.name for n in model.nodes if re.search(r"concat\.\d+$", n.name)}
    first, last = model.nodes[0].name, model.nodes[-1].name
    assert set(held) == (computed - alone) | joined | {first, last}
    assert alone
    assert (held[first]["role"], held[last]["role"]) == ("input", "logits")


def test_header_says_what_the_index_says():
    model, _, _ = network("mobilenet")
    memories = memory_files(model)
    for entry in memories.index:
        head = memories.files[entry["path"]].splitlines()[:4]
        assert all(line.startswith("// ") for line in head)
        assert head[0].startswith(f"// {entry['layer']}: {entry['role']}, ")
        shape, bits = re.match(r"// ([\dx ]+) elements, (\d+)-bit ", head[1]).groups()
        assert [int(s) for s in shape.split(" x ")] == entry["shape"]
        assert int(bits) == entry["element_bits"]
        sizes = re.match(r"// (\d+) words of (\d+) bits, lane 0 of (\d+) in the least", head[2])
        assert [int(s) for s in sizes.groups()] == [
            entry[key] for key in ("words", "word_bits", "lanes")
        ]
        assert re.fullmatch(rf"// {re.escape(entry['order'])}; words an index: (\d+)", head[3])[
            1
        ] == str(entry["words"] // entry["shape"][0])


HOSTILE = [
    *("../../x", "a/b", "a\\b", "A", "a", "con", "CON.weights", "", ".", "..", "-rf", ".hidden"),
    *("x" * 300, "x" * 299 + "y", "name\nffff", "é", "ü", "a:b", "lpt1", "/etc/passwd", "~", "a b"),
]


def test_hostile_names_stay_in_the_folder_and_apart():
    nodes = [IntegerNode("input", "input", (), CODES, ("1*B", 4))]
    tensors = {}
    for i, name in enumerate(HOSTILE):
        keys = {"table": f"{i}"}
        tensors[f"{i}"] = np.arange(256) ^ i
        nodes.append(IntegerNode(name, "lookup", ("input",), CODES, ("1*B", 4), {}, keys))
    model = IntegerModel("hostile", tuple(nodes), tensors)
    codes = {node.name: np.zeros((2, 4), dtype=int) for node in nodes}
    for memories, folder in (
        (memory_files(model), "mem"),
        (golden_files(model, codes), "golden/mem"),
    ):
        check_texts(memories)
        paths = list(memories.files)
        assert len({path.casefold() for path in paths}) >= len(HOSTILE)
        assert len({path.casefold() for path in paths}) == len(paths)
        for path in paths:
            name = path.removeprefix(f"{folder}/")
            assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.mem", name)
            assert ".." not in name and len(name) <= 160
            assert name.split(".")[0].casefold() not in {"con", "lpt1"}
        for text in memories.files.values():
            assert text.isascii()
            lines = text.splitlines()
            assert all(line.startswith("//") for line in lines[:4])
            assert all(re.fullmatch("[0-9a-f]+", line) for line in lines[4:])


@settings(deadline=None)
@given(st.lists(st.text("aAbB._-/\\é", max_size=3), unique=True, max_size=12))
def test_any_names_give_names_of_their_own(names):
    given_names = FileNames()
    stems = [given_names.stem(name, "weight") for name in names]
    assert len({stem.casefold() for stem in stems}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", stem) for stem in stems)


@settings(deadline=None)
@given(st.data())
def test_a_changed_character_is_an_error_or_another_number(data):
    node = IntegerNode("input", "input", (), Format(5, 1.0), ("1*B", 2, 7))
    values = np.random.default_rng(5).integers(0, 32, size=(3, 2, 7))
    memories = golden_files(IntegerModel("one", (node,), {}), {"input": values})
    (entry,) = memories.index
    text = memories.files[entry["path"]]
    start = text.index("\n", text.rindex("//")) + 1
    place = data.draw(st.integers(start, len(text) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda c: c != text[place]))
    changed = text[:place] + other + text[place + 1 :]
    try:
        assert not np.array_equal(read_memory(changed, entry), values)
    except UserError as error:
        assert entry["path"] in str(error)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t + "00\n", "not 6 words of 10 digits"),
        (lambda t: t[:-11], "not 6 words of 10 digits"),
        (lambda t: "", "not 6 words of 10 digits"),
        (lambda t: "// only comments", "not 6 words of 10 digits"),
        (lambda t: t[:-2] + "x\n", "word 5 is not 10 hexadecimal digits"),
        (lambda t: t[:-11] + "8" + t[-10:], "an unused bit is set"),
    ],
)
def test_damaged_files_are_refused(change, message):
    node = IntegerNode("input", "input", (), Format(5, 1.0), ("1*B", 15))
    values = np.zeros((6, 7), dtype=int)
    memories = golden_files(IntegerModel("one", (node,), {}), {"input": values})
    (entry,) = memories.index
    with pytest.raises(UserError, match=message):
        read_memory(change(memories.files[entry["path"]]), entry)


def test_a_bit_above_the_word_is_refused():
    node = IntegerNode("input", "input", (), Format(6, 1.0), ("1*B",))
    memories = golden_files(IntegerModel("one", (node,), {}), {"input": np.arange(4)})
    (entry,) = memories.index
    text = memories.files[entry["path"]]
    with pytest.raises(UserError, match="an unused bit is set"):
        read_memory(text.replace("\n03\n", "\n43\n"), entry)


@pytest.mark.parametrize("bits", [3, 4, 5, 6, 7])
def test_header_tells_which_bits_add_which_powers(bits):
    weight = np.array([[0, 1, -2, 4]])
    attributes = {"weight_scheme": "apot", "weight_bits": bits}
    memories = memory_files(one_layer(weight, attributes))
    note = memories.files["mem/layer.weight.mem"].splitlines()[1]
    assert f"(bit {bits - 1} is the sign; bits {bits - 2}.." in note
    fields = re.findall(r"bits (\d+)\.\.(\d+) add none, ([\d^, ]+)", note)
    codebook = memories.index[0]["codebook"]
    for code, number in enumerate(codebook):
        total = 0
        for high, low, powers in fields:
            field = code >> int(low) & (2 ** (int(high) - int(low) + 1) - 1)
            terms = [0, *(2 ** int(power[2:]) for power in powers.split(", "))]
            total += terms[field]
        assert number == (-total if code >> (bits - 1) else total)


def test_numbers_that_do_not_fit_are_an_error_that_names_the_layer():
    log2 = {"weight_scheme": "log2", "weight_bits": 3}
    with pytest.raises(RunError, match=r"layer stem: weight: 3 is not in the codebook"):
        memory_files(one_layer([[1, 2, 3]], log2, name="stem"))
    uniform = {"weight_scheme": "uniform", "weight_bits": 4}
    with pytest.raises(RunError, match=r"layer stem: weight: 8 is no 4-bit two's complement"):
        memory_files(one_layer([[1, 8, -8]], uniform, name="stem"))
    with pytest.raises(RunError, match=r"no memory holds a colour of linear"):
        memory_files(one_layer([1], role="colour"))
