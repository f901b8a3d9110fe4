"""Calibration batch by batch."""

import pytest
import torch
from random_networks import uniform_design
from small_networks import calibration_images, network

from codesign.errors import RunError
from codesign.quantize.calibrate import calibrate, mean_outputs
from codesign.quantize.network import QuantizedNetwork
from codesign.quantize.recipe import Recipe


def calibrated(graph, recipe, batch_size, images=None, means=False):
    built = QuantizedNetwork.build(graph, uniform_design(graph), recipe=recipe)
    images = calibration_images() if images is None else images
    layer_means = mean_outputs(graph, images, batch_size) if means else None
    calibrate(built, images, layer_means=layer_means, batch_size=batch_size)
    return built


@pytest.mark.parametrize("which", ["vit", "swin", "hardswish"])
def test_minmax_formats_do_not_depend_on_the_batch(which):
    graph, recipe = network(which), Recipe(observer="minmax")
    whole, parts = (calibrated(graph, recipe, size) for size in (48, 20))
    assert whole.formats.keys() == parts.formats.keys()
    for name, fmt in whole.formats.items():
        assert parts.formats[name].scale == pytest.approx(fmt.scale, rel=0.02), name
        assert abs(parts.formats[name].zero_point - fmt.zero_point) <= 2, name


def test_moving_averages_do_depend_on_it():
    graph, recipe = network("vit"), Recipe(observer="ema")
    scales = [calibrated(graph, recipe, size).formats["input"].scale for size in (48, 8)]
    assert scales[1] < scales[0]


def test_means_are_those_of_all_images():
    graph, images = network("hardswish"), calibration_images()
    whole, parts = (mean_outputs(graph, images, size) for size in (48, 7))
    for name, mean in whole.items():
        torch.testing.assert_close(parts[name], mean, rtol=1e-4, atol=1e-5)


def test_biases_are_corrected_over_uneven_batches():
    graph = network("hardswish")
    images = calibration_images()
    wanted = mean_outputs(graph, images)
    built = calibrated(graph, Recipe(), 20, means=True)
    found = []
    with torch.no_grad():
        built(images, visit=lambda n, r: found.append(r) if n.name == "stem" else None)
    torch.testing.assert_close(found[0].mean((0, 2, 3)), wanted["stem"], rtol=0, atol=0.01)


def test_values_that_are_not_finite_are_named():
    images = calibration_images().clone()
    images[3, 0, 0, 0] = float("nan")
    with pytest.raises(RunError, match=r"input: .*not finite"):
        calibrated(network("vit"), Recipe(), 16, images)
