"""The requests that a load generator has under way: what every transport's loop shares.

A loop (:mod:`.loop`) calls, with the address of the ``FLIGHT`` record: :func:`launch` for packets to send until it has none,
``complete`` of :mod:`.replies` for each one received, ``expire`` once per batch, and ends when :func:`is_over` says so.

Requests are numbered from 1, each the next one. What was sent stands in a table at its number modulo ``WINDOW``, so a reply
finds its request in one step, in whatever order replies come. ``oldest`` follows the oldest one without a reply; one that waits
longer than the time-out is counted as lost and its place is free again, so a loop never hangs. A reply that comes later, or
twice, finds no request and counts as stale.

**On the wire** requests are of ``clients`` client ids by turns, and each has ``stride`` sequence numbers of its client's for
itself, as many as requests are in a batch. Both follow from a request's number here, and it from them: nothing is looked up.
All that a client asked for before ``oldest`` is answered, so its next number from there on is ``acknowledged``.

**Closed loop**: a new request is due as soon as fewer than ``depth`` are under way.
**Open loop**: arrivals are due at times that were drawn beforehand. None is skipped: one that cannot be sent in time, since
this process was late or too many are under way, is sent as soon as it can be. Latencies count from when a request was *due*:
what a stalled server does to all the requests that would have come meanwhile is not left out ("coordinated
omission"; G. Tene, "How not to measure latency").
"""

from __future__ import annotations

from numba import njit

from splinter.limits import CLIENT_WINDOW
from splinter.native.atomics import copy_bytes, load16, load32, load64, store32, store64
from splinter.wire import H_ACKNOWLEDGED, H_CLIENT, H_OBJECT_VERSION, H_SEQUENCE, H_TENANT, H_TOKEN
from splinter.worker.xdp.frame import sum_udp
from splinter_bench.generators.flight_layout import (
    ACCOUNT,
    CHAIN_BIT,
    FOLLOWING,
    PATCH,
    PENDING,
    RECORDED,
    TEMPLATE,
    WINDOW,
    Account,
    Following,
    Patch,
    Pending,
    Recorded,
    State,
    Template,
)
from splinter_bench.generators.frames import FRAME_HEADER_BYTES, UDP_BYTES
from splinter_bench.histogram import record

CHECK_EVERY = 16  # every so manieth reply has its whole value compared
LATE_NS_MAX = 10_000_000  # after its end an open loop still sends what was due before, for so long
UNCHECKED = -1  # as the length of a reply's value
_WORD_BYTES, _HALF_BYTES = 8, 2
_IDLE_NS_MAX = 1_000_000  # how long a client that sleeps looks at nothing
_ACCOUNT_BYTES, _PATCH_BYTES, _TEMPLATE_BYTES = ACCOUNT.itemsize, PATCH.itemsize, TEMPLATE.itemsize
_PENDING_BYTES, _FOLLOWING_BYTES, _RECORDED_BYTES = PENDING.itemsize, FOLLOWING.itemsize, RECORDED.itemsize


@njit(inline="always")
def entry_at(flight: int, sequence: int) -> int:
    return State(flight).pending + (sequence & (WINDOW - 1)) * _PENDING_BYTES


@njit(cache=True)
def is_alive(entry: int, sequence: int) -> bool:
    return Pending(entry).sent_ns != 0 and Pending(entry).sequence == sequence


@njit(cache=True)
def number(numbers: int, column: int, shift: int) -> int:
    """A number of a schedule's entry; the first one moves on with each pass through the schedule."""
    value = load64(numbers + column * _WORD_BYTES)
    return value + shift if column == 0 else value


@njit(inline="always")
def _turns(flight: int, requests: int) -> int:
    """How many turns of all clients so many requests take."""
    clients = State(flight).clients
    return requests if clients == 1 else requests // clients


@njit(cache=True)
def _write_who(flight: int, header: int, sequence: int, is_mutation: int) -> None:
    """Write into a request's header whose it is, its number on the wire, and if it is a mutation what needs no reply."""
    state = State(flight)
    behind = sequence - state.numbered_from
    turn = _turns(flight, behind)
    if state.clients != 1:
        store64(header + H_CLIENT, state.client + behind - turn * state.clients)
    on_wire = state.first_on_wire + turn * state.stride
    store64(header + H_SEQUENCE, on_wire)
    if is_mutation:
        open_numbers = _turns(flight, sequence - state.oldest) * state.stride  # of this client's requests before, at most
        if open_numbers + state.stride <= CLIENT_WINDOW:  # beyond, exactly-once cannot be asked for
            store64(header + H_ACKNOWLEDGED, on_wire - open_numbers)


@njit(inline="always")
def sequence_of(flight: int, client: int, on_wire: int) -> int:
    """The request's number, from what a packet says; less than any under way, if none of this load generator's has these."""
    state = State(flight)
    who, turn = client - state.client, on_wire - state.first_on_wire
    if who < 0 or who >= state.clients or turn < 0:
        return 0
    if state.stride != 1:
        if turn % state.stride != 0:
            return 0
        turn //= state.stride
    return state.numbered_from + turn * state.clients + who


@njit(cache=True)
def _write(flight: int, target: int, template: int, entry: int, sequence: int, version: int) -> int:
    """Write a template's frame with the numbers of a pending entry's request; returns its length."""
    made, pending = Template(template), Pending(entry)
    length = made.length
    copy_bytes(target, made.frame, length)
    header = target + FRAME_HEADER_BYTES
    _write_who(flight, header, sequence, made.is_mutation)
    if pending.account:
        store32(header + H_TENANT, Account(pending.account).tenant)
        store64(header + H_TOKEN, Account(pending.account).token)
    if version:
        store64(header + H_OBJECT_VERSION, version)
    patch, numbers, shift = made.patches, pending.numbers, pending.shift
    for _ in range(made.patch_count):
        store64(target + Patch(patch).place, number(numbers, Patch(patch).column, shift))
        patch += _PATCH_BYTES
    sum_udp(header - UDP_BYTES, length - FRAME_HEADER_BYTES)
    return length


@njit(cache=True)
def follow(flight: int, root: int, template: int, piece: int, pieces: int, is_chain: int) -> None:
    """Have :func:`launch` send fragments ``piece`` … ``pieces`` - 1 for the root with this sequence number."""
    state = State(flight)
    item = Following(state.following + (state.following_tail & (WINDOW - 1)) * _FOLLOWING_BYTES)
    item.root = root
    item.template = template
    item.piece = piece
    item.pieces = pieces
    item.is_chain = is_chain
    state.following_tail += 1


@njit(cache=True)
def _launch_following(flight: int, target: int, now: int) -> int:
    """The next packet of a request that was begun; 0 when there is none, or no sequence number is free."""
    state = State(flight)
    while state.following_head != state.following_tail:
        item = Following(state.following + (state.following_head & (WINDOW - 1)) * _FOLLOWING_BYTES)
        sequence, piece, is_chain = item.root, item.piece, item.is_chain
        root = entry_at(flight, sequence)
        if not is_alive(root, sequence):  # it was given up
            state.following_head += 1
            continue
        template = item.template + piece * _TEMPLATE_BYTES
        version = Pending(root).version
        if Template(item.template).is_put and not is_chain:
            version = 0
        else:
            if state.next_sequence - state.oldest >= WINDOW:
                return 0
            begun = Pending(_begin(flight, now, template, Pending(root).numbers, Pending(root).shift, Pending(root).account))
            begun.root = sequence
            begun.root_bit = CHAIN_BIT if is_chain else 1 << piece
            begun.missing = 1 << piece
            sequence = begun.sequence
            if is_chain and not Template(template).is_mutation:
                version = 0  # a read that begins again reads whatever is there
        if piece + 1 < item.pieces:
            item.piece = piece + 1
        else:
            state.following_head += 1
        return _write(flight, target, template, root, sequence, version)
    return 0


@njit(inline="always")
def _begin(flight: int, now: int, template: int, numbers: int, shift: int, account: int) -> int:
    """The entry of the next sequence number, which is one request of one packet, due and sent ``now``."""
    state = State(flight)
    sequence = state.next_sequence
    state.next_sequence = sequence + 1
    entry = entry_at(flight, sequence)
    pending = Pending(entry)
    pending.sent_ns = now
    pending.intended_ns = now
    pending.sequence = sequence
    pending.template = template
    pending.numbers = numbers
    pending.shift = shift
    pending.account = account
    pending.missing = 1
    pending.root = sequence
    pending.root_bit = 1
    pending.version = 0
    pending.corrupt = 0
    return entry


@njit(cache=True)
def _arrive(flight: int) -> int:
    """When the next arrival of an open loop is due; the one behind it becomes the next."""
    state = State(flight)
    due, cursor = state.next_ns, state.gap_cursor
    state.next_ns = due + load64(state.gaps + cursor * _WORD_BYTES)
    state.gap_cursor = 0 if cursor + 1 == state.gap_entries else cursor + 1
    return due


@njit(cache=True)
def _template_at(flight: int, cursor: int) -> int:
    state = State(flight)
    return load64(state.templates + load16(state.choice + cursor * _HALF_BYTES) * _WORD_BYTES)


@njit(cache=True)
def _move_on(flight: int) -> None:
    """The schedule's next entry comes next."""
    state = State(flight)
    cursor = state.cursor + 1
    if cursor == state.schedule_entries:
        cursor = 0
        state.shift += state.advance
    state.cursor = cursor


@njit(cache=True)
def _note(flight: int, entry: int, now: int) -> None:
    """Write a request into the recording, as long as that has room."""
    state, pending = State(flight), Pending(entry)
    if state.recording_count >= state.recording_room:
        return
    line = Recorded(state.recording + state.recording_count * _RECORDED_BYTES)
    template, account = Template(pending.template), pending.account
    line.time_ns = now - state.recording_start_ns
    line.number = number(pending.numbers, 0, pending.shift)
    line.operation = template.operation
    line.tenant = Account(account).tenant if account else load32(template.frame + FRAME_HEADER_BYTES + H_TENANT)
    state.recording_count += 1


@njit(cache=True)
def launch(flight: int, target: int, now: int) -> int:
    """Write the next packet to send, a whole frame, to address ``target``; returns its length, 0 when there is none now.

    ``now`` (ns) becomes the time at which it was sent.
    """
    length = _launch_following(flight, target, now)
    if length:
        return length
    state = State(flight)
    if (
        state.in_flight >= state.depth
        or state.next_sequence - state.oldest >= state.reach
        or state.next_ns > now
        or is_all_sent(flight, now)
    ):
        return 0
    due = _arrive(flight) if state.gaps else now
    cursor, account = state.cursor, state.accounts
    if account:
        account += load16(state.account_choice + cursor * _HALF_BYTES) * _ACCOUNT_BYTES
    template = _template_at(flight, cursor)
    entry = _begin(flight, now, template, state.numbers + cursor * state.columns * _WORD_BYTES, state.shift, account)
    _move_on(flight)
    pending, pieces = Pending(entry), Template(template).pieces
    pending.intended_ns = due
    if pieces > 1 and Template(template).is_put:
        pending.missing = (1 << pieces) - 1
        follow(flight, pending.sequence, template, 1, pieces, 0)
    state.in_flight += 1
    state.sent += 1
    state.remaining -= 1
    if state.recording:
        _note(flight, entry, now)
    return _write(flight, target, template, entry, pending.sequence, 0)


@njit(cache=True)
def is_all_sent(flight: int, now: int) -> bool:
    """Whether no further request will be begun."""
    state = State(flight)
    return state.remaining <= 0 or state.next_ns >= state.until_ns or now >= state.until_ns + state.late_ns


@njit(cache=True)
def is_over(flight: int, now: int) -> bool:
    """Whether everything was sent, and was answered or given up."""
    return State(flight).in_flight == 0 and is_all_sent(flight, now)


@njit(cache=True)
def idle_ns(flight: int, now: int) -> int:
    """How long a client that has nothing to do may sleep, unless a packet comes."""
    state = State(flight)
    if state.gaps and state.in_flight < state.depth and not is_all_sent(flight, now):
        return max(0, min(state.next_ns - now, _IDLE_NS_MAX))
    return _IDLE_NS_MAX


@njit(cache=True)
def abandon(flight: int) -> None:
    """At the end of an open loop: what was due and never sent has waited until the end, at least, and counts with that."""
    state = State(flight)
    while state.gaps and state.next_ns < state.until_ns and state.remaining > 0:
        template, due = Template(_template_at(flight, state.cursor)), _arrive(flight)
        _move_on(flight)
        state.remaining -= 1
        state.unsent += 1
        if state.record_from_ns <= due < state.record_until_ns:
            record(template.histogram, state.record_until_ns - due)
            template.unsent += 1
