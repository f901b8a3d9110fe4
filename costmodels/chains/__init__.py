"""Fused chains: layers whose intermediate results stay on chip, band of rows by band.

`links` says who alone reads whose result, `detect` which operations can form chains, `rows` and
`bands` how a chain can be cut and what its bands take of buffers and DRAM, `busy` how long each
engine works on a band, `pipeline` how long all bands take on engines that work at once, `price`
which cut is best, and `fuse` where a chain is taken.
"""

from costmodels.chains.detect import Chain, Stage, find_chains
from costmodels.chains.fuse import fuse_chains

__all__ = ["Chain", "Stage", "find_chains", "fuse_chains"]
