"""What extensions write to their debug log, kept in a ring per worker until it is overwritten.

Entries of all tenants share the ring, so a tenant that writes much shortens everybody's memory: it is for debugging, not
for keeping. Writer: the worker. Reader: the control process, at any time: an entry counts when its sequence number is the
same, and not 0, before and after it was copied.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from splinter import limits
from splinter.native.atomics import copy_bytes, store64_release
from splinter.native.records import record

LOG_ENTRY = np.dtype(
    [
        ("sequence", "<u8"),  # number of the entry, from 1; 0 while it is being written
        ("time_ns", "<u8"),  # monotonic clock
        ("tenant", "<u4"),
        ("generation", "<u4"),  # of the tenant: the next holder of its id must not read this
        ("length", "<u4"),  # bytes of text
        ("pad", "<u4"),
        ("text", "u1", limits.LOG_TEXT_BYTES_MAX),
    ]
)
LOG = np.dtype([("next", "<u8"), ("pad", "<u8", 7), ("entries", LOG_ENTRY, limits.LOG_ENTRIES)])

_Log, _Entry = record(LOG), record(LOG_ENTRY)
_ENTRY_BYTES = LOG_ENTRY.itemsize


@njit(cache=True)
def log_append(log_at: int, tenant: int, generation: int, time_ns: int, text: int, length: int) -> None:
    """Write an entry over the oldest; text beyond ``LOG_TEXT_BYTES_MAX`` is cut off."""
    log = _Log(log_at)
    sequence = log.next + 1
    entry = _Entry(log.entries + sequence % limits.LOG_ENTRIES * _ENTRY_BYTES)
    length = min(length, limits.LOG_TEXT_BYTES_MAX)
    store64_release(entry.at.sequence, 0)
    store64_release(entry.at.time_ns, time_ns)
    entry.tenant = tenant
    entry.generation = generation
    entry.length = length
    copy_bytes(entry.text, text, length)
    store64_release(entry.at.sequence, sequence)
    store64_release(log.at.next, sequence)


def log_read(log: np.ndarray, tenant: int, generation: int) -> list[tuple[int, bytes]]:
    """A tenant's entries that are still in a ring (one ``LOG`` record), oldest first: (monotonic nanoseconds, text)."""
    entries = log["entries"][0]
    found = []
    for place in np.flatnonzero((entries["tenant"] == tenant) & (entries["generation"] == generation)):
        before = int(entries["sequence"][place])
        copied = entries[place].copy()
        same = int(copied["tenant"]) == tenant and int(copied["generation"]) == generation
        if before != 0 and same and before == int(entries["sequence"][place]):
            found.append((before, int(copied["time_ns"]), bytes(copied["text"][: int(copied["length"])])))
    return [(time_ns, text) for _, time_ns, text in sorted(found)]
