"""The device at hand: what it is called, and the time that work on it takes."""

import contextlib
import datetime
import importlib.metadata
import math
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from costmodels.errors import CostModelError

_WARM_UP = 3
_SHORTEST_SECONDS = 0.004
_GRAPH_SECONDS = 0.0005
_MOST_HELD = 64

# Parts of the names that CUDA gives, most specific first, and the files in `gpus/`.
_KNOWN = {
    "4090": "rtx4090",
    "A100": "a100",
    "H100": "h100",
    "H200": "h200",
    "A10": "a10",
    "T4": "t4",
    "Orin": "orin",
}


def find_device(name: str) -> torch.device:
    """Return the device called "cuda" or "cpu".

    Raises:
        CostModelError: The name is another, or there is no CUDA device.
    """
    if name not in ("cuda", "cpu"):
        raise CostModelError(f"device must be cuda or cpu, not '{name}'")
    if name == "cuda" and not torch.cuda.is_available():
        raise CostModelError("device=cuda: PyTorch finds no CUDA device here; use device=cpu")
    return torch.device(name)


def known_gpu(device: torch.device) -> str | None:
    """Return the name of the device's file in `gpus/`, or None where there is none."""
    if device.type != "cuda":
        return None
    words = torch.cuda.get_device_name(device).replace("-", " ")
    return next(
        (file for part, file in _KNOWN.items() if part in words.split() or part == words), None
    )


def describe_device(device: torch.device) -> dict[str, Any]:
    """Return the device's name, the date and the versions, for a record of measurements."""
    described = {
        "type": device.type,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        **_versions("timm", "triton"),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return described | {
            "name": properties.name,
            "multiprocessors": properties.multi_processor_count,
            "cuda": torch.version.cuda,
        }
    return described | {"name": _processor(), "multiprocessors": torch.get_num_threads()}


def time_ms(
    work: Callable[[], object], device: torch.device, *, repeats: int = 5, graph: bool = False
) -> float:
    """Return the median milliseconds of a call, in a stream of calls as long as 4 ms.

    Args:
        work: What to time; it leaves its result on the device.
        device: Where it runs.
        repeats: Streams timed.
        graph: Whether to replay CUDA graphs, which leaves out what the host takes. A graph holds as
            many calls as take half a millisecond, 64 at most, so that its own launch is no part.

    Raises:
        CostModelError: The clock gave no positive time, or the work cannot be captured.
    """
    for _ in range(_WARM_UP):
        work()
    called, held = work, 1
    if graph and device.type == "cuda":
        alone = _stream_seconds(work, _WARM_UP, device) / _WARM_UP
        held = max(1, min(_MOST_HELD, math.floor(_GRAPH_SECONDS / max(alone, 1e-6))))
        called = _captured(work, held)
        called()
    calls = 1
    while (taken := _stream_seconds(called, calls, device)) < _SHORTEST_SECONDS and calls < 4096:
        calls = min(4096, max(2 * calls, math.ceil(calls * _SHORTEST_SECONDS / max(taken, 1e-6))))
    found = statistics.median(_stream_seconds(called, calls, device) for _ in range(repeats))
    if not math.isfinite(found) or found <= 0:
        raise CostModelError(f"the clock gave {found} seconds for a kernel: measure again")
    return 1e3 * found / (calls * held)


def warm_up(device: torch.device, seconds: float = 1.0) -> None:
    """Keep a GPU busy until its clocks are up; a CPU needs none."""
    if device.type != "cuda":
        return
    square = torch.randn(4096, 4096, device=device, dtype=torch.float16)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        _stream_seconds(lambda: square @ square, 10, device)


def _stream_seconds(work: Callable[[], object], calls: int, device: torch.device) -> float:
    _synchronise(device)
    start = time.perf_counter()
    for _ in range(calls):
        work()
    _synchronise(device)
    return time.perf_counter() - start


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _captured(work: Callable[[], object], calls: int) -> Callable[[], object]:
    """Return the replay of a CUDA graph of so many calls."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            for _ in range(calls):
                work()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise CostModelError(f"no CUDA graph can be made of it ({reason}): graphs=false") from None
    return graph.replay


def _versions(*packages: str) -> dict[str, str]:
    """Return the versions of the packages that are installed."""
    found = {}
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
