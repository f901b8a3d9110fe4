"""Words, units and numbers for metric names such as "fpga.latency_ms"."""

_UNITS = {
    "ms": "ms", "us": "µs", "s": "s", "kb": "kB", "mb": "MB", "bytes": "bytes", "pct": "%",
    "mj": "mJ", "uj": "µJ", "nj": "nJ", "w": "W", "mw": "mW", "mhz": "MHz", "gops": "GOPS",
    "bits": "bits", "cycles": "cycles",
}  # fmt: skip
_ACRONYMS = {
    "fpga",
    "gpu",
    "dsp",
    "lut",
    "bram",
    "uram",
    "ff",
    "dram",
    "mac",
    "macs",
    "pe",
    "bram36",
}


def is_fraction(metric: str) -> bool:
    """Whether the metric is stored as a fraction and shown in percent."""
    return "accuracy" in metric.rpartition(".")[2]


def unit(metric: str) -> str:
    """Return the unit that a metric is shown in, or "" for a count."""
    if is_fraction(metric):
        return "%"
    last = metric.rpartition(".")[2]
    return _UNITS.get(last.rpartition("_")[2], "") if "_" in last else ""


def words(metric: str) -> str:
    """Return a metric's name in words, without its unit: "FPGA latency"."""
    name = metric
    if unit(metric) and not is_fraction(metric):
        name = metric.rpartition("_")[0]
    parts = name.replace("_", " ").replace(".", " ").split()
    text = " ".join(p.upper() if p in _ACRONYMS else p for p in parts)
    return text[:1].upper() + text[1:]


def label(metric: str) -> str:
    """Return a metric's name in words with its unit: "FPGA latency (ms)"."""
    return f"{words(metric)} ({unit(metric)})" if unit(metric) else words(metric)


def shown(metric: str, value: float) -> float:
    """Return a value in the unit it is shown in."""
    return 100 * value if is_fraction(metric) else value


def number(metric: str, value: float) -> str:
    """Return a value as text, without its unit: whole numbers whole, others to four digits."""
    value = shown(metric, value)
    if is_fraction(metric):
        return f"{value:.2f}"
    if float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
