"""The door's part of a turn: which connections are served, and how far.

A turn serves connections for BATCH_US at most, and each for RESP_RECEIVE_BYTES at most; what is left is served in the next
turn, after packets and tasks. What the kernel has reported is served to the end before it is asked again; of connections with
nothing but new bytes, a few are read before the first is served (:mod:`splinter.worker.resp.ahead`). A worker that is busy
with packets asks every _TURNS turns, as long as nothing comes.

The loop calls these three by their addresses (:mod:`splinter.native.callbacks`): a server without the protocol does not have
their code.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.layout import offset
from splinter.native import libc
from splinter.native.atomics import cycles, store32, store64
from splinter.native.clock import now_ns
from splinter.worker.accounts import charge_connection, idle_until_now
from splinter.worker.records import Counters, Worker
from splinter.worker.resp.ahead import forget_ahead, has_room, look_ahead, may_be_read_ahead, read_ahead, serve_next
from splinter.worker.resp.asks import take_answers
from splinter.worker.resp.calls import end_call
from splinter.worker.resp.connections import (
    accept,
    end,
    first_stranger,
    listen_again,
    release_held,
    watch,
)
from splinter.worker.resp.layout import (
    AHEAD_MAX,
    CONNECTION,
    CONTROL,
    EPOLL_CTL_ADD,
    EPOLL_CTL_MOD,
    EPOLLERR,
    EPOLLHUP,
    EPOLLIN,
    EVENT_BYTES,
    EVENTS,
    LISTENER,
    STATE_AGAIN,
    STATE_HELD,
    STATE_OVER,
    STATE_WAITS,
)
from splinter.worker.resp.queues import GONE, connection_at, first_of, length_of, named, pop
from splinter.worker.resp.records import Connection, Door, Event, Queue
from splinter.worker.resp.serving import serve
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
    forget_ahead(d)
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
        store32(door.tenant_asks + tenant * _U32, 0)
        store64(door.tenant_bytes + tenant * 8, 0)
    door.call = 0
    door.out_at = door.output
    door.random = cycles()
    door.since = now_ns(Worker(w).scratch)
    door.deaf_until = 0
    for fd, name in ((door.listener, LISTENER), (door.control, CONTROL)):
        if not watch(d, EPOLL_CTL_ADD, fd, EPOLLIN, name):  # a predecessor has done so
            watch(d, EPOLL_CTL_MOD, fd, EPOLLIN, name)
    return 0


def serve_door(w: int, worked: int) -> int:
    """Serve connections; ``worked``: how many packets and tasks there were in this turn. Returns how many were served."""
    worker, d = Worker(w), Worker(w).door
    door = Door(d)
    served = release_held(w, d) if worker.held_connections != 0 else 0
    has_none = door.events_at == door.events_count and door.ahead_count == 0
    if has_none and length_of(door.at.again) == 0:
        door.turns = door.turns + 1
        if worked > 0 and door.quiet >= _QUIET and door.turns < _TURNS:
            return served
        _ask(d)
        if door.events_count == 0:
            return served
    elif has_none:
        _ask(d)
    idle_until_now(w)
    worker.first_yields = 0
    door.deadline = cycles() + worker.cycles_per_millisecond * limits.BATCH_US // 1000
    again = length_of(door.at.again)  # those that come again in this turn are served in the next
    while again > 0:
        again -= 1
        index = first_of(d, door.at.again)
        if index == GONE:
            break
        pop(door.at.again)
        Connection(connection_at(d, index)).state = Connection(connection_at(d, index)).state & ~STATE_AGAIN
        serve(w, d, index, False)
        served += 1
        if cycles() > door.deadline:
            return served
    while door.ahead_count != 0 or door.events_at < door.events_count:
        if door.ahead_count != 0:
            serve_next(w, d)
        else:
            _take_events(w, d)
        served += 1
        if cycles() > door.deadline:
            break
    return served


@njit(cache=True)
def _take_events(w: int, d: int) -> None:
    """Serve what the kernel reports next; or read ahead the next connections, as many as stand in a row that can be."""
    door = Door(d)
    for _ in range(AHEAD_MAX):
        if door.events_at == door.events_count or not has_room(d):
            break
        event = Event(door.events + door.events_at * EVENT_BYTES)
        index = named(d, event.data) if event.data != LISTENER and event.data != CONTROL else GONE
        is_ahead = index != GONE and may_be_read_ahead(d, index)
        if door.ahead_count != 0 and not is_ahead:
            break
        door.events_at = door.events_at + 1
        if is_ahead:
            read_ahead(w, d, index)
        else:
            _serve_event(w, d, event.data, event.events, index)
            return
    if door.ahead_count != 0:
        look_ahead(w, d)


@njit(cache=True)
def _serve_event(w: int, d: int, data: int, events: int, index: int) -> None:
    if data == LISTENER:
        accept(w, d, now_ns(Worker(w).scratch))
        charge_connection(w, 0, 0, Counters(w).task_cycles)
    elif data == CONTROL:
        take_answers(w, d)
        charge_connection(w, 0, 0, Counters(w).task_cycles)
    elif index != GONE:
        if events & (EPOLLERR | EPOLLHUP) != 0:  # nobody reads what it waits for
            connection = Connection(connection_at(d, index))
            connection.state = connection.state | (STATE_OVER if connection.state & (STATE_HELD | STATE_WAITS) != 0 else 0)
        serve(w, d, index, True)


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


DOOR_FUNCTIONS = {"open": open_door, "serve": serve_door, "review": review_door, "end_call": end_call}
