"""Outputs of the first layer, worked out step by step with the bundle's own numbers."""

from codesign.export.worked_example.text import worked_example

__all__ = ["worked_example"]
