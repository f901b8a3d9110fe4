import hypothesis
import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from image_folders import settings
from PIL import Image
from sklearn.datasets import load_digits

from codesign.data import load_data
from codesign.data.memory import Jitter, jitter
from codesign.data.stratify import stratified_split


def digits(channels=3, size=None):
    return load_data(settings("digits", image_size=size), {"input_size": (channels, 256, 256)})


def test_every_digit_of_the_source_is_in_one_split():
    data = digits(size=8)
    parts = [data.split(name) for name in ("train", "validation", "test")]
    images = torch.cat([part.load(range(len(part)))[0] for part in parts])
    assert images.shape == (1797, 3, 8, 8) and digits().input_shape == (3, 64, 64)
    ours = sorted(map(tuple, (images[:, 0] * 16).flatten(1).int().tolist()))
    assert ours == sorted(map(tuple, load_digits().images.reshape(-1, 64).astype(int)))
    for label, count in enumerate(np.bincount(load_digits().target)):
        shares = [int((part.labels == label).sum()) for part in parts]
        assert np.allclose(shares, [0.6 * count, 0.2 * count, 0.2 * count], atol=1)


def test_upsampling_agrees_with_pillow():
    image = digits(channels=1).split("test").load([0])[0][0, 0]
    source = digits(channels=1, size=8).split("test").load([0])[0][0, 0]
    pillow = Image.fromarray(source.numpy()).resize((64, 64), Image.Resampling.BILINEAR)
    # bicubic and bilinear interpolation of the same pixels: alike, not equal
    assert np.corrcoef(np.asarray(pillow).ravel(), image.numpy().ravel())[0, 1] > 0.98


@hypothesis.settings(deadline=None)
@given(st.integers(0, 2**40))
def test_jitter_of_nothing_changes_nothing(seed):
    images = torch.rand(3, 1, 9, 7, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(jitter(images, Jitter(), seed), images, atol=1e-5, rtol=0)


@hypothesis.settings(deadline=None)
@given(st.integers(0, 2**40))
def test_jitter_moves_a_blob_no_further_than_asked(seed):
    images = torch.zeros(1, 1, 41, 41)
    images[..., 18:23, 18:23] = 1
    moved = jitter(images, Jitter(shift=0.1), seed)[0, 0]
    rows, cols = torch.meshgrid(torch.arange(41.0), torch.arange(41.0), indexing="ij")
    centre = torch.stack([(moved * axis).sum() / moved.sum() for axis in (rows, cols)])
    assert (centre - 20).abs().max() <= 4.1 + 1e-3
    assert moved.min() >= 0 and moved.max() <= 1


def test_jitter_turns_about_the_centre_without_squeezing():
    images = torch.rand(1, 1, 33, 33)
    limits = Jitter(rotation_degrees=90)
    for seed in range(200):
        turned = jitter(images, limits, seed)[0, 0]
        torch.testing.assert_close(turned[16, 16], images[0, 0, 16, 16], atol=1e-4, rtol=0)


@hypothesis.settings(deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=60),
    st.sampled_from([(0.5, 0.5), (0.6, 0.2, 0.2), (0.9, 0.1), (1.0, 0.0)]),
    st.integers(0, 99),
)
def test_stratified_parts_keep_the_proportions(labels, fractions, seed):
    parts = stratified_split(labels, fractions, seed)
    assert sorted(i for part in parts for i in part) == list(range(len(labels)))
    wanted = [f for f in fractions if f > 0]
    for label in set(labels):
        total = labels.count(label)
        for part, fraction in zip(parts, fractions, strict=True):
            count = sum(labels[i] == label for i in part)
            assert abs(count - fraction * total) <= 2
            assert count > 0 or fraction == 0 or total < len(wanted)
