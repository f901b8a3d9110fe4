"""Mixed weights: the channels that lose least are log2; formats by name."""

import pytest
import torch

from codesign.design import LayerFormat
from codesign.numerics.weights import SCHEMES, parse_format
from codesign.numerics.weights.formats import scheme_of

LOG2, UNIFORM = SCHEMES.get("log2"), SCHEMES.get("uniform")


def layer(channels=8):
    """Channels in turn of powers of two and of evenly spread weights, the latter worse for log2."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.empty(channels, 40)
    for i in range(channels):
        draw = torch.rand(40, generator=generator)
        powers = torch.exp2(torch.floor(draw * 7))
        weight[i] = powers if i % 2 else draw * 2 - 1
    return weight


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.25, 2), (0.5, 4), (0.9, 7)])
def test_the_share_asked_for_is_log2(share, count):
    scheme = SCHEMES.get("mixed").fitted(layer(), 4, share)
    assert int(scheme.log2_channels.sum()) == count


def test_the_channels_that_lose_least_are_log2():
    scheme = SCHEMES.get("mixed").fitted(layer(), 4, 0.5)
    assert scheme.log2_channels.tolist() == [False, True] * 4


def test_every_channel_has_the_integers_of_its_own_scheme():
    weight = layer()
    scheme = SCHEMES.get("mixed").fitted(weight, 4, 0.5)
    scale = scheme.search_scale(weight, 4)
    codes = scheme.integer(weight, scale, 4)
    down, up = scheme.neighbours(weight, scale, 4)
    for plain, rows in ((UNIFORM, slice(0, None, 2)), (LOG2, slice(1, None, 2))):
        alone = plain.search_scale(weight[rows], 4)
        torch.testing.assert_close(scale[rows], alone)
        assert torch.equal(codes[rows], plain.integer(weight[rows], alone, 4))
        pair = plain.neighbours(weight[rows], alone, 4)
        assert torch.equal(down[rows], pair[0]) and torch.equal(up[rows], pair[1])
    torch.testing.assert_close(scheme.twin(weight, scale, 4), codes * scale[:, None])


def test_gradients_pass_within_each_channels_own_range():
    weight = torch.tensor([[9.0, 70.0], [9.0, 70.0]], requires_grad=True)
    scheme = SCHEMES.get("mixed").fitted(torch.ones(2, 2), 4, 0.5)
    log2 = scheme.log2_channels.tolist()
    scheme.twin(weight, torch.ones(2), 4).sum().backward()
    wanted = {True: [1.0, 0.0], False: [0.0, 0.0]}  # to 64, to 7
    assert weight.grad.tolist() == [wanted[kind] for kind in log2]


def test_an_unfitted_layer_is_no_layer():
    with pytest.raises(ValueError, match="fitted"):
        SCHEMES.get("mixed").round(torch.ones(2, 2), 4)


@pytest.mark.parametrize("text", ["uniform_4", "log2std_4@0.5", "mixed_3@0.25", "apot_7"])
def test_formats_round_trip(text):
    found = parse_format(text, 6)
    assert found.weight == text and found.activation_bits == 6
    assert LayerFormat(**found.to_json()) == found
    assert scheme_of(found).name == found.weight_scheme


def test_equal_numbers_are_equal_formats():
    assert parse_format("mixed_4@0.50") == parse_format("mixed_4@0.5")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ternary_2", "'ternary' is not one of apot, log2"),
        ("apot_8", "8 is out of range, 2 to 7 bits"),
        ("log2std_6@0.5", "6 is out of range, 2 to 5 bits"),
        ("uniform_4@0.5", "uniform takes no number"),
        ("mixed_4", "mixed takes the share of output channels that are log2"),
        ("mixed_4@1", "at least 0 and below 1"),
        ("log2std_4@-0.1", "the share of weights pruned"),
        ("log2std_4@nan", "below 1"),
        ("log2std_4@many", "many"),
        ("log2", "is not <scheme>_<bits>"),
    ],
)
def test_wrong_formats_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        parse_format(text)


def test_designs_without_an_option_are_written_as_before():
    values = LayerFormat(4, "log2", 8).to_json()
    assert values == {"weight_bits": 4, "weight_scheme": "log2", "activation_bits": 8}
    assert LayerFormat(**values) == LayerFormat(4, "log2", 8)
