"""The record of a tenant's account; conventions as in :mod:`splinter.store.layout`."""

from __future__ import annotations

import numpy as np

ACCOUNT = np.dtype(
    [
        ("lock", "<u8"),  # holder: participant + 1; 0: free
        # Generation of the tenant that exists, which tells it from an earlier one of its id; 0: there is none. Writer: control
        # process, 0 under the lock. What outlives a request and names a tenant keeps it, and is void when it differs: an id has
        # another generation only when every worker has passed a turn since the old one's end (splinter.server.control.tenants)
        ("active", "<u8"),
        # bytes of the size classes of its objects, system tables included, and of its machine code. Writer: lock's holder
        ("bytes_used", "<u8"),
        ("objects", "<u8"),  # number of its objects, system tables included but for the roster. Writer: lock's holder
        ("quota_bytes", "<u8"),  # Writer: control process
        ("clients", "<u8"),  # number of its CLIENT records. Writer: lock's holder
        # unit of the one that was used last, to CLIENT_ORDER_NS; behind it comes the one that was not used for longest.
        # 0: there are none. Writer: lock's holder
        ("clients_hand", "<u8"),
        # bytes of the size classes of what is staged for it in all workers; not in bytes_used. Writer: lock's holder
        ("staged_bytes", "<u8"),
        # bytes of the machine code that it has installed, and of what its extensions take in the kernel; in bytes_used. Writer:
        # control process, as lock's holder
        ("code_bytes", "<u8"),
        # Number of the tenant's last commit, from 1, counted on over its removal: a put, a delete, a transaction of many. A
        # commit happens when it is counted. Writer: lock's holder, in the step of the commit
        ("sequence", "<u8"),
        # number of the last commit that deletes, or that was about to and was taken back. Writer: lock's holder, before the
        # object is unlinked
        ("deleted", "<u8"),
        ("deletions", "<u8"),  # objects deleted so far: where in its DELETION ring the next one stands. Writer: lock's holder
        # Whose turn it is to write, while all others are held back (splinter.store.turns); 0: nobody's. Writer: lock's holder,
        # who takes it from 0 or from the dead; 0 by who has it
        ("turn", "<u8"),
        # Number of its entries in the change log, counted on over its removal. Writer: lock's holder, in the step of the change
        ("number", "<u8"),
        ("durability", "<u8"),  # DURABILITY_…. Writer: control process, under the lock
        # Number of the last commit that is on disk with all before it, if changes are logged; or up to which nothing is to come
        # there. Only raised: by the log process and the control process; while nobody is served, by the supervisor
        ("durable", "<u8"),
        # The roster of its keys (splinter.store.roster). Writer: lock's holder
        ("roster_end", "<u8"),  # all its chunks have numbers below this
        ("roster_chunks", "<u8"),  # how many there are
        ("roster_hand", "<u8"),  # number of the chunk with a hole that the next key takes, plus 1; 0: none is known
        ("roster_next", "<u8"),  # number of the chunk that was looked at last for a hole
        ("room_next", "<u8"),  # position that is looked at next for what is over (splinter.store.expiry)
        ("eviction", "<u8"),  # EVICTION_…. Writer: control process, under the lock
        # cell, of those of all chunks, that is looked at next for what was used least (splinter.store.eviction). Writer: lock's
        # holder
        ("eviction_hand", "<u8"),
        ("evictions", "<u8"),  # objects that were evicted so far. Writer: lock's holder
    ]
)
EVICTION_NONE, EVICTION_HYPERBOLIC = range(2)
ACCOUNT_BYTES = ACCOUNT.itemsize
assert ACCOUNT_BYTES % 64 == 0  # whole cache lines
