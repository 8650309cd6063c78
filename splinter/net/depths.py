"""How many packets wait for each core, for an XDP program that steers away from a loaded one.

One cache line per core slot in the BPF map ``depths``. Two writers, neither of which waits for the other: the program
adds one for each packet it steers, the worker stores what its rings really hold once a turn. Either may overwrite the
other's last change; the worker's next turn puts it right.
"""

from __future__ import annotations

import numpy as np

DEPTH = np.dtype([("packets", "<u4"), ("pad", "<u4", 15)])
assert DEPTH.itemsize == 64
