"""Verify a bundle: `python -m codesign.verify BUNDLE`.

Every check is a function in a module of this package, registered by `registry.check`. The export
runs the same ones before it writes the manifest, so that the two cannot disagree.
"""
