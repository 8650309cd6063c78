"""The requests that a load generator has under way: what every transport's loop shares.

A loop (:mod:`.afxdp_client`, :mod:`.udp_client`) calls, with the address of the ``FLIGHT``
record: :func:`launch` for packets to send until it has none, ``complete`` of :mod:`.replies` for each one received, ``expire``
once per batch, and ends when :func:`is_over` says so.

Sequence numbers grow by one. What was sent stands in a table at its sequence number modulo ``WINDOW``, so a reply finds its
request in one step, in whatever order replies come. ``oldest`` follows the oldest one without a reply; one that waits longer
than the time-out is counted as lost and its place is free again, so a loop never hangs. A reply that comes later, or
twice, finds no request and counts as stale.

**Closed loop**: a new request as soon as fewer than ``depth`` are under way; its latency counts from when it is sent.
**Open loop**: arrivals are due at times that were drawn beforehand. None is skipped: one that cannot be sent in time, since
this process was late or too many are under way, is sent as soon as it can be, and its latency counts from when it was *due*:
what a stalled server does to all the requests that would have come meanwhile is not left out ("coordinated
omission"; G. Tene, "How not to measure latency").
"""

from __future__ import annotations

from typing import Any

from numba import njit

from splinter.limits import CLIENT_WINDOW
from splinter.native.atomics import copy_bytes, load16, load32, load64, store32, store64
from splinter.wire import H_ACKNOWLEDGED, H_OBJECT_VERSION, H_SEQUENCE, H_TENANT, H_TOKEN
from splinter.worker.xdp.frame import sum_udp
from splinter_bench.generators import flight_layout as f
from splinter_bench.generators.flight_layout import CHAIN_BIT, WINDOW
from splinter_bench.generators.frames import FRAME_HEADER_BYTES, UDP_BYTES
from splinter_bench.histogram import record

CHECK_EVERY = 16  # every so manieth reply has its whole value compared
LATE_NS_MAX = 10_000_000  # after its end an open loop still sends what was due before, for so long
UNCHECKED = -1  # as the length of a reply's value
_WORD_BYTES, _HALF_BYTES = 8, 2
_IDLE_NS_MAX = 1_000_000  # how long a client that sleeps looks at nothing


@njit(inline="always")
def add(address: Any, amount: Any) -> Any:
    store64(address, load64(address) + amount)


@njit(inline="always")
def entry_at(flight: int, sequence: int) -> int:
    return load64(flight + f.F_PENDING) + (sequence & (WINDOW - 1)) * f.PENDING_BYTES


@njit(cache=True)
def is_alive(entry: int, sequence: int) -> bool:
    return load64(entry + f.P_SENT) != 0 and load64(entry + f.P_SEQUENCE) == sequence


@njit(cache=True)
def number(numbers: int, column: int, shift: int) -> int:
    """A number of a schedule's entry; the first one moves on with each pass through the schedule."""
    value = load64(numbers + column * _WORD_BYTES)
    return value + shift if column == 0 else value


@njit(cache=True)
def _write(flight: int, target: int, template: int, entry: int, sequence: int, version: int) -> int:
    """Write a template's frame with the numbers of a pending entry's request; returns its length."""
    length = load64(template + f.T_LENGTH)
    copy_bytes(target, load64(template + f.T_FRAME), length)
    header = target + FRAME_HEADER_BYTES
    store64(header + H_SEQUENCE, sequence)
    account = load64(entry + f.P_ACCOUNT)
    if account:
        store32(header + H_TENANT, load64(account + f.A_TENANT))
        store64(header + H_TOKEN, load64(account + f.A_TOKEN))
    if version:
        store64(header + H_OBJECT_VERSION, version)
    oldest = load64(flight + f.F_OLDEST)
    if load64(template + f.T_IS_MUTATION) and sequence - oldest < CLIENT_WINDOW:  # beyond, exactly-once cannot be asked for
        store64(header + H_ACKNOWLEDGED, oldest)
    patch, numbers, shift = load64(template + f.T_PATCHES), load64(entry + f.P_NUMBERS), load64(entry + f.P_SHIFT)
    for _ in range(load64(template + f.T_PATCH_COUNT)):
        store64(target + load64(patch + f.N_AT), number(numbers, load64(patch + f.N_COLUMN), shift))
        patch += f.PATCH_BYTES
    sum_udp(header - UDP_BYTES, length - FRAME_HEADER_BYTES)
    return length


@njit(cache=True)
def follow(flight: int, root: int, template: int, piece: int, pieces: int, is_chain: int) -> None:
    """Have :func:`launch` send fragments ``piece`` … ``pieces`` - 1 for the root with this sequence number."""
    tail = load64(flight + f.F_FOLLOWING_TAIL)
    item = load64(flight + f.F_FOLLOWING) + (tail & (WINDOW - 1)) * f.FOLLOWING_BYTES
    store64(item + f.Q_ROOT, root)
    store64(item + f.Q_TEMPLATE, template)
    store64(item + f.Q_PIECE, piece)
    store64(item + f.Q_PIECES, pieces)
    store64(item + f.Q_IS_CHAIN, is_chain)
    store64(flight + f.F_FOLLOWING_TAIL, tail + 1)


@njit(cache=True)
def _launch_following(flight: int, target: int, now: int) -> int:
    """The next packet of a request that was begun; 0 when there is none, or no sequence number is free."""
    while load64(flight + f.F_FOLLOWING_HEAD) != load64(flight + f.F_FOLLOWING_TAIL):
        head = load64(flight + f.F_FOLLOWING_HEAD)
        item = load64(flight + f.F_FOLLOWING) + (head & (WINDOW - 1)) * f.FOLLOWING_BYTES
        root_sequence, piece = load64(item + f.Q_ROOT), load64(item + f.Q_PIECE)
        root = entry_at(flight, root_sequence)
        if not is_alive(root, root_sequence):  # it was given up
            store64(flight + f.F_FOLLOWING_HEAD, head + 1)
            continue
        first, is_chain = load64(item + f.Q_TEMPLATE), load64(item + f.Q_IS_CHAIN)
        template = first + piece * f.TEMPLATE_BYTES
        sequence, version = root_sequence, load64(root + f.P_VERSION)
        if load64(first + f.T_IS_PUT) and not is_chain:
            version = 0
        else:
            sequence = load64(flight + f.F_NEXT_SEQUENCE)
            if sequence - load64(flight + f.F_OLDEST) >= WINDOW:
                return 0
            store64(flight + f.F_NEXT_SEQUENCE, sequence + 1)
            _begin(
                flight,
                sequence,
                now,
                now,
                template,
                load64(root + f.P_NUMBERS),
                load64(root + f.P_SHIFT),
                load64(root + f.P_ACCOUNT),
                root_sequence,
                CHAIN_BIT if is_chain else 1 << piece,
                1 << piece,
            )
            if is_chain and not load64(template + f.T_IS_MUTATION):
                version = 0  # a read that begins again reads whatever is there
        if piece + 1 < load64(item + f.Q_PIECES):
            store64(item + f.Q_PIECE, piece + 1)
        else:
            store64(flight + f.F_FOLLOWING_HEAD, head + 1)
        return _write(flight, target, template, root, sequence, version)
    return 0


@njit(cache=True)
def _begin(
    flight: int,
    sequence: int,
    now: int,
    intended: int,
    template: int,
    numbers: int,
    shift: int,
    account: int,
    root: int,
    root_bit: int,
    missing: int,
) -> int:
    entry = entry_at(flight, sequence)
    store64(entry + f.P_SENT, now)
    store64(entry + f.P_INTENDED, intended)
    store64(entry + f.P_SEQUENCE, sequence)
    store64(entry + f.P_TEMPLATE, template)
    store64(entry + f.P_NUMBERS, numbers)
    store64(entry + f.P_SHIFT, shift)
    store64(entry + f.P_ACCOUNT, account)
    store64(entry + f.P_MISSING, missing)
    store64(entry + f.P_ROOT, root)
    store64(entry + f.P_ROOT_BIT, root_bit)
    store64(entry + f.P_VERSION, 0)
    store64(entry + f.P_CORRUPT, 0)
    return entry


@njit(cache=True)
def _arrive(flight: int) -> int:
    """When the next arrival is due; the one behind it becomes the next."""
    due = load64(flight + f.F_NEXT)
    cursor = load64(flight + f.F_GAP_CURSOR)
    store64(flight + f.F_NEXT, due + load64(load64(flight + f.F_GAPS) + cursor * _WORD_BYTES))
    cursor += 1
    store64(flight + f.F_GAP_CURSOR, 0 if cursor == load64(flight + f.F_GAP_ENTRIES) else cursor)
    return due


@njit(cache=True)
def _template_at(flight: int, cursor: int) -> int:
    choice = load16(load64(flight + f.F_CHOICE) + cursor * _HALF_BYTES)
    return load64(load64(flight + f.F_TEMPLATES) + choice * _WORD_BYTES)


@njit(cache=True)
def _move_on(flight: int, cursor: int) -> None:
    if cursor + 1 < load64(flight + f.F_SCHEDULE_ENTRIES):
        store64(flight + f.F_CURSOR, cursor + 1)
    else:
        store64(flight + f.F_CURSOR, 0)
        add(flight + f.F_SHIFT, load64(flight + f.F_ADVANCE))


@njit(cache=True)
def _note(flight: int, entry: int, now: int) -> None:
    """Write a request into the recording, as long as that has room."""
    count = load64(flight + f.F_RECORDING_COUNT)
    if count >= load64(flight + f.F_RECORDING_ROOM):
        return
    line = load64(flight + f.F_RECORDING) + count * f.RECORDED_BYTES
    account = load64(entry + f.P_ACCOUNT)
    template = load64(entry + f.P_TEMPLATE)
    tenant = load32(load64(template + f.T_FRAME) + FRAME_HEADER_BYTES + H_TENANT)
    store64(line + f.R_TIME, now - load64(flight + f.F_RECORDING_START))
    store64(line + f.R_NUMBER, number(load64(entry + f.P_NUMBERS), 0, load64(entry + f.P_SHIFT)))
    store32(line + f.R_OPERATION, load64(template + f.T_OPERATION))
    store32(line + f.R_TENANT, load64(account + f.A_TENANT) if account else tenant)
    store64(flight + f.F_RECORDING_COUNT, count + 1)


@njit(cache=True)
def launch(flight: int, target: int, now: int) -> int:
    """Write the next packet to send, a whole frame, to address ``target``; returns its length, 0 when there is none now.

    ``now`` (ns) becomes the time at which it was sent.
    """
    length = _launch_following(flight, target, now)
    if length:
        return length
    if (
        load64(flight + f.F_IN_FLIGHT) >= load64(flight + f.F_DEPTH)
        or load64(flight + f.F_NEXT_SEQUENCE) - load64(flight + f.F_OLDEST) >= load64(flight + f.F_REACH)
        or is_all_sent(flight, now)
    ):
        return 0
    intended = now
    if load64(flight + f.F_GAPS):
        if load64(flight + f.F_NEXT) > now:
            return 0
        intended = _arrive(flight)

    cursor = load64(flight + f.F_CURSOR)
    template = _template_at(flight, cursor)
    numbers = load64(flight + f.F_NUMBERS) + cursor * load64(flight + f.F_COLUMNS) * _WORD_BYTES
    shift = load64(flight + f.F_SHIFT)
    account = load64(flight + f.F_ACCOUNTS)
    if account:
        account += load16(load64(flight + f.F_ACCOUNT_CHOICE) + cursor * _HALF_BYTES) * f.ACCOUNT_BYTES
    _move_on(flight, cursor)

    sequence = load64(flight + f.F_NEXT_SEQUENCE)
    store64(flight + f.F_NEXT_SEQUENCE, sequence + 1)
    missing, pieces = 1, load64(template + f.T_PIECES)
    if pieces > 1 and load64(template + f.T_IS_PUT):
        missing = (1 << pieces) - 1
        follow(flight, sequence, template, 1, pieces, 0)
    entry = _begin(flight, sequence, now, intended, template, numbers, shift, account, sequence, 1, missing)
    add(flight + f.F_IN_FLIGHT, 1)
    add(flight + f.F_SENT, 1)
    add(flight + f.F_REMAINING, -1)
    if load64(flight + f.F_RECORDING):
        _note(flight, entry, now)
    return _write(flight, target, template, entry, sequence, 0)


@njit(cache=True)
def is_all_sent(flight: int, now: int) -> bool:
    """Whether no further request will be begun."""
    until = load64(flight + f.F_UNTIL)
    if load64(flight + f.F_REMAINING) <= 0:
        return True
    if load64(flight + f.F_GAPS):
        return load64(flight + f.F_NEXT) >= until or now >= until + LATE_NS_MAX
    return now >= until


@njit(cache=True)
def is_over(flight: int, now: int) -> bool:
    """Whether everything was sent, and was answered or given up."""
    return load64(flight + f.F_IN_FLIGHT) == 0 and is_all_sent(flight, now)


@njit(cache=True)
def idle_ns(flight: int, now: int) -> int:
    """How long a client that has nothing to do may sleep, unless a packet comes."""
    is_due = load64(flight + f.F_IN_FLIGHT) < load64(flight + f.F_DEPTH) and not is_all_sent(flight, now)
    if load64(flight + f.F_GAPS) and is_due:
        return max(0, min(load64(flight + f.F_NEXT) - now, _IDLE_NS_MAX))
    return _IDLE_NS_MAX


@njit(cache=True)
def abandon(flight: int) -> None:
    """At the end of an open loop: what was due and never sent has waited until the end, at least, and counts with that."""
    until = load64(flight + f.F_RECORD_UNTIL)
    while load64(flight + f.F_NEXT) < load64(flight + f.F_UNTIL) and load64(flight + f.F_REMAINING) > 0:
        cursor = load64(flight + f.F_CURSOR)
        due = _arrive(flight)
        _move_on(flight, cursor)
        add(flight + f.F_REMAINING, -1)
        add(flight + f.F_UNSENT, 1)
        if load64(flight + f.F_RECORD_FROM) <= due < until:
            record(load64(_template_at(flight, cursor) + f.T_HISTOGRAM), until - due)
