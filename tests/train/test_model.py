import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from codesign.errors import UserError
from codesign.train.model import build_model, float_model

NAME = "test_resnet"


def settings(name=NAME, **changes):
    values = {"kwargs": {}, "pretrained": False, "checkpoint": None} | changes
    return SimpleNamespace(name=name, **values)


def reference(num_classes=7):
    torch.manual_seed(11)
    return build_model(settings(), num_classes)


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


@pytest.mark.parametrize("name", ["mobilevit_xs", "deit_tiny_patch16_224", "efficientvit_b0"])
def test_any_timm_model_has_the_classes_of_the_data(name):
    model = build_model(settings(name), 5)
    assert model(torch.rand(2, 3, 224, 224)).shape == (2, 5)
    assert not model.training


def test_kwargs_reach_timm():
    model = build_model(settings("deit_tiny_patch16_224", kwargs={"img_size": 32}), 5)
    assert model(torch.rand(1, 3, 32, 32)).shape == (1, 5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (settings("mobilvit_xxs"), "mobilvit_xxs is not a timm model.*mobilevit_xxs"),
        (settings("mobilevit_xxs.nothing"), "no such weights.*mobilevit_xxs.cvnets_in1k"),
        (settings(kwargs={"colour": 3}), "model.kwargs=.*colour.* does not suit test_resnet"),
    ],
)
def test_what_timm_does_not_know_is_named(given, message):
    with pytest.raises(UserError, match=message):
        build_model(given, 5)


def wrapped(state, how):
    return {
        "plain": state,
        "state_dict": {"state_dict": state, "epoch": 3},
        "model": {"model": {f"module.{k}": v for k, v in state.items()}, "epoch": 3},
        "compiled": {f"_orig_mod.{k}": v for k, v in state.items()},
        "averaged": {"state_dict_ema": state, "state_dict": {k: v * 0 for k, v in state.items()}},
    }[how]


@pytest.mark.parametrize("how", ["plain", "state_dict", "model", "compiled", "averaged"])
def test_a_torch_checkpoint_gives_its_weights(tmp_path, how):
    state = reference().state_dict()
    torch.save(wrapped(state, how), tmp_path / "weights.pt")
    model = float_model(settings(checkpoint=str(tmp_path / "weights.pt")), 7)
    assert same(model.module.state_dict(), state)
    assert model.trained_body and model.trained_head


def test_a_safetensors_checkpoint_gives_its_weights(tmp_path):
    state = reference().state_dict()
    save_file(state, tmp_path / "weights.safetensors")
    model = build_model(settings(checkpoint=str(tmp_path / "weights.safetensors")), 7)
    assert same(model.state_dict(), state)


@pytest.mark.parametrize("missing", [True, False])
def test_a_classifier_of_other_classes_is_new(tmp_path, missing):
    state = reference(num_classes=1000).state_dict()
    if missing:
        state = {k: v for k, v in state.items() if not k.startswith("fc.")}
    save_file(state, tmp_path / "weights.safetensors")
    model = float_model(settings(checkpoint=str(tmp_path / "weights.safetensors")), 7)
    assert model.trained_body and not model.trained_head
    assert torch.equal(model.module.conv1[0].weight, state["conv1.0.weight"])
    assert model.module.fc.weight.shape[0] == 7


class RunsCode:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def checkpoint_faults(folder):
    state = reference().state_dict()
    shape, lacks = dict(state), dict(state)
    shape["conv1.0.weight"] = torch.zeros(1, 2, 3)
    lacks.pop("conv1.0.weight")
    torch.save(shape, folder / "shape.pt")
    torch.save(lacks, folder / "lacks.pt")
    torch.save(state | {"extra.weight": torch.zeros(1)}, folder / "unknown.pt")
    torch.save([1, 2], folder / "list.pt")
    torch.save({"model": reference()}, folder / "whole.pt")
    (folder / "pickle.pt").write_bytes(pickle.dumps(RunsCode(folder / "ran")))
    whole = (folder / "lacks.pt").read_bytes()
    (folder / "truncated.pt").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.pt").write_bytes(b"")
    (folder / "text.safetensors").write_text("weights")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("shape.pt", r"'conv1.0.weight' is \(1, 2, 3\), the model's is \("),
        ("lacks.pt", "lacks the tensor 'conv1.0.weight'"),
        ("unknown.pt", "unknown tensor 'extra.weight'"),
        ("list.pt", "holds no tensors"),
        ("whole.pt", "could run code"),
        ("pickle.pt", "not loaded|damaged"),
        ("truncated.pt", "damaged"),
        ("empty.pt", "damaged"),
        ("text.safetensors", "not a whole safetensors file"),
        ("absent.pt", "absent.pt is not a file"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_explained(tmp_path, file, message):
    checkpoint_faults(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        build_model(settings(checkpoint=str(tmp_path / file)), 7)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_weights_that_cannot_be_fetched_are_one_clear_line(tmp_path):
    code = (
        "from types import SimpleNamespace; from codesign.errors import RunError\n"
        "from codesign.train.model import build_model\n"
        "given = dict(name='mobilevit_xxs', kwargs={}, pretrained=True, checkpoint=None)\n"
        "try: build_model(SimpleNamespace(**given), 5)\n"
        "except RunError as error: print(error)"
    )
    root = str(Path(__file__).parents[2])
    environment = dict(os.environ, PYTHONPATH=root, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.stdout.startswith("cannot fetch timm's weights of mobilevit_xxs"), done.stderr
    assert "model.checkpoint=FILE" in done.stdout and done.stdout.count("\n") == 1
