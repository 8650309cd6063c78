"""Replies are written over the request, in the packet buffer that it came in."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import copy_bytes, load64, move_bytes, store8, store64
from splinter.store.outcomes import Outcome
from splinter.wire import FLAG_REPLY, HEADER, VERSION
from splinter.worker.counters import count
from splinter.worker.layout import TENANT_COUNTERS_BYTES
from splinter.worker.records import Counters, Header, TenantCounters, Worker
from splinter.worker.texts import extension_error_text, status_text

DROP = 0  # in place of a reply's length: no reply
PENDING = -1  # the task lives on; its reply comes later
ALONE = -3  # of an invoke in a BATCH: it may have to wait, nothing of it has happened, and it is to come by itself
HEADER_BYTES = HEADER.itemsize

_NAME_BYTES_MAX = limits.EXTENSION_NAME_BYTES_MAX
_SCALAR_BYTES = 8
_DECIMAL_DIGITS_MAX = 10
_ZERO = ord("0")
_LINE, _COLON = (int.from_bytes(text, "little") for text in (b", line ", b": "))  # words: compiled code has no texts
_KEPT_OF_FIRST = 0xFF00_FFFFFFFF  # of the header's first word a reply repeats magic and opcode
_TENANT_AND_TABLE = (1 << 48) - 1  # of the word that ends with the length of the key
_ROOM_MIN = limits.UDP_PAYLOAD_BYTES_MIN // limits.ROOM_UNIT_BYTES


def _behind(first: str, *fields: str) -> list[int]:
    return [HEADER.offset(field) - HEADER.offset(first) for field in fields]


assert _behind("magic", "version", "status", "flags") == [4, 6, 7] and _behind("tenant", "key_length") == [6]
assert _behind("value_length", "fragment_index", "fragment_count") == [4, 6]


@njit(cache=True, forceinline=True)
def body_bytes_max(w: int, header: int) -> int:
    """Bytes of value that the reply to a request may have: what fits the device's MTU and the client's."""
    most = Worker(w).packet_bytes_max
    room = Header(header).status  # in a request it says how much fits the way back
    if room != 0:
        most = min(most, max(room, _ROOM_MIN) * limits.ROOM_UNIT_BYTES)
    return most - HEADER_BYTES


@njit(cache=True, forceinline=True)
def finish(w: int, header: int, status: int, object_version: int, value_length: int) -> int:
    """Turn the header into a reply's; the value already stands behind it. Returns the reply's length in bytes.

    Whole words are stored, as its checksum is next to be computed (see :func:`splinter.worker.xdp.frame.turn_around`).
    """
    request = Header(header)
    store64(request.at.magic, load64(request.at.magic) & _KEPT_OF_FIRST | VERSION << 32 | status << 48 | FLAG_REPLY << 56)
    store64(request.at.tenant, load64(request.at.tenant) & _TENANT_AND_TABLE)
    request.token = 0
    fragment = request.fragment_index | request.fragment_count << 16
    store64(request.at.value_length, value_length | fragment << 32)
    request.object_version = object_version
    request.acknowledged = Worker(w).packet_bytes_max
    count(Counters(w).statuses + status * 8)
    return HEADER_BYTES + value_length


@njit(cache=True, forceinline=True)
def refuse(w: int, header: int, status: int) -> int:
    """Reply with a status other than OK and its message. Returns the reply's length in bytes."""
    worker = Worker(w)
    if status == Status.BUSY:
        tenant = Header(header).tenant
        if tenant < limits.TENANTS_MAX:
            TenantCounters(worker.tenant_counters + tenant * TENANT_COUNTERS_BYTES).busy += 1
    text, length = status_text(worker.texts, status)
    copy_bytes(header + HEADER_BYTES, text, length)
    return finish(w, header, status, 0, length)


@njit(cache=True, forceinline=True)
def _append_decimal(target: int, number: int) -> int:
    """Write a non-negative number in decimal; returns how many digits."""
    digits = 1
    rest = number
    while rest >= 10 and digits < _DECIMAL_DIGITS_MAX:
        rest //= 10
        digits += 1
    for place in range(digits):
        store8(target + digits - 1 - place, _ZERO + number % 10)
        number //= 10
    return digits


@njit(cache=True, forceinline=True)
def _append_word(target: int, word: int) -> int:
    """Write the bytes of a word up to the first zero, the lowest first; returns how many."""
    length = 0
    while word != 0:
        store8(target + length, word & 0xFF)
        word >>= 8
        length += 1
    return length


@njit(cache=True)
def refuse_extension_error(w: int, header: int, name_length: int, error: int, line: int, code: int) -> int:
    """Reply EXTENSION_ERROR with the text of :func:`splinter.ext.abi.error_message`: "<name>, line <line>: <text>".
    ``line`` 0: there is none.

    The name is the request's key. ``code``, what the extension raised itself or 0, goes where an object's version does.
    Returns the reply's length in bytes.
    """
    message = header + HEADER_BYTES
    length = min(name_length, _NAME_BYTES_MAX)
    if line != 0:
        length += _append_word(message + length, _LINE)
        length += _append_decimal(message + length, line)
    length += _append_word(message + length, _COLON)
    text, text_length = extension_error_text(Worker(w).texts, error)
    copy_bytes(message + length, text, text_length)
    return finish(w, header, Status.EXTENSION_ERROR, code, length + text_length)


@njit(cache=True, forceinline=True)
def reply_outcome(w: int, header: int, kind: int, status: int, line: int, value: int, body: int, length: int) -> int:
    """Reply what became of a request, now or when it is asked for again. Returns the reply's length in bytes.

    ``kind`` is an :class:`splinter.store.outcomes.Outcome`. STATUS has a status, and the object's version as ``value``;
    SCALAR a value; ERROR an error as ``status``, its line, and as ``value`` the number raised; BODY ``length`` bytes at
    ``body``, which may be part of the request.
    """
    if kind == Outcome.STATUS:
        return finish(w, header, Status.OK, value, 0) if status == Status.OK else refuse(w, header, status)
    if kind == Outcome.SCALAR:
        store64(header + HEADER_BYTES, value)
        return finish(w, header, Status.OK, 0, _SCALAR_BYTES)
    if kind == Outcome.ERROR:
        return refuse_extension_error(w, header, Header(header).key_length, status, line, value)
    move_bytes(header + HEADER_BYTES, body, length)
    return finish(w, header, status, value, length)
