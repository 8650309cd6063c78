"""Connections: how they begin and end, and what goes out of them."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native import libc
from splinter.native.atomics import copy_bytes, load32, store32
from splinter.store.accounts import account_of
from splinter.store.layout import DURABILITY_ALWAYS
from splinter.store.records import Account
from splinter.worker.durable import ask_for_connections, is_durable
from splinter.worker.layout import TENANT_COUNTERS_BYTES
from splinter.worker.records import Counters, TenantCounters, Worker
from splinter.worker.resp.buffers import append, change_payer, drop_all, drop_output, drop_queued, drop_walk, drop_watched
from splinter.worker.resp.layout import (
    EPOLL_CTL_ADD,
    EPOLL_CTL_MOD,
    EPOLLIN,
    EPOLLOUT,
    LISTENER,
    STATE_AGAIN,
    STATE_ANSWERED,
    STATE_CLOSING,
    STATE_HELD,
    STATE_MULTI,
    STATE_OVER,
    STATE_SPOILT,
    STATE_STRANGE,
    STATE_WAITS,
    STATE_WALKS,
)
from splinter.worker.resp.lines import Line, line_text
from splinter.worker.resp.queues import connection_at, first_of, name_of, pop, push
from splinter.worker.resp.records import Connection, Door, Event

_SEND_FLAGS = libc.MSG_DONTWAIT | libc.MSG_NOSIGNAL
_ACCEPT_FLAGS = libc.SOCK_NONBLOCK | libc.SOCK_CLOEXEC
_DEAF_NS = 100_000_000
_ACCEPTS = 16  # connections that are let in at a time
_U32 = 4
_PEER_BYTES = 16


@njit(cache=True)
def say(fd: int, lines: int, number: int) -> None:
    """Send a line to who is to be ended; it may be lost."""
    text, size = line_text(lines, number)
    libc.send(fd, text, size, _SEND_FLAGS)


@njit(cache=True)
def watch(d: int, operation: int, fd: int, events: int, name: int) -> bool:
    """Have the kernel report these events of a descriptor. False: it refused."""
    door = Door(d)
    event = Event(door.scratch_event)
    event.events = events
    event.data = name
    return libc.epoll_ctl(door.epoll, operation, fd, door.scratch_event) == 0


@njit(cache=True)
def want(d: int, index: int, events: int) -> None:
    """Have the kernel report these events of a connection from now on."""
    connection = Connection(connection_at(d, index))
    if connection.interest != events:
        connection.interest = events
        watch(d, EPOLL_CTL_MOD, connection.fd, events, name_of(d, index))


# --- begin and end ------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def accept(w: int, d: int, now: int) -> int:
    """Let in who waits; returns how many."""
    door = Door(d)
    taken = 0
    while taken < _ACCEPTS:
        store32(door.scratch_peer + _PEER_BYTES, _PEER_BYTES)
        fd = libc.accept4(door.listener, door.scratch_peer, door.scratch_peer + _PEER_BYTES, _ACCEPT_FLAGS)
        if fd < 0:
            error = libc.errno()
            if error in (libc.EMFILE, libc.ENFILE):  # they wait until a connection has ended
                door.deaf_until = now + _DEAF_NS
                watch(d, EPOLL_CTL_MOD, door.listener, 0, LISTENER)
            break
        taken += 1
        _begin(w, d, fd, now)
    return taken


@njit(cache=True)
def _begin(w: int, d: int, fd: int, now: int) -> None:
    door, counters = Door(d), Counters(w)
    counters.redis_connections += 1
    if door.strangers_live >= limits.RESP_STRANGERS_MAX:
        oldest = first_stranger(d)
        if oldest >= 0:
            end(w, d, oldest)
    if door.free_length == 0:
        counters.redis_refused += 1
        say(fd, door.lines, Line.CONNECTIONS)
        libc.close(fd)
        return
    door.free_length = door.free_length - 1
    index = load32(door.free + door.free_length * _U32)
    c = connection_at(d, index)
    connection = Connection(c)
    connection.fd = fd
    connection.generation = connection.generation + 1 & 0x7FFFFFFF
    connection.tenant = 0
    connection.interest = EPOLLIN
    copy_bytes(connection.peer, door.scratch_peer, _PEER_BYTES)
    connection.name_length = 0
    connection.began = now
    connection.output_since = now
    connection.waits_since = 0
    connection.commands = 0
    connection.position = 0
    connection.sequence = 0
    connection.scan_at = 0
    connection.state = 0
    connection.call = 0
    connection.ask = 0
    begin_session(c)
    door.ids = door.ids + 1
    connection.id = door.ids * limits.WORKERS_MAX + Worker(w).index
    door.live = door.live + 1
    door.strangers_live = door.strangers_live + 1
    _be_strange(d, index)
    if not watch(d, EPOLL_CTL_ADD, fd, EPOLLIN, name_of(d, index)):
        end(w, d, index)


@njit(cache=True)
def _be_strange(d: int, index: int) -> None:
    """Have it be ended when it does not show a token for too long."""
    connection = Connection(connection_at(d, index))
    if connection.state & STATE_STRANGE == 0:
        connection.state = connection.state | STATE_STRANGE
        push(d, Door(d).at.strangers, index)


@njit(cache=True)
def reset_session(w: int, d: int, index: int) -> None:
    """RESET: a connection is as it was at its beginning, but for its id."""
    c = connection_at(d, index)
    connection = Connection(c)
    forget_transaction(d, c)
    leave_tenant(d, index)
    begin_session(c)
    connection.name_length = 0
    connection.began = Worker(w).clock_ns
    _be_strange(d, index)


@njit(cache=True)
def begin_session(c: int) -> None:
    """What RESET leaves, beside transaction and tenant."""
    connection = Connection(c)
    connection.table = 0
    connection.protocol = 2


@njit(cache=True)
def first_stranger(d: int) -> int:
    """The index of the stranger that has been one for longest; < 0: there is none."""
    door = Door(d)
    while True:
        index = first_of(d, door.at.strangers)
        if index < 0 or Connection(connection_at(d, index)).tenant == 0:
            return index
        connection = Connection(connection_at(d, index))
        connection.state = connection.state & ~STATE_STRANGE
        pop(door.at.strangers)


@njit(cache=True)
def leave_tenant(d: int, index: int) -> None:
    """A connection is a stranger's again."""
    connection, door = Connection(connection_at(d, index)), Door(d)
    if connection.tenant == 0:
        return
    counter = door.tenant_connections + connection.tenant * _U32
    store32(counter, load32(counter) - 1)
    change_payer(d, connection_at(d, index), 0)
    connection.tenant = 0
    door.strangers_live = door.strangers_live + 1


@njit(cache=True)
def join_tenant(d: int, index: int, tenant: int, generation: int, token: int) -> bool:
    """A connection becomes a tenant's. False, with nothing changed: that has as many as it may."""
    connection, door = Connection(connection_at(d, index)), Door(d)
    counter = door.tenant_connections + tenant * _U32
    if connection.tenant != tenant:
        if load32(counter) >= limits.RESP_CONNECTIONS_PER_TENANT_MAX:
            return False
        forget_transaction(d, connection_at(d, index))
        leave_tenant(d, index)
        store32(counter, load32(counter) + 1)
        change_payer(d, connection_at(d, index), tenant)
        connection.tenant = tenant
        door.strangers_live = door.strangers_live - 1
    connection.tenant_generation = generation
    connection.token = token
    return True


@njit(cache=True)
def forget_transaction(d: int, c: int) -> None:
    """What is queued, and what is watched."""
    connection = Connection(c)
    connection.state = connection.state & ~(STATE_MULTI | STATE_SPOILT)
    drop_queued(d, c)
    drop_watched(d, c)


@njit(cache=True)
def end(w: int, d: int, index: int) -> None:
    """End a connection. With its descriptor the kernel forgets what it was to report."""
    door, c = Door(d), connection_at(d, index)
    connection = Connection(c)
    if connection.state & STATE_HELD != 0:
        ask_for_connections(w, -1)
    leave_tenant(d, index)
    drop_all(d, c)
    libc.close(connection.fd)
    connection.fd = -1
    connection.state = 0
    door.live = door.live - 1
    door.strangers_live = door.strangers_live - 1
    store32(door.free + door.free_length * _U32, index)
    door.free_length = door.free_length + 1
    if door.deaf_until != 0:
        listen_again(d)


@njit(cache=True)
def listen_again(d: int) -> None:
    """Look at the listening socket again: there may be descriptors."""
    door = Door(d)
    door.deaf_until = 0
    watch(d, EPOLL_CTL_MOD, door.listener, EPOLLIN, LISTENER)


# --- replies ------------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def go_on(d: int, index: int) -> None:
    """Serve a connection in the next turn, whether the kernel reports it or not."""
    connection = Connection(connection_at(d, index))
    if connection.state & STATE_AGAIN == 0:
        connection.state = connection.state | STATE_AGAIN
        push(d, Door(d).at.again, index)


@njit(cache=True)
def _may_tell(w: int, c: int) -> bool:
    """Whether what a connection's replies tell of is on the disk, where its tenant wants it to be."""
    worker, connection = Worker(w), Connection(c)
    if worker.log == 0 or connection.tenant == 0 or (connection.position == 0 and connection.sequence == 0):
        return True
    if Account(account_of(worker.store, connection.tenant)).durability != DURABILITY_ALWAYS:
        return True
    return is_durable(w, connection.tenant, connection.position, connection.sequence)


@njit(cache=True)
def flush(w: int, d: int, index: int) -> None:
    """Send the replies that stand in the door's output; what cannot go out now is kept. STATE_OVER: the peer is gone, or has no
    right to more memory."""
    door, c = Door(d), connection_at(d, index)
    connection = Connection(c)
    start, size = door.output, door.out_at - door.output
    door.out_at = start
    if size == 0:
        return
    at, is_held = connection.at, not _may_tell(w, c)
    if not is_held:
        connection.position = 0
        connection.sequence = 0
        sent = libc.send(connection.fd, start, size, _SEND_FLAGS) if connection.output == 0 else 0
        if sent == size:
            return
        if sent < 0:
            if libc.errno() not in (libc.EAGAIN, libc.EINTR):
                connection.state = connection.state | STATE_OVER
                return
            sent = 0
        start, size = start + sent, size - sent
    if not append(d, c, at.output, at.output_length, at.output_size, start, size):
        Counters(w).redis_refused += 1
        if connection.output == 0 and start == door.output:  # not in the midst of a reply
            say(connection.fd, door.lines, Line.UNREAD)
        connection.state = connection.state | STATE_OVER
        return
    connection.output_since = Worker(w).clock_ns
    if is_held and connection.state & STATE_HELD == 0:
        connection.state = connection.state | STATE_HELD
        push(d, door.at.held, index)
        ask_for_connections(w, 1)
    elif not is_held:
        want(d, index, EPOLLOUT)


@njit(cache=True)
def send_kept(w: int, d: int, index: int) -> None:
    """Send what is kept of a connection's replies; then it may be read again."""
    c = connection_at(d, index)
    connection = Connection(c)
    left = connection.output_length - connection.output_at
    sent = libc.send(connection.fd, connection.output + connection.output_at, left, _SEND_FLAGS)
    if sent < 0:
        if libc.errno() not in (libc.EAGAIN, libc.EINTR):
            connection.state = connection.state | STATE_OVER
            return
        sent = 0
    if sent > 0:
        connection.output_since = Worker(w).clock_ns
    if sent < left:
        connection.output_at = connection.output_at + sent
        want(d, index, EPOLLOUT)
        return
    drop_output(d, c)
    want(d, index, EPOLLIN)
    if connection.state & STATE_CLOSING != 0:
        connection.state = connection.state | STATE_OVER
    elif connection.input != 0:
        go_on(d, index)


@njit(cache=True)
def answer(w: int, d: int, index: int) -> None:
    """Send the reply that a connection waited for: it stands in the door's output, or is kept already. Then it is served again,
    with what it has sent meanwhile."""
    connection = Connection(connection_at(d, index))
    connection.state = connection.state & ~(STATE_WAITS | STATE_ANSWERED)
    flush(w, d, index)
    if connection.state & (STATE_HELD | STATE_OVER) == 0:
        if connection.output != 0:
            send_kept(w, d, index)
        elif connection.input != 0:
            go_on(d, index)
        else:
            want(d, index, EPOLLIN)
    if connection.state & STATE_OVER != 0:
        end(w, d, index)


@njit(cache=True)
def count_late(w: int, c: int) -> None:
    """A command has been answered behind its turn."""
    connection, worker = Connection(c), Worker(w)
    connection.commands = connection.commands + 1
    Counters(w).redis_commands += 1
    TenantCounters(worker.tenant_counters + connection.tenant * TENANT_COUNTERS_BYTES).requests += 1


@njit(cache=True)
def release_held(w: int, d: int) -> int:
    """Send replies that waited for the disk and need not any more, the oldest first; returns how many connections had some."""
    door, released = Door(d), 0
    while released < limits.RX_BATCH:
        index = first_of(d, door.at.held)
        if index < 0:
            break
        c = connection_at(d, index)
        connection = Connection(c)
        if not _may_tell(w, c):
            break
        pop(door.at.held)
        connection.state = connection.state & ~STATE_HELD
        connection.position = 0
        connection.sequence = 0
        ask_for_connections(w, -1)
        send_kept(w, d, index)
        if connection.state & STATE_OVER != 0:
            end(w, d, index)
        released += 1
    return released


@njit(cache=True)
def stop_walking(d: int, c: int) -> None:
    """A walk has ended."""
    connection = Connection(c)
    connection.state = connection.state & ~STATE_WALKS
    drop_walk(d, c)
