import pytest
from image_folders import write_images


@pytest.fixture
def folder(tmp_path):
    """An ImageNet-style folder with training and validation images of two classes."""
    for split, count in (("train", 9), ("val", 4)):
        for label, name in enumerate(("cat", "dog")):
            write_images(tmp_path / "images" / split / name, count, seed=label)
    return tmp_path / "images"
