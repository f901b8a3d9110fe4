import io
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import lowered, random_design, random_images, small_vit

from codesign.errors import UserError
from codesign.integer.model import IntegerModel, pack_npz


@pytest.fixture(scope="module")
def model():
    graph = small_vit()
    return lowered(graph, random_design(graph, 0), random_images(4, 32)).with_info(trial=3)


def test_bytes_round_trip_and_are_the_same_every_time(model):
    data = model.to_bytes()
    again = IntegerModel.from_bytes(data)
    assert again.to_bytes() == data == model.to_bytes()
    assert again.graph_json() == model.graph_json()
    assert again.info == {"trial": 3}
    for key, value in model.tensors.items():
        assert again.tensors[key].dtype == value.dtype
        np.testing.assert_array_equal(again.tensors[key], value)


def test_order_of_tensors_does_not_matter(model):
    turned = dict(reversed(list(model.tensors.items())))
    assert pack_npz(turned) == pack_npz(model.tensors)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_files_are_user_errors_or_harmless(model, data):
    whole = bytearray(model.to_bytes())
    if data.draw(st.booleans()):
        whole = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 8))):
            whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read = IntegerModel.from_bytes(bytes(whole), "runs/x/designs/3.npz")
    except UserError as error:
        assert "runs/x/designs/3.npz is not an integer model" in str(error)
    else:  # the damage hit what zip does not use, such as a time stamp
        assert read.graph_json() == model.graph_json()


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a pickle was loaded')",))


@pytest.mark.parametrize("kind", ["pickle", "object array", "empty", "text", "npy", "no graph"])
def test_other_files_are_refused(model, kind):
    objects = io.BytesIO()
    np.savez(objects, weight=np.array([Bomb()], dtype=object))
    plain = io.BytesIO()
    np.save(plain, np.arange(3))
    content = {
        "pickle": pickle.dumps(Bomb()),
        "object array": objects.getvalue(),
        "empty": b"",
        "text": b"not a model",
        "npy": plain.getvalue(),
        "no graph": pack_npz(dict(model.tensors)),
    }[kind]
    with pytest.raises(UserError, match="is not an integer model"):
        IntegerModel.from_bytes(content)


@pytest.mark.parametrize(
    ("what", "message"),
    [("tensor", "reads .*weight, which is not there"), ("node", "which is not there"),
     ("version", "schema version 9")],
)  # fmt: skip
def test_files_that_do_not_hang_together_are_refused(model, what, message):
    graph, tensors = model.graph_json(), dict(model.tensors)
    if what == "tensor":
        del tensors[next(key for key in tensors if key.endswith("/weight"))]
    elif what == "node":
        del graph["nodes"][2]
    else:
        graph["schema_version"] = 9
    with pytest.raises(ValueError, match=message):
        IntegerModel.from_json(graph, tensors)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*7\.npz"):
        IntegerModel.load(tmp_path / "7.npz")


def test_tensors_are_stored_without_pickles(model):
    with zipfile.ZipFile(io.BytesIO(model.to_bytes())) as archive:
        assert all(archive.read(name)[:6] == b"\x93NUMPY" for name in archive.namelist())


def test_input_codes_agree_between_numpy_and_torch(model):
    images = random_images(4, 32) * 1.5 - 0.2
    codes = model.quantize_input(images.numpy())
    np.testing.assert_array_equal(codes, model.input_format.quantize(images).numpy())
    f = model.input_format
    pixel = float(images[1, 2, 3, 4].double())
    expected = min(max(int(np.floor(pixel / f.scale + 0.5)) + f.zero_point, f.low), f.high)
    assert codes[1, 2, 3, 4] == expected
