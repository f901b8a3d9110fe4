"""rtl/accelerator_pkg.sv: the accelerator's parameters and every layer's constants."""

from codesign.export.package.package import package_sv

__all__ = ["package_sv"]
