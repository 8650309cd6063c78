"""What extensions write to their debug log, kept in a ring per worker until it is overwritten.

Entries of all tenants share the ring, so a tenant that writes much shortens everybody's memory: it is for debugging, not
for keeping. Writer: the worker. Reader: the control process, at any time: an entry counts when its sequence number is the
same, and not 0, before and after it was copied.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from splinter import limits
from splinter.layout import offset
from splinter.native.atomics import copy_bytes, load64, store32, store64_release

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

_NEXT = offset(LOG, "next")
_ENTRIES = offset(LOG, "entries")
_ENTRY_BYTES = LOG_ENTRY.itemsize
_SEQUENCE, _TIME_NS = offset(LOG_ENTRY, "sequence"), offset(LOG_ENTRY, "time_ns")
_TENANT, _GENERATION = offset(LOG_ENTRY, "tenant"), offset(LOG_ENTRY, "generation")
_LENGTH, _TEXT = offset(LOG_ENTRY, "length"), offset(LOG_ENTRY, "text")


@njit(cache=True)
def log_append(log: int, tenant: int, generation: int, time_ns: int, text: int, length: int) -> None:
    """Write an entry over the oldest; text beyond ``LOG_TEXT_BYTES_MAX`` is cut off."""
    sequence = load64(log + _NEXT) + 1
    entry = log + _ENTRIES + sequence % limits.LOG_ENTRIES * _ENTRY_BYTES
    length = min(length, limits.LOG_TEXT_BYTES_MAX)
    store64_release(entry + _SEQUENCE, 0)
    store64_release(entry + _TIME_NS, time_ns)
    store32(entry + _TENANT, tenant)
    store32(entry + _GENERATION, generation)
    store32(entry + _LENGTH, length)
    copy_bytes(entry + _TEXT, text, length)
    store64_release(entry + _SEQUENCE, sequence)
    store64_release(log + _NEXT, sequence)


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
