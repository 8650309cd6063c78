"""The records of commits and transactions in the store's shared memory; conventions as in :mod:`splinter.store.layout`."""

from __future__ import annotations

import numpy as np

from splinter import limits

# What a tenant deleted last: an object that is in the index no more, but belongs to older snapshots. One ring of DELETIONS for
# each tenant; an entry is overwritten by a later deletion. Writer: lock's holder: number 0, unit, number.
DELETION = np.dtype(
    [
        ("sequence", "<u8"),  # number of the commit; 0: none yet, or the entry is being written
        ("unit", "<u8"),  # of the object
    ]
)
DELETION_BYTES = DELETION.itemsize
DELETION_RING_BYTES = DELETION_BYTES * limits.DELETIONS
assert limits.DELETIONS > limits.COMMIT_OBJECTS_MAX  # an older one is left while a commit is under way

# What a transaction has read: the object of a key. Only its own process touches it, as a WRITE.
READ = np.dtype(
    [
        ("hashed", "<u8"),  # the key's hash
        ("identity", "<u8"),  # tenant, table and key length
        ("version", "<u8"),  # 0: there was no object
    ]
)
READ_BYTES = READ.itemsize

# What a commit is to do with a key; then the key's bytes and the value's, and zeros up to a multiple of 8.
WRITE = np.dtype(
    [
        ("hashed", "<u8"),  # the key's hash
        ("identity", "<u8"),  # tenant, table and key length; 0: a later WRITE of the same key stands in place of this one
        ("value_length", "<u8"),  # bytes; WRITE_DELETES: the object is deleted, if there is one
        ("size", "<u8"),  # bytes of all of it: the next one stands behind them
    ]
)
WRITE_BYTES = WRITE.itemsize
WRITE_DELETES = -1

# A commit of several objects under way; see splinter.store.commits. Writer: its participant, in steps of the journal.
COMMIT = np.dtype(
    [
        ("state", "<u8"),  # COMMIT_…
        ("tenant", "<u8"),
        ("sequence", "<u8"),  # the number that it will have
        ("count", "<u8"),  # of entries that were changed
        ("finished", "<u8"),  # of them, those whose change is final
        ("reserved", "<u8", 3),
        # Of an index entry: its address, its word before, and after. ENTRY_DELETING: the object is deleted
        ("changes", [("entry", "<u8"), ("old", "<u8"), ("new", "<u8")], limits.COMMIT_OBJECTS_MAX),
    ]
)
CHANGE_BYTES = 24
COMMIT_NONE = 0
COMMIT_OPEN = 1  # its objects are being published; nobody sees them, and they can be taken back
COMMIT_MADE = 2  # it has happened, and is being finished
