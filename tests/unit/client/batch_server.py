"""What a server makes of batches, as ``docs/reference/protocol.md`` has it: for the responder of ``conftest.py``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from splinter import limits
from splinter.errors import Status
from splinter.wire import (
    ANSWER,
    BATCH_NAMES_VERSION,
    BATCH_OPCODES,
    BATCH_REQUESTS_MAX,
    BATCHED,
    FLAG_EXPIRES,
    Header,
    Opcode,
)

READS = (Opcode.GET, Opcode.TTL)
_VERSION_BYTES = 8
_ROOM = limits.PACKET_BODY_BYTES_MAX

Execute = Callable[[Header, bytes, bytes], tuple[Status, bytes]]


class Stale(Exception):
    """The client has said that it waits for no reply to this number."""


@dataclass
class Record:
    """What is kept of a client."""

    acknowledged: int = 0
    results: dict[int, tuple[Status, bytes, int]] = field(default_factory=dict)  # of its writes, by number


def split(value: bytes) -> list[tuple[Header, bytes, bytes]] | None:
    """A batch's requests: header, key and value of each as if it came by itself; None for what is no batch."""
    at, found = 0, []
    while at < len(value):
        if len(value) - at < BATCHED.struct.size:
            return None
        opcode, key_length, table, value_length, flags = BATCHED.struct.unpack_from(value, at)
        at += BATCHED.struct.size
        version = 0
        if flags & BATCH_NAMES_VERSION:
            version = int.from_bytes(value[at : at + _VERSION_BYTES], "little")
            at += _VERSION_BYTES
        end = at + key_length + value_length
        if end > len(value):
            return None
        header = Header(
            opcode=opcode, table=table, key_length=key_length, value_length=value_length, flags=flags & FLAG_EXPIRES,
            object_version=version,
        )  # fmt: skip
        found.append((header, value[at : at + key_length], value[at + key_length : end]))
        at = end
    return found if 0 < len(found) <= BATCH_REQUESTS_MAX else None


class BatchServer:
    """``answers_max(header)``: how many requests of this packet it answers, at most; ``waits(name)``: whether an extension is
    to be invoked by itself. ``executed``: client, number, opcode and key of what was executed, in that order."""

    def __init__(self, execute: Execute) -> None:
        self.answers_max: Callable[[Header], int] = lambda header: BATCH_REQUESTS_MAX
        self.waits: Callable[[bytes], bool] = lambda name: False
        self.executed: list[tuple[int, int, Opcode, bytes]] = []
        self.records: dict[int, Record] = {}
        self._execute = execute

    def serve(self, packet: Header, key: bytes, value: bytes) -> tuple[Status, bytes]:
        """Status and body of the reply. Raises :class:`Stale`."""
        requests = split(value)
        if key:
            return Status.BAD_KEY, b""
        if requests is None:
            return Status.BAD_LENGTH, b""
        if any(header.opcode not in BATCH_OPCODES for header, _, _ in requests):
            return Status.UNKNOWN_OPCODE, b""
        record = self.records.setdefault(packet.client, Record())
        record.acknowledged = max(record.acknowledged, packet.acknowledged)
        record.results = {number: kept for number, kept in record.results.items() if number >= record.acknowledged}
        if packet.sequence < record.acknowledged:
            raise Stale
        body, most = b"", self.answers_max(packet)
        for number, (header, its_key, its_value) in enumerate(requests[:most], packet.sequence):
            is_invoke = header.opcode == Opcode.INVOKE
            if is_invoke and self.waits(its_key) and number not in record.results:
                return Status.OK, body
            header.tenant, header.token, header.client = packet.tenant, packet.token, packet.client
            header.sequence, header.acknowledged = number, packet.acknowledged
            answer = self._answer(record, header, its_key, its_value, _ROOM - len(body) - ANSWER.struct.size)
            if answer is None:
                break
            body += answer
            if is_invoke and record.results[number][0] == Status.BAD_SIGNATURE:
                break
        return (Status.OK, body) if body else (Status.BUSY, b"")

    def _answer(self, record: Record, header: Header, key: bytes, value: bytes, room: int) -> bytes | None:
        """None where the reply ends before it."""
        is_read, number = header.opcode in READS, header.sequence
        if not is_read and number >= record.acknowledged + limits.CLIENT_WINDOW:
            return None
        if room < 0:
            return None
        found = None if is_read else record.results.get(number)
        if found is None:
            status, told = self._execute(header, key, value)
            if status == Status.BUSY:
                return None
            if header.fragment_count > 1 or (status == Status.OK and len(told) > _ROOM - ANSWER.struct.size):
                status, told = Status.VALUE_TOO_LARGE, b""
            has_value = status == Status.OK or (status == Status.EXTENSION_ERROR and header.opcode == Opcode.INVOKE)
            found = status, told if has_value else b"", header.object_version if status == Status.OK else 0
            if len(found[1]) > room:
                return None  # a read's: it is executed when it is asked for again
            self.executed.append((header.client, number, Opcode(header.opcode), key))
            if not is_read:
                record.results[number] = found
        return ANSWER.struct.pack(found[0], len(found[1]), found[2]) + found[1]
