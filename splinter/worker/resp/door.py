"""The door's part of a turn: which connections are served, and how far.

A turn serves connections for BATCH_US at most, and each for RESP_RECEIVE_BYTES at most; what is left is served in the next
turn, after packets and tasks. What the kernel has reported is served to the end before it is asked again. A worker that is busy
with packets asks every _TURNS turns, as long as nothing comes.

The loop calls these three by their addresses (:mod:`splinter.native.callbacks`): a server without the protocol does not have
their code.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.layout import offset
from splinter.native import libc
from splinter.native.atomics import copy_bytes, cycles, load8, move_bytes, store32, store64
from splinter.native.clock import now_ns
from splinter.store.operations import store_prefetch, store_prefetch_object
from splinter.worker.accounts import charge_connection, idle_until_now
from splinter.worker.durable import press_log
from splinter.worker.records import Worker
from splinter.worker.resp.buffers import drop_input, grow
from splinter.worker.resp.connections import (
    accept,
    end,
    first_stranger,
    flush,
    go_on,
    listen_again,
    release_held,
    say,
    send_kept,
    want,
    watch,
)
from splinter.worker.resp.errors import put_protocol_error
from splinter.worker.resp.execute import execute
from splinter.worker.resp.layout import (
    CONNECTION,
    EPOLL_CTL_ADD,
    EPOLL_CTL_MOD,
    EPOLLIN,
    EVENT_BYTES,
    EVENTS,
    FLAG_STORE,
    LISTENER,
    PARSED_BYTES,
    STATE_AGAIN,
    STATE_CLOSING,
    STATE_HELD,
    STATE_OVER,
)
from splinter.worker.resp.lines import Line
from splinter.worker.resp.parse import argument_at, find_command, is_whole, parse_command
from splinter.worker.resp.queues import GONE, connection_at, first_of, length_of, named, pop
from splinter.worker.resp.records import Argument, Command, Connection, Door, Event, Parsed, Queue
from splinter.worker.resp.replies import ARRAY
from splinter.worker.resp.session import is_still_tenant

_TURNS = 16
_QUIET = 16  # looks that found nothing, before a busy worker asks less often
_U32 = 4
_SECOND_NS = 1_000_000_000
_BUFFERS_AT, _BUFFERS_END = offset(CONNECTION, "input"), offset(CONNECTION, "waits_since")
_REVIEWED = 128  # connections that are looked at whenever the clock is, most of which are none


def open_door(w: int, _: int) -> int:
    """A worker begins: no connection is its own. Those of a predecessor ended with it. Returns 0."""
    d = Worker(w).door
    door = Door(d)
    door.events_at = 0
    door.events_count = 0
    most = limits.RESP_CONNECTIONS_MAX
    for place in range(most):
        connection = Connection(connection_at(d, place))
        connection.fd = -1
        connection.state = 0
        connection.tenant = 0
        for buffer in range(_BUFFERS_AT, _BUFFERS_END, 8):
            store64(connection_at(d, place) + buffer, 0)
        store32(door.free + place * _U32, most - 1 - place)
    door.free_length = most
    door.live = 0
    door.bytes = 0
    door.strangers_live = 0
    for queue in (door.again, door.held, door.strangers):
        Queue(queue).head = 0
        Queue(queue).tail = 0
    for tenant in range(limits.TENANTS_MAX):
        store32(door.tenant_connections + tenant * _U32, 0)
        store64(door.tenant_bytes + tenant * 8, 0)
    door.random = cycles()
    door.since = now_ns(Worker(w).scratch)
    door.deaf_until = 0
    if not watch(d, EPOLL_CTL_ADD, door.listener, EPOLLIN, LISTENER):  # a predecessor has done so
        watch(d, EPOLL_CTL_MOD, door.listener, EPOLLIN, LISTENER)
    return 0


def serve_door(w: int, worked: int) -> int:
    """Serve connections; ``worked``: how many packets and tasks there were in this turn. Returns how many were served."""
    worker, d = Worker(w), Worker(w).door
    door = Door(d)
    served = release_held(w, d) if worker.held_connections != 0 else 0
    if door.events_at == door.events_count and length_of(door.at.again) == 0:
        door.turns = door.turns + 1
        if worked > 0 and door.quiet >= _QUIET and door.turns < _TURNS:
            return served
        _ask(d)
        if door.events_count == 0:
            return served
    elif door.events_at == door.events_count:
        _ask(d)
    idle_until_now(w)
    door.deadline = cycles() + worker.cycles_per_millisecond * limits.BATCH_US // 1000
    again = length_of(door.at.again)  # those that come again in this turn are served in the next
    while again > 0:
        again -= 1
        index = first_of(d, door.at.again)
        if index == GONE:
            break
        pop(door.at.again)
        Connection(connection_at(d, index)).state = Connection(connection_at(d, index)).state & ~STATE_AGAIN
        _serve(w, d, index, False)
        served += 1
        if cycles() > door.deadline:
            return served
    while door.events_at < door.events_count:
        event = Event(door.events + door.events_at * EVENT_BYTES)
        door.events_at = door.events_at + 1
        served += 1
        if event.data == LISTENER:
            accept(w, d, now_ns(worker.scratch))
            charge_connection(w, 0, 0)
            continue
        index = named(d, event.data)
        if index != GONE:
            _serve(w, d, index, True)
        if cycles() > door.deadline:
            break
    return served


@njit(cache=True)
def _ask(d: int) -> None:
    """Ask the kernel which connections have something."""
    door = Door(d)
    door.turns = 0
    door.events_at = 0
    door.events_count = max(libc.epoll_wait(door.epoll, door.events, EVENTS, 0), 0)
    door.quiet = door.quiet + 1 if door.events_count == 0 else 0


def review_door(w: int, now: int) -> int:
    """Whenever the clock is looked at: end a connection that has been a stranger for too long; and of a few those whose replies
    have been unread for too long, or whose tenant is gone. Returns 0."""
    d = Worker(w).door
    door = Door(d)
    index = first_stranger(d)
    if index >= 0 and now - Connection(connection_at(d, index)).began > limits.RESP_STRANGER_SECONDS * _SECOND_NS:
        end(w, d, index)
    if door.deaf_until != 0 and now > door.deaf_until:
        listen_again(d)
    if door.live == 0:
        return 0
    for _ in range(_REVIEWED):
        index = door.reviewed
        door.reviewed = (index + 1) % limits.RESP_CONNECTIONS_MAX
        connection = Connection(connection_at(d, index))
        if connection.fd < 0:
            continue
        is_unread = connection.output != 0 and connection.state & STATE_HELD == 0
        if is_unread and now - connection.output_since > limits.RESP_UNREAD_SECONDS * _SECOND_NS:
            end(w, d, index)
        elif connection.tenant != 0 and not is_still_tenant(w, connection_at(d, index)):
            end(w, d, index)  # it may never ask again, and what it has is counted as the id's
    return 0


# --- one connection ---------------------------------------------------------------------------------------------------------


@njit(cache=True)
def _serve(w: int, d: int, index: int, is_reported: bool) -> None:
    """Serve a connection: send what is kept, read, execute, reply. Its tenant pays."""
    door, c = Door(d), connection_at(d, index)
    connection = Connection(c)
    payer, commands = connection.tenant, connection.commands
    door.index = index
    door.connection = c
    door.protocol = connection.protocol
    door.table = connection.table
    # It is read when what it waits for is there; until then nothing is reported.
    if connection.state & STATE_HELD != 0 or (is_reported and connection.state & STATE_AGAIN != 0):
        want(d, index, 0)
        return
    if connection.output != 0:
        send_kept(w, d, index)
    elif is_reported or connection.input == 0:
        _receive(w, d, index)
    else:
        _go_through(w, d, index, connection.input, connection.input_length)
    payer = connection.tenant if connection.tenant != 0 else payer
    executed = connection.commands - commands
    if connection.state & STATE_OVER != 0:
        end(w, d, index)
    elif connection.output == 0 and connection.state & (STATE_HELD | STATE_AGAIN) == 0:
        want(d, index, EPOLLIN)
    charge_connection(w, payer, executed)
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
            if outcome != 0:
                go_on(d, index)
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
                    entry.hashed = store_prefetch(worker.store, connection.tenant, door.table, key.address, key.length)
            door.arguments_used = first + door.argc
            parsed += 1
            if is_stranger:  # the next one may be a tenant's
                at = following
                break
        at = following
    if parsed > 1:
        for number in range(parsed):
            hashed = Parsed(door.parsed + number * PARSED_BYTES).hashed
            if hashed != 0:
                store_prefetch_object(worker.store, hashed)
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


DOOR_FUNCTIONS = {"open": open_door, "serve": serve_door, "review": review_door}
