"""Names from files a user may have edited never lead out of the output folder."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace as changed
from pathlib import Path

import pytest
from parts import replace, vit_shipment

from codesign.bundle.manifest import MANIFEST, faults
from codesign.design import Design
from codesign.export.bundle import write_bundle
from codesign.export.derived import plain_name
from codesign.integer.model import IntegerModel

HERE = Path(__file__).parent
HOSTILE = ("../../../gone", "/tmp/gone/for/good", "a\nb: [1]\n# ,=DP", "-rf ~", "x" * 300)


def renamed(shipment, name):
    """Return the shipment with a hostile title, model name, layer name and tensor keys."""
    old = "blocks.0.attn.qkv"

    def new(text):
        return name if text == old else text

    model = shipment.model
    nodes = tuple(
        changed(
            node,
            name=new(node.name),
            inputs=tuple(map(new, node.inputs)),
            tensors={role: f"{name}/{key}" for role, key in node.tensors.items()},
        )
        for node in model.nodes
    )
    design = shipment.design
    layers = tuple((new(layer), formats) for layer, formats in design.layers)
    design = Design(layers, design.activations, design.accelerator)
    operations = tuple(
        changed(op, name=new(op.name), **fused(op, new)) for op in shipment.workload.operations
    )
    cost = shipment.cost
    return replace(
        shipment,
        title=name,
        model=IntegerModel(
            name,
            nodes,
            {f"{name}/{key}": value for key, value in model.tensors.items()},
            {**model.info, "design": design.key, "study": name},
        ),
        design=design,
        workload=changed(shipment.workload, name=name, operations=operations),
        cost=changed(
            cost, layers=tuple(changed(layer, name=new(layer.name)) for layer in cost.layers)
        ),
    )


def fused(operation, new):
    into = getattr(operation, "fused_into", None)
    return {"fused_into": new(into)} if into else {}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_inside_the_bundle(tmp_path, name):
    inner = tmp_path / "one" / "two"
    inner.mkdir(parents=True)
    (tmp_path / "gone").write_text("mine")
    shipment = renamed(vit_shipment(), name)
    write_bundle(shipment, inner / "7", golden=1)
    outside = [p for p in tmp_path.rglob("*") if not p.is_relative_to(inner / "7")]
    assert sorted(outside) == sorted([tmp_path / "gone", tmp_path / "one", inner])
    assert (tmp_path / "gone").read_text() == "mine"
    assert not Path("/tmp/gone").exists()
    assert faults(inner / "7") == []
    for path in (inner / "7").rglob("*"):
        assert re.fullmatch(r"[\w.-]+", path.name)
    (config,) = re.findall(r"^run_name = (.*)$", (inner / "7" / "scalesim.cfg").read_text(), re.M)
    assert re.fullmatch(r"\w[\w-]*", config)
    assert json.loads((inner / "7" / "graph.json").read_text())["name"] == name


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        *(("mobilevit_xxs", "mobilevit_xxs"), ("../../x", "______x"), ("", "model")),
        *(("-a", "a"), ("a b\n", "a_b_"), ("é", "_")),
    ],
)
def test_plain_names_for_scalesim(name, plain):
    assert plain_name(name) == plain


def test_the_same_trial_is_the_same_bytes_in_any_process(tmp_path):
    """Another hash seed, working directory, target, time, time zone, locale and umask."""
    paths = os.pathsep.join(map(str, (HERE.parents[1], HERE.parent, HERE)))
    (tmp_path / "elsewhere").mkdir()
    write_bundle(vit_shipment(), tmp_path / "first", golden=2)
    variables = {"PYTHONHASHSEED": "2", "TZ": "Asia/Tokyo", "LC_ALL": "C", "USER": "other"}
    subprocess.run(
        [sys.executable, HERE / "same_bytes.py", "../second", "86400"],
        cwd=tmp_path / "elsewhere",
        env=os.environ | {"PYTHONPATH": paths} | variables,
        umask=0o077,
        check=True,
    )
    first, second = ((tmp_path / name / MANIFEST).read_text() for name in ("first", "second"))
    assert first == second
    assert len(first.splitlines()) > 50
