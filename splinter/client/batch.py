"""Several small requests in one packet, and their answers: the wire operation BATCH (``docs/reference/protocol.md``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from splinter.client.flights import Reply
from splinter.errors import ProtocolError, Status
from splinter.wire import ANSWER, BATCH_NAMES_VERSION, BATCHED, FLAG_EXPIRES, TTL_BYTES, Opcode

_VERSION_BYTES = 8
_READS = (Opcode.GET, Opcode.TTL)
_batched, _answer = BATCHED.struct, ANSWER.struct


@dataclass(slots=True)
class Batched:
    """A request of a batch. ``ttl``: a PUT's, ns; 0: for ever."""

    opcode: Opcode
    table: int
    key: bytes
    value: bytes = b""
    object_version: int = 0
    ttl: int = 0

    @property
    def is_read(self) -> bool:
        """Whether it may be executed again, and changes nothing."""
        return self.opcode in _READS

    @property
    def size(self) -> int:
        """Bytes that it takes of a packet."""
        version_bytes = _VERSION_BYTES if self.object_version else 0
        return _batched.size + version_bytes + len(self.key) + len(self.value) + (TTL_BYTES if self.ttl else 0)

    @property
    def answer_size(self) -> int:
        """Bytes that its answer takes of a reply, at least."""
        return _answer.size + (TTL_BYTES if self.opcode == Opcode.TTL else 0)

    def pack(self) -> bytes:
        """Its bytes."""
        flags = (FLAG_EXPIRES if self.ttl else 0) | (BATCH_NAMES_VERSION if self.object_version else 0)
        value = self.value + self.ttl.to_bytes(TTL_BYTES, "little") if self.ttl else self.value
        version = self.object_version.to_bytes(_VERSION_BYTES, "little") if self.object_version else b""
        return _batched.pack(self.opcode, len(self.key), self.table, len(value), flags) + version + self.key + value


def packed(requests: Sequence[Batched]) -> bytes:
    """The value of a BATCH."""
    return b"".join([request.pack() for request in requests])


def read_answers(reply: Reply, requests: Sequence[Batched]) -> list[Reply]:
    """What a reply answers to the first of the requests of a BATCH: at least to one, unless the first is an invoke that is to
    be sent by itself.

    Raises the exception of any status but OK, and :class:`ProtocolError` for what no server says.
    """
    body, at, answers = reply.checked().value, 0, list[Reply]()
    while at < len(body):
        if len(answers) == len(requests):
            raise ProtocolError("a batch's reply answers more than it was asked")
        if len(body) - at < _answer.size:
            raise ProtocolError("a batch's reply is damaged")
        status, length, version = _answer.unpack_from(body, at)
        at += _answer.size
        if length > len(body) - at or not _may_have(requests[len(answers)], status, length):
            raise ProtocolError("a batch's reply is damaged")
        answers.append(Reply(status, version, 0, 0, body[at : at + length]))
        at += length
    if not answers and requests[0].opcode != Opcode.INVOKE:
        raise ProtocolError("a batch's reply answers no request")
    return answers


def _may_have(request: Batched, status: int, length: int) -> bool:
    """Whether an answer of this status may have a value of this length."""
    is_invoke = request.opcode == Opcode.INVOKE
    if status != Status.OK:
        has_text = is_invoke and status == Status.EXTENSION_ERROR
        return (has_text or length == 0) and status != Status.BUSY  # the reply ends before what cannot be executed now
    if is_invoke:
        return True  # its signature says
    return request.opcode == Opcode.GET or length == (TTL_BYTES if request.opcode == Opcode.TTL else 0)
