"""Verilator and Icarus Verilog for the tests of what the hardware team reads."""

import re
import shutil
import subprocess


def require(tool):
    assert shutil.which(tool), f"install the Debian package {tool} (apt install {tool})"


def simulate(bench, folder):
    """Return what a Verilog bench prints under Icarus Verilog, run in a folder."""
    require("iverilog")
    (folder / "bench.v").write_text(bench)
    built = subprocess.run(
        ["iverilog", "-g2012", "-Wall", "-o", "bench.vvp", "bench.v"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    done = subprocess.run(
        ["vvp", "-n", "bench.vvp"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done.stdout


def elaborate(package, module, folder):
    """Return the messages that a module with a package gives when Verilator elaborates it.

    Every warning of -Wall that is switched on fails the run.
    """
    require("verilator")
    (folder / "rtl").mkdir(exist_ok=True)
    (folder / "rtl" / "accelerator_pkg.sv").write_text(package)
    (folder / "reader.sv").write_text(module)
    files = ["rtl/accelerator_pkg.sv", "reader.sv", "--top-module", "reader"]
    messages = lint(files, folder)
    return re.findall(r"-Info: reader\.sv:\d+:\d+: (.*)", messages)


def lint(files, folder):
    """Return what Verilator prints on clean files; every warning of -Wall fails the run."""
    require("verilator")
    command = ["verilator", "--lint-only", "-Wall", "--language", "1800-2017", *files]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "%Warning" not in done.stderr
    return done.stderr
