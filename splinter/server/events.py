"""What happened to the server: a numbered stream, kept in memory that outlives the control process.

An event is a record of the log that names one (``extra=event(...)``). :class:`EventLog` is the handler that keeps it. One
process numbers and writes, the supervisor, which never waits for another; the control process sends it what it has to tell by a
socket that does not block, and reads the ring. What does not fit into the socket takes its numbers all the same, so that a
reader learns that something is missing. A reader is a number, from which on it wants to read: nothing is held for it here.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import socket
import time
from typing import Any

import msgpack
import numpy as np

from splinter import limits
from splinter.visible import visible

KEPT = 4096  # events
_CONTENT_BYTES = 464
_RECEIVED_MAX = 64  # messages at a time: workers are not watched meanwhile
_TEXT_CHARACTERS_MAX = 240
_FIELD_CHARACTERS_MAX = 48
_FIELDS_MAX = 6
_MESSAGE_BYTES_MAX = 1024

# One event. Writer: the supervisor; ``number`` is 0 while it writes the rest.
EVENT = np.dtype(
    [
        ("number", "<u8"),  # from 1 on, of all events
        ("own", "<u8"),  # from 1 on, of the tenant's; 0: it is no tenant's
        ("time_ns", "<i8"),  # since 1970
        ("tenant", "<u4"),  # whose it is, beside the administrator; 0: nobody's
        ("generation", "<u4"),  # of the tenant
        ("bytes", "<u4"),  # of the content
        ("reserved", "<u4"),
        ("reserved2", "<u8"),
        ("content", "u1", _CONTENT_BYTES),  # msgpack: kind, level, text, fields
    ]
)
# Writer: the supervisor.
_HEAD = np.dtype([("newest", "<u8"), ("started_ns", "<i8")])  # the last number given; when the log was made, since 1970
_OWN = np.dtype([("newest", "<u8"), ("generation", "<u4"), ("reserved", "<u4")])  # of each tenant: the last ``own`` given


def event(kind: str, tenant: int = 0, generation: int = 0, **fields: int | str | bool) -> dict[str, Any]:
    """The ``extra`` of a log record that is an event. ``tenant``, of this generation, is told of it; fields are short."""
    return {"event": kind, "tenant": tenant, "generation": generation, "fields": fields}


class EventLog(logging.Handler):
    """The ring, and the way into it. Made by the supervisor before it forks."""

    def __init__(self, kept: int = KEPT) -> None:
        super().__init__(logging.INFO)
        head, own = _HEAD.itemsize, _OWN.itemsize * limits.TENANTS_MAX
        self._map = mmap.mmap(-1, head + own + EVENT.itemsize * kept)  # shared with all that are forked
        self._head = np.frombuffer(self._map, _HEAD, 1)
        self._own = np.frombuffer(self._map, _OWN, limits.TENANTS_MAX, head)
        self._ring = np.frombuffer(self._map, EVENT, kept, head + own)
        self._head["started_ns"] = time.time_ns()
        self._writer = os.getpid()
        # In pairs of this kind the kernel bounds bytes, and not messages.
        self._socket, self._sending = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._socket, self._sending):
            end.setblocking(False)
        self._lost = 0  # by this process, since the last that could be sent

    def fileno(self) -> int:
        """Readable when there is something for :meth:`receive`."""
        return self._socket.fileno()

    @property
    def started_ns(self) -> int:
        """When the log was made: what tells one server's numbers from its successor's."""
        return int(self._head["started_ns"][0])

    def listen(self) -> None:
        """Hear what this process logs. Again: nothing."""
        ours = logging.getLogger("splinter")
        if ours.getEffectiveLevel() > logging.INFO:
            ours.setLevel(logging.INFO)
        ours.addHandler(self)

    def close(self) -> None:
        """Hear no more, and take nothing more from other processes. Again: nothing."""
        logging.getLogger("splinter").removeHandler(self)
        for end in (self._socket, self._sending):
            end.close()
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record that is an event."""
        kind = getattr(record, "event", None)
        if kind is None:
            return
        tenant, generation = int(getattr(record, "tenant", 0)), int(getattr(record, "generation", 0))
        told = getattr(record, "fields", {})
        content = _packed(str(kind), record.levelname.lower(), visible(record.getMessage()), told)
        at = int(record.created * 1e9)
        if os.getpid() == self._writer:
            self._write(at, tenant, generation, content)
            return
        try:
            self._sending.send(msgpack.packb((self._lost, at, tenant, generation, content)))
            self._lost = 0
        except OSError:
            self._lost += 1

    def receive(self) -> None:
        """In the supervisor: take what other processes have sent. Never waits."""
        with contextlib.suppress(OSError):
            for _ in range(_RECEIVED_MAX):
                body = self._socket.recv(_MESSAGE_BYTES_MAX)
                try:
                    lost, at, tenant, generation, content = msgpack.unpackb(body)
                    self._head["newest"] += min(int(lost), 1 << 32)
                    self._write(int(at), int(tenant), int(generation), bytes(content))
                except (ValueError, TypeError, OverflowError, msgpack.UnpackException):
                    self._head["newest"] += 1

    def _write(self, at: int, tenant: int, generation: int, content: bytes) -> None:
        number = int(self._head["newest"][0]) + 1
        own = 0
        if 0 < tenant < limits.TENANTS_MAX:
            count = self._own[tenant]
            if count["generation"] != generation:
                count["newest"], count["generation"] = 0, generation
            own = int(count["newest"]) + 1
        row = self._ring[number % len(self._ring)]
        row["number"] = 0
        row["own"], row["time_ns"], row["tenant"], row["generation"] = own, at, tenant, generation
        row["bytes"] = len(content)
        row["content"][: len(content)] = np.frombuffer(content, np.uint8)
        row["number"] = number
        self._head["newest"] = number
        if own:
            self._own["newest"][tenant] = own

    def read(self, after: int | None, most: int) -> dict[str, Any]:
        """All events after a number, or all that are kept; ``most`` at once. ``missed``: how many are kept no more."""
        newest = int(self._head["newest"][0])
        oldest = max(1, newest - len(self._ring) + 1)
        begin = oldest if after is None else max(oldest, after + 1)
        last = min(newest, begin + most - 1)
        found = [self._copy(number) for number in range(begin, last + 1)]
        told = [{"number": number, **one} for number, one in zip(range(begin, last + 1), found, strict=True) if one]
        missed = (0 if after is None else begin - after - 1) + len(found) - len(told) if last >= begin else 0
        return {
            "events": told,
            "next": max(last, 0 if after is None else min(after, newest)),
            "newest": newest,
            "missed": missed,
        }

    def read_own(self, tenant: int, generation: int, after: int | None, most: int) -> dict[str, Any]:
        """Likewise one tenant's, by numbers of its own: they tell nothing of others."""
        newest = int(self._own["newest"][tenant]) if self._own["generation"][tenant] == generation else 0
        own = self._ring["own"]
        mine = (self._ring["tenant"] == tenant) & (self._ring["generation"] == generation)
        places = np.flatnonzero(mine & (own > (after or 0)) & (own <= newest))
        pairs = sorted((int(self._ring["own"][place]), int(self._ring["number"][place])) for place in places)[:most]
        copies = [(own, self._copy(number)) for own, number in pairs]
        told = [{"number": own, **one} for own, one in copies if one and one["tenant"] == tenant]
        last = max([own for own, _ in pairs], default=min(after or 0, newest))
        missed = 0 if after is None else max(0, last - min(after, newest) - len(told))
        return {"events": told, "next": last, "newest": newest, "missed": missed}

    def _copy(self, number: int) -> dict[str, Any] | None:
        """The event of a number; None when another has its place by now, or it was lost on its way."""
        row = self._ring[number % len(self._ring)]
        if number < 1 or row["number"] != number:
            return None
        time_ns, tenant = int(row["time_ns"]), int(row["tenant"])
        content = row["content"][: int(row["bytes"])].tobytes()
        if row["number"] != number:
            return None
        try:
            return {"time_ns": time_ns, "tenant": tenant, **msgpack.unpackb(content)}
        except (ValueError, TypeError, msgpack.UnpackException):
            return None


def _packed(kind: str, level: str, text: str, fields: dict[str, Any]) -> bytes:
    """An event's content, cut so that it fits; what is cut ends in …"""
    short = {name: _cut(value, _FIELD_CHARACTERS_MAX) for name, value in list(fields.items())[:_FIELDS_MAX]}
    most = _TEXT_CHARACTERS_MAX
    while True:
        content: bytes = msgpack.packb({"kind": kind, "level": level, "text": _cut(text, most), "fields": short})
        if len(content) <= _CONTENT_BYTES:
            return content
        most, short = most // 2, short if most > 1 else {}


def _cut(value: Any, most: int) -> Any:
    if isinstance(value, bool | int):
        return value
    text = visible(str(value))
    return text if len(text) <= most else text[: max(most - 1, 0)] + "…"
