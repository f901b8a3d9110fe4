import io
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from codesign.data import load_data
from codesign.errors import RunError, UserError
from codesign.settings import SearchSettings
from codesign.train.teacher import build_model, teacher_state


def make(**changes):
    """Settings of a small network on small digits, with `section__key=value` changes."""
    settings = SearchSettings(device="cpu")
    settings.model.name = "test_resnet"
    settings.data.image_size = 16
    settings.teacher.epochs = 1
    for name, value in changes.items():
        section, _, key = name.rpartition("__")
        setattr(getattr(settings, section) if section else settings, key, value)
    return settings


def train(settings, folder, console=None):
    data = load_data(settings.data, {"input_size": (3, 16, 16)})
    return teacher_state(settings, data, folder, console)


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def test_training_teaches_and_the_accuracy_is_that_of_the_weights(tmp_path):
    settings = make(teacher__epochs=4)
    teacher = train(settings, tmp_path)
    model = build_model(settings.model, 10)
    model.load_state_dict(load_file(teacher.path))
    data = load_data(settings.data, {"input_size": (3, 16, 16)})
    for split, metric in (("validation", "accuracy"), ("test", "test_accuracy")):
        images, labels = data.split(split).load(range(len(data.split(split))))
        with torch.no_grad():
            right = (model(images).argmax(1) == labels).float().mean().item()
        assert teacher.metrics[metric] == pytest.approx(right, abs=0.006)
        assert right > 0.5  # chance is 0.1


def test_the_seed_decides_the_weights(tmp_path):
    first, again = (train(make(), tmp_path / name) for name in ("a", "b"))
    assert same(first.state, again.state) and first.metrics == again.metrics
    assert first.path.name == again.path.name
    other = train(make(seed=1), tmp_path / "a")
    assert not same(first.state, other.state)


def test_training_leaves_the_global_generator_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(make(), tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_a_cached_teacher_is_read_back(tmp_path):
    teacher = train(make(), tmp_path)
    changed = {name: tensor + 1 for name, tensor in teacher.state.items()}
    with safe_open(teacher.path, framework="pt") as file:
        metadata = file.metadata()
    save_file(changed, teacher.path, metadata=metadata)
    again = train(make(), tmp_path)
    assert same(again.state, changed) and again.metrics == teacher.metrics


def test_a_truncated_cache_file_is_made_again(tmp_path):
    teacher = train(make(), tmp_path)
    content = teacher.path.read_bytes()
    teacher.path.write_bytes(content[: len(content) // 2])
    assert same(train(make(), tmp_path).state, teacher.state)
    assert teacher.path.read_bytes() == content


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 3},
        {"teacher__epochs": 0},
        {"teacher__weight_decay": 0.2},
        {"model__kwargs": {"drop_rate": 0.1}},
        {"data__image_size": 24},
    ],
)
def test_what_changes_the_weights_changes_the_file(tmp_path, change):
    paths = {train(make(teacher__epochs=0), tmp_path).path, train(make(), tmp_path).path}
    changed = make(**change)
    path = train(changed, tmp_path).path
    assert (path in paths) == (change == {"teacher__epochs": 0})


def test_no_epochs_take_the_weights_as_they_are(tmp_path):
    settings = make(teacher__epochs=0, seed=4)
    torch.manual_seed(4)
    assert same(train(settings, tmp_path).state, build_model(settings.model, 10).state_dict())


def test_a_fitting_checkpoint_is_not_trained(tmp_path):
    torch.manual_seed(1)
    state = build_model(make().model, 10).state_dict()
    file = tmp_path / "given.safetensors"
    save_file(state, file)
    settings = make(model__checkpoint=str(file), teacher__epochs=3)
    first = train(settings, tmp_path)
    assert same(first.state, state)
    save_file({name: tensor * 2 for name, tensor in state.items()}, file)
    assert not same(train(settings, tmp_path).state, state)


def test_a_new_classifier_is_trained_on_the_given_weights(tmp_path):
    state = build_model(make().model, 1000).state_dict()
    file = tmp_path / "given.safetensors"
    save_file(state, file)
    tuned = train(make(model__checkpoint=str(file), teacher__epochs=1), tmp_path).state
    moved = (tuned["conv1.0.weight"] - state["conv1.0.weight"]).abs().max()
    assert 0 < moved < 0.1
    assert tuned["fc.weight"].shape[0] == 10


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(RunError, match=r"loss became (nan|inf).*learning_rate"):
        train(make(teacher__learning_rate=1e30, teacher__epochs=3), tmp_path)
    assert not list(tmp_path.iterdir())


def test_images_the_model_does_not_take_are_explained(tmp_path):
    with pytest.raises(
        UserError, match=r"deit_tiny_patch16_224 does not take images of 3x16x16.*img_size"
    ):
        train(make(model__name="deit_tiny_patch16_224"), tmp_path)


def test_progress_is_a_line_per_epoch_off_a_terminal(tmp_path):
    text = io.StringIO()
    train(make(teacher__epochs=2), tmp_path, Console(file=text))
    lines = text.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "teacher: epoch 1 of 2",
        "teacher: epoch 2 of 2",
    ]
    assert all(float(line.rsplit(" ", 1)[1]) > 0 for line in lines)


def test_progress_is_a_bar_on_a_terminal(tmp_path):
    text = io.StringIO()
    train(make(teacher__epochs=2), tmp_path, Console(file=text, force_terminal=True, width=80))
    assert "teacher: epoch" in text.getvalue() and "━" in text.getvalue()


def test_a_last_batch_of_one_image_is_no_problem(tmp_path):
    settings = make(teacher__batch_size=1075)
    data = load_data(settings.data, {"input_size": (3, 16, 16)})
    train_split = data.split("train").subset(range(1076))
    small = SimpleNamespace(**{**vars(data), "split": data.split})
    small.split = lambda name: train_split if name == "train" else data.split(name)
    assert teacher_state(settings, small, tmp_path).metrics["accuracy"] > 0
