"""Every method on every kind of network, down to the same integers; and what methods are for."""

import numpy as np
import pytest
import torch
from planted_outliers import before_depthwise, behind_norms, in_the_residual_stream, sqnr_db
from random_networks import DEVICES, uniform_design
from small_networks import calibration_images, network, other_images

from codesign.errors import UserError
from codesign.graph.execute import run
from codesign.integer import replay
from codesign.integer.torch_executor import TorchExecutor
from codesign.quantize.lower import lower
from codesign.quantize.methods import METHODS
from codesign.quantize.plan import arrange
from codesign.quantize.quantize import quantize
from codesign.quantize.recipe import Recipe
from codesign.settings import load_settings


def integer_model(graph, recipe, bits=8, function=None):
    design = uniform_design(graph, bits, function)
    return lower(quantize(graph, design, recipe, calibration_images()))


def logits_of(model):
    codes = TorchExecutor(model).run(model.input_format.quantize(other_images()))
    return model.logits_format.dequantize(codes).float()


def quality(graph, recipe, bits=8):
    """SQNR of the logits in dB, and the share of images of the float network's class."""
    wanted, found = run(graph, other_images()), logits_of(integer_model(graph, recipe, bits))
    agreement = float((wanted.argmax(1) == found.argmax(1)).float().mean())
    return sqnr_db(wanted, found), agreement


def differing(model, images):
    slow: dict[str, np.ndarray] = {}
    codes = model.quantize_input(images.numpy())
    replay.run(model.graph_json(), model.tensors, codes, keep=slow)
    count = 0
    for device in DEVICES:
        fast: dict[str, torch.Tensor] = {}
        TorchExecutor(model, device).run(torch.from_numpy(codes), keep=fast)
        count += sum(int((fast[name].cpu().numpy() != slow[name]).sum()) for name in slow)
    return count


def floor_db(recipe):
    """The least SQNR of logits that is sane for a method, all layers being of 8 bits.

    A tensor of 8-bit codes has about 40 dB (6 a bit, less 8 for its peaks). A dozen of them in a
    row add up to 29, of which random weights, which amplify more than trained ones, may take 17.
    Probabilities of 4 bits that are powers of two are wrong by up to a third, 10 to 15 dB, alone.
    """
    return 12.0 if recipe.attention_bits == 8 else 8.0


@pytest.mark.parametrize("which", ["vit", "swin", "hardswish"])
@pytest.mark.parametrize("method", METHODS.names())
def test_methods_end_in_the_same_integers_everywhere(method, which):
    graph, recipe = network(which), METHODS.get(method)
    model = integer_model(graph, recipe)
    assert differing(model, other_images()[:2]) == 0
    assert sqnr_db(run(graph, other_images()), logits_of(model)) > floor_db(recipe)


@pytest.mark.parametrize("which", ["vit", "hardswish"])
@pytest.mark.parametrize("method", ["fqvit", "triovit", "p2vit", "repqvit", "twoscale", "ivit"])
def test_methods_take_narrow_codes(method, which):
    graph = network(which)
    model = integer_model(graph, METHODS.get(method), 4, None if which == "vit" else "silu")
    assert differing(model, other_images()[:2]) == 0


def test_reparameterisation_and_smoothing_recover_outliers_behind_norms():
    clean, graph = network("vit"), behind_norms(network("vit"))
    baseline = quality(clean, METHODS.get("minmax"))
    lost = quality(graph, METHODS.get("minmax"))
    for transform in ("reparameterize", "smoothing"):
        recipe = Recipe(observer="minmax", transforms=(transform,), bias_correction=False)
        found = quality(graph, recipe)
        assert found[0] > lost[0] + 0.7 * (baseline[0] - lost[0])
        assert found[1] > lost[1] + 0.1
    assert baseline[0] > lost[0] + 10
    repqvit = METHODS.get("repqvit").changed({"attention_bits": 8})
    assert quality(graph, repqvit)[0] > lost[0] + 5


def test_factors_recover_outliers_in_the_residual_stream():
    graph = in_the_residual_stream(network("vit"))
    lost = quality(graph, METHODS.get("minmax"))
    found = quality(graph, Recipe(observer="minmax", norm_inputs="ptf", bias_correction=False))
    assert found[0] > lost[0] + 6
    assert found[1] > lost[1] + 0.1


def test_migration_and_shifting_recover_outliers_around_depthwise_layers():
    graph = before_depthwise(network("hardswish"))
    lost = quality(graph, METHODS.get("minmax"))
    transforms = ("channel_migration", "filter_shift")
    found = quality(graph, Recipe(observer="minmax", transforms=transforms))
    assert found[0] > lost[0] + 3


@pytest.mark.parametrize(
    ("choice", "value", "message"),
    [
        ("softmax", "log_init", r"quantize\.softmax=log_init: unknown\. Known: .*log_int"),
        ("layer_norm", "fqvit", r"quantize\.layer_norm=fqvit: unknown\. Known: fq_vit, reciprocal"),
        ("division", "log", r"quantize\.division=log: unknown"),
        ("observer", "max", r"quantize\.observer=max: unknown"),
        ("norm_inputs", "channel", r"quantize\.norm_inputs=channel: unknown\. Known: ptf, tensor"),
        ("activation_codes", "log2", r"quantize\.activation_codes=log2: unknown"),
        ("scales", "pot", r"quantize\.scales=pot: unknown\. Known: free, power_of_two"),
        ("reconstruction", "brecq", r"quantize\.reconstruction=brecq: unknown"),
        ("attention_bits", 9, r"set quantize\.attention_bits to one of these, not 9"),
    ],
)
def test_unknown_choices_are_refused_before_any_work(choice, value, message):
    graph = network("vit")
    recipe = METHODS.get("minmax").changed({choice: value})
    with pytest.raises(UserError, match=message):
        arrange(graph, uniform_design(graph), recipe)


def test_settings_with_unknown_choices_are_refused():
    for key, value in (("method", "fqvitt"), ("softmax", "log"), ("scales", "pot")):
        with pytest.raises(UserError, match=value):
            load_settings(["space=mobilevit_mixed", f"quantize.{key}={value}"])


@pytest.mark.parametrize("which", ["vit", "hardswish"])
@pytest.mark.parametrize("method", METHODS.names())
def test_networks_of_every_method_can_be_trained(method, which):
    graph = network(which)
    built = quantize(graph, uniform_design(graph), METHODS.get(method), calibration_images())
    logits = built(other_images()[:16])
    integers = logits_of(lower(built))[:16]
    assert sqnr_db(integers, logits.detach()) > floor_db(METHODS.get(method))
    logits.square().sum().backward()
    gradients = {name: tensor.grad for name, tensor in built.tensors.items()}
    assert all(g is not None and torch.isfinite(g).all() for g in gradients.values())
    assert sum(bool(g.abs().sum() > 0) for g in gradients.values()) > 0.9 * len(gradients)


def test_single_choices_replace_a_methods_own():
    own = METHODS.get("triovit")
    assert own.changed({"transforms": [], "softmax": "", "attention_bits": 0}) == own
    assert own.changed({"transforms": ["none"]}).transforms == ()
    assert own.changed({"transforms": ["smoothing"]}).transforms == ("smoothing",)
    assert own.changed({"softmax": "shiftmax", "method": "fqvit"}).softmax == "shiftmax"
