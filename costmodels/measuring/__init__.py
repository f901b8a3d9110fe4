"""Measuring devices with PyTorch; imported by the measuring commands alone."""
