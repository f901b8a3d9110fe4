"""Damage of every kind to a bundle's files, and exports that are killed: what verification says."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from parts import vit_shipment

from codesign.bundle.files import entries, is_plain, member
from codesign.bundle.manifest import MANIFEST, faults, manifest
from codesign.errors import UserError
from codesign.export import bundle, placement
from codesign.export.bundle import write_bundle

HERE = Path(__file__).parent
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join(map(str, (HERE.parents[1], HERE.parent, HERE))),
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture(scope="module")
def shipment():
    return vit_shipment()


@pytest.fixture(scope="module")
def written(shipment, tmp_path_factory):
    out = tmp_path_factory.mktemp("exports") / "7"
    write_bundle(shipment, out, golden=1)
    assert faults(out) == []
    return out


@pytest.fixture
def copy(written, tmp_path):
    return shutil.copytree(written, tmp_path / "bundle")


@pytest.fixture
def unchecked(monkeypatch):
    """Leave out the checks of what an export writes: they write nothing."""
    monkeypatch.setattr(bundle, "check_written", lambda *args, **kwargs: [])


def thinned(folder):
    """Return a bundle's files, of the many memories but every twelfth."""
    names = entries(folder)[0]
    memories = [name for name in names if name.endswith(".mem")]
    return [name for name in names if name not in memories or name in memories[::12]]


def test_one_flipped_bit_anywhere_is_found(copy):
    rng = random.Random(0)
    for name in thinned(copy):
        path = copy / name
        whole = path.read_bytes()
        places = {0, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(4))}
        for place in places:
            changed = bytearray(whole)
            changed[place] ^= 1 << rng.randrange(8)
            path.write_bytes(changed)
            found = faults(copy)
            assert found, (name, place)
            assert name == MANIFEST or found[0].startswith(f"{name} was changed")
        path.write_bytes(whole)
    assert faults(copy) == []


def test_files_cut_extended_removed_renamed_added_and_swapped_are_found(copy):
    names = thinned(copy)
    for i, name in enumerate(names):
        path, other = copy / name, copy / names[i - 1]
        whole, others = path.read_bytes(), other.read_bytes()
        for content in (whole[:-1], whole + b"\n", whole[1:], b""):
            path.write_bytes(content)
            assert faults(copy), (name, "resized")
        path.unlink()
        assert any(name in line and "missing" in line for line in faults(copy))
        path.with_name("another").write_bytes(whole)
        assert len(faults(copy)) >= 2 or name == MANIFEST
        assert faults(copy)
        path.with_name("another").unlink()
        path.write_bytes(others)
        other.write_bytes(whole)
        assert faults(copy), (name, "swapped")
        path.write_bytes(whole)
        other.write_bytes(others)
    assert faults(copy) == []


@pytest.mark.parametrize(
    "name", ["notes.txt", f"golden/{MANIFEST}", ".hidden", "a b", "sub/deep/x", "new\nline", "é"]
)
def test_an_added_file_of_any_name_is_found(copy, name):
    (copy / name).parent.mkdir(parents=True, exist_ok=True)
    (copy / name).write_text("")
    assert any("is not in MANIFEST" in line for line in faults(copy))


def test_links_and_pipes_are_refused_unread(copy, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("mine")
    whole = (copy / "cost.json").read_bytes()
    (copy / "cost.json").unlink()
    (copy / "cost.json").symlink_to(secret)
    assert faults(copy) == ["cost.json is a link or a device, which no bundle holds"]
    with pytest.raises(UserError, match="is a link"):
        member(copy, "cost.json")
    (copy / "cost.json").unlink()
    os.mkfifo(copy / "cost.json")  # reading it would wait for ever
    assert faults(copy) == ["cost.json is a link or a device, which no bundle holds"]
    (copy / "cost.json").unlink()
    (copy / "cost.json").write_bytes(whole)
    golden = (copy / "golden").rename(tmp_path / "elsewhere")
    (copy / "golden").symlink_to(golden)
    assert "golden is a link or a device, which no bundle holds" in faults(copy)
    with pytest.raises(UserError, match="is a link"):
        member(copy, "golden/golden.npz")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "golden/../../secret", "a\\b", ""])
def test_a_manifest_cannot_lead_out_of_the_bundle(copy, shipment, tmp_path, monkeypatch, name):
    (tmp_path / "secret").write_text("mine")
    text = (copy / MANIFEST).read_text()
    (copy / MANIFEST).write_text(text + f"{'0' * 64}  {name}\n")
    opened = []
    whole = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode: opened.append(path) or whole(path, mode))
    found = faults(copy)
    monkeypatch.undo()
    assert any("refused" in line or "is not '<SHA-256>" in line for line in found)
    assert opened
    assert all(path.is_relative_to(copy) and ".." not in path.parts for path in opened)
    with pytest.raises(UserError):
        member(copy, name)
    monkeypatch.setattr(bundle, "check_written", lambda *args, **kwargs: [])
    write_bundle(shipment, copy, golden=1)  # what it replaces is removed, nothing else
    assert (tmp_path / "secret").read_text() == "mine"
    assert faults(copy) == []


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        *((name, True) for name in ("a/b.mem", "a", "..a")),
        *((name, False) for name in ("a//b", "./a", "a/./b", "..", "/", "a/", "a\x00b")),
    ],
)
def test_plain_names(name, plain):
    assert is_plain(name) is plain


@pytest.mark.usefixtures("unchecked")
def test_a_file_name_that_leads_out_stops_the_export(shipment, tmp_path, monkeypatch):
    files = bundle.bundle_files
    out = tmp_path / "inner" / "7"
    for name in ("../../gone", "/tmp/gone", "mem/../../../gone"):
        monkeypatch.setattr(bundle, "bundle_files", lambda *a, n=name: {**files(*a), n: "x"})
        with pytest.raises(UserError, match="rename the layer"):
            write_bundle(shipment, out, golden=1)
        assert list(tmp_path.rglob("*")) == [tmp_path / "inner"]


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """What each interrupted export left behind, by how it was."""
    done = subprocess.run(
        [sys.executable, HERE / "interrupted.py", tmp_path_factory.mktemp("interrupted")],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rounds = {}
    for line in done.stdout.splitlines():
        left = json.loads(line)
        rounds.setdefault((left["how"], left["had"]), []).append(left)
    return rounds


def outcome(left):
    """Check what holds after every interruption; return what lies at the target."""
    after, final = left["after"], left["final"]
    names = {left["old"]: "old", left["new"]: "new", None: "none"}
    assert after["broken"] == final["broken"] == [], left["number"]
    assert len(after["others"]) <= 1, left["number"]  # the hidden folder of the killed export
    assert final["others"] == [], left["number"]
    found = names[after["target"]]
    assert names[final["target"]] in (found, "old"), left["number"]
    return found


@pytest.mark.parametrize("how", ["exchange", "fallback"])
@pytest.mark.parametrize("had", [True, False])
def test_an_export_killed_at_any_file_operation_leaves_old_new_or_nothing(interrupted, how, had):
    whole, *killed = interrupted[how, had]
    assert (whole["code"], outcome(whole)) == (0, "new")
    assert {left["code"] for left in killed} == {-9}
    outcomes = [outcome(left) for left in killed]
    between = ["none"] if how == "fallback" and had else []
    assert list(dict.fromkeys(outcomes)) == ["old" if had else "none", *between, "new"]
    assert outcomes == sorted(outcomes, key=["old", "none", "new"].index)  # and never back again
    for left, what in zip(killed, outcomes, strict=True):
        if had and what == "none":  # moved away, and put back
            assert left["final"]["target"] == left["old"]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_at_any_moment_ends_the_export_cleanly(interrupted, name):
    for left in interrupted[name, True]:
        assert left["code"] in (0, 130)
        assert outcome(left) in ("old", "new")


def test_a_bundle_moved_away_by_a_killed_export_is_put_back(copy, shipment, monkeypatch):
    before = manifest(copy)
    monkeypatch.setattr(placement, "_exchange", lambda *a: False)
    with placement.workspace(copy) as folder:
        work = folder.parent
        kept = shutil.copytree(work, work.with_name("kept"))
    copy.rename(kept / "old")
    kept.rename(work)  # as it is between the two renames
    with pytest.raises(UserError, match="golden=0"):
        write_bundle(shipment, copy, golden=0)
    assert not copy.exists()
    with placement.workspace(copy):
        assert manifest(copy) == before
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]


@pytest.mark.usefixtures("unchecked")
def test_two_exports_to_one_target_and_two_to_neighbours(copy, shipment):
    with placement.workspace(copy):
        with pytest.raises(UserError, match=r"another export is writing .*bundle: wait until"):
            write_bundle(shipment, copy, golden=1)
        write_bundle(shipment, copy.with_name("neighbour"), golden=1)
    assert faults(copy) == []
    assert faults(copy.with_name("neighbour")) == []
    assert sorted(p.name for p in copy.parent.iterdir()) == ["bundle", "neighbour"]


@pytest.mark.parametrize("place", [1, 3, 9, 14])
def test_a_full_disk_leaves_the_old_bundle(copy, shipment, monkeypatch, place):
    write, calls = bundle.write_atomic, []

    def full(*arguments):
        calls.append(arguments)
        if len(calls) == place:
            raise OSError(28, "No space left on device", str(arguments[0]))
        write(*arguments)

    before = manifest(copy)
    monkeypatch.setattr(bundle, "write_atomic", full)
    with pytest.raises(OSError, match="No space left"):
        write_bundle(shipment, copy, golden=1)
    assert manifest(copy) == before
    assert faults(copy) == []
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]


@pytest.mark.usefixtures("unchecked")
def test_a_target_that_is_a_link_is_written_where_it_leads(copy, shipment, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(copy)
    write_bundle(shipment, link, golden=2)
    assert link.is_symlink()
    assert faults(copy) == []
    assert copy.name == "bundle"
