"""The loop of a load generator, as it is on every transport: send what is due, take what has come, and sleep if it may.

The steps in which transports differ are handed over as compiled functions, and are put in when a transport's own loop is
compiled. Each takes the address of the transport's record, which begins with the fields of ``LOOP``:

======================== ========================================================================================
``send(client, now)``    launch what is due; returns how many packets, or ``-errno``
``receive(client, now)`` complete what has come; returns how many packets, and the time, read anew if there were any
``tidy(client)``         what can wait for a reply, or for a while without one; returns 0, or ``-errno``
======================== ========================================================================================

A loop that spins has no wake-up in its latencies. One that sleeps does so in ``ppoll`` on its sockets. The kernel ends a
sleep up to the thread's timer slack later (50 µs, unless :func:`splinter.server.processes.sleep_precisely` was called), and the
scheduler runs the thread when it likes, unless it has a real-time priority (:func:`splinter_bench.process.real_time`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit

from splinter.native.atomics import store64
from splinter.native.clock import SECOND_NS, now_ns
from splinter.native.libc import ppoll
from splinter.native.records import record
from splinter_bench.generators.flight import idle_ns, is_over
from splinter_bench.generators.flight_layout import State
from splinter_bench.generators.replies import expire

LOOP = np.dtype(
    [
        ("flight", "<i8"),  # address of the FLIGHT record
        ("polled", "<i8"),  # address of a POLLFD for each socket
        ("polled_count", "<i8"),
        ("spins_max", "<i8"),  # after so many looks at empty sockets it sleeps until there is something to do; 0: it never does
        ("timespec", "<i8"),  # address of scratch memory for the clock
    ]
)
POLLFD = np.dtype([("fd", "<i4"), ("events", "<i2"), ("returned", "<i2")])  # struct pollfd
Loop = record(LOOP)
Send = Callable[[int, int], int]
Receive = Callable[[int, int], tuple[int, int]]
Tidy = Callable[[int], int]
_SPINS_BETWEEN_CLOCKS = 64  # looks at empty sockets until the clock is read again, for time-outs and the run's end
_NANOSECONDS_AT = 8  # in a struct timespec


@njit(cache=True)
def _sleep(client: int, now: int) -> int:
    """Sleep until a packet comes or the next arrival is due; returns the time."""
    loop = Loop(client)
    nanoseconds = idle_ns(loop.flight, now)
    store64(loop.timespec, nanoseconds // SECOND_NS)
    store64(loop.timespec + _NANOSECONDS_AT, nanoseconds % SECOND_NS)
    ppoll(loop.polled, loop.polled_count, loop.timespec, 0)
    return now_ns(loop.timespec)


# Not cached, as all that take functions: it is compiled into a transport's own loop, and kept with that.
@njit(forceinline=True)
def run(client: int, send: Send, receive: Receive, tidy: Tidy) -> int:
    """Run until all is over. Returns 0, or ``-errno``."""
    flight, spins_max, timespec = Loop(client).flight, Loop(client).spins_max, Loop(client).timespec
    now, spins = now_ns(timespec), 0
    while True:
        sent = send(client, now)
        if sent < 0:
            return sent
        if sent == 0 and is_over(flight, now):
            return tidy(client)
        received, now = receive(client, now)
        spins = 0 if sent or received else spins + 1
        if received or spins % _SPINS_BETWEEN_CLOCKS == 0:
            if not received:
                now = now_ns(timespec)
            expire(flight, now)
            error = tidy(client)
            if error:
                return error
        elif State(flight).gaps:
            now = now_ns(timespec)  # the next arrival may be due
        if spins_max and spins >= spins_max:
            now, spins = _sleep(client, now), 0
            expire(flight, now)
