"""What becomes of a reply, and of a request that has none: the half of a flight that follows each packet that comes.

:func:`complete` looks whose reply a packet is, checks it, and sends what follows; :func:`expire` gives up what waited too long.
"""

from __future__ import annotations

from numba import njit

from splinter.errors import Status
from splinter.limits import FRAGMENT_BYTES, REQUEST_HEADER_BYTES, VALUE_BYTES_MAX
from splinter.native.atomics import load8, load16, load32, load64, store64
from splinter.native.libc import memcmp
from splinter.wire import (
    H_CLIENT,
    H_FRAGMENT_COUNT,
    H_FRAGMENT_INDEX,
    H_MAGIC,
    H_OBJECT_VERSION,
    H_SEQUENCE,
    H_STATUS,
    H_VALUE_LENGTH,
    MAGIC,
)
from splinter_bench.generators import flight_layout as f
from splinter_bench.generators.flight import CHECK_EVERY, UNCHECKED, add, entry_at, follow, is_alive, number
from splinter_bench.generators.flight_layout import CHAIN_BIT
from splinter_bench.histogram import record
from splinter_bench.series import record_in_series

_WORD_BYTES, _HALF_BYTES = 8, 2
_PIECES_MAX = -(-VALUE_BYTES_MAX // FRAGMENT_BYTES)  # of a value: a bit for each, and one for what is none, fit a word


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
    add(flight + f.F_CHECKED, 1)
    patch, numbers, shift = load64(template + f.T_REPLY_PATCHES), load64(entry + f.P_NUMBERS), load64(entry + f.P_SHIFT)
    reply, done = load64(template + f.T_REPLY), 0
    for _ in range(patches):
        at = load64(patch + f.N_AT)
        if at + _WORD_BYTES > has or load64(value + at) != number(numbers, load64(patch + f.N_COLUMN), shift):
            return False
        if expected != UNCHECKED and memcmp(value + done, reply + done, at - done) != 0:
            return False
        done = at + _WORD_BYTES
        patch += f.PATCH_BYTES
    return expected == UNCHECKED or memcmp(value + done, reply + done, expected - done) == 0


@njit(cache=True)
def drop_entry(flight: int, entry: int) -> None:
    """A request is under way no longer."""
    store64(entry + f.P_SENT, 0)
    add(flight + f.F_IN_FLIGHT, -1)


@njit(cache=True)
def finish(flight: int, root: int, now: int) -> None:
    """A request has all its replies, and all were OK."""
    drop_entry(flight, root)
    add(flight + f.F_COMPLETED, 1)
    template, intended = load64(root + f.P_TEMPLATE), load64(root + f.P_INTENDED)
    is_put = load64(template + f.T_IS_PUT) and load64(template + f.T_PIECES) > 1
    if load64(root + f.P_CORRUPT) or (is_put and load64(root + f.P_VERSION) == 0):
        add(flight + f.F_CORRUPT, 1)
        return
    start, until = load64(flight + f.F_RECORD_FROM), load64(flight + f.F_RECORD_UNTIL)
    if start <= now < until:
        add(flight + f.F_RECORDED, 1)
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
            add(flight + f.F_CONFLICTS, 1)
            store64(root + f.P_MISSING, CHAIN_BIT)
            follow(flight, load64(root + f.P_SEQUENCE), load64(root + f.P_TEMPLATE), 0, 1, 1)
            return
    add(load64(flight + f.F_STATUSES) + status * _WORD_BYTES, 1)
    add(flight + f.F_COMPLETED, 1)
    drop_entry(flight, root)


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
        add(flight + f.F_STALE, 1)
        return False
    sequence, piece = load64(payload + H_SEQUENCE), load16(payload + H_FRAGMENT_INDEX)
    entry = entry_at(flight, sequence)
    bit = 1 << min(piece, _PIECES_MAX)
    if not is_alive(entry, sequence) or not load64(entry + f.P_MISSING) & bit:
        add(flight + f.F_STALE, 1)
        return False
    add(flight + f.F_ANSWERED, 1)
    root_sequence = load64(entry + f.P_ROOT)
    root = entry_at(flight, root_sequence)
    is_root_alive = is_alive(root, root_sequence)
    status = load8(payload + H_STATUS)
    if status == Status.NOT_FOUND and entry == root and load64(load64(entry + f.P_TEMPLATE) + f.T_MAY_MISS):
        finish(flight, root, now)
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
        finish(flight, root, now)
    return True


@njit(cache=True)
def _go_on(flight: int, root: int, template: int, fragments: int) -> None:
    """Send what an OK reply asks for: a get's other fragments, or what follows the request."""
    pieces, then = load64(template + f.T_PIECES), load64(template + f.T_THEN)
    sequence = load64(root + f.P_SEQUENCE)
    if pieces > 1 and not load64(template + f.T_IS_PUT):
        if fragments == pieces:
            store64(root + f.P_MISSING, (1 << pieces) - 2)
            follow(flight, sequence, template, 1, pieces, 0)
        else:
            store64(root + f.P_CORRUPT, 1)
    elif then:
        store64(root + f.P_MISSING, CHAIN_BIT)
        follow(flight, sequence, then, 0, 1, 1)


@njit(cache=True)
def expire(flight: int, now: int) -> None:
    """Move ``oldest`` on, past what was answered and what has waited for longer than the time-out."""
    oldest, end = load64(flight + f.F_OLDEST), load64(flight + f.F_NEXT_SEQUENCE)
    latest = now - load64(flight + f.F_TIMEOUT)
    while oldest < end:
        entry = entry_at(flight, oldest)
        sent = load64(entry + f.P_SENT)
        if sent:
            if sent > latest:
                break
            if load64(entry + f.P_ROOT) == oldest:
                drop_entry(flight, entry)
                add(flight + f.F_LOST, 1)
            else:
                store64(entry + f.P_SENT, 0)
        oldest += 1
    store64(flight + f.F_OLDEST, oldest)
