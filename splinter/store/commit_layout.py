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
        ("value_length", "<i4"),  # bytes; WRITE_DELETES: the object is deleted, if there is one
        ("size", "<u4"),  # bytes of all of it: the next one stands behind them
        ("expires", "<u8"),  # when the object does, by the store's clock; 0: never
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
        # Of an index entry: its address, its word before, and after. ENTRY_DELETING: the object is deleted.
        # Then the position in the roster that a new key takes, or a deleted one leaves; NO_POSITION: none
        ("changes", [("entry", "<u8"), ("old", "<u8"), ("new", "<u8"), ("position", "<i8")], limits.COMMIT_OBJECTS_MAX),
    ]
)
CHANGE_BYTES = 32
NO_POSITION = -1
COMMIT_NONE = 0
COMMIT_OPEN = 1  # its objects are being published; nobody sees them, and they can be taken back
COMMIT_MADE = 2  # it has happened, and is being finished

# --- the change log ----------------------------------------------------------------------------------------------------------

# In front of LOG_RING_BYTES that hold the entries of one participant, one behind the other, at their places modulo that.
LOG_RING = np.dtype(
    [
        ("tail", "<u8"),  # bytes of entries so far. Writer: the participant, in the step of the change
        ("lost", "<u8"),  # changes of the system that found no room. Writer: the participant
        ("awaited", "<u8"),  # replies that it holds back until the disk has caught up. Writer: the participant
        ("reserved", "<u8", 5),
        ("head", "<u8"),  # up to here they are on disk. Writer: the log process, of the next two as well
        ("durable", "<u8"),  # up to here all that they follow is on disk, too
        ("free", "<u8"),  # up to here their room may be used again
        ("reserved_head", "<u8", 5),
    ]
)
LOG_RING_HEADER_BYTES = LOG_RING.itemsize
LOG_RING_SPAN = LOG_RING_HEADER_BYTES + limits.LOG_RING_BYTES

# An entry: what one step changed for one tenant; then its CHANGED parts. On disk it is the same.
LOGGED = np.dtype(
    [
        ("size", "<u4"),  # bytes of all of it, a multiple of 8
        ("tenant", "<u2"),  # 0: nothing; the rest of the ring is not used, and there may be no more of it than these 8 bytes
        ("changes", "<u2"),  # CHANGED parts behind this
        ("generation", "<u8"),  # of the tenant
        ("number", "<u8"),  # of the tenant's entries, without a gap: their order
        ("sequence", "<u8"),  # of the commit; of what is no commit, that of the last one
        ("client", "<u8"),  # whose request this is, if that is to be executed once
        ("request", "<u8"),  # its sequence number
        ("word", "<u8"),  # of the RESULT; 0: nothing is recorded
        ("value", "<u8"),
        ("acknowledged", "<u8"),  # its client waits for no reply to a request below this
    ]
)
LOGGED_BYTES = LOGGED.itemsize

# One object of an entry; then its key, its value, and whatever up to a multiple of 8.
CHANGED = np.dtype(
    [
        ("table", "<u2"),
        ("key_length", "<u2"),
        ("value_length", "<u4"),  # bytes, with LARGE_FORM as the object has it; or CHANGED_…, and no bytes
        ("expires", "<u8"),  # when it does, by the store's clock, less than 1 << 63; 0: never
    ]
)
CHANGED_BYTES = CHANGED.itemsize
CHANGED_DELETED = 0xFFFFFFFF
CHANGED_CLIENT = 0xFFFFFFFE  # a client's record was made; what comes into it stands in entries of its requests
assert limits.LOG_RING_BYTES & limits.LOG_RING_BYTES - 1 == 0
# The largest entry, twice: what does not fit at the end of the ring goes to its beginning.
_LARGEST = LOGGED_BYTES + limits.COMMIT_OBJECTS_MAX * (CHANGED_BYTES + 8) + 2 * limits.TRANSACTION_BYTES_MAX
assert 2 * _LARGEST < limits.LOG_ROOM_BYTES
