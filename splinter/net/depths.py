"""How many packets wait for each core, for an XDP program that steers away from a loaded one.

One cache line per core slot in the BPF map ``depths``. The XDP program adds one for each packet that it steers; the worker
stores the true length of its rings once a turn. Both write this counter without a lock. A change may be lost; the worker
corrects it in its next turn.
"""

from __future__ import annotations

import numpy as np

DEPTH = np.dtype([("packets", "<u4"), ("pad", "<u4", 15)])
assert DEPTH.itemsize == 64
