"""The requests that a load generator has under way: what every transport's loop shares.

A loop (:mod:`.afxdp_client`, :mod:`.udp_client`) calls, with the address of the ``FLIGHT``
record: :func:`launch` for packets to send until it has none, :func:`complete` for each one received, :func:`expire` once
per batch, and ends when :func:`is_over` says so.

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

from splinter.errors import Status
from splinter.limits import CLIENT_WINDOW, FRAGMENT_BYTES, REQUEST_HEADER_BYTES, VALUE_BYTES_MAX
from splinter.native.atomics import copy_bytes, load8, load16, load32, load64, store32, store64
from splinter.native.libc import memcmp
from splinter.wire import (
    H_ACKNOWLEDGED,
    H_CLIENT,
    H_FRAGMENT_COUNT,
    H_FRAGMENT_INDEX,
    H_MAGIC,
    H_OBJECT_VERSION,
    H_SEQUENCE,
    H_STATUS,
    H_TENANT,
    H_TOKEN,
    H_VALUE_LENGTH,
    MAGIC,
)
from splinter.worker.xdp.frame import sum_udp
from splinter_bench.generators import flight_layout as f
from splinter_bench.generators.flight_layout import CHAIN_BIT, WINDOW
from splinter_bench.generators.frames import FRAME_HEADER_BYTES, UDP_BYTES
from splinter_bench.histogram import record
from splinter_bench.series import record_in_series

CHECK_EVERY = 16  # every so manieth reply has its whole value compared
LATE_NS_MAX = 10_000_000  # after its end an open loop still sends what was due before, for so long
UNCHECKED = -1  # as the length of a reply's value
_WORD_BYTES, _HALF_BYTES = 8, 2
_PIECES_MAX = -(-VALUE_BYTES_MAX // FRAGMENT_BYTES)  # of a value: a bit for each, and one for what is none, fit a word
_IDLE_NS_MAX = 1_000_000  # how long a client that sleeps looks at nothing


@njit(inline="always")
def _add(address: Any, amount: Any) -> Any:
    store64(address, load64(address) + amount)


@njit(inline="always")
def _entry(flight: int, sequence: int) -> int:
    return load64(flight + f.F_PENDING) + (sequence & (WINDOW - 1)) * f.PENDING_BYTES


@njit(cache=True)
def _is_alive(entry: int, sequence: int) -> bool:
    return load64(entry + f.P_SENT) != 0 and load64(entry + f.P_SEQUENCE) == sequence


@njit(cache=True)
def _number(numbers: int, column: int, shift: int) -> int:
    """A number of a schedule's entry; the first one moves on with each pass through the schedule."""
    value = load64(numbers + column * _WORD_BYTES)
    return value + shift if column == 0 else value


# --- sending ------------------------------------------------------------------------------------------------------------


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
        store64(target + load64(patch + f.N_AT), _number(numbers, load64(patch + f.N_COLUMN), shift))
        patch += f.PATCH_BYTES
    sum_udp(header - UDP_BYTES, length - FRAME_HEADER_BYTES)
    return length


@njit(cache=True)
def _follow(flight: int, root: int, template: int, piece: int, pieces: int, is_chain: int) -> None:
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
        root = _entry(flight, root_sequence)
        if not _is_alive(root, root_sequence):  # it was given up
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
    entry = _entry(flight, sequence)
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
        _add(flight + f.F_SHIFT, load64(flight + f.F_ADVANCE))


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
        _follow(flight, sequence, template, 1, pieces, 0)
    entry = _begin(flight, sequence, now, intended, template, numbers, shift, account, sequence, 1, missing)
    _add(flight + f.F_IN_FLIGHT, 1)
    _add(flight + f.F_SENT, 1)
    _add(flight + f.F_REMAINING, -1)
    if load64(flight + f.F_RECORDING):
        _note(flight, entry, now)
    return _write(flight, target, template, entry, sequence, 0)


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
    store64(line + f.R_NUMBER, _number(load64(entry + f.P_NUMBERS), 0, load64(entry + f.P_SHIFT)))
    store32(line + f.R_OPERATION, load64(template + f.T_OPERATION))
    store32(line + f.R_TENANT, load64(account + f.A_TENANT) if account else tenant)
    store64(flight + f.F_RECORDING_COUNT, count + 1)


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
        _add(flight + f.F_REMAINING, -1)
        _add(flight + f.F_UNSENT, 1)
        if load64(flight + f.F_RECORD_FROM) <= due < until:
            record(load64(_template_at(flight, cursor) + f.T_HISTOGRAM), until - due)


# --- receiving ----------------------------------------------------------------------------------------------------------


@njit(cache=True)
def _has_right_value(flight: int, entry: int, template: int, payload: int, length: int) -> bool:
    expected, patches = load64(template + f.T_REPLY_LENGTH), load64(template + f.T_REPLY_PATCH_COUNT)
    if expected == UNCHECKED and patches == 0:
        return True
    value, has = payload + REQUEST_HEADER_BYTES, load32(payload + H_VALUE_LENGTH)
    if length != REQUEST_HEADER_BYTES + has or (expected != UNCHECKED and has != expected):
        return False
    if load64(flight + f.F_ANSWERED) % CHECK_EVERY:
        return True
    _add(flight + f.F_CHECKED, 1)
    patch, numbers, shift = load64(template + f.T_REPLY_PATCHES), load64(entry + f.P_NUMBERS), load64(entry + f.P_SHIFT)
    reply, done = load64(template + f.T_REPLY), 0
    for _ in range(patches):
        at = load64(patch + f.N_AT)
        if at + _WORD_BYTES > has or load64(value + at) != _number(numbers, load64(patch + f.N_COLUMN), shift):
            return False
        if expected != UNCHECKED and memcmp(value + done, reply + done, at - done) != 0:
            return False
        done = at + _WORD_BYTES
        patch += f.PATCH_BYTES
    return expected == UNCHECKED or memcmp(value + done, reply + done, expected - done) == 0


@njit(cache=True)
def _end(flight: int, entry: int) -> None:
    """A request is under way no longer."""
    store64(entry + f.P_SENT, 0)
    _add(flight + f.F_IN_FLIGHT, -1)


@njit(cache=True)
def _finish(flight: int, root: int, now: int) -> None:
    """A request has all its replies, and all were OK."""
    _end(flight, root)
    _add(flight + f.F_COMPLETED, 1)
    template, intended = load64(root + f.P_TEMPLATE), load64(root + f.P_INTENDED)
    is_put = load64(template + f.T_IS_PUT) and load64(template + f.T_PIECES) > 1
    if load64(root + f.P_CORRUPT) or (is_put and load64(root + f.P_VERSION) == 0):
        _add(flight + f.F_CORRUPT, 1)
        return
    start, until = load64(flight + f.F_RECORD_FROM), load64(flight + f.F_RECORD_UNTIL)
    if start <= now < until:
        _add(flight + f.F_RECORDED, 1)
    moment = intended if load64(flight + f.F_GAPS) else now
    if start <= moment < until:
        record(load64(template + f.T_HISTOGRAM), now - intended)
        if load64(flight + f.F_SERIES):
            record_in_series(
                load64(flight + f.F_SERIES),
                load64(flight + f.F_SERIES_INTERVALS),
                (moment - start) // load64(flight + f.F_SERIES_INTERVAL),
                now - intended,
            )


@njit(cache=True)
def _fail(flight: int, entry: int, root: int, is_root_alive: bool, status: int) -> None:
    """A reply had another status than OK: its request has failed, or begins again since the object was replaced meanwhile."""
    root_bit = load64(entry + f.P_ROOT_BIT)
    if entry != root:
        store64(entry + f.P_SENT, 0)
        if not is_root_alive or not load64(root + f.P_MISSING) & root_bit:
            return
        is_replaced = status == Status.VERSION_CHANGED or (status == Status.NOT_FOUND and root_bit != CHAIN_BIT)
        if is_replaced:
            _add(flight + f.F_CONFLICTS, 1)
            store64(root + f.P_MISSING, CHAIN_BIT)
            _follow(flight, load64(root + f.P_SEQUENCE), load64(root + f.P_TEMPLATE), 0, 1, 1)
            return
    _add(load64(flight + f.F_STATUSES) + status * _WORD_BYTES, 1)
    _add(flight + f.F_COMPLETED, 1)
    _end(flight, root)


@njit(cache=True)
def complete(flight: int, payload: int, length: int, now: int) -> bool:
    """Take the reply of ``length`` bytes at address ``payload`` (UDP payload), received at ``now`` (ns).

    Returns whether it answers something under way. Short and foreign packets are no replies.
    """
    if (
        length < REQUEST_HEADER_BYTES
        or load32(payload + H_MAGIC) != MAGIC
        or load64(payload + H_CLIENT) != load64(flight + f.F_CLIENT)
    ):
        _add(flight + f.F_STALE, 1)
        return False
    sequence, piece = load64(payload + H_SEQUENCE), load16(payload + H_FRAGMENT_INDEX)
    entry = _entry(flight, sequence)
    bit = 1 << min(piece, _PIECES_MAX)
    if not _is_alive(entry, sequence) or not load64(entry + f.P_MISSING) & bit:
        _add(flight + f.F_STALE, 1)
        return False
    _add(flight + f.F_ANSWERED, 1)
    root_sequence = load64(entry + f.P_ROOT)
    root = _entry(flight, root_sequence)
    is_root_alive = _is_alive(root, root_sequence)
    status = load8(payload + H_STATUS)
    if status == Status.NOT_FOUND and entry == root and load64(load64(entry + f.P_TEMPLATE) + f.T_MAY_MISS):
        _finish(flight, root, now)
        return True
    if status != Status.OK:
        _fail(flight, entry, root, is_root_alive, status)
        return True

    version = load64(payload + H_OBJECT_VERSION)
    store64(entry + f.P_MISSING, load64(entry + f.P_MISSING) & ~bit)
    if entry != root:
        store64(entry + f.P_SENT, 0)
        if not is_root_alive or not load64(root + f.P_MISSING) & load64(entry + f.P_ROOT_BIT):
            return True
        if piece and version != load64(root + f.P_VERSION):  # of a get that has begun again
            return True
        store64(root + f.P_MISSING, load64(root + f.P_MISSING) & ~load64(entry + f.P_ROOT_BIT))
    template = load64(entry + f.P_TEMPLATE)
    if load64(template + f.T_IS_PUT):
        template += piece * f.TEMPLATE_BYTES
    if not _has_right_value(flight, entry, template, payload, length):
        store64(root + f.P_CORRUPT, 1)
    if version:
        store64(root + f.P_VERSION, version)
    if piece == 0:
        _go_on(flight, root, template, load16(payload + H_FRAGMENT_COUNT))
    if load64(root + f.P_MISSING) == 0:
        _finish(flight, root, now)
    return True


@njit(cache=True)
def _go_on(flight: int, root: int, template: int, fragments: int) -> None:
    """Send what an OK reply asks for: a get's other fragments, or what follows the request."""
    pieces, then = load64(template + f.T_PIECES), load64(template + f.T_THEN)
    sequence = load64(root + f.P_SEQUENCE)
    if pieces > 1 and not load64(template + f.T_IS_PUT):
        if fragments == pieces:
            store64(root + f.P_MISSING, (1 << pieces) - 2)
            _follow(flight, sequence, template, 1, pieces, 0)
        else:
            store64(root + f.P_CORRUPT, 1)
    elif then:
        store64(root + f.P_MISSING, CHAIN_BIT)
        _follow(flight, sequence, then, 0, 1, 1)


@njit(cache=True)
def expire(flight: int, now: int) -> None:
    """Move ``oldest`` on, past what was answered and what has waited for longer than the time-out."""
    oldest, end = load64(flight + f.F_OLDEST), load64(flight + f.F_NEXT_SEQUENCE)
    latest = now - load64(flight + f.F_TIMEOUT)
    while oldest < end:
        entry = _entry(flight, oldest)
        sent = load64(entry + f.P_SENT)
        if sent:
            if sent > latest:
                break
            if load64(entry + f.P_ROOT) == oldest:
                _end(flight, entry)
                _add(flight + f.F_LOST, 1)
            else:
                store64(entry + f.P_SENT, 0)
        oldest += 1
    store64(flight + f.F_OLDEST, oldest)
