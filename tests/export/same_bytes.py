"""Run as a program: write the bundle of a small network.

    python same_bytes.py FOLDER [EPOCH_SECONDS]

With EPOCH_SECONDS the clock shows another time.
"""

import sys
import time
from pathlib import Path

from parts import vit_shipment

from codesign.export.bundle import write_bundle

if len(sys.argv) > 2:
    time.time = lambda: float(sys.argv[2])
    time.localtime = time.gmtime = lambda *a: time.struct_time((1999, 1, 2, 3, 4, 5, 5, 2, 0))
write_bundle(vit_shipment(), Path(sys.argv[1]), golden=2)
