"""MULTI, EXEC, DISCARD, WATCH: commands are kept as they came, and executed within one transaction of the store.

EXEC is serializable with all that others do, by whatever door. What WATCH has noted are versions: EXEC does nothing, and tells
so, when one of them is another at its instant.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.store.commit_layout import READ_BYTES
from splinter.store.hashing import identity_of, store_hash
from splinter.store.records import Read
from splinter.store.transactions import CONFLICT, note_read
from splinter.worker.records import Frame, Worker
from splinter.worker.resp.buffers import append, drop_watched
from splinter.worker.resp.commands import Number
from splinter.worker.resp.connections import forget_transaction
from splinter.worker.resp.functions import run_function
from splinter.worker.resp.isolated import WAIT, argument, begin, end, end_watching, find, is_key
from splinter.worker.resp.layout import ARGUMENTS_OF_EXEC, FLAG_STORE, STATE_MULTI, STATE_SPOILT
from splinter.worker.resp.lines import Line
from splinter.worker.resp.parse import argument_at, find_command, parse_command
from splinter.worker.resp.plain import run_plain
from splinter.worker.resp.records import Argument, Command, Connection, Door
from splinter.worker.resp.replies import put_array, put_line, put_null_array
from splinter.worker.resp.store_commands import put_refusal, run_in_transaction, status_of
from splinter.worker.tasks.within import SPENT

_WATCH_TRIES = 8
_KEYS_BEGIN = 1


@njit(cache=True)
def queue(d: int, start: int, end_at: int) -> None:
    """Keep the command that is being served, whose bytes these are."""
    c = Door(d).connection
    connection, at = Connection(c), Connection(c).at
    size = end_at - start
    is_full = connection.queued_length + size > limits.RESP_QUEUED_BYTES_MAX
    if is_full or not append(d, c, at.queued, at.queued_length, at.queued_size, start, size):
        connection.state = connection.state | STATE_SPOILT
        put_line(d, Line.QUEUE_FULL if is_full else Line.UNREAD)
        return
    connection.queued_count = connection.queued_count + 1
    put_line(d, Line.QUEUED)


@njit(cache=True)
def run_multi(w: int, d: int, number: int) -> int:
    """MULTI, EXEC, DISCARD, WATCH, UNWATCH. Returns 0 when it has replied, or WAIT."""
    c = Door(d).connection
    connection = Connection(c)
    in_multi = connection.state & STATE_MULTI != 0
    if number == Number.MULTI:
        put_line(d, Line.MULTI_NESTED if in_multi else Line.OK)
        connection.state = connection.state | STATE_MULTI
    elif number == Number.DISCARD:
        put_line(d, Line.OK if in_multi else Line.DISCARD_ALONE)
        if in_multi:
            forget_transaction(d, c)
    elif number == Number.UNWATCH:
        drop_watched(d, c)
        put_line(d, Line.OK)
    elif number == Number.WATCH:
        if in_multi:
            put_line(d, Line.WATCH_INSIDE)
            return 0
        return _watch(w, d)
    elif not in_multi:
        put_line(d, Line.EXEC_ALONE)
    elif connection.state & STATE_SPOILT != 0:
        put_line(d, Line.SPOILT)
    else:
        return _execute(w, d)
    return 0


@njit(cache=True)
def _watch(w: int, d: int) -> int:
    """WATCH key …: note which objects they have, of one instant."""
    worker, door, c = Worker(w), Door(d), Door(d).connection
    connection, at, frame = Connection(c), Connection(c).at, Frame(Door(d).frame)
    before = connection.watched_length
    if before // READ_BYTES + door.argc - _KEYS_BEGIN > limits.RESP_WATCHED_MAX:
        put_line(d, Line.WATCHED)
        return 0
    for number in range(_KEYS_BEGIN, door.argc):
        if not is_key(d, number):
            return 0
    for _ in range(_WATCH_TRIES):
        begin(w, d, False)
        connection.watched_length = before
        found = 0
        for number in range(_KEYS_BEGIN, door.argc):
            found = find(w, d, number)
            if found < 0:
                break
            key, key_length = argument(d, number)
            identity = identity_of(connection.tenant, door.table, key_length)
            note_read(door.value, store_hash(worker.store, identity, key, key_length), identity, frame.out_version)
            if not append(d, c, at.watched, at.watched_length, at.watched_size, door.value, READ_BYTES):
                connection.watched_length = before
                put_line(d, Line.UNREAD)
                return 0
        if found >= 0:
            end(w, d)
            put_line(d, Line.OK)
            return 0
    connection.watched_length = before
    return WAIT


@njit(cache=True)
def _execute(w: int, d: int) -> int:
    """EXEC: all that is queued, at one instant."""
    door, c = Door(d), Door(d).connection
    connection, frame = Connection(c), Frame(Door(d).frame)
    mark, table = door.out_at, door.table
    argv, argc, command, hashed = door.argv, door.argc, door.command, door.hashed
    status: int = Status.OK
    tries = 0
    door.budget = limits.RESP_EXEC_BUDGET  # of all tries of this turn: others wait
    while tries < limits.CONFLICTS_MAX:
        tries += 1
        door.out_at = mark
        door.table = table
        door.is_exec = 1
        begin(w, d, True)
        if connection.watched_length != 0:
            reads, reads_end = connection.watched, connection.watched + connection.watched_length
            # Behind the snapshot: versions that hold now held then, as none comes twice.
            status = end_watching(w, d, reads, reads_end)
            if status == Status.VERSION_CHANGED:
                put_null_array(d)
                break
            if status != Status.OK:
                break
            for at in range(reads, reads_end, READ_BYTES):
                noted = Read(at)
                frame.reads_end = note_read(frame.reads_end, noted.hashed, noted.identity, noted.version)
        status = _run_queued(w, d)
        if status == Status.OK and door.overflow == 0:
            status = end(w, d)
        if status != CONFLICT:
            break
    door.argv, door.argc, door.command, door.hashed = argv, argc, command, hashed
    door.is_exec = 0
    if status == Status.OK or status == Status.VERSION_CHANGED:
        return 0
    door.out_at = mark
    door.table = table
    if status == CONFLICT or (status == SPENT and tries > 1):
        return WAIT
    if status == SPENT:
        put_line(d, Line.EXEC_SPENT)
        return 0
    return put_refusal(w, d, status)


@njit(cache=True)
def _run_queued(w: int, d: int) -> int:
    """Execute what is queued within the transaction. Returns a status, CONFLICT or SPENT."""
    door, c = Door(d), Door(d).connection
    connection = Connection(c)
    put_array(d, connection.queued_count)
    at, end_at = connection.queued, connection.queued + connection.queued_length
    used, words = door.arguments_used, door.words_used
    failed = 0
    while at < end_at and failed == 0 and door.overflow == 0:
        # Behind what of this batch is still to be executed.
        door.arguments_used = ARGUMENTS_OF_EXEC
        door.words_used = limits.RESP_INLINE_BYTES_MAX
        at = parse_command(d, at, end_at, False)
        door.argv = argument_at(d, ARGUMENTS_OF_EXEC)
        name = Argument(door.argv)
        door.command = find_command(d, name.address, name.length)
        door.hashed = 0
        told = Command(door.command)
        if told.flags & FLAG_STORE != 0:
            failed = run_in_transaction(w, d, told.number)
        elif Number.FCALL <= told.number <= Number.SCRIPT:
            failed = run_function(w, d, told.number)
        elif told.number == Number.UNWATCH:  # EXEC has done so
            put_line(d, Line.OK)
        else:
            run_plain(w, d, told.number)
    door.arguments_used, door.words_used = used, words
    if failed == SPENT:
        return SPENT
    return Status.OK if failed == 0 else status_of(failed)
