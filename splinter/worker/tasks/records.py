"""The records of :mod:`splinter.worker.tasks.layout`, for compiled code; see :mod:`splinter.native.records`."""

from __future__ import annotations

import numpy as np

from splinter.layout import offset
from splinter.native.records import record
from splinter.worker.layout import WORKER
from splinter.worker.tasks import layout

ExtensionCounters = record(layout.EXTENSION_COUNTERS)
Share = record(layout.TENANT_SHARE)
Task = record(layout.TASK)

# What stands there for each level, 0 young and 1 old. Of a level's record the address is LEVEL_BYTES a level further.
LEVEL_BYTES = 4


def _of_levels(dtype: np.dtype, **fields: str) -> np.dtype:
    """The fields that stand once a level, by their names in a record of one level."""
    offsets = [offset(dtype, field) for field in fields.values()]
    return np.dtype({"names": list(fields), "formats": ["<u4"] * len(fields), "offsets": offsets})


Ring = record(_of_levels(WORKER, head="ring_head", tail="ring_tail", length="ring_length"))  # Ring(w + level * LEVEL_BYTES)
Queue = record(_of_levels(layout.TENANT_SHARE, head="head", tail="tail", next="next"))  # Queue(share + level * LEVEL_BYTES)
