"""The store's shared memory: every record, with each field's unit and writer.

"Participant" is a process that may change the store: a worker, or the control process. A slot's place is told as a
*unit*: its offset from the start of the slabs in 16-byte units, so that 32 bits reach 64 GiB. Slab 0 is never given
out; so unit 0 is no slot, and means "none" everywhere.

All integers are unsigned here; compiled code reads 64-bit words as ``int64`` patterns (see
``splinter.native.atomics``).
"""

from __future__ import annotations

import numpy as np

from splinter import limits
from splinter.layout import offset
from splinter.store.commit_layout import COMMIT

CACHE_LINE_BYTES = 64
UNIT_BYTES = 16
UNIT_MASK = 0xFFFFFFFF
SLAB_UNITS = limits.SLAB_BYTES // UNIT_BYTES

# --- the slot ----------------------------------------------------------------------------------------------------------

OBJECT = np.dtype(
    [
        # Twice the sequence number of the commit that published the object, so that of two objects of a key the later has
        # the greater; 0 while the slot holds none. Odd until that commit is made (splinter.store.snapshots). Set last before
        # publication, and cleared before any other byte is re-used.
        ("version", "<u8"),
        ("tenant", "<u2"),
        ("table", "<u2"),
        # Bytes of the key in the lowest 8 bits; of the value in the 22 above; then whether that is a LARGE; in the highest:
        # whether the object expires. Then its moment, 8 bytes, stands behind the value, at the next multiple of 8
        ("lengths", "<u4"),
        ("link", "<u4"),  # unit of the next slot of the list that this slot is in. No reader of objects looks at it
        # Unit of the object that this one replaced, for readers of a snapshot that is older than this one; 0: none
        ("previous", "<u4"),
        # Of a published object of a tenant's table its position in the roster (splinter.store.roster), in the lowest
        # POSITION_BITS; those from there to DATED_BIT are spare. Of one that was unlinked DATED_BIT is set, and those below are
        # the global epoch after that. The highest byte is for readers to write, also late: whoever wants a date leaves it
        # out. No reader of objects looks at it
        ("retired", "<u8"),
    ]
)  # then the key's bytes, then the value's. Writer: the participant that has taken the slot
OBJECT_BYTES = OBJECT.itemsize
assert OBJECT_BYTES == limits.OBJECT_HEADER_BYTES
O_IDENTITY = offset(OBJECT, "tenant")  # tenant, table and lengths, read as one 64-bit word
IDENTITY_BITS = 40  # of that word: tenant, table and key length
KEY_LENGTH_BITS = 8
assert limits.TENANTS_MAX <= 1 << 16 and limits.KEY_BYTES_MAX < 1 << KEY_LENGTH_BITS
VALUE_LENGTH_BITS = 22
LARGE_BIT = KEY_LENGTH_BITS + VALUE_LENGTH_BITS  # of ``lengths``
EXPIRES_BIT = LARGE_BIT + 1  # likewise
LARGE_FORM = 1 << VALUE_LENGTH_BITS  # beside the length of a value: it is a LARGE
EXPIRES_BYTES = 8
assert limits.VALUE_BYTES_MAX < 1 << VALUE_LENGTH_BITS and EXPIRES_BIT == 31
O_LINKS = offset(OBJECT, "link")  # link and previous, written as one 64-bit word
O_KEY = OBJECT_BYTES
POSITION_BITS = 32
DATED_BIT = 55
O_ACCESS = offset(OBJECT, "retired") + 7  # the highest byte of ``retired``

# --- the index -----------------------------------------------------------------------------------------------------------

BUCKET = np.dtype(
    [
        # Index of the overflow bucket that continues this one; 0: none. In the pool: the next. Writer: holder of buckets_lock
        ("next", "<u4"),
        # 1: it was taken out of its chain; ``next`` still leads readers on that stand in it. Written with ``next``
        ("unlinked", "<u4"),
        # 0: empty; otherwise tag (16 bits, highest) | size class (16) | unit (32); ENTRY_SEALED, which names the empty slab 0:
        # not to be filled. Writer: from 0 by compare-and-swap, otherwise the holder of the lock of the tenant that the
        # object belongs to; of ENTRY_SEALED the holder of buckets_lock
        ("entries", "<u8", limits.BUCKET_ENTRIES),
    ]
)
assert BUCKET.itemsize == limits.BUCKET_BYTES
ENTRY_BYTES = 8
ENTRY_TAG_SHIFT = 48
ENTRY_CLASS_SHIFT = 32
ENTRY_CLASS_MASK = 0xFFFF
ENTRY_SEALED = 1 << ENTRY_CLASS_SHIFT
ENTRY_DELETING = 2 << ENTRY_CLASS_SHIFT  # names the empty slab 0, too: the object is deleted by a commit that is not finished
BUCKET_UNLINKED_SHIFT = 32  # in the first word read as one

DURABILITY_NONE, DURABILITY_INTERVAL, DURABILITY_ALWAYS = range(3)

# --- clients ---------------------------------------------------------------------------------------------------------------

# What came of one request; see splinter.store.outcomes. Writer: holder of the tenant's lock.
RESULT = np.dtype(
    [
        ("word", "<u8"),  # sequence number, line, kind and status; 0: nothing. Written after the value
        ("value", "<u8"),  # version, scalar, error code, or who runs it
    ]
)
RESULT_BYTES = RESULT.itemsize

# The value of an object in TABLE_CLIENTS whose key is a client's id, 8 bytes. It alone is changed in place: by the holder
# of its tenant's lock, for whom alone it is.
CLIENT = np.dtype(
    [
        ("acknowledged", "<u8"),  # the client waits for no reply to a sequence number below this
        ("used_ns", "<u8"),  # monotonic clock at its last request
        ("next", "<u8"),  # unit of the next record of the tenant's ring
        ("previous", "<u8"),  # unit of the one before
        ("results", RESULT, limits.CLIENT_WINDOW),  # of a sequence number, at that modulo CLIENT_WINDOW
    ]
)
CLIENT_BYTES = CLIENT.itemsize
CLIENT_KEY_BYTES = 8
CLIENT_AT = O_KEY + CLIENT_KEY_BYTES  # where it is in the slot
BODY_KEY_BYTES = 16  # client id, place of the result: key of an object in TABLE_CLIENTS with the body of a reply

# What a participant is about to do for a client's request, to be recorded with it. Only the participant touches it.
CLAIM = np.dtype(
    [
        ("client", "<u8"),
        ("sequence", "<u8"),
        ("acknowledged", "<u8"),  # 0: the client does not ask for its requests to be executed only once
        ("now_ns", "<u8"),  # monotonic clock, roughly
        ("word", "<u8"),  # what a write will record; or what was found recorded
        ("value", "<u8"),  # likewise
        ("count", "<u8"),  # address of a word that becomes ``counted`` with the write, for who has to know; 0: none
        ("entry", "<u8"),  # address of the RESULT that the write will set, while the lock is held; 0: none
        ("body", "<u8"),  # address of the object that holds the body of what was found recorded
        ("key", "<u8", 2),  # key of such an object
        ("forget_key", "<u8", 2),  # key of one that is removed with its client's record
        ("counted", "<u8"),
        ("part_key", "<u8", 2),  # key of a part of a large value that is looked for
    ]
)
assert CLAIM.itemsize % CACHE_LINE_BYTES == 0

# --- slabs and free slots that participants share --------------------------------------------------------------------------

# One word: what a slab is used for. Read without a lock by whoever frees one of its slots: a slot that is on its way to a
# private list when its slab begins to be drained is found there later.
SLAB = np.dtype(
    [
        ("size_class", "<u4"),  # of all its slots, while it is in use
        ("state", "<u4"),  # SLAB_…. Writer: holder of its class's lock; out of the pool: of slabs_lock
    ]
)
SLAB_RECORD_BYTES = SLAB.itemsize
SLAB_STATE_SHIFT = 32  # in the record read as one 64-bit word
SLAB_NEW = 0  # never given out
SLAB_POOLED = 1  # has been in use, and may be given out for any class
SLAB_IN_USE = 2
SLAB_DRAINING = 3  # its free slots stay in its own list, and its objects are moved to other slabs
assert offset(SLAB, "state") == 4

# The free slots of a slab that no participant has in its own lists. Writer: holder of the class's lock; of a slab in the pool,
# where all but ``next`` is 0: holder of slabs_lock.
SLAB_LIST = np.dtype(
    [
        ("free", "<u8"),  # unit of the first
        ("bump", "<u8"),  # unit of the first slot of the never used rest of the slab; 0: a participant has it, or it is used up
        ("free_count", "<u8"),  # both together
        ("next", "<u8"),  # number of the next slab in its class's list, or in the pool; 0: none
        ("previous", "<u8"),  # in its class's list
        ("reserved", "<u8", 3),
    ]
)
SLAB_LIST_BYTES = SLAB_LIST.itemsize
assert SLAB_LIST_BYTES == CACHE_LINE_BYTES

# The slabs in use of one class that have free slots in their own lists.
CLASS_LIST = np.dtype(
    [
        ("lock", "<u8"),  # holder: participant + 1; 0: free
        ("head", "<u8"),  # number of the first. Writer: lock's holder
        ("free_slots", "<u8"),  # of all of them. Writer: lock's holder
        ("reserved", "<u8", 5),
    ]
)
CLASS_LIST_BYTES = CLASS_LIST.itemsize
assert CLASS_LIST_BYTES == CACHE_LINE_BYTES

# --- participants ----------------------------------------------------------------------------------------------------------

# Where a participant gets slots of one class from. Only the participant touches it (and whoever recovers it).
FREE_LISTS = np.dtype(
    [
        ("free", "<u8"),  # unit of the first free slot
        ("free_count", "<u8"),
        ("spare", "<u8"),  # a second, full list, so that one slot more or less does not go to the shared list and back
        ("spare_count", "<u8"),
        ("bump", "<u8"),  # unit of the next never used slot of the participant's newest slab of this class
        ("bump_end", "<u8"),  # unit behind the last one
        ("reserved", "<u8", 2),
    ]
)
FREE_LISTS_BYTES = FREE_LISTS.itemsize
assert FREE_LISTS_BYTES == CACHE_LINE_BYTES

# What the participant is in the middle of; see splinter.store.journal.
INTENT = np.dtype(
    [
        ("state", "<u8"),  # JOURNAL_…; written last
        ("entry", "<u8"),  # JOURNAL_PUBLISHING: address of the index entry
        ("old", "<u8"),  # its word before
        ("new", "<u8"),  # and after
        ("slot", "<u8"),  # address of the slot to be published; 0: an object is removed
        ("count", "<u8"),  # of words
        ("tenant_lock", "<u8"),  # address of the tenant's lock that the participant holds or is about to take
        ("inner_lock", "<u8"),  # the same for the lock of a class or of the overflow buckets
        ("words", [("address", "<u8"), ("value", "<u8")], limits.JOURNAL_WORDS_MAX),  # what to store where
        ("pool_lock", "<u8"),  # the same for the lock of the slabs
        ("compact_lock", "<u8"),  # the same for that of compaction
        ("keeps_old", "<u8"),  # JOURNAL_PUBLISHING: 1: what the old word names is not retired by this step
        ("gone", "<u8"),  # the object that the last step was the end of, whose parts are to go (_drop_parts); 0: none
        ("reserved", "<u8", 4),
    ]
)
assert INTENT.itemsize % CACHE_LINE_BYTES == 0
assert COMMIT.itemsize % CACHE_LINE_BYTES == 0

ARRIVED_WORDS = -(-limits.FRAGMENTS_MAX // 64)

# A fragmented put under way. The slot's header and key are complete but for the value length.
STAGE = np.dtype(
    [
        ("slot", "<u8"),  # unit; 0: this entry is unused. Written last
        ("client", "<u8"),
        ("sequence", "<u8"),
        ("tenant", "<u8"),
        ("fragment_count", "<u8"),
        ("fragment_bytes", "<u8"),  # of each fragment but the last
        ("since_ns", "<u8"),  # monotonic clock at the first fragment
        ("generation", "<u8"),  # of the tenant
        ("arrived", "<u8", ARRIVED_WORDS),  # bit per fragment, set after its bytes are in place
        ("ttl", "<u8"),  # ns that the object is to live; 0: for ever
        ("reserved", "<u8", 2),
    ]
)
STAGE_BYTES = STAGE.itemsize
assert STAGE_BYTES == 2 * CACHE_LINE_BYTES

# Size classes: 64, 96, 128, 192, 256, … bytes. The last is the first that holds the largest object.
CLASS_BYTES_MIN = 64
_OBJECT_BYTES_MAX = OBJECT_BYTES + limits.KEY_BYTES_MAX + limits.VALUE_BYTES_MAX + 2 * EXPIRES_BYTES
CLASS_BYTES = [CLASS_BYTES_MIN]
while CLASS_BYTES[-1] < _OBJECT_BYTES_MAX:
    CLASS_BYTES.append((CLASS_BYTES_MIN + CLASS_BYTES_MIN // 2 * (len(CLASS_BYTES) % 2)) << (len(CLASS_BYTES) // 2))
CLASSES = len(CLASS_BYTES)
assert CLASS_BYTES[-1] <= limits.SLAB_BYTES

PARTICIPANT = np.dtype(
    [
        ("epoch", "<u8"),  # oldest epoch it may hold references from; EPOCH_OFFLINE: none. Read by all
        ("waits", "<u8"),  # address of the lock that it is spinning for; 0: none. Read by the watchdog
        ("reserved_epoch", "<u8", 6),
        ("holder", "<u8"),  # participant + 1, what it writes into locks. Written once
        ("last_version", "<u8"),  # of what its last commit published; 0: that deleted only
        ("limbo_head", "<u8"),  # unit of the slot that was retired first
        ("limbo_tail", "<u8"),  # and last
        ("safe_epoch", "<u8"),  # oldest epoch of all participants when it last looked
        ("clock", "<u8", 2),  # struct timespec for clock_gettime
        ("incarnation", "<u8"),  # deaths of processes with this number. Writer: who recovers it
        # What waits in its limbo, for splinter.store.limbo. Writer: the participant; read by all, each word for itself.
        ("limbo_bytes", "<u8"),  # of it; a death in the step of a put leaves it wrong by one slot until limbo is empty
        ("blocked_at", "<u8"),  # oldest epoch of all when it could free nothing of it; 0: it could, or limbo is empty
        ("blocked_turns", "<u8"),  # of its loop in a row that could free nothing at that epoch
        ("wants", "<u8"),  # oldest epoch of all when there was no memory for something, and some waited for that epoch
        ("refills", "<u8"),  # times that slots came or went between its lists and others
        ("gave_ns", "<u8"),  # monotonic clock when it last gave free slots back because slabs are short
        ("gave_class", "<u8"),  # size class that it gives back next
        ("gave_drain", "<u8"),  # number of the drain for which it gave back
        ("sealing", "<u8"),  # address of the bucket whose entries it is sealing; 0: none
        ("turn", "<u8"),  # the turn in which it writes now; 0: in none. Writer: the participant; read by itself alone
        ("log", "<u8"),  # address of its LOG_RING; 0: no change log is kept. Writer: supervisor
        ("now", "<u8"),  # the store's clock in this turn (splinter.store.expiry). Writer: the participant; read by itself alone
        ("sweep_slab", "<u8"),  # that it sweeps (splinter.store.expiry); 0: none. Then the slot that is next, and from when on
        ("sweep_slot", "<u8"),
        ("sweep_ns", "<u8"),
        ("roster_key", "<u8"),  # number of the chunk that it looks up (splinter.store.roster). The participant alone touches it
        ("retired", "<u8"),  # slots that it has put into its limbo; a death on the way leaves out one
        ("retired_before", "<u8"),  # how many when it last freed some. The participant alone touches the two
        ("reserved", "<u8", 6),
        ("claim", CLAIM),
        ("intent", INTENT),
        ("commit", COMMIT),
        ("lists", FREE_LISTS, CLASSES),
        ("staging", STAGE, limits.STAGING_ENTRIES),
    ]
)
PARTICIPANT_BYTES = PARTICIPANT.itemsize
assert PARTICIPANT_BYTES % CACHE_LINE_BYTES == 0
WORD_BYTES = 16  # one journalled word: address, value

# --- the descriptor --------------------------------------------------------------------------------------------------------

HASH_WORDS = (limits.KEY_BYTES_MAX + 7) // 8 + 1  # one for each word of a key, and one more: see splinter.store.hashing

STORE = np.dtype(
    [
        # Written once, when the store is made. Addresses are valid in every process (mapped before the first fork).
        ("index", "<u8"),  # address of the buckets
        ("buckets", "<u8"),  # main buckets
        ("buckets_total", "<u8"),  # and the overflow pool behind them
        ("slabs", "<u8"),  # address
        ("slabs_total", "<u8"),  # number, the reserved slab 0 included
        ("slab_records", "<u8"),  # address
        ("tenants", "<u8"),  # address of the records that splinter.net.tenants describes; the store does not read them
        ("accounts", "<u8"),  # address
        ("deletions", "<u8"),  # address, DELETION_RING_BYTES for each tenant; of another memory at each start
        ("participants", "<u8"),  # address
        ("class_lists", "<u8"),  # address, one per class
        ("seed", "<u8"),  # of the hash, random and odd
        ("multiplier", "<u8"),  # of the hash, random and odd
        ("workers", "<u8"),  # participants 0 … workers - 1, and PARTICIPANT_CONTROL, may use the store
        ("kill_at", "<u8"),  # see splinter.store.kill_points. Writer: tests
        ("kill_skip", "<u8"),
        ("slab_lists", "<u8"),  # address, one per slab
        # What a step's word is led to whose place went with its process. Written by who recovers, read by nobody
        ("nowhere", "<u8"),
        # CPUs whose XDP program may hold references, one record of CPU_BYTES each that begins with an epoch as a participant's
        # does (splinter.net.tier.CPU): address and number; 0: there are none. Writer: supervisor
        ("cpu_epochs", "<u8"),
        ("cpus", "<u8"),
        ("hash_words", "<u8", HASH_WORDS),  # of the hash, random
        ("identity", "<u8"),  # random, then STARTS_BITS: a data folder tells by it whose changes it has. Writer: supervisor
        ("log_state", "<u8"),  # LOG_…. Writer: the log process
        ("walks", "<u8"),  # counts walks over the slabs for a snapshot; odd while one is under way. Writer: the log process
        ("log_gaps", "<u8"),  # times that what is not in the log began to be logged. Writer: control process
        # Of those and of what found no room (LOG_RING), how many snapshots made good. Writer: the log process
        ("log_covered", "<u8"),
        # 1: the log process is to be woken when somebody, or much, waits for it. Writer: the log process
        ("log_sleeps", "<u8"),
        ("clock_base", "<u8"),  # of splinter.store.clock, ns. Writer: who makes or attaches the store, before it is served
        ("expiring", "<u8"),  # 1: there may be objects that expire. Writers: all, never back to 0
        ("kernel_clock_base", "<u8"),  # the same for the kernel's own clock. Writer: who makes the store, before it is served
        ("reserved_made", "<u8", 2),
        # Written while serving, each in a cache line of its own.
        ("epoch", "<u8"),  # global epoch, from 1. Writers: all, by compare-and-swap
        ("reserved_epoch", "<u8", 7),
        ("slabs_lock", "<u8"),  # holder: participant + 1; 0: free
        ("slabs_used", "<u8"),  # slabs that were ever given out, slab 0 included. Writer: lock's holder
        ("slabs_pool", "<u8"),  # number of the first of those given back; 0: none. Writer: lock's holder
        ("slabs_pooled", "<u8"),  # how many there are. Writer: lock's holder
        ("drain_number", "<u8"),  # counts drains; odd while one is under way. Writer: holder of compact_lock
        ("drain_class", "<u8"),  # of the slabs that are drained. Writer: likewise
        ("sweep_next", "<u8"),  # slab that is swept next (splinter.store.expiry). Writers: all, by compare-and-swap
        ("reserved_slabs", "<u8"),
        ("buckets_lock", "<u8"),  # holder: participant + 1; 0: free
        ("buckets_used", "<u8"),  # main buckets and overflow buckets ever given out. Writer: lock's holder
        ("buckets_pool", "<u8"),  # index of the first overflow bucket that was given back; 0: none. Writer: lock's holder
        ("buckets_pooled", "<u8"),  # how many there are. Writer: lock's holder
        ("buckets_leaving", "<u8"),  # how many wait in unlinked. Writer: lock's holder
        ("buckets_cursor", "<u8"),  # main bucket whose chain is looked at next. Writer: lock's holder
        ("reserved_buckets", "<u8", 2),
        # Overflow buckets that readers may still stand in. Writer: buckets_lock's holder
        ("unlinked", [("bucket", "<u8"), ("epoch", "<u8")], limits.BUCKETS_LEAVING_MAX),  # bucket 0: none; epoch 0: not dated
        # Compaction: see splinter.store.compaction. Writer: compact_lock's holder
        ("compact_lock", "<u8"),  # holder: participant + 1; 0: free
        ("compact_slab", "<u8"),  # slab whose record is looked at next
        ("compact_eighths", "<u8"),  # free slots of a slab, in eighths, that make it worth draining in this round
        ("compact_rest_ns", "<u8"),  # monotonic clock before which nothing is looked at
        ("drain_since_ns", "<u8"),  # monotonic clock when the drain began
        ("drain_place", "<u8"),  # in draining, of the slab whose slots are looked at next
        ("drain_slot", "<u8"),  # number of its slot that is next
        # 1: what was written a second ago may not be on the disk, so that those of interval tenants wait. Writer: supervisor
        ("log_stands", "<u8"),
        ("draining", "<u8", limits.DRAINING_SLABS_MAX),  # numbers of slabs; 0: none
    ]
)
CPU_BYTES = 512
LOG_NONE, LOG_KEPT, LOG_FAILED = range(3)  # there is no change log; it is kept; nothing can be added to it at present
STORE_DESCRIPTOR_BYTES = STORE.itemsize
assert STORE_DESCRIPTOR_BYTES % CACHE_LINE_BYTES == 0
UNLINKED_BYTES = 16  # of one entry of ``unlinked``: bucket, epoch
