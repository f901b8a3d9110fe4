"""GPU latency: kernels that a runtime launches, and a roofline for each (see `roofline.py`)."""

from costmodels.gpu.kernel import PRECISIONS, Gemm, Kernel, tile_utilisation
from costmodels.gpu.launch import kernels
from costmodels.gpu.profile import DEFAULT, Fusion, Profile, load_profile, profile_names
from costmodels.gpu.rates import Rates
from costmodels.gpu.roofline import Work, kernel_ms, kernel_work, latency_ms

__all__ = [
    "DEFAULT",
    "PRECISIONS",
    "Fusion",
    "Gemm",
    "Kernel",
    "Profile",
    "Rates",
    "Work",
    "kernel_ms",
    "kernel_work",
    "kernels",
    "latency_ms",
    "load_profile",
    "profile_names",
    "tile_utilisation",
]
