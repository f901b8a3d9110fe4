"""The guard is tried on the real torchvision, its compiled operators taken away."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

USE = """
import timm
from timm.data import create_transform
from PIL import Image
assert create_transform((3, 32, 32))(Image.new("RGB", (40, 40))).shape == (3, 32, 32)
assert timm.create_model("test_vit", num_classes=2) is not None
"""


@pytest.fixture
def torchvision_without_operators(tmp_path):
    source = Path(importlib.util.find_spec("torchvision").origin).parent
    copy = tmp_path / "torchvision"
    copy.mkdir()
    for entry in source.iterdir():
        if not entry.name.startswith(("_C", "__pycache__")):
            (copy / entry.name).symlink_to(entry)
    return tmp_path


def run(code: str, *paths: Path) -> subprocess.CompletedProcess:
    root = Path(__file__).parents[1]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, (*paths, root))))
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )


def test_timm_imports_where_torchvision_has_no_operators(torchvision_without_operators):
    plain = run(USE, torchvision_without_operators)
    assert "operator torchvision::nms does not exist" in plain.stderr
    guard = "from codesign.timm_import import import_timm; import_timm()"
    guarded = run(guard + USE, torchvision_without_operators)
    assert guarded.returncode == 0, guarded.stderr


def test_a_healthy_torchvision_keeps_its_own_operators():
    code = (
        "from codesign.timm_import import import_timm; import_timm(); import torch, torchvision;"
        "assert torchvision.ops.nms(torch.tensor([[0., 0., 1., 1.]]), torch.ones(1), .5).numel()"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_importing_the_packages_stays_cheap():
    code = (
        "import sys, codesign, costmodels;"
        "print([m for m in ('torch', 'timm', 'ray', 'optuna') if m in sys.modules])"
    )
    assert run(code).stdout.strip() == "[]"
