"""What holds for every registered data set."""

import pytest
import torch
from image_folders import MODEL, settings

from codesign.data import DATASETS, load_data
from codesign.errors import UserError

SETTINGS_NAME = {"timm": "timm:folder"}


@pytest.fixture(params=DATASETS.names())
def data(request, folder):
    name = SETTINGS_NAME.get(request.param, request.param)
    return load_data(settings(name, folder, image_size=16), MODEL)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_images_and_labels_have_the_promised_shapes_and_types(data, split):
    part = data.split(split)
    images, labels = part.load([0, len(part) - 1])
    assert images.shape == (2, *data.input_shape) == (2, 3, 16, 16)
    assert images.dtype == torch.float32 and labels.dtype == torch.int64
    assert torch.equal(labels, part.labels[[0, len(part) - 1]])
    assert part.labels.min() >= 0 and part.labels.max() < data.num_classes


def test_pixels_are_in_range_once_the_normalisation_is_undone(data):
    images, _ = data.split("train").load(range(4))
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (data.mean, data.std))
    pixels = images * std + mean
    assert pixels.min() > -1e-5 and pixels.max() < 1 + 1e-5
    assert pixels.std() > 0.05


def test_batches_hold_every_image_once(data):
    part = data.split("train")
    in_order = torch.cat([images for images, _ in part.batches(5)])
    assert torch.equal(in_order, part.load(range(len(part)))[0])
    shuffled = list(part.batches(5, shuffle_seed=3))
    assert [len(labels) for _, labels in shuffled[:-1]] == [5] * (len(shuffled) - 1)
    images = torch.cat([images for images, _ in shuffled]).flatten(1)
    assert not torch.equal(images, in_order.flatten(1))
    # equal as multisets: sort both by their sums
    key = images.double().sum(1).sort().values
    torch.testing.assert_close(key, in_order.flatten(1).double().sum(1).sort().values)


def test_shuffled_images_keep_their_labels(data):
    part = data.split("train")
    images, labels = part.load(range(len(part)))
    for batch, batch_labels in part.batches(7, shuffle_seed=1):
        for image, label in zip(batch, batch_labels, strict=True):
            same = (images == image).flatten(1).all(1)
            assert label in labels[same]


def test_batches_are_reproducible_from_the_seed(data):
    part = data.split("train")

    def epoch(seed):
        return torch.cat([x for x, _ in part.batches(6, shuffle_seed=seed, augment=True)])

    assert torch.equal(epoch(4), epoch(4))
    assert not torch.equal(epoch(4), epoch(5))


def test_partition_is_stratified_and_complete(data):
    part = data.split("train")
    first, second = part.partition(0.5, seed=2)
    assert len(first) + len(second) == len(part)
    for label in part.labels.unique():
        counts = [int((p.labels == label).sum()) for p in (first, second)]
        assert abs(counts[0] - counts[1]) <= 1
    whole = part.load(range(len(part)))[0].flatten(1).double().sum(1).sort().values
    halves = torch.cat([p.load(range(len(p)))[0] for p in (first, second)])
    torch.testing.assert_close(halves.flatten(1).double().sum(1).sort().values, whole)


def test_a_subset_of_a_subset_reads_the_right_images(data):
    part = data.split("train")
    inner = part.subset([5, 3, 1]).subset([2, 0])
    assert torch.equal(inner.load([0, 1])[0], part.load([1, 5])[0])
    images, labels = next(inner.batches(2))
    assert torch.equal(images, part.load([1, 5])[0])
    assert torch.equal(labels, part.labels[[1, 5]])


def test_the_splits_do_not_overlap(data):
    def keys(name):
        images, _ = data.split(name).load(range(len(data.split(name))))
        return {image.numpy().tobytes() for image in images}

    # the folders of the fixture repeat images between train and val on purpose
    assert not keys("validation") & keys("test")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match=r"unknown data set 'digit'.*Did you mean 'digits'"):
        load_data(settings("digit"), MODEL)


def test_an_impossible_size_is_refused():
    with pytest.raises(UserError, match="image_size=-3"):
        load_data(settings("digits", image_size=-3), MODEL)
