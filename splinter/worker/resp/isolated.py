"""A command as a transaction: it reads one snapshot, and what it writes happens at one instant, or not at all.

The look-ups and notes are those of tasks (:mod:`splinter.worker.transaction`), with the door's own frame. Functions return 0,
or in place of it less than 0: -ExtensionError, of which CONFLICT has the command begun anew.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.ext.abi import Isolation
from splinter.native.atomics import load64
from splinter.native.clock import SECOND_NS
from splinter.native.libc import CLOCK_REALTIME, clock_gettime
from splinter.store.clock import expect_moments, look_at_store_clock, store_clock
from splinter.store.commit_layout import WRITE_DELETES
from splinter.store.journal import participant_at
from splinter.store.layout import LARGE_FORM
from splinter.store.transactions import store_transact, store_transact_versions
from splinter.worker.records import Frame, Worker
from splinter.worker.resp.layout import ARGUMENT_BYTES
from splinter.worker.resp.lines import Line
from splinter.worker.resp.records import Argument, Connection, Door
from splinter.worker.resp.replies import put_line
from splinter.worker.transaction import TRANSACTION_READS_BYTES, begin_transaction, transaction_find, transaction_write

WAIT = -1000  # in place of a status: what keeps the command from being done may pass
WALKS = 1  # in place of 0: the command goes on in the next turn
_KEY_BYTES_MAX = limits.KEY_BYTES_MAX
MILLISECOND_NS = 1_000_000
_CLOCK_TRIES = 8
_TOGETHER_NS = 10_000


@njit(cache=True, forceinline=True)
def argument(d: int, number: int) -> tuple[int, int]:
    """Address and length of an argument of the command that is executed; 0 is its name."""
    found = Argument(Door(d).argv + number * ARGUMENT_BYTES)
    return found.address, found.length


@njit(cache=True)
def begin(w: int, d: int, may_write: bool) -> None:
    """Begin a transaction of the connection's tenant."""
    worker, door = Worker(w), Door(d)
    frame = Frame(door.frame)
    frame.tenant = Connection(door.connection).tenant
    frame.isolation = Isolation.WRITES if may_write else Isolation.READS
    frame.shown = 0
    begin_transaction(worker.store, worker.index, door.frame)


@njit(cache=True)
def end(w: int, d: int) -> int:
    """End it. Returns a status; or CONFLICT."""
    worker, frame_at = Worker(w), Door(d).frame
    frame = Frame(frame_at)
    worker.shown = max(worker.shown, frame.shown)
    if frame.writes == 0:
        return Status.OK
    writes = frame.transaction + TRANSACTION_READS_BYTES
    return store_transact(
        worker.store, worker.index, frame.tenant, frame.snapshot, frame.transaction, frame.reads_end, writes,
        frame.writes_end, 0,
    )  # fmt: skip


@njit(cache=True)
def end_watching(w: int, d: int, reads: int, reads_end: int) -> int:
    """Whether READs from before still hold, where nothing is written: OK, VERSION_CHANGED, BUSY or UNKNOWN_TENANT."""
    worker, frame = Worker(w), Frame(Door(d).frame)
    return store_transact_versions(worker.store, worker.index, frame.tenant, reads, reads_end, 0, 0, 0)


@njit(cache=True)
def refusal(status: int) -> int:
    """The Line of a status that ends a command."""
    if status == Status.OUT_OF_MEMORY:
        return Line.FULL
    if status == Status.QUOTA_EXCEEDED:
        return Line.QUOTA
    if status == Status.DISK_FAILED:
        return Line.DISK
    return Line.GONE if status == Status.UNKNOWN_TENANT else Line.BUSY


# --- objects ------------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def find(w: int, d: int, number: int) -> int:
    """Look up the key that an argument is. 1: there is an object, and ``out_address``, ``out_length``, ``out_version`` and
    ``expires`` of the frame tell it; 0: there is none. A key of a length that no object has is of none."""
    key, key_length = argument(d, number)
    return find_in(w, d, Door(d).table, key, key_length)


@njit(cache=True)
def find_in(w: int, d: int, table: int, key: int, key_length: int) -> int:
    """The same of a table's key."""
    if key_length < 1 or key_length > _KEY_BYTES_MAX:
        frame = Frame(Door(d).frame)
        frame.out_version = 0
        frame.out_length = 0
        frame.expires = 0
        return 0
    return transaction_find(Worker(w).store, Door(d).frame, table, key, key_length)


@njit(cache=True, forceinline=True)
def can_be_read(d: int) -> bool:
    """Whether the value that was found stands in one piece."""
    return Frame(Door(d).frame).out_length < LARGE_FORM


@njit(cache=True)
def put(w: int, d: int, number: int, value: int, length: int, expires: int) -> int:
    """Note a put of the key that an argument is, of a good length. ``expires``: when, by the store's clock; 0: never."""
    key, key_length = argument(d, number)
    return transaction_write(Worker(w).store, Door(d).frame, Door(d).table, key, key_length, value, length, expires)


@njit(cache=True)
def delete(w: int, d: int, number: int) -> int:
    """Note a delete of the key that an argument is, and that was found."""
    key, key_length = argument(d, number)
    return transaction_write(Worker(w).store, Door(d).frame, Door(d).table, key, key_length, 0, WRITE_DELETES, 0)


@njit(cache=True)
def is_key(d: int, number: int) -> bool:
    """Whether an argument may be a key; replies the error if not."""
    length = argument(d, number)[1]
    if 1 <= length <= _KEY_BYTES_MAX:
        return True
    put_line(d, Line.KEY)
    return False


@njit(cache=True)
def is_value(d: int, length: int) -> bool:
    """Whether a value may be as long, in one piece; replies the error if not."""
    if length <= limits.VALUE_BYTES_MAX:
        return True
    put_line(d, Line.LARGE if length <= limits.LARGE_BYTES_MAX else Line.TOO_LONG)
    return False


# --- time --------------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def wall_ns(d: int) -> int:
    """The host's clock: ns since 1970."""
    timespec = Door(d).realtime
    clock_gettime(CLOCK_REALTIME, timespec)
    return load64(timespec) * SECOND_NS + load64(timespec + 8)


@njit(cache=True)
def wall_ahead(w: int, d: int) -> int:
    """How far the host's clock is ahead of the store's, in ns. Both run alike but when somebody sets the host's; so what was
    found is kept as long as it is right to a millisecond, and the same time of day is always the same moment."""
    worker, door = Worker(w), Door(d)
    me = participant_at(worker.store, worker.index)
    ahead = 0
    for _ in range(_CLOCK_TRIES):  # this process may lose its core between two looks
        before = store_clock(worker.store, me)
        wall = wall_ns(d)
        after = store_clock(worker.store, me)
        ahead = wall - (before + after) // 2
        if after - before < _TOGETHER_NS:
            break
    kept = door.wall_ahead
    if kept == 0 or abs(ahead - kept) > MILLISECOND_NS:
        door.wall_ahead = ahead
        return ahead
    return kept


@njit(cache=True)
def now(w: int, d: int) -> int:
    """The store's clock at the transaction's moment."""
    worker, frame = Worker(w), Frame(Door(d).frame)
    if frame.now == 0:
        expect_moments(worker.store)
        frame.now = look_at_store_clock(worker.store, participant_at(worker.store, worker.index))
    return frame.now


@njit(cache=True)
def left_ns(w: int, d: int) -> int:
    """ns that the object which was found still lives; it expires."""
    return Frame(Door(d).frame).expires - now(w, d)
