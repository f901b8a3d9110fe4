"""The search space: genes, decode and encode, baselines, bad input."""

import itertools
import json
import random
import re
from math import log10, prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign.design import ActivationSite, Design, LayerInfo, NetworkOutline
from codesign.errors import UserError
from codesign.settings import SearchSettings
from codesign.space import SearchSpace, check_functions

OUTLINE = NetworkOutline(
    layers=(
        LayerInfo("stem.conv", "conv", "stem", 432, 100_000),
        LayerInfo("stages.0.dw", "depthwise", "stages.0", 144, 50_000),
        LayerInfo("stages.0.pw", "conv", "stages.0", 512, 60_000),
        LayerInfo("stages.1.attn.qkv", "linear", "stages.1", 4096, 70_000),
        LayerInfo("head.fc", "linear", "head", 640, 640),
    ),
    activations=(
        ActivationSite("stem.act", "stem", "silu"),
        ActivationSite("stages.0.0.act1", "stages.0", "silu"),
        ActivationSite("stages.0.0.act2", "stages.0", "silu"),
        ActivationSite("stages.0.1.act1", "stages.0", "silu"),
        ActivationSite("stages.1.se.gate", "stages.1", "sigmoid"),
    ),
)


def space_of(**changes):
    settings = SearchSettings(space="x", study="x")
    for key, value in changes.items():
        section, _, name = key.rpartition("__")
        target = settings
        for part in section.split("__") if section else []:
            target = getattr(target, part)
        setattr(target, name, value)
    return SearchSpace(settings, OUTLINE)


def random_params(space, seed):
    rng = random.Random(seed)
    return {name: rng.choice(choices) for name, choices in space.genes.items()}


def test_every_choice_is_a_gene_and_the_ends_are_not():
    genes = space_of().genes
    assert "stem.conv.weight" not in genes and "head.fc.activation_bits" not in genes
    assert genes["stages.0.pw.weight"] == (
        *(f"uniform_{b}" for b in (3, 4, 5, 6, 8)),
        *(f"log2_{b}" for b in (3, 4)),
    )
    assert set(genes) == {
        *(
            f"{n}.{k}"
            for n in ("stages.0.dw", "stages.0.pw", "stages.1.attn.qkv")
            for k in ("weight", "activation_bits")
        ),
        "activation.stem",
        "activation.stages.0",
        *(f"accelerator.{f}" for f, c in vars(SearchSettings().accelerator).items() if len(c) > 1),
    }


def test_ends_are_genes_on_request():
    genes = space_of(network__first_and_last_bits=0).genes
    assert {"stem.conv.weight", "head.fc.weight", "head.fc.activation_bits"} <= set(genes)


def test_multipliers_in_luts_can_be_searched():
    space = space_of(accelerator__mac_pe=["dsp", "lut"])
    params = random_params(space, 0)
    found = {
        space.decode(params | {"accelerator.mac_pe": pe}).accelerator.mac_pe
        for pe in ("dsp", "lut")
    }
    assert found == {"dsp", "lut"}


def test_size_counts_the_combinations():
    space = space_of(accelerator__dataflow=["os"])
    assert "accelerator.dataflow" not in space.genes
    assert 10**space.log10_size == pytest.approx(prod(map(len, space.genes.values())))
    assert space.log10_size == pytest.approx(sum(log10(len(c)) for c in space.genes.values()))


@pytest.mark.parametrize(
    ("per", "groups"),
    [
        ("network", {"all"}),
        ("stage", {"stem", "stages.0"}),
        ("block", {"stem.act", "stages.0.0", "stages.0.1"}),
        ("site", {"stem.act", "stages.0.0.act1", "stages.0.0.act2", "stages.0.1.act1"}),
    ],
)
def test_activation_groups(per, groups):
    genes = space_of(network__activations__per=per).genes
    assert {g.removeprefix("activation.") for g in genes if g.startswith("activation.")} == groups


def test_a_gate_keeps_its_function():
    space = space_of(network__activations__choices=["relu"])
    functions = space.decode(random_params(space, 0)).activation_functions
    assert functions["stages.1.se.gate"] == "sigmoid"
    assert {f for n, f in functions.items() if "gate" not in n} == {"relu"}


@given(st.integers(0, 10_000), st.sampled_from(["network", "stage", "block", "site"]))
def test_encode_inverts_decode(seed, per):
    space = space_of(network__activations__per=per, network__first_and_last_bits=seed % 2 * 8)
    design = space.decode(random_params(space, seed))
    assert space.decode(space.encode(design)) == design


@given(st.integers(0, 10_000))
def test_decode_takes_every_gene_to_its_place(seed):
    space = space_of()
    params = random_params(space, seed)
    design = space.decode(params)
    for name, layer in design.layers[1:-1]:
        assert f"{layer.weight_scheme}_{layer.weight_bits}" == params[f"{name}.weight"]
        assert layer.activation_bits == params[f"{name}.activation_bits"]
    for field in ("mac_rows", "dataflow", "weight_buffer_kb", "depthwise_lanes"):
        assert getattr(design.accelerator, field) == params[f"accelerator.{field}"]


def test_formats_with_a_number_are_choices_and_round_trip():
    weights = {"uniform": [8], "log2std": ["4@0.50", 3], "mixed": ["4@0.25"], "apot": [5]}
    space = space_of(network__weights=weights)
    assert space.genes["stages.0.pw.weight"] == (
        "uniform_8", "log2std_4@0.5", "log2std_3", "mixed_4@0.25", "apot_5",
    )  # fmt: skip
    for seed in range(20):
        params = random_params(space, seed)
        design = space.decode(params)
        assert design.layer_formats["stages.0.pw"].weight == params["stages.0.pw.weight"]
        assert Design.from_json(json.loads(json.dumps(design.to_json()))) == design
        assert space.decode(space.encode(design)) == design


@pytest.mark.parametrize(
    ("weights", "built"),
    [({"uniformstd": [4]}, False), ({"apot": [4]}, True), ({"mixed": ["4@0.5"]}, True)],
)
def test_a_shift_array_is_there_for_whatever_shifts(weights, built):
    space = space_of(network__weights=weights)
    design = space.decode(random_params(space, 0))
    assert bool(design.accelerator.shift_rows) == built


@pytest.mark.parametrize(("method", "built"), [("fqvit", True), ("repqvit", False)])
def test_probabilities_of_powers_of_two_keep_the_shift_array(method, built):
    settings = SearchSettings(space="x", study="x")
    settings.network.weights = {"uniform": [8]}
    settings.quantize.method = method
    for softmaxes in (0, 2):
        outline = NetworkOutline(OUTLINE.layers, OUTLINE.activations, softmaxes)
        space = SearchSpace(settings, outline)
        design = space.decode(random_params(space, 0))
        assert bool(design.accelerator.shift_rows) == (built and softmaxes > 0)


def test_single_choices_are_those_of_layers_and_searched_sites():
    space = space_of(network__weights={"uniform": [4, 8]}, network__activation_bits=[6, 8])
    single = space.single_choices
    assert single["stages.0.pw"] == ("uniform_4", "uniform_8", 6, 8)
    assert single["stem.conv"] == ("uniform_8", 8)
    assert single["stages.0.0.act1"] == ("silu", "shift_swish", "hardswish", "relu")
    assert "stages.1.se.gate" not in single


def test_without_log2_layers_the_shift_array_makes_no_difference():
    space = space_of()
    params = random_params(space, 1)
    params.update({g: "uniform_4" for g in params if g.endswith(".weight")})
    designs = {
        space.decode(params | {"accelerator.shift_rows": r, "accelerator.shift_cols": c})
        for r, c in itertools.product([8, 16, 32], repeat=2)
    }
    assert len(designs) == 1
    accelerator = designs.pop().accelerator
    assert (accelerator.shift_rows, accelerator.shift_cols) == (0, 0)


def test_baselines_are_what_their_names_say():
    baselines = dict(space_of().baselines())
    assert list(baselines) == [
        "8-bit uniform",
        "4-bit uniform",
        "4-bit log2",
        "float activation, 8-bit",
    ]
    for label, weight, bits in [
        ("8-bit uniform", "uniform_8", 8),
        ("4-bit uniform", "uniform_4", 4),
        ("4-bit log2", "log2_4", 4),
        ("float activation, 8-bit", "uniform_8", 8),
    ]:
        inner = [layer for _, layer in baselines[label].layers[1:-1]]
        assert {layer.weight for layer in inner} == {weight}
        assert {layer.activation_bits for layer in inner} == {bits}
        assert baselines[label].layers[0][1].weight == "uniform_8"
    assert baselines["float activation, 8-bit"].activation_functions["stem.act"] == "silu"
    assert baselines["8-bit uniform"].activation_functions["stem.act"] == "hardswish"
    assert baselines["4-bit log2"].accelerator.shift_rows == 16
    assert baselines["4-bit uniform"].accelerator.shift_rows == 0
    assert baselines["4-bit uniform"].accelerator.precision == "reconfigurable"
    assert baselines["4-bit log2"].accelerator.mac_rows == 8
    assert baselines["8-bit uniform"].accelerator.mac_rows == 16


def test_baselines_outside_the_space_are_left_out():
    def labels(**changes):
        return [label for label, _ in space_of(**changes).baselines()]

    assert "4-bit log2" not in labels(network__weights={"uniform": [4, 8], "log2": [3]})
    assert labels(network__activation_bits=[8]) == ["8-bit uniform", "float activation, 8-bit"]
    assert labels(network__weights={"uniform": [3]}) == []
    assert "float activation, 8-bit" not in labels(network__activations__choices=["relu"])
    own = labels(network__activations__choices=["silu"])
    assert own == ["8-bit uniform", "4-bit uniform", "4-bit log2"]


def test_baselines_are_in_the_space():
    space = space_of()
    for _, design in space.baselines():
        assert space.decode(space.encode(design)) == design


def test_fixed_layers_leave_the_search():
    space = space_of(network__fixed={"stages.0.*": {"weight": "log2_4"}})
    assert "stages.0.pw.weight" not in space.genes
    assert "stages.0.pw.activation_bits" in space.genes
    assert space.decode(random_params(space, 3)).layer_formats["stages.0.dw"].weight == "log2_4"
    assert "8-bit uniform" in dict(space.baselines())


@pytest.mark.parametrize(
    ("fixed", "message"),
    [
        ({"nothing.*": {"weight": "uniform_8"}}, "'nothing.*' matches no layer"),
        ({"stem.*": {"weight": "uniform_9"}}, "uniform_9"),
        ({"stem.*": {"weight": "log2_8"}}, "log2_8"),
        ({"stem.*": {"bits": 8}}, "takes"),
        ({"stem.*": 8}, "takes"),
        ({"stem.*": {"activation_bits": 1}}, "activation_bits"),
    ],
)
def test_bad_fixed_patterns(fixed, message):
    with pytest.raises(UserError, match=re.escape(message)):
        space_of(network__fixed=fixed)


def test_unknown_activation_names_the_known_ones():
    with pytest.raises(UserError, match=r"'swoosh'.*relu"):
        check_functions(["relu", "swoosh"])


def test_decode_refuses_what_is_no_choice():
    space = space_of()
    params = random_params(space, 0)
    with pytest.raises(ValueError, match="mac_rows"):
        space.decode(params | {"accelerator.mac_rows": 17})
    del params["stages.0.pw.weight"]
    with pytest.raises(ValueError, match=r"stages\.0\.pw\.weight"):
        space.decode(params)


def test_encode_refuses_a_foreign_design():
    foreign = space_of(accelerator__mac_rows=[5, 6])
    design = foreign.decode(random_params(foreign, 0))
    with pytest.raises(ValueError, match="not in this search space"):
        space_of().encode(design)
