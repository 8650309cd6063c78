"""The requests that a load generator has under way: what every transport's loop shares.

Sequence numbers grow by one. A request's send time, key number and operation stand in a table at its sequence number
modulo ``WINDOW``, so a reply finds its request in one step, in whatever order replies come. ``oldest`` follows the
oldest request without a reply; one that waits longer than the time-out is counted as lost and its place is free again,
so a loop never hangs. A reply that comes later, or twice, finds no request and counts as stale.

A loop (:mod:`splinter.bench.afxdp_client`, :mod:`splinter.bench.udp_client`) calls, with the address of the ``FLIGHT``
record: :func:`room`, :func:`launch` for each packet to send, :func:`complete` for each one received, and
:func:`expire` once per batch.
"""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np
from numba import njit

from splinter.bench.frames import FRAME_HEADER_BYTES, Route, frame
from splinter.bench.histogram import Histogram, record
from splinter.bench.workload import NUMBER_BYTES, Workload
from splinter.errors import Status
from splinter.layout import offset
from splinter.limits import REQUEST_HEADER_BYTES
from splinter.native.atomics import copy_bytes, load8, load32, load64, store64
from splinter.native.libc import memcmp
from splinter.wire import H_CLIENT, H_MAGIC, H_SEQUENCE, H_STATUS, H_VALUE_LENGTH, MAGIC

WINDOW = 1 << 16  # a request's entry is used again after this many; more than any depth
DEPTH_MAX = 1024
CHECK_EVERY = 16  # every so manieth reply has its whole value compared
TIMEOUT_NS_DEFAULT = 1_000_000_000  # a reply that takes longer is lost: not even a busy machine keeps one for as long
_UNCHECKED = -1
_STATUSES = 256  # the status is one byte
_STATUS_OK = int(Status.OK)
_WORD_BYTES = 8

# One operation, ready to be copied into a packet.
TEMPLATE = np.dtype(
    [
        ("frame", "<i8"),  # address of the bytes of the whole frame, Ethernet header first
        ("length", "<i8"),  # bytes of it
        ("key_at", "<i8"),  # offset in the frame of the key's number; 0: none
        ("value_at", "<i8"),  # offset in the frame of the value's number; 0: none
        ("reply", "<i8"),  # address of the value that an OK reply must carry, behind its number
        ("reply_length", "<i8"),  # bytes of that value with the number; -1: not checked
        ("histogram", "<i8"),  # address of the cells that its latencies are counted in
    ]
)
TEMPLATE_BYTES = TEMPLATE.itemsize
T_FRAME = offset(TEMPLATE, "frame")
T_LENGTH = offset(TEMPLATE, "length")
T_KEY_AT = offset(TEMPLATE, "key_at")
T_VALUE_AT = offset(TEMPLATE, "value_at")
T_REPLY = offset(TEMPLATE, "reply")
T_REPLY_LENGTH = offset(TEMPLATE, "reply_length")
T_HISTOGRAM = offset(TEMPLATE, "histogram")

# One request under way.
PENDING = np.dtype(
    [
        ("sent_ns", "<i8"),  # when; 0: nothing is under way in this entry
        ("sequence", "<i8"),
        ("key", "<i8"),  # number of its key
        ("template", "<i8"),  # address of its TEMPLATE
    ]
)
PENDING_BYTES = PENDING.itemsize
P_SENT = offset(PENDING, "sent_ns")
P_SEQUENCE = offset(PENDING, "sequence")
P_KEY = offset(PENDING, "key")
P_TEMPLATE = offset(PENDING, "template")

FLIGHT = np.dtype(
    [
        ("templates", "<i8"),  # address of the TEMPLATE records
        ("choice", "<i8"),  # address of the schedule's operations, one byte each
        ("keys", "<i8"),  # address of the schedule's key numbers, 64 bits each
        ("schedule_entries", "<i8"),
        ("cursor", "<i8"),  # next entry of the schedule
        ("pending", "<i8"),  # address of WINDOW PENDING records
        ("statuses", "<i8"),  # address of 256 counters, one for each status
        ("client", "<i8"),  # client id in every request
        ("next_sequence", "<i8"),  # from 1
        ("oldest", "<i8"),  # every request below has been answered or given up
        ("in_flight", "<i8"),
        ("timeout_ns", "<i8"),
        ("record_from_ns", "<i8"),  # replies that come in [from, until) are recorded: not warm-up and draining
        ("record_until_ns", "<i8"),
        ("sent", "<i8"),
        ("answered", "<i8"),  # replies that found their request, in the recorded time or not
        ("recorded", "<i8"),  # OK replies in the recorded time
        ("lost", "<i8"),  # requests without a reply in time
        ("stale", "<i8"),  # packets that answer no request under way
        ("checked", "<i8"),  # replies whose whole value was compared
        ("corrupt", "<i8"),  # OK replies with a wrong value
    ]
)
F_TEMPLATES = offset(FLIGHT, "templates")
F_CHOICE = offset(FLIGHT, "choice")
F_KEYS = offset(FLIGHT, "keys")
F_SCHEDULE_ENTRIES = offset(FLIGHT, "schedule_entries")
F_CURSOR = offset(FLIGHT, "cursor")
F_PENDING = offset(FLIGHT, "pending")
F_STATUSES = offset(FLIGHT, "statuses")
F_CLIENT = offset(FLIGHT, "client")
F_NEXT_SEQUENCE = offset(FLIGHT, "next_sequence")
F_OLDEST = offset(FLIGHT, "oldest")
F_IN_FLIGHT = offset(FLIGHT, "in_flight")
F_TIMEOUT = offset(FLIGHT, "timeout_ns")
F_RECORD_FROM = offset(FLIGHT, "record_from_ns")
F_RECORD_UNTIL = offset(FLIGHT, "record_until_ns")
F_SENT = offset(FLIGHT, "sent")
F_ANSWERED = offset(FLIGHT, "answered")
F_RECORDED = offset(FLIGHT, "recorded")
F_LOST = offset(FLIGHT, "lost")
F_STALE = offset(FLIGHT, "stale")
F_CHECKED = offset(FLIGHT, "checked")
F_CORRUPT = offset(FLIGHT, "corrupt")


@njit(inline="always")
def _add(address: Any, amount: Any) -> Any:
    store64(address, load64(address) + amount)


@njit(inline="always")
def _entry(flight: Any, sequence: Any) -> Any:
    return load64(flight + F_PENDING) + (sequence & (WINDOW - 1)) * PENDING_BYTES


@njit(cache=True)
def room(flight: int, depth: int) -> int:
    """How many requests may be launched now, so that at most ``depth`` are under way."""
    window = WINDOW - (load64(flight + F_NEXT_SEQUENCE) - load64(flight + F_OLDEST))
    return min(depth - load64(flight + F_IN_FLIGHT), window)


@njit(cache=True)
def launch(flight: int, target: int, now: int) -> int:
    """Write the schedule's next request, a whole frame, to address ``target``; returns its length in bytes.

    :func:`room` has said that there is room. ``now`` (ns) becomes its send time.
    """
    cursor = load64(flight + F_CURSOR)
    key = load64(load64(flight + F_KEYS) + cursor * _WORD_BYTES)
    template = load64(flight + F_TEMPLATES) + load8(load64(flight + F_CHOICE) + cursor) * TEMPLATE_BYTES
    cursor += 1
    store64(flight + F_CURSOR, 0 if cursor == load64(flight + F_SCHEDULE_ENTRIES) else cursor)

    sequence = load64(flight + F_NEXT_SEQUENCE)
    store64(flight + F_NEXT_SEQUENCE, sequence + 1)
    entry = _entry(flight, sequence)
    store64(entry + P_SENT, now)
    store64(entry + P_SEQUENCE, sequence)
    store64(entry + P_KEY, key)
    store64(entry + P_TEMPLATE, template)

    length = load64(template + T_LENGTH)
    copy_bytes(target, load64(template + T_FRAME), length)
    store64(target + FRAME_HEADER_BYTES + H_SEQUENCE, sequence)
    key_at, value_at = load64(template + T_KEY_AT), load64(template + T_VALUE_AT)
    if key_at:
        store64(target + key_at, key)
    if value_at:
        store64(target + value_at, key)
    _add(flight + F_IN_FLIGHT, 1)
    _add(flight + F_SENT, 1)
    return length


@njit(cache=True)
def _has_right_value(flight: int, entry: int, template: int, payload: int, length: int) -> bool:
    expected = load64(template + T_REPLY_LENGTH)
    if load32(payload + H_VALUE_LENGTH) != expected or length != REQUEST_HEADER_BYTES + expected:
        return False
    if load64(flight + F_ANSWERED) % CHECK_EVERY:
        return True
    _add(flight + F_CHECKED, 1)
    value = payload + REQUEST_HEADER_BYTES
    if load64(value) != load64(entry + P_KEY):
        return False
    return memcmp(value + NUMBER_BYTES, load64(template + T_REPLY), expected - NUMBER_BYTES) == 0


@njit(cache=True)
def complete(flight: int, payload: int, length: int, now: int) -> bool:
    """Take the reply of ``length`` bytes at address ``payload`` (UDP payload), received at ``now`` (ns).

    Returns whether it answers a request under way. Short and foreign packets are no replies.
    """
    if (
        length < REQUEST_HEADER_BYTES
        or load32(payload + H_MAGIC) != MAGIC
        or load64(payload + H_CLIENT) != load64(flight + F_CLIENT)
    ):
        _add(flight + F_STALE, 1)
        return False
    sequence = load64(payload + H_SEQUENCE)
    entry = _entry(flight, sequence)
    sent = load64(entry + P_SENT)
    if sent == 0 or load64(entry + P_SEQUENCE) != sequence:
        _add(flight + F_STALE, 1)
        return False
    store64(entry + P_SENT, 0)
    _add(flight + F_IN_FLIGHT, -1)
    _add(flight + F_ANSWERED, 1)
    status = load8(payload + H_STATUS)
    _add(load64(flight + F_STATUSES) + status * _WORD_BYTES, 1)
    if status != _STATUS_OK:
        return True
    template = load64(entry + P_TEMPLATE)
    if load64(template + T_REPLY_LENGTH) != _UNCHECKED and not _has_right_value(flight, entry, template, payload, length):
        _add(flight + F_CORRUPT, 1)
    elif load64(flight + F_RECORD_FROM) <= now < load64(flight + F_RECORD_UNTIL):
        _add(flight + F_RECORDED, 1)
        record(load64(template + T_HISTOGRAM), now - sent)
    return True


@njit(cache=True)
def expire(flight: int, now: int) -> None:
    """Move ``oldest`` on, past requests that were answered and those that have waited for longer than the time-out."""
    oldest, end = load64(flight + F_OLDEST), load64(flight + F_NEXT_SEQUENCE)
    latest = now - load64(flight + F_TIMEOUT)
    while oldest < end:
        entry = _entry(flight, oldest)
        sent = load64(entry + P_SENT)
        if sent > latest:
            break
        if sent:
            store64(entry + P_SENT, 0)
            _add(flight + F_IN_FLIGHT, -1)
            _add(flight + F_LOST, 1)
        oldest += 1
    store64(flight + F_OLDEST, oldest)


class Flight:
    """Owner of the memory behind one ``FLIGHT`` record. One client's life long: sequence numbers go on between runs."""

    def __init__(self) -> None:
        self._record = np.zeros(1, FLIGHT)
        self._pending = np.zeros(WINDOW, PENDING)
        self._statuses = np.zeros(_STATUSES, np.int64)
        self.histograms: list[Histogram] = []
        self._templates = np.zeros(0, TEMPLATE)
        self._keep: list[np.ndarray] = []
        self.client = secrets.randbits(63)
        self._record["next_sequence"] = self._record["oldest"] = 1
        self._record["pending"] = self._pending.ctypes.data
        self._record["statuses"] = self._statuses.ctypes.data
        self._record["client"] = self.client
        self.timeout_ns = TIMEOUT_NS_DEFAULT

    @property
    def address(self) -> int:
        """Address of the record, for compiled code; valid as long as this object lives."""
        return int(self._record.ctypes.data)

    @property
    def timeout_ns(self) -> int:
        """How long a reply may take until its request counts as lost, in ns."""
        return self["timeout_ns"]

    @timeout_ns.setter
    def timeout_ns(self, value: int) -> None:
        self._record["timeout_ns"] = value

    def __getitem__(self, field: str) -> int:
        return int(self._record[field][0])

    def load(self, workload: Workload, route: Route) -> None:
        """Make the workload's frames and set all counters to zero. No request may be under way."""
        if self["in_flight"]:
            raise RuntimeError("requests of the last run are still under way")
        frames, self._keep = [], []
        self.histograms = [Histogram() for _ in workload.operations]
        self._templates = np.zeros(len(workload.operations), TEMPLATE)
        for operation, template, histogram in zip(workload.operations, self._templates, self.histograms, strict=True):
            payload = bytearray(operation.payload)
            payload[H_CLIENT : H_CLIENT + _WORD_BYTES] = self.client.to_bytes(_WORD_BYTES, "little")
            frames.append(self._hold(frame(route, bytes(payload))))
            template["frame"] = frames[-1].ctypes.data
            template["length"] = len(frames[-1])
            template["key_at"] = 0 if operation.key_at is None else FRAME_HEADER_BYTES + operation.key_at
            template["value_at"] = 0 if operation.value_at is None else FRAME_HEADER_BYTES + operation.value_at
            template["reply_length"] = _UNCHECKED if operation.reply is None else len(operation.reply)
            template["reply"] = self._hold((operation.reply or b"")[NUMBER_BYTES:]).ctypes.data
            template["histogram"] = histogram.address
        choice = self._hold(np.ascontiguousarray(workload.choice, np.uint8).tobytes())
        keys = self._hold(np.ascontiguousarray(workload.keys, np.int64).tobytes())
        self._record["templates"] = self._templates.ctypes.data
        self._record["choice"] = choice.ctypes.data
        self._record["keys"] = keys.ctypes.data
        self._record["schedule_entries"] = len(workload.choice)
        self._record["cursor"] = 0
        self._statuses[:] = 0
        for counter in ("sent", "answered", "recorded", "lost", "stale", "checked", "corrupt"):
            self._record[counter] = 0

    def _hold(self, data: bytes) -> np.ndarray:
        """A copy of ``data`` in memory that stays where it is until the next :meth:`load`."""
        array = np.frombuffer(bytearray(data or b"\0"), np.uint8)
        self._keep.append(array)
        return array

    def record_between(self, from_ns: int, until_ns: int) -> None:
        """Record the replies that come in this time, on the clock of :func:`splinter.bench.clock.now_ns`."""
        self._record["record_from_ns"] = from_ns
        self._record["record_until_ns"] = until_ns

    def errors(self) -> dict[str, int]:
        """How many replies had each status but OK, by its name."""
        found = {int(status): int(self._statuses[status]) for status in np.flatnonzero(self._statuses)}
        names = {int(status): status.name for status in Status}
        return {names.get(s, str(s)): count for s, count in found.items() if s != _STATUS_OK}
