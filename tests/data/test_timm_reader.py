import pickle

import numpy as np
import pytest
import torch
from image_folders import MODEL, settings

from codesign.data import load_data
from codesign.errors import UserError


def test_a_folder_reads_the_same_through_timm(folder):
    ours = load_data(settings("imagefolder", folder), MODEL)
    theirs = load_data(settings("timm:folder", folder), MODEL)
    assert theirs.num_classes == 2
    train = {image.numpy().tobytes() for image in ours.split("train").load(range(18))[0]}
    assert train == {image.numpy().tobytes() for image in theirs.split("train").load(range(18))[0]}


def test_torchvisions_cifar10_files(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    root = tmp_path / CIFAR10.base_folder
    root.mkdir()
    generator = np.random.default_rng(0)
    batch = {
        "data": generator.integers(0, 256, (20, 3072), dtype=np.uint8),
        "labels": [i % 10 for i in range(20)],
    }
    for name, _ in CIFAR10.train_list + CIFAR10.test_list:
        (root / name).write_bytes(pickle.dumps(batch))
    (root / "batches.meta").write_bytes(pickle.dumps({"label_names": list("0123456789")}))
    # the files are made here, so that their published checksums do not apply
    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *a: True)
    config = {"input_size": (3, 32, 32), "mean": (0.0,) * 3, "std": (1.0,) * 3, "crop_pct": 1.0}
    data = load_data(settings("timm:torch/cifar10", tmp_path), config)
    assert [len(data.split(s)) for s in ("train", "validation", "test")] == [100, 10, 10]
    image, label = data.split("train").load([7])
    assert label.item() == 7
    pixels = batch["data"][7].reshape(3, 32, 32) / np.float32(255)
    torch.testing.assert_close(image[0], torch.from_numpy(pixels))


def test_an_unreadable_image_is_not_replaced_by_its_neighbour(folder):
    (folder / "train" / "cat" / "2.png").write_bytes(b"broken")
    part = load_data(settings("timm:folder", folder), MODEL).split("train")
    with pytest.raises(UserError, match="cannot read the image 2 of split train of timm:folder"):
        part.load(range(len(part)))


@pytest.mark.parametrize("name", ["timm:torch/nothing", "timm:torch/cifar10", "timm:tfds/mnist"])
def test_a_reader_that_cannot_be_opened_is_named(tmp_path, name):
    with pytest.raises(UserError, match=f"timm cannot open data.name={name}"):
        load_data(settings(name, tmp_path), MODEL)


def test_a_reader_is_needed():
    with pytest.raises(UserError, match="needs a reader"):
        load_data(settings("timm"), MODEL)
