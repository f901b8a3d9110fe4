"""from_bundle and the evaluate command, against the scores that the model itself gives."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

sys.path.append(str(Path(__file__).parent / "export"))
from parts import replace, vit_shipment

import codesign
from codesign.cli import exit_code
from codesign.data import load_data
from codesign.errors import UserError
from codesign.evaluate.__main__ import main
from codesign.evaluate.accuracy import score
from codesign.evaluate.recorded import DataChoice
from codesign.export.bundle import write_bundle
from codesign.integer import replay
from codesign.integer.model import IntegerModel
from codesign.settings import DataSettings

DIGITS = DataSettings(name="digits", path=None, image_size=32)
CONFIG = {
    "input_size": [3, 32, 32],
    "mean": [0.1, 0.2, 0.3],
    "std": [0.9, 0.8, 0.7],
    "interpolation": "bicubic",
    "crop_pct": 0.9,
}


def recorded(shipment, settings, data, correct=None):
    """Return the shipment as if its model had been scored on a data set."""
    split = data.split("validation")
    found = score(shipment.model, split)
    model = shipment.model.with_info(
        data=vars(settings),
        preparation=json.loads(json.dumps(data.preparation())),
        validation_images=found.images,
        validation_correct=found.correct if correct is None else correct,
    )
    return replace(shipment, model=model, validation=split, accuracy=found.accuracy)


@pytest.fixture(scope="module")
def shipment():
    return recorded(vit_shipment(), DIGITS, load_data(DIGITS, CONFIG))


@pytest.fixture(scope="module")
def written(shipment, tmp_path_factory):
    out = tmp_path_factory.mktemp("exports") / "7"
    write_bundle(shipment, out, golden=1)
    return out


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of 3 classes of pictures, of another size than the model's input."""
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for split in ("train", "validation"):
        for label in "abc":
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(4):
                pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


def evaluate(*words):
    return exit_code(main, [str(word) for word in words])


def wanted(model, split):
    """Count what is classified correctly by NumPy, image by image of the split."""
    images, labels = split.load(range(len(split)))
    codes = model.quantize_input(images.numpy())
    logits = replay.run(model.graph_json(), dict(model.tensors), codes)
    return int((logits.argmax(axis=1) == labels.numpy()).sum())


@pytest.mark.parametrize("executor", ["torch", "numpy", "onnxruntime"])
def test_the_recorded_accuracy_is_reproduced(written, shipment, capsys, executor):
    assert evaluate(f"bundle={written}", f"executor={executor}", "batch_images=100") == 0
    said = capsys.readouterr().out
    correct = wanted(shipment.model, shipment.validation)
    assert f"({correct} of 362), loss " in said
    assert f"data digits, split validation: 362 images\naccuracy {correct / 362:.4f}" in said
    assert said.endswith(f"recorded: {correct} of 362 on validation: equal\n")


def test_another_split_is_scored_and_not_compared(written, shipment, capsys):
    assert evaluate(f"bundle={written}", "split=test") == 0
    said = capsys.readouterr().out
    correct = wanted(shipment.model, load_data(DIGITS, CONFIG).split("test"))
    assert f"({correct} of 357)" in said
    assert said.endswith("not compared with another split\n")


def test_another_number_than_recorded_is_code_1(shipment, tmp_path, capsys):
    model = shipment.model.with_info(validation_correct=361)
    (tmp_path / "model.npz").write_bytes(model.to_bytes())
    assert evaluate(f"model={tmp_path / 'model.npz'}") == 1
    assert capsys.readouterr().out.endswith("recorded: 361 of 362 on validation: DIFFERS\n")


def test_a_folder_of_images_is_prepared_as_recorded_wherever_it_lies(
    pictures, tmp_path, capsys, written
):
    settings = DataSettings(name="imagefolder", path=str(pictures), image_size=None)
    data = load_data(settings, CONFIG)
    moved = shutil.copytree(pictures, tmp_path / "moved")
    shipment = recorded(vit_shipment(), replace(settings, path="/nowhere"), data)
    (tmp_path / "model.npz").write_bytes(shipment.model.to_bytes())
    model = IntegerModel.load(tmp_path / "model.npz")
    correct = wanted(model, data.split("validation"))
    assert evaluate(f"model={tmp_path / 'model.npz'}", f"data.path={moved}") == 0
    assert capsys.readouterr().out.endswith(f"recorded: {correct} of 6 on validation: equal\n")
    (moved / "validation" / "a" / "0.png").unlink()
    assert evaluate(f"model={tmp_path / 'model.npz'}", f"data.path={moved}") == 0
    assert "not compared with other images" in capsys.readouterr().out
    assert evaluate(f"model={tmp_path / 'model.npz'}") == 2
    assert "data.path=/nowhere is not a folder" in capsys.readouterr().err
    assert evaluate(f"bundle={written}", "data.name=imagefolder", f"data.path={pictures}") == 0
    found = wanted(shipment.model, data.split("validation"))
    assert f"({found} of 6)" in capsys.readouterr().out  # the bundle's own preparation


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["split=all"], "split: 'all' is not one of train, validation, test"),
        (["executor=tpu"], "unknown executor 'tpu'"),
        (["device=tpu"], "device: 'tpu' is not one of cpu, cuda"),
        (["batch_images=0"], "batch_images=0 must be at least 1"),
        (
            ["data.image_size=64"],
            "has images of 3 x 64 x 64 (channels x height x width), the model",
        ),
        (["data.name=digit"], "unknown data set 'digit'. Did you mean 'digits'?"),
        (["data.name=imagefolder"], "data.name=imagefolder needs data.path=FOLDER"),
        (["data.size=3"], "unknown key 'data.size'"),
        (["model=x.npz"], "which model? Give bundle=DIR"),
    ],
)
def test_wrong_words_are_one_line_and_code_2(written, capsys, words, message):
    assert evaluate(f"bundle={written}", *words) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_too_many_classes_are_refused(written, tmp_path, capsys):
    for label in range(11):
        folder = tmp_path / "images" / f"{label:02}"
        folder.mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (32, 32), (label, number, 0)).save(folder / f"{number}.png")
    words = ("data.name=imagefolder", f"data.path={tmp_path / 'images'}")
    assert evaluate(f"bundle={written}", *words) == 2
    assert "has 11 classes, the model tells 10 apart" in capsys.readouterr().err


def test_models_without_what_is_needed_are_refused(shipment, tmp_path, capsys):
    assert evaluate() == 2
    assert evaluate(f"bundle={tmp_path / 'nowhere'}") == 2
    assert evaluate(f"model={tmp_path / 'nowhere.npz'}") == 2
    path = tmp_path / "model.npz"
    path.write_bytes(vit_shipment().model.to_bytes())
    assert evaluate(f"model={path}") == 2
    assert "does not record how its images were prepared" in capsys.readouterr().err
    path.write_bytes(shipment.model.to_bytes())
    assert evaluate(f"model={path}", "executor=onnxruntime") == 2
    assert evaluate(f"model={path}", "executor=numpy", "device=cuda") in (1, 2)
    path.write_bytes(shipment.model.with_info(preparation=[1], data="x").to_bytes())
    assert evaluate(f"model={path}") == 2


def test_from_bundle(written, shipment):
    bundle = codesign.from_bundle(written, verify=True)
    assert bundle.path == written
    assert bundle.design == shipment.design
    assert bundle.model.to_bytes() == shipment.model.to_bytes()
    assert bundle.hardware["board"]["name"] == shipment.design.accelerator.board
    assert bundle.cost["metrics"] == dict(shipment.cost.metrics)
    images, _ = shipment.validation.load(range(20))
    graph, tensors = shipment.model.graph_json(), dict(shipment.model.tensors)
    logits = replay.run(graph, tensors, shipment.model.quantize_input(images.numpy()))
    for given in (images, images.numpy(), images.double()):
        np.testing.assert_array_equal(bundle.predict(given), logits.argmax(axis=1))
    with pytest.raises(UserError, match=r"images of shape \(20, 3, 16, 16\)"):
        bundle.predict(torch.zeros(20, 3, 16, 16))
    part = shipment.validation.subset(range(50))
    assert bundle.evaluate(part).correct == wanted(bundle.model, part)
    other = bundle.evaluate("test", data=DataChoice("random"))
    same = bundle.evaluate("test", data=load_data(DataSettings("random", None, 32), CONFIG))
    assert other == same
    assert bundle.data.fingerprint == load_data(DIGITS, CONFIG).fingerprint
    counts = []
    bundle.evaluate(part, executor="onnxruntime", batch_images=20, progress=counts.append)
    assert counts == [20, 40, 50]


@pytest.mark.parametrize(
    "name", ["graph.json", "weights.npz", "design.json", "hardware.json", "cost.json"]
)
def test_damaged_and_foreign_bundles_are_user_errors(written, tmp_path, name):
    copy = shutil.copytree(written, tmp_path / "bundle")
    whole = (copy / name).read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"[]", b"\xff\xfe"):
        (copy / name).write_bytes(content)
        with pytest.raises(UserError, match=name):
            codesign.from_bundle(copy)
        with pytest.raises(UserError, match=f"damaged: {name} was changed"):
            codesign.from_bundle(copy, verify=True)
    (copy / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing"):
        codesign.from_bundle(copy)
    (copy / name).symlink_to(written / name)
    with pytest.raises(UserError, match="is a link"):
        codesign.from_bundle(copy)
    with pytest.raises(UserError, match="is no folder"):
        codesign.from_bundle(tmp_path / "nowhere")


def test_pickles_are_not_opened(written, tmp_path):
    copy = shutil.copytree(written, tmp_path / "bundle")
    with np.load(copy / "weights.npz") as file:
        tensors = {key: file[key] for key in file.files}
    key = next(iter(tensors))
    np.savez(copy / "weights.npz", **{**tensors, key: np.array([print], dtype=object)})
    with pytest.raises(UserError, match=r"weights.npz .*allow_pickle"):
        codesign.from_bundle(copy)
    np.savez(copy / "weights.npz", **{**tensors, key: np.array([0.5])})
    with pytest.raises(UserError, match=f"{key} is float64"):
        codesign.from_bundle(copy)


def test_the_package_root_stays_cheap():
    code = "import sys, codesign; assert not {'torch', 'onnx', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=True)
