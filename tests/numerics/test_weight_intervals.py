"""Weights on learned intervals: the best interval, the pruning ratio, the gradient."""

import math

import pytest
import torch

from codesign.numerics.weights import SCHEMES


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def gaussian_error(levels, interval):
    """Mean squared error of rounding a unit Gaussian to +-levels * interval, by integration."""
    step = 1e-3
    known = sorted({sign * level * interval for level in levels for sign in (-1, 1)})
    total, i = 0.0, 0
    for n in range(-6000, 6001):
        x = n * step
        while i + 1 < len(known) and abs(known[i + 1] - x) <= abs(known[i] - x):
            i += 1
        total += (known[i] - x) ** 2 * math.exp(-x * x / 2) * step
    return total / math.sqrt(2 * math.pi)


@pytest.mark.parametrize(
    ("name", "bits", "levels"),
    [
        ("log2std", 3, [0, 1 / 4, 1 / 2, 1]),
        ("log2std", 4, [0, *(2.0**-e for e in range(7))]),
        ("uniformstd", 3, [0, 1 / 3, 2 / 3, 1]),
        ("uniformstd", 4, [k / 7 for k in range(8)]),
    ],
)
def test_the_first_interval_is_the_best_for_gaussian_weights(name, bits, levels):
    scheme, weight = SCHEMES.get(name), gaussian(64, 1000)
    alpha = scheme.search_alpha(weight, bits)
    scale = scheme.scale_of(alpha, weight, bits)
    own = float(scheme.errors(weight, scale, bits).sum()) / weight.numel()
    best = min(gaussian_error(levels, 0.5 + 0.1 * i) for i in range(60))
    assert own == pytest.approx(best, rel=0.03)
    assert own == pytest.approx(gaussian_error(levels, float(alpha)), rel=0.03)


@pytest.mark.parametrize("name", ["log2std", "uniformstd"])
@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.75, 0.999])
def test_the_pruning_ratio_asked_for_is_met_whatever_the_weights(name, ratio):
    heavy = gaussian(8, 400) ** 3  # far from Gaussian
    scheme = SCHEMES.get(name).fitted(heavy, 4, ratio)
    codes = scheme.integer(heavy, scheme.search_scale(heavy, 4), 4)
    assert int((codes == 0).sum()) == round(ratio * heavy.numel())
    kept = heavy[codes != 0].abs()
    pruned = heavy[codes == 0].abs()
    assert float(kept.min()) >= max(pruned.tolist(), default=0.0)


def test_for_gaussian_weights_the_threshold_is_the_closed_form():
    weight = gaussian(100, 1000)
    scheme = SCHEMES.get("log2std").fitted(weight, 4, 0.5)
    codes = scheme.integer(weight, scheme.search_scale(weight, 4), 4)
    threshold = math.sqrt(2) * float(torch.erfinv(torch.tensor(0.5)))  # of sigma, for half
    assert float(weight[codes == 0].abs().max()) == pytest.approx(threshold, rel=0.02)


def test_one_scale_a_layer_that_follows_the_deviation():
    scheme, weight = SCHEMES.get("uniformstd"), gaussian(6, 50)
    alpha = torch.tensor(2.5)
    scale = scheme.scale_of(alpha, weight, 4)
    assert scale.shape == (6,)
    assert float(scale[0]) == pytest.approx(2.5 * float(weight.std(correction=0)) / 7)
    torch.testing.assert_close(scheme.scale_of(alpha, 3 * weight, 4), 3 * scale)
    torch.testing.assert_close(scheme.alpha_of(scale, weight, 4), alpha)


@pytest.mark.parametrize("pruned", [None, 0.4])
@pytest.mark.parametrize("name", ["log2std", "uniformstd"])
def test_the_interval_has_the_gradient_of_a_learned_step(name, pruned):
    scheme = SCHEMES.get(name).fitted(gaussian(1), 3, pruned)
    weight = gaussian(4, 30)
    alpha = torch.tensor(1.3, requires_grad=True)
    toward = gaussian(4, 30, seed=1)
    (scheme.twin(weight, scheme.scale_of(alpha, weight, 3), 3) * toward).sum().backward()
    deviation, largest = float(weight.std(correction=0)), scheme.largest(3)
    scale = 1.3 * deviation / largest
    codes = scheme.integer(weight, torch.full((4,), scale), 3)
    total = 0.0
    for w, q, g in zip(weight.flatten(), codes.flatten(), toward.flatten(), strict=True):
        ratio = float(w) / scale
        slope = float(q) - ratio if abs(ratio) <= largest + 0.5 else float(q)
        total += float(g) * (0.0 if pruned is not None and int(q) == 0 else slope)
    wanted = total * deviation / largest / math.sqrt(120 * len(scheme.levels(3)))
    assert float(alpha.grad) == pytest.approx(wanted, rel=1e-3)


def test_pruned_weights_have_no_neighbour_and_the_others_never_zero():
    weight = gaussian(5, 60)
    scheme = SCHEMES.get("uniformstd").fitted(weight, 4, 0.5)
    scale = scheme.search_scale(weight, 4)
    codes = scheme.integer(weight, scale, 4)
    down, up = scheme.neighbours(weight, scale, 4)
    assert torch.equal(down[codes == 0], torch.zeros_like(down[codes == 0]))
    assert torch.equal(up[codes == 0], torch.zeros_like(up[codes == 0]))
    assert not (down[codes != 0] == 0).any() and not (up[codes != 0] == 0).any()
