"""Networks with random weights, shared by the tests of the arithmetic and of the export."""

import pytest
from random_networks import captured, random_images

from codesign.graph.ir import Graph


@pytest.fixture(scope="session")
def mobilevit() -> Graph:
    """MobileViT-XXS for 64 x 64 images, random weights and batch-norm statistics."""
    return captured("mobilevit_xxs", 64)


@pytest.fixture(scope="session")
def images():
    """Sixteen smooth images with structure, float32 (16, 3, 64, 64)."""
    return random_images(16, 64)
