import shutil

import numpy as np
import pytest
import torch
from image_folders import MODEL, settings, write_images
from PIL import Image

from codesign.data import load_data
from codesign.errors import UserError


def load(path, **changes):
    return load_data(settings("imagefolder", path, **changes), MODEL)


def test_images_are_the_models_own_transform_of_the_file(folder):
    # by hand: short side to 24 / 0.9, bicubic; the central 24 x 24; normalised
    picture = Image.open(folder / "train" / "cat" / "0.png")
    scaled = picture.resize((round(26 * 40 / 32), 26), Image.Resampling.BICUBIC)
    left, top = round((scaled.width - 24) / 2), round((scaled.height - 24) / 2)
    pixels = np.asarray(scaled.crop((left, top, left + 24, top + 24)), dtype=np.float32) / 255
    expected = (pixels - MODEL["mean"]) / MODEL["std"]
    image = load(folder).split("train").load([0])[0][0].permute(1, 2, 0)
    np.testing.assert_allclose(image, expected, atol=0.05)


def test_a_missing_test_folder_halves_the_validation_images(folder):
    data = load(folder)
    assert [len(data.split(s)) for s in ("train", "validation", "test")] == [18, 4, 4]
    assert data.class_names == ("cat", "dog") and data.num_classes == 2
    assert data.split("test").labels.tolist() == [0, 0, 1, 1]


def test_a_test_folder_is_used(folder):
    for name in ("cat", "dog"):
        write_images(folder / "test" / name, 3)
    assert [len(load(folder).split(s)) for s in ("validation", "test")] == [8, 6]


def test_class_folders_alone_are_divided(tmp_path):
    for label, name in enumerate(("a", "b", "c")):
        write_images(tmp_path / name, 10, seed=label)
    data = load(tmp_path)
    assert [len(data.split(s)) for s in ("train", "validation", "test")] == [18, 6, 6]


def test_training_without_validation_folder(folder):
    shutil.rmtree(folder / "val")
    assert sum(len(load(folder).split(s)) for s in ("train", "validation", "test")) == 18


def test_the_image_size_of_the_settings_wins(folder):
    assert load(folder, image_size=32).input_shape == (3, 32, 32)


def test_grey_models_get_grey_images(folder):
    config = {"input_size": (1, 24, 24), "mean": (0.5,), "std": (0.5,)}
    assert load_data(settings("imagefolder", folder), config).split("test").load([0])[0].shape == (
        (1, 1, 24, 24)
    )


def test_the_fingerprint_follows_the_files(folder):
    before = load(folder).fingerprint
    assert load(folder).fingerprint == before
    write_images(folder / "train" / "cat", 10)
    assert load(folder).fingerprint != before


def test_augmentation_changes_images_but_not_validation(folder):
    part = load(folder).split("train")
    plain, augmented = (next(part.batches(4, shuffle_seed=0, augment=a))[0] for a in (0, 1))
    assert plain.shape == augmented.shape and not torch.equal(plain, augmented)


@pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
def test_an_unreadable_image_is_named(folder, damage):
    path = folder / "train" / "dog" / "3.png"
    content = path.read_bytes()
    path.write_bytes({"truncated": content[:200], "text": b"hello", "empty": b""}[damage])
    part = load(folder).split("train")
    with pytest.raises(UserError, match=f"cannot read the image .*{path.name}"):
        list(part.batches(8, shuffle_seed=0))
    with pytest.raises(UserError, match=r"dog/3\.png"):
        part.load(range(len(part)))


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere is not a folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"needs data\.path"):
        load(None)


def test_folders_without_images_or_classes_are_named(folder, tmp_path):
    with pytest.raises(UserError, match="0 class folders"):
        load(tmp_path / "images" / "train" / "cat")
    shutil.rmtree(folder / "train" / "cat")
    (folder / "train" / "cat").mkdir()
    with pytest.raises(UserError, match="train/cat holds no images"):
        load(folder)


def test_splits_of_other_classes_are_refused(folder):
    shutil.move(folder / "val" / "cat", folder / "val" / "cow")
    with pytest.raises(UserError, match=r"class 'cat' is missing from .*val"):
        load(folder)
    (folder / "val" / "cat").mkdir()
    with pytest.raises(UserError, match=r"class 'cow' is not a class of train/"):
        load(folder)


def test_a_class_of_two_images_cannot_be_divided_in_three(tmp_path):
    write_images(tmp_path / "a", 2)
    write_images(tmp_path / "b", 9)
    with pytest.raises(UserError, match=r"/a holds fewer than 3 images"):
        load(tmp_path)
