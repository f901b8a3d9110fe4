import itertools

import pytest
import torch

from codesign.numerics.weights import SCHEMES

WIDTHS = {"uniform": [2, 3, 4, 5, 6, 8], "log2": [2, 3, 4, 5]}
CASES = [(name, bits) for name, widths in WIDTHS.items() for bits in widths]


def levels(name, bits):
    """The representable whole numbers, from the definition of the code."""
    if name == "uniform":
        return list(range(-(2 ** (bits - 1)) + 1, 2 ** (bits - 1)))
    powers = [2**e for e in range(2 ** (bits - 1) - 1)]  # one exponent value means zero
    return sorted([0, *powers, *(-p for p in powers)])


def nearest(value, allowed):
    return min(allowed, key=lambda level: abs(level - value))


def test_every_scheme_is_tested():
    assert set(SCHEMES.names()) == set(WIDTHS)


@pytest.mark.parametrize(("name", "bits"), CASES)
def test_codes_fit_their_width(name, bits):
    assert len(levels(name, bits)) <= 2**bits
    assert SCHEMES.get(name).largest(bits) == levels(name, bits)[-1]


@pytest.mark.parametrize(("name", "bits"), CASES)
def test_rounds_to_the_nearest_level(name, bits):
    allowed = levels(name, bits)
    generator = torch.Generator().manual_seed(bits)
    ratio = torch.randn(4000, generator=generator, dtype=torch.float64) * allowed[-1] / 2
    ratio[:3] = torch.tensor([0.0, 3.0 * allowed[-1], -3.0 * allowed[-1]])
    got = SCHEMES.get(name).round(ratio, bits).tolist()
    assert set(got) <= set(map(float, allowed))
    for value, result in zip(ratio.tolist(), got, strict=True):
        assert abs(result - value) == pytest.approx(abs(nearest(value, allowed) - value))


@pytest.mark.parametrize("bits", [3, 4])
def test_log2_thresholds(bits):
    scheme = SCHEMES.get("log2")
    ratio = torch.tensor([0.49, 0.5, 1.49, 1.5, 2.9, 3.0, -0.49, -0.5, -2.9])
    wanted = [0, 1, 1, 2, 2, 4, 0, -1, -2]
    assert scheme.round(ratio, bits).tolist() == wanted


@pytest.mark.parametrize(("name", "bits"), CASES)
def test_scale_search_is_the_best_of_its_candidates(name, bits):
    scheme, allowed = SCHEMES.get(name), levels(name, bits)
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(3, 5, 2, 2, generator=generator)
    scale = scheme.search_scale(weight, bits)
    for channel, chosen in zip(weight.reshape(3, -1).tolist(), scale.tolist(), strict=True):
        errors = {}
        for step in range(46):
            s = max(map(abs, channel)) * (0.30 + 0.02 * step) / allowed[-1]
            errors[s] = sum((nearest(w / s, allowed) * s - w) ** 2 for w in channel)
        own = sum((nearest(w / chosen, allowed) * chosen - w) ** 2 for w in channel)
        assert own == pytest.approx(min(errors.values()), rel=1e-4, abs=1e-9)


@pytest.mark.parametrize(("name", "bits"), CASES)
def test_twin_gives_the_integer_weights_values(name, bits):
    scheme = SCHEMES.get(name)
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(4, 6, generator=generator).requires_grad_(True)
    scale = scheme.search_scale(weight, bits)
    values = scheme.twin(weight, scale, bits)
    codes = scheme.integer(weight.detach(), scale, bits)
    torch.testing.assert_close(values, codes * scale[:, None])
    values.sum().backward()
    ratio = weight.detach() / scale[:, None]
    inside = ratio.abs() <= scheme.largest(bits) + 0.5
    assert torch.equal(weight.grad, inside.float())


def test_a_channel_of_zeros_has_a_finite_scale():
    for name, bits in itertools.chain(CASES):
        scale = SCHEMES.get(name).search_scale(torch.zeros(2, 3), bits)
        assert torch.isfinite(scale).all()
        assert (scale > 0).all()
