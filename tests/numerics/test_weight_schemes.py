import itertools
import math

import pytest
import torch

from codesign.numerics.weights import SCHEMES

WIDTHS = {
    "uniform": [2, 3, 4, 5, 6, 8],
    "log2": [2, 3, 4, 5],
    "apot": [2, 3, 4, 5, 6, 7],
    "uniformstd": [2, 4, 8],
    "log2std": [2, 3, 4, 5],
}
CASES = [(name, bits) for name, widths in WIDTHS.items() for bits in widths]
PLAIN = [case for case in CASES if not case[0].endswith("std")]

# Magnitude levels of Li et al.'s code over their largest, by number of magnitude bits.
APOT = {
    1: [{0, 1}],
    2: [{0, 1 / 2, 1 / 4, 1 / 8}],
    3: [{0, 1 / 2, 1 / 4, 1 / 16}, {0, 1 / 8}],
    4: [{0, 1 / 2, 1 / 8, 1 / 32}, {0, 1 / 4, 1 / 16, 1 / 64}],
    5: [{0, 1 / 2, 1 / 8, 1 / 64}, {0, 1 / 4, 1 / 16, 1 / 128}, {0, 1 / 32}],
    6: [{0, 2**-1, 2**-4, 2**-7}, {0, 2**-2, 2**-5, 2**-8}, {0, 2**-3, 2**-6, 2**-9}],
}


def levels(name, bits):
    """The representable whole numbers, from the definition of the code."""
    if name.startswith("uniform"):
        return list(range(-(2 ** (bits - 1)) + 1, 2 ** (bits - 1)))
    if name.startswith("log2"):
        powers = [2**e for e in range(2 ** (bits - 1) - 1)]  # one exponent value means zero
        return sorted([0, *powers, *(-p for p in powers)])
    sums = {sum(chosen) for chosen in itertools.product(*APOT[bits - 1])}
    least = min(term for group in APOT[bits - 1] for term in group if term)
    whole = sorted(round(total / least) for total in sums)
    return [-w for w in whole[:0:-1]] + whole


def nearest(value, allowed):
    return min(allowed, key=lambda level: abs(level - value))


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_every_scheme_is_tested():
    assert set(SCHEMES.names()) == {*WIDTHS, "mixed"}  # mixed has a test file of its own
    for name, widths in WIDTHS.items():
        assert SCHEMES.get(name).widths == (min(widths), max(widths))


@pytest.mark.parametrize(("name", "bits"), CASES)
def test_codes_fit_their_width(name, bits):
    assert len(levels(name, bits)) <= 2**bits
    assert SCHEMES.get(name).largest(bits) == levels(name, bits)[-1]
    assert SCHEMES.get(name).levels(bits).tolist() == [w for w in levels(name, bits) if w >= 0]


@pytest.mark.parametrize(("name", "bits"), CASES)
def test_rounds_to_the_nearest_level(name, bits):
    allowed = levels(name, bits)
    ratio = gaussian(4000, seed=bits).double() * allowed[-1] / 2
    ratio[:3] = torch.tensor([0.0, 3.0 * allowed[-1], -3.0 * allowed[-1]])
    got = SCHEMES.get(name).round(ratio, bits).tolist()
    assert set(got) <= set(map(float, allowed))
    for value, result in zip(ratio.tolist(), got, strict=True):
        assert abs(result - value) == pytest.approx(abs(nearest(value, allowed) - value))


@pytest.mark.parametrize(("name", "bits"), CASES)
def test_neighbours_are_the_levels_below_and_above(name, bits):
    allowed = levels(name, bits)
    ratio = gaussian(1, 500, seed=bits).double() * allowed[-1] / 2
    ratio[0, :4] = torch.tensor([0.0, allowed[-1], 3.0 * allowed[-1], -3.0 * allowed[-1]])
    down, up = SCHEMES.get(name).neighbours(ratio, torch.ones(1), bits)
    for value, low, high in zip(ratio[0].tolist(), down[0].tolist(), up[0].tolist(), strict=True):
        below = [level for level in allowed if level <= value]
        above = [level for level in allowed if level > value]
        assert low == (below[-1] if below else allowed[0])
        assert high == (allowed[-1] if not above else above[0] if below else allowed[0])


@pytest.mark.parametrize("bits", [3, 4])
def test_log2_thresholds(bits):
    scheme = SCHEMES.get("log2")
    ratio = torch.tensor([0.49, 0.5, 1.49, 1.5, 2.9, 3.0, -0.49, -0.5, -2.9])
    wanted = [0, 1, 1, 2, 2, 4, 0, -1, -2]
    assert scheme.round(ratio, bits).tolist() == wanted


@pytest.mark.parametrize("bits", range(2, 8))
def test_apot_weights_are_sums_of_few_powers_of_two(bits):
    terms = math.ceil((bits - 1) / 2)
    for level in SCHEMES.get("apot").levels(bits).tolist():
        assert int(level).bit_count() <= terms


@pytest.mark.parametrize(("name", "bits"), PLAIN)
def test_scale_search_is_the_best_of_its_candidates(name, bits):
    scheme, allowed = SCHEMES.get(name), levels(name, bits)
    weight = gaussian(3, 5, 2, 2, seed=1)
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
    weight = gaussian(4, 6, seed=2).requires_grad_(True)
    scale = scheme.search_scale(weight, bits)
    values = scheme.twin(weight, scale, bits)
    codes = scheme.integer(weight.detach(), scale, bits)
    torch.testing.assert_close(values, codes * scale[:, None])
    values.sum().backward()
    ratio = weight.detach() / scale[:, None]
    inside = ratio.abs() <= scheme.largest(bits) + 0.5
    assert torch.equal(weight.grad, inside.float())


def test_a_channel_of_zeros_has_a_finite_scale():
    for name, bits in CASES:
        scale = SCHEMES.get(name).search_scale(torch.zeros(2, 3), bits)
        assert torch.isfinite(scale).all()
        assert (scale > 0).all()
