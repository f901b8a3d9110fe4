import pytest
import torch
from random_networks import DEVICES

from codesign.numerics.fixed_point import Format
from codesign.quantize.observers import OBSERVERS, SAMPLE, observe, quantile_ends, thinned

GENERATOR = torch.Generator().manual_seed(0)
TENSORS = {
    "normal": torch.randn(4000, generator=GENERATOR),
    "outlier": torch.cat([torch.randn(4000, generator=GENERATOR), torch.tensor([60.0])]),
    "positive": torch.rand(3000, generator=GENERATOR) * 5 + 2,
    "negative": -torch.rand(3000, generator=GENERATOR) * 5 - 2,
    "zeros": torch.zeros(50),
    "constant": torch.full((50,), 3.0),
    "one value": torch.tensor([-0.7]),
}


def error(values, fmt, power=2.0):
    return float((fmt.dequantize(fmt.quantize(values)) - values.double()).abs().pow(power).mean())


def shrunk(values, bits, steps, step):
    """Every format of a shrinking observer, from the published description."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    factors = [1 - step * i for i in range(steps)]
    return [Format.from_range(low * f, high * f, bits) for f in factors]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("observer", OBSERVERS.names())
@pytest.mark.parametrize("tensor", TENSORS)
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_formats_are_usable(observer, tensor, bits, device):
    f = observe(observer, [TENSORS[tensor].to(device)], None).format(bits)
    assert f.bits == bits
    assert 0 <= f.zero_point < 2**bits
    assert 0 < f.scale < 100
    assert float(f.dequantize(torch.tensor(f.zero_point))) == 0


SEARCHES = [("mse", 2.0, 41, 0.02), ("omse", 2.0, 90, 0.01), ("mse_p", 2.4, 80, 0.01)]


@pytest.mark.parametrize(("observer", "power", "steps", "step"), SEARCHES)
@pytest.mark.parametrize("tensor", TENSORS)
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_searches_find_the_best_of_their_ranges(observer, power, steps, step, tensor, bits):
    values = TENSORS[tensor]
    best = min(error(values, f, power) for f in shrunk(values, bits, steps, step))
    got = error(values, observe(observer, [values], None).format(bits), power)
    assert got <= best * 1.01 + 1e-12


@pytest.mark.parametrize("observer", ["mse", "omse", "mse_p", "percentile_mse"])
def test_a_channels_range_is_the_range_of_that_channel_alone(observer):
    values = torch.randn(64, 5, 7, generator=GENERATOR) * torch.tensor([1, 3, 0.1, 9, 30])[:, None]
    together = observe(observer, values.split(20), -2).ranges(4)
    for channel in range(5):
        alone = observe(observer, [part[:, channel] for part in values.split(20)], None).ranges(4)
        for ends, end in zip(together, alone, strict=True):
            torch.testing.assert_close(ends[channel], end[0])


@pytest.mark.parametrize("bits", [4, 8])
def test_mse_beats_minmax_where_there_is_an_outlier(bits):
    values = TENSORS["outlier"]
    mse, minmax = (
        error(values, observe(n, [values], None).format(bits)) for n in ("mse", "minmax")
    )
    assert mse <= minmax
    assert bits == 8 or mse < 0.8 * minmax


def test_minmax_spans_all_batches():
    values = TENSORS["normal"]
    f = observe("minmax", values.split(700), None).format(8)
    assert error(values, f) <= (f.scale * 0.51) ** 2
    assert (f.dequantize(f.quantize(values)) - values).abs().max() <= f.scale


@pytest.mark.parametrize(("observer", "step"), [("ema", 0.01), ("ema_95", 0.05)])
def test_moving_averages_follow_their_recurrence(observer, step):
    batches = [torch.randn(100, 3, generator=GENERATOR) * i for i in (1, 5, 2)]
    low, high = observe(observer, batches, -1).ranges()
    for channel in range(3):
        ends = [(float(b[:, channel].min()), float(b[:, channel].max())) for b in batches]
        wanted = ends[0]
        for end in ends[1:]:
            wanted = tuple(v + step * (e - v) for v, e in zip(wanted, end, strict=True))
        assert (float(low[channel]), float(high[channel])) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("tail", [1e-3, 1e-5, 0.0])
@pytest.mark.parametrize("count", [1, 2, 999, 20_001])
def test_quantiles_are_those_of_torch(tail, count):
    x = torch.randn(3, count, generator=GENERATOR)
    for found, q in zip(quantile_ends(x, tail), (tail, 1 - tail), strict=True):
        wanted = torch.quantile(x.double(), q, dim=1)
        torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-5)


def test_percentile_cuts_the_tails():
    values = torch.linspace(-1, 1, 1_000_001)
    values[-1] = 1000
    f = observe("percentile", [values], None).format(8)
    assert float(f.dequantize(torch.tensor(255))) < 1.1


def test_percentile_search_takes_the_candidate_of_least_error():
    values = torch.cat([TENSORS["normal"], torch.full((12,), 40.0)])
    formats = []
    for tail in (1e-3, 1e-4, 1e-5):
        ends = torch.quantile(values, torch.tensor([tail, 1 - tail]))
        formats.append(Format.from_range(float(ends[0]), float(ends[1]), 4))
    got = observe("percentile_mse", [values], None).format(4)
    best = min(formats, key=lambda f: error(values, f))
    assert error(values, got) == pytest.approx(error(values, best), rel=1e-4)


def test_samples_are_spread_evenly():
    values = torch.arange(SAMPLE * 3).float()[None]
    assert thinned(values)[0].tolist() == list(range(0, SAMPLE * 3, 3))
    assert thinned(torch.zeros(1, 7)).shape == (1, 7)
