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
    ANSWER,
    FLAG_KERNEL,
    H_CLIENT,
    H_FLAGS,
    H_FRAGMENT_COUNT,
    H_FRAGMENT_INDEX,
    H_MAGIC,
    H_OBJECT_VERSION,
    H_SEQUENCE,
    H_STATUS,
    H_VALUE_LENGTH,
    MAGIC,
)
from splinter_bench.generators.flight import CHECK_EVERY, UNCHECKED, entry_at, follow, is_alive, number, sequence_of
from splinter_bench.generators.flight_layout import CHAIN_BIT, PATCH, TEMPLATE, Patch, Pending, State, Template
from splinter_bench.histogram import record, record_in_series
from splinter_bench.workloads.workload import ANY_VERSION

_WORD_BYTES, _PATCH_BYTES, _TEMPLATE_BYTES = 8, PATCH.itemsize, TEMPLATE.itemsize
_ANSWER_BYTES, _ANSWER_LENGTH = ANSWER.struct.size, 2  # a batch's answer, and where in it the length of its value is
_PIECES_MAX = -(-VALUE_BYTES_MAX // FRAGMENT_BYTES)  # of a value: a bit for each, and one for what is none, fit a word


@njit(cache=True)
def _has_right_value(flight: int, entry: int, template: int, payload: int, length: int) -> bool:
    state, pending, asked = State(flight), Pending(entry), Template(template)
    expected = asked.reply_length
    if expected == UNCHECKED and asked.reply_patch_count == 0:
        return True
    value, has = payload + REQUEST_HEADER_BYTES, load32(payload + H_VALUE_LENGTH)
    if length != REQUEST_HEADER_BYTES + has or (expected != UNCHECKED and has != expected):
        return False
    if state.answered % CHECK_EVERY:
        return True
    state.checked += 1
    patch, reply, done = asked.reply_patches, asked.reply, 0
    for _ in range(asked.reply_patch_count):
        at, column = Patch(patch).place, Patch(patch).column
        if at + _WORD_BYTES > has:
            return False
        if column == ANY_VERSION:
            if load64(value + at) == 0:
                return False
        elif load64(value + at) != number(pending.numbers, column, pending.shift):
            return False
        if expected != UNCHECKED and memcmp(value + done, reply + done, at - done) != 0:
            return False
        done = at + _WORD_BYTES
        patch += _PATCH_BYTES
    return expected == UNCHECKED or memcmp(value + done, reply + done, expected - done) == 0


@njit(cache=True)
def _status_of_batch(payload: int, length: int, answers: int) -> int:
    """The first status that is not OK of a reply to a batch. BUSY: an answer is missing, its request is to be asked again."""
    answer, end = payload + REQUEST_HEADER_BYTES, payload + length
    for _ in range(answers):
        if answer + _ANSWER_BYTES > end:
            return Status.BUSY
        status = load16(answer)
        if status != Status.OK:
            return status
        answer += _ANSWER_BYTES + load16(answer + _ANSWER_LENGTH)
    return Status.OK


@njit(cache=True)
def drop_entry(flight: int, entry: int) -> None:
    """A request is under way no longer."""
    Pending(entry).sent_ns = 0
    State(flight).in_flight -= 1


@njit(cache=True)
def finish(flight: int, root: int, now: int) -> None:
    """A request has all its replies, and all were OK."""
    drop_entry(flight, root)
    state, pending = State(flight), Pending(root)
    state.completed += 1
    template, intended = Template(pending.template), pending.intended_ns
    if pending.corrupt or (template.is_put and template.pieces > 1 and pending.version == 0):
        state.corrupt += 1
        return
    start, until = state.record_from_ns, state.record_until_ns
    if start <= now < until:
        state.recorded += 1
    moment = intended if state.gaps else now
    if start <= moment < until:
        record(template.histogram, now - intended)
        if state.series:
            interval = (moment - start) // state.series_interval_ns
            record_in_series(state.series, state.series_intervals, interval, now - intended)


@njit(cache=True)
def _fail(flight: int, entry: int, root: int, is_root_alive: bool, status: int) -> None:
    """A reply had another status than OK: its request has failed, or begins again since the object was replaced meanwhile."""
    state, whole, root_bit = State(flight), Pending(root), Pending(entry).root_bit
    if entry != root:
        Pending(entry).sent_ns = 0
        if not is_root_alive or not whole.missing & root_bit:
            return
        if status == Status.VERSION_CHANGED or (status == Status.NOT_FOUND and root_bit != CHAIN_BIT):
            state.conflicts += 1
            whole.missing = CHAIN_BIT
            follow(flight, whole.sequence, whole.template, 0, 1, 1)
            return
    counter = state.statuses + status * _WORD_BYTES
    store64(counter, load64(counter) + 1)
    state.completed += 1
    drop_entry(flight, root)


@njit(cache=True)
def complete(flight: int, payload: int, length: int, now: int) -> bool:
    """Take the reply of ``length`` bytes at address ``payload`` (UDP payload), received at ``now`` (ns).

    Returns whether it answers something under way. Short and foreign packets are no replies.
    """
    state = State(flight)
    if length < REQUEST_HEADER_BYTES or load32(payload + H_MAGIC) != MAGIC:
        state.stale += 1
        return False
    sequence = sequence_of(flight, load64(payload + H_CLIENT), load64(payload + H_SEQUENCE))
    piece = load16(payload + H_FRAGMENT_INDEX)
    entry = entry_at(flight, sequence)
    pending, bit = Pending(entry), 1 << min(piece, _PIECES_MAX)
    if not is_alive(entry, sequence) or not pending.missing & bit:
        state.stale += 1
        return False
    state.answered += 1
    state.by_kernel += load8(payload + H_FLAGS) // FLAG_KERNEL & 1
    root = entry_at(flight, pending.root)
    whole, is_root_alive = Pending(root), is_alive(root, pending.root)
    status = load8(payload + H_STATUS)
    if status == Status.OK and Template(pending.template).answers:
        status = _status_of_batch(payload, length, Template(pending.template).answers)
    if status == Status.NOT_FOUND and entry == root and Template(pending.template).may_miss:
        finish(flight, root, now)
        return True
    if status != Status.OK:
        _fail(flight, entry, root, is_root_alive, status)
        return True

    version = load64(payload + H_OBJECT_VERSION)
    pending.missing &= ~bit
    if entry != root:
        pending.sent_ns = 0
        if not is_root_alive or not whole.missing & pending.root_bit:
            return True
        if piece and version != whole.version:  # of a get that has begun again
            return True
        whole.missing &= ~pending.root_bit
    template = pending.template
    if Template(template).is_put:
        template += piece * _TEMPLATE_BYTES
    if not _has_right_value(flight, entry, template, payload, length):
        whole.corrupt = 1
    if version:
        whole.version = version
    if piece == 0:
        _go_on(flight, root, template, load16(payload + H_FRAGMENT_COUNT))
    if whole.missing == 0:
        finish(flight, root, now)
    return True


@njit(cache=True)
def _go_on(flight: int, root: int, template: int, fragments: int) -> None:
    """Send what an OK reply asks for: a get's other fragments, or what follows the request."""
    answered, whole = Template(template), Pending(root)
    pieces = answered.pieces
    if pieces > 1 and not answered.is_put:
        if fragments == pieces:
            whole.missing = (1 << pieces) - 2
            follow(flight, whole.sequence, template, 1, pieces, 0)
        else:
            whole.corrupt = 1
    elif answered.then:
        whole.missing = CHAIN_BIT
        follow(flight, whole.sequence, answered.then, 0, 1, 1)


@njit(cache=True)
def expire(flight: int, now: int) -> None:
    """Move ``oldest`` on, past what was answered and what has waited for longer than the time-out."""
    state = State(flight)
    oldest, end, latest = state.oldest, state.next_sequence, now - state.timeout_ns
    while oldest < end:
        entry = entry_at(flight, oldest)
        pending = Pending(entry)
        if pending.sent_ns:
            if pending.sent_ns > latest:
                break
            if pending.root == oldest:
                drop_entry(flight, entry)
                state.lost += 1
            else:
                pending.sent_ns = 0
        oldest += 1
    state.oldest = oldest
