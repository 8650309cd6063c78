"""One connection within a turn: what it has sent is read, its commands are executed, the replies go out."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native import libc
from splinter.native.atomics import copy_bytes, load8, move_bytes
from splinter.store.operations import store_key_hash, store_prefetch
from splinter.worker.accounts import charge_connection
from splinter.worker.durable import press_log
from splinter.worker.records import Counters, Worker
from splinter.worker.resp.buffers import drop_input, grow
from splinter.worker.resp.connections import (
    end,
    flush,
    go_on,
    say,
    send_kept,
    want,
)
from splinter.worker.resp.errors import put_protocol_error
from splinter.worker.resp.execute import execute
from splinter.worker.resp.layout import (
    CALLS,
    EPOLLIN,
    FLAG_STORE,
    PARSED_BYTES,
    STATE_AGAIN,
    STATE_CLOSING,
    STATE_HELD,
    STATE_OVER,
    STATE_WAITS,
    WAITS,
)
from splinter.worker.resp.lines import Line
from splinter.worker.resp.parse import argument_at, find_command, is_whole, parse_command
from splinter.worker.resp.queues import connection_at
from splinter.worker.resp.records import Argument, Command, Connection, Door, Parsed
from splinter.worker.resp.replies import ARRAY


@njit(cache=True)
def serve(w: int, d: int, index: int, is_reported: bool) -> None:
    """Serve a connection: send what is kept, read, execute, reply. Its tenant pays."""
    connection = Connection(connection_at(d, index))
    payer, commands, tasks_before = connection.tenant, connection.commands, Counters(w).task_cycles
    _take_up(d, index)
    # It is read when what it waits for is there; until then nothing is reported.
    if connection.state & STATE_OVER != 0:
        end(w, d, index)
        return
    if connection.state & (STATE_HELD | STATE_WAITS) != 0 or (is_reported and connection.state & STATE_AGAIN != 0):
        want(d, index, 0)
        return
    if connection.output != 0:
        send_kept(w, d, index)
    elif is_reported or connection.input == 0:
        _receive(w, d, index)
    else:
        _go_through(w, d, index, connection.input, connection.input_length)
    _put_down(w, d, index, payer, commands, tasks_before)


@njit(cache=True)
def serve_received(w: int, d: int, index: int, start: int, length: int) -> None:
    """Serve a connection of which nothing is kept, and which was read: these bytes. Its tenant pays."""
    connection = Connection(connection_at(d, index))
    payer, commands, tasks_before = connection.tenant, connection.commands, Counters(w).task_cycles
    _take_up(d, index)
    _go_through(w, d, index, start, length)
    _put_down(w, d, index, payer, commands, tasks_before)


@njit(cache=True)
def _take_up(d: int, index: int) -> None:
    door, c = Door(d), connection_at(d, index)
    connection = Connection(c)
    door.index = index
    door.connection = c
    door.protocol = connection.protocol
    door.table = connection.table


@njit(cache=True)
def _put_down(w: int, d: int, index: int, payer: int, commands: int, tasks_before: int) -> None:
    """A connection is served for this turn. Who pays is its tenant, or whose it was before: its id may have been given up."""
    connection = Connection(connection_at(d, index))
    payer = connection.tenant if connection.tenant != 0 else payer
    executed = connection.commands - commands
    if connection.state & STATE_OVER != 0:
        end(w, d, index)
    elif connection.output == 0 and connection.state & (STATE_HELD | STATE_AGAIN | STATE_WAITS) == 0:
        want(d, index, EPOLLIN)
    charge_connection(w, payer, executed, tasks_before)
    press_log(w)


@njit(cache=True)
def _receive(w: int, d: int, index: int) -> None:
    """Read what has come, behind what is there of a command that was not whole."""
    door, c = Door(d), connection_at(d, index)
    connection, at = Connection(c), Connection(c).at
    start, length, room = door.input, 0, limits.RESP_RECEIVE_BYTES
    if connection.input != 0:
        length = connection.input_length
        needed = max(connection.input_needed, length + 1)
        if not grow(d, c, at.input, at.input_size, needed):
            say(connection.fd, door.lines, Line.UNREAD)
            connection.state = connection.state | STATE_OVER
            return
        start = connection.input
        room = min(connection.input_size - length, limits.RESP_RECEIVE_MORE_BYTES)
    received = libc.recv(connection.fd, start + length, room, libc.MSG_DONTWAIT)
    if received <= 0:
        if received == 0 or libc.errno() not in (libc.EAGAIN, libc.EINTR):
            connection.state = connection.state | STATE_OVER
        return
    length += received
    if connection.input != 0:
        connection.input_length = length
        if length < connection.input_needed:
            return
    _go_through(w, d, index, start, length)


@njit(cache=True)
def _go_through(w: int, d: int, index: int, start: int, length: int) -> None:
    """Execute the commands that stand whole in these bytes, and keep what is left of them."""
    door, c = Door(d), connection_at(d, index)
    connection = Connection(c)
    at, end_at = start, start + length
    door.out_at = door.output
    stops = False
    if connection.scan_at != 0:
        stops = not _is_whole(d, c, at, end_at)
    while at < end_at and not stops:
        parsed, following, problem = _parse_ahead(w, d, at, end_at)
        for number in range(parsed):
            entry = door.parsed + number * PARSED_BYTES
            at = Parsed(entry).start
            outcome = execute(w, d, entry)
            if outcome == CALLS:
                at = Parsed(entry).end
            elif outcome == WAITS:
                connection.ask_bytes = Parsed(entry).end - at
            if outcome != 0:
                stops = True
                break
            at = Parsed(entry).end
            if connection.state & STATE_CLOSING != 0 or door.out_at - door.output >= limits.RESP_FLUSH_BYTES:
                stops = True
                break
        if stops:
            break
        at = following
        if problem != 0:  # nothing behind it can be understood
            put_protocol_error(d, problem)
            connection.state = connection.state | STATE_CLOSING
            stops = True
        elif parsed == 0:  # the next one is not whole
            break
    connection.table = door.table
    connection.protocol = door.protocol
    if connection.state & STATE_CLOSING != 0:
        at = end_at
    _keep(d, c, start, at, end_at)
    flush(w, d, index)
    if connection.state & STATE_CLOSING != 0 and connection.output == 0:
        connection.state = connection.state | STATE_OVER
    elif connection.state & STATE_WAITS != 0:
        return
    elif connection.input != 0 and stops and connection.output == 0 and connection.scan_at == 0:
        go_on(d, index)


@njit(cache=True)
def _is_whole(d: int, c: int, at: int, end_at: int) -> bool:
    """Whether the command that was not whole is so now, or is none; what is looked through is not again."""
    door, connection = Door(d), Connection(c)
    result = is_whole(d, at, end_at, connection.scan_at, connection.scan_left, connection.tenant == 0)
    connection.scan_at = 0
    if result == 0:
        connection.scan_at = door.scan_at
        connection.scan_left = door.scan_left
        connection.input_needed = door.needed
        return False
    return True


@njit(cache=True)
def _parse_ahead(w: int, d: int, at: int, end_at: int) -> tuple[int, int, int]:
    """Parse the next commands, and ask for the memory that their first keys need.

    Returns how many there are, the address behind them, and a Line, or 0: what follows is no command.
    """
    door, worker = Door(d), Worker(w)
    connection = Connection(door.connection)
    door.arguments_used = 0
    door.words_used = 0
    parsed, looks_ahead, is_stranger = 0, True, connection.tenant == 0
    while at < end_at and parsed < limits.RESP_COMMANDS_AHEAD:
        if parsed != 0 and not _has_space(d, at):
            break
        following = parse_command(d, at, end_at, is_stranger)
        if following <= 0:
            if following == 0 and parsed == 0:
                connection.input_needed = door.needed
                connection.scan_at = door.scan_at if door.scan_left != 0 else 0
                connection.scan_left = door.scan_left
            # What was parsed is executed first: who is no stranger behind it may send more.
            return parsed, at, -following if parsed == 0 else 0
        if door.argc != 0:
            entry = Parsed(door.parsed + parsed * PARSED_BYTES)
            first = door.arguments_used
            name = Argument(argument_at(d, first))
            command = find_command(d, name.address, name.length)
            entry.start = at
            entry.end = following
            entry.first = first
            entry.count = door.argc
            entry.command = command
            entry.hashed = 0
            looks_ahead = looks_ahead and command != 0 and Command(command).flags & FLAG_STORE != 0
            if looks_ahead and Command(command).first_key < door.argc:
                key = Argument(argument_at(d, first + Command(command).first_key))
                if 1 <= key.length <= limits.KEY_BYTES_MAX:
                    entry.hashed = store_key_hash(worker.store, connection.tenant, door.table, key.address, key.length)
            door.arguments_used = first + door.argc
            parsed += 1
            if is_stranger:  # the next one may be a tenant's
                at = following
                break
        at = following
    if parsed > 1:
        hashes = Parsed(door.parsed).at.hashed
        store_prefetch(worker.store, hashes, hashes + parsed * PARSED_BYTES, PARSED_BYTES)
    return parsed, at, 0


@njit(cache=True)
def _has_space(d: int, at: int) -> bool:
    """Whether there is space for one more command's arguments, however many; and for the words of a line."""
    door = Door(d)
    if load8(at) != ARRAY:
        return door.words_used == 0 and door.arguments_used == 0
    return door.arguments_used <= limits.RESP_ARGUMENTS_MAX


@njit(cache=True)
def _keep(d: int, c: int, start: int, at: int, end_at: int) -> None:
    """Keep the bytes from ``at`` to ``end_at`` of those that were read to ``start``."""
    door, connection = Door(d), Connection(c)
    left = end_at - at
    if left == 0:
        drop_input(d, c)
        connection.scan_at = 0
    elif connection.input != 0:
        move_bytes(connection.input, at, left)
        connection.input_length = left
    else:
        fields = connection.at
        if not grow(d, c, fields.input, fields.input_size, left):
            say(connection.fd, door.lines, Line.UNREAD)
            connection.state = connection.state | STATE_OVER
            return
        copy_bytes(connection.input, at, left)
        connection.input_length = left
