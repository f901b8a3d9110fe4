"""Run as a program: exports that are killed at their n-th file operation, or by a signal.

One process makes the shipment; every export is a child of it, so that a kill is a real one. Prints
a line of JSON for each interrupted export: what it left behind.

    python interrupted.py FOLDER    (FOLDER is where to work)
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from parts import vit_shipment

from codesign.bundle.manifest import MANIFEST, faults
from codesign.export import bundle as bundle_module
from codesign.export import placement
from codesign.export.command import _terminable

EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "ctypes.dlsym", "os.chmod"}


def export(target, golden):
    bundle_module.write_bundle(SHIPMENT, target, golden=golden)


def die_at(number, below):
    """Kill this process just before its n-th operation on files below a folder; count them."""
    count = [0]

    def hook(event, arguments):
        if event not in EVENTS or not (event == "ctypes.dlsym" or inside(arguments, below)):
            return
        count[0] += 1
        if count[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return count


def inside(arguments, below):
    return any(isinstance(a, str | Path) and str(a).startswith(below) for a in arguments)


def child(run):
    """Run something in a child process; return its number once it is about to begin."""
    ready, begun = os.pipe()
    number = os.fork()
    if number == 0:
        code = 1
        try:
            run(lambda: os.write(begun, b"."))
            code = 0
        except KeyboardInterrupt:
            code = 130
        finally:
            os._exit(code)
    os.read(ready, 1)
    os.close(ready)
    os.close(begun)
    return number


def left(target):
    """Say what lies at the target and beside it now."""
    folder = target.parent
    manifests = sorted(folder.rglob(MANIFEST))
    return {
        "target": (target / MANIFEST).read_text() if target.exists() else None,
        "broken": [str(path) for path in manifests if faults(path.parent)],
        "others": sorted(path.name for path in folder.iterdir() if path != target),
    }


def skip_what_writes_nothing():
    """Compute the files once; leave out the checks: what is tested is how files are written."""
    golden = bundle_module.golden_vectors(SHIPMENT.model, SHIPMENT.validation, 1)
    files = bundle_module.bundle_files(SHIPMENT, golden)
    files = {name: text for name, text in files.items() if not name.endswith(".mem")}
    score = SimpleNamespace(correct=0, images=1)
    bundle_module.golden_vectors = lambda model, split, count: count
    bundle_module.bundle_files = lambda shipment, count, quant_op: {**files, "count": str(count)}
    bundle_module.check_written = lambda *a, **k: []
    bundle_module.rescore_bundle = lambda *a: score


class Rounds:
    """Exports to one target, interrupted one after the other."""

    def __init__(self, folder):
        self.folder, self.target = folder, folder / "exports" / "7"
        for name, golden in (("old", 1), ("new", 2)):
            export(folder / name, golden)

    def killed(self, number, *, old, exchange):
        """Kill an export at a file operation; return the number of operations where it lived."""
        placement._exchange = EXCHANGE if exchange else lambda *a: False
        self._prepare(old)
        counted = self.folder / "count"
        counted.unlink(missing_ok=True)

        def run(begin):
            begin()
            count = die_at(number, str(self.target.parent))
            export(self.target, 2)
            counted.write_text(str(count[0]))

        how = "exchange" if exchange else "fallback"
        self._told(how, old, number, child(run))
        return int(counted.read_text()) if counted.exists() else None

    def signalled(self, name, milliseconds):
        """Send a signal to an export."""
        placement._exchange = EXCHANGE
        self._prepare(True)

        def run(begin):
            with _terminable():
                begin()
                export(self.target, 2)

        process = child(run)
        time.sleep(milliseconds / 1000)
        os.kill(process, getattr(signal, name))
        self._told(name, True, milliseconds, process)

    def _prepare(self, old):
        shutil.rmtree(self.target.parent, ignore_errors=True)
        self.target.parent.mkdir()
        if old:
            shutil.copytree(self.folder / "old", self.target)

    def _told(self, how, old, number, process):
        _, status = os.waitpid(process, 0)
        told = {"how": how, "had": old, "number": number, "after": left(self.target)}
        with placement.workspace(self.target):  # the next export begins
            pass
        told |= {name: (self.folder / name / MANIFEST).read_text() for name in ("old", "new")}
        told |= {"code": os.waitstatus_to_exitcode(status), "final": left(self.target)}
        print(json.dumps(told), flush=True)


def main(folder):
    skip_what_writes_nothing()
    os.fsync = lambda descriptor: None  # a killed process loses nothing that it has written
    rounds, rng = Rounds(folder), random.Random(0)
    for exchange in (True, False):
        for old in (True, False):
            last = rounds.killed(0, old=old, exchange=exchange)
            end = range(last - (34 if old else 9), last + 1)  # from the last file to the cleared
            chosen = {1, 2, *rng.sample(range(3, last - 35), 4), *end}
            for number in sorted(chosen):
                rounds.killed(number, old=old, exchange=exchange)
    for name in ("SIGINT", "SIGTERM"):
        for milliseconds in (0, 2, 4, 6, 9, 12, 20):
            rounds.signalled(name, milliseconds)


if __name__ == "__main__":
    SHIPMENT, EXCHANGE = vit_shipment(), placement._exchange
    main(Path(sys.argv[1]))
