import pytest
import torch
from random_networks import DEVICES

from codesign.numerics.fixed_point import Format
from codesign.quantize.observers import OBSERVERS, SAMPLE, sample

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


def error(values, fmt):
    return float((fmt.dequantize(fmt.quantize(values)) - values.double()).square().mean())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("observer", OBSERVERS.names())
@pytest.mark.parametrize("tensor", TENSORS)
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_formats_are_usable(observer, tensor, bits, device):
    f = OBSERVERS.get(observer)(TENSORS[tensor].to(device), bits)
    assert f.bits == bits
    assert 0 <= f.zero_point < 2**bits
    assert 0 < f.scale < 100
    assert float(f.dequantize(torch.tensor(f.zero_point))) == 0


@pytest.mark.parametrize("tensor", TENSORS)
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_mse_finds_the_best_of_its_ranges(tensor, bits):
    values = TENSORS[tensor]
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    formats = [
        Format.from_range(low * f, high * f, bits) for f in [1 - 0.02 * i for i in range(41)]
    ]
    best = min(error(values, f) for f in formats)
    got = error(values, OBSERVERS.get("mse")(values, bits))
    assert got <= best * 1.001 + 1e-12


@pytest.mark.parametrize("bits", [4, 8])
def test_mse_beats_minmax_where_there_is_an_outlier(bits):
    values = TENSORS["outlier"]
    mse, minmax = (error(values, OBSERVERS.get(n)(values, bits)) for n in ("mse", "minmax"))
    assert mse <= minmax
    assert bits == 8 or mse < 0.8 * minmax


def test_minmax_spans_all_values():
    values = TENSORS["normal"]
    f = OBSERVERS.get("minmax")(values, 8)
    assert error(values, f) <= (f.scale * 0.51) ** 2
    assert (f.dequantize(f.quantize(values)) - values).abs().max() <= f.scale


def test_percentile_cuts_the_tails():
    values = torch.linspace(-1, 1, 10_001)
    values[-1] = 1000
    f = OBSERVERS.get("percentile")(values, 8)
    assert float(f.dequantize(torch.tensor(255))) < 1.1


def test_samples_are_spread_evenly():
    values = torch.arange(SAMPLE * 3).float()
    assert sample(values).tolist() == list(range(0, SAMPLE * 3, 3))
    assert len(sample(torch.zeros(7))) == 7
