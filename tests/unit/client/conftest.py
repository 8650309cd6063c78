"""A server of the request protocol in a thread, on a real socket, that loses, repeats, delays and damages packets on demand."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop

from splinter import limits
from splinter.client import AsyncClient, Client
from splinter.errors import Status
from splinter.wire import (
    ENTRY,
    ENTRY_DELETES,
    ENTRY_EXPIRES,
    ENTRY_READS,
    FLAG_EXPIRES,
    FLAG_REPLY,
    MULTIGET_MISSING,
    MULTIGET_TOO_LARGE,
    MULTIGET_VERSIONS,
    OBJECT_ABSENT,
    SCAN,
    SCAN_END,
    TTL_BYTES,
    TTL_NONE,
    Header,
    Opcode,
)
from tests.support.control_responder import ControlResponder
from tests.unit.client.batch_server import BatchServer, Stale

ASYNC_TIMEOUT = 20.0
Run = Callable[[Coroutine[Any, Any, Any]], Any]

TENANT, TOKEN = 7, 0x1122334455667788
HEADER_BYTES = limits.REQUEST_HEADER_BYTES


class Responder:
    """Serves from a dictionary. ``on_request`` and ``on_reply`` may change what arrives and what leaves.

    ``on_request(header, packet)`` returns the packets to serve in its place; ``on_reply(header, packet)`` the packets to send.
    ``refuse_with`` is asked about each request, of those in a batch about each of them.
    """

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.objects: dict[tuple[int, bytes], tuple[int, bytes]] = {}
        self.staged: dict[tuple[int, int], dict[int, bytes]] = {}
        self.ttls: dict[tuple[int, bytes], int] = {}  # ns, of what was put with one
        self.batches = BatchServer(self._run_unless_refused)
        self.requests: list[Header] = []
        self.on_request: Callable[[Header, bytes], list[bytes]] = lambda header, packet: [packet]
        self.on_reply: Callable[[Header, bytes], list[bytes]] = lambda header, packet: [packet]
        self.refuse_with: Callable[[Header], Status | None] = lambda header: None
        self.invoke: Callable[[bytes, bytes, int], tuple[Status, bytes]] = lambda name, packed, hash: (
            Status.NO_EXTENSION,
            b"",
        )
        self.answers: dict[Opcode, Callable[[Header, bytes, bytes], tuple[Status, bytes]]] = {}  # in place of its own
        self._version = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"stop", ("127.0.0.1", self.port))
        self._thread.join()
        self.socket.close()

    def _run(self) -> None:
        while True:
            packet, peer = self.socket.recvfrom(65536)
            if packet == b"stop":
                return
            header = Header.unpack(packet)
            self.requests.append(header)
            for arrived in self.on_request(header, packet):
                try:
                    reply = self._serve(arrived)
                except Stale:
                    continue
                for leaving in self.on_reply(header, reply):
                    self.socket.sendto(leaving, peer)

    def _serve(self, packet: bytes) -> bytes:
        header = Header.unpack(packet)
        key = packet[HEADER_BYTES : HEADER_BYTES + header.key_length]
        value = packet[HEADER_BYTES + header.key_length :]
        assert len(value) == header.value_length
        if header.opcode == Opcode.BATCH and header.opcode not in self.answers:
            status, body = self.batches.serve(header, key, value)
        else:
            status, body = self._run_unless_refused(header, key, value)
        header.flags, header.status, header.token, header.key_length, header.acknowledged = FLAG_REPLY, status, 0, 0, 0
        header.value_length = len(body)
        if status != Status.OK:
            header.object_version = 0
        return header.pack() + body

    def _run_unless_refused(self, header: Header, key: bytes, value: bytes) -> tuple[Status, bytes]:
        refused = self.refuse_with(header)
        return (refused, refused.text.encode()) if refused else self._run_request(header, key, value)

    def _run_request(self, header: Header, key: bytes, value: bytes) -> tuple[Status, bytes]:
        if header.tenant != TENANT or header.token != TOKEN:
            return Status.UNKNOWN_TENANT, b"a wrong token should never be answered"
        if header.opcode in self.answers:
            return self.answers[Opcode(header.opcode)](header, key, value)
        match header.opcode:
            case Opcode.PING:
                return Status.OK, b""
            case Opcode.GET:
                return self._get(header, key)
            case Opcode.PUT:
                return self._put(header, key, value)
            case Opcode.DELETE:
                if header.object_version and self._is_changed(header, key):
                    return Status.VERSION_CHANGED if (header.table, key) in self.objects else Status.NOT_FOUND, b""
                header.object_version = 0
                found = self.objects.pop((header.table, key), None)
                return (Status.OK, b"") if found else (Status.NOT_FOUND, b"")
            case Opcode.EXPIRE if (header.table, key) not in self.objects:
                return Status.NOT_FOUND, b""
            case Opcode.EXPIRE:
                ttl, value = int.from_bytes(value, "little"), self.objects[header.table, key][1]
                status, body = self._put(header, key, value)
                if status == Status.OK:
                    self.ttls[header.table, key] = ttl
                return status, body
            case Opcode.MULTIGET:
                return Status.OK, self._multiget(header.table, value, header.object_version == MULTIGET_VERSIONS)
            case Opcode.TRANSACT:
                return self._transact(header, value)
            case Opcode.TTL if (header.table, key) in self.objects:
                header.object_version = self.objects[header.table, key][0]
                return Status.OK, self.ttls.get((header.table, key), TTL_NONE).to_bytes(TTL_BYTES, "little")
            case Opcode.TTL:
                return Status.NOT_FOUND, b""
            case Opcode.SCAN:
                return Status.OK, self._scan(header, key, value)
            case Opcode.INVOKE:
                return self.invoke(key, value, header.object_version)
        return Status.UNKNOWN_OPCODE, b""

    def _get(self, header: Header, key: bytes) -> tuple[Status, bytes]:
        version, value = self.objects.get((header.table, key), (0, b""))
        if not version:
            return Status.NOT_FOUND, b""
        if header.object_version not in (0, version):
            return Status.VERSION_CHANGED, b""
        header.object_version = version
        if len(value) <= limits.PACKET_BODY_BYTES_MAX:
            return Status.OK, value
        header.fragment_count = -(-len(value) // limits.FRAGMENT_BYTES)
        start = header.fragment_index * limits.FRAGMENT_BYTES
        return Status.OK, value[start : start + limits.FRAGMENT_BYTES]

    def _put(self, header: Header, key: bytes, value: bytes) -> tuple[Status, bytes]:
        wanted, ttl = header.object_version, TTL_NONE
        header.object_version = 0
        if header.flags & FLAG_EXPIRES:
            value, ttl = value[:-TTL_BYTES], int.from_bytes(value[-TTL_BYTES:], "little")
        if header.fragment_count > 1:
            stage = self.staged.setdefault((header.client, header.sequence), {})
            stage[header.fragment_index] = value
            assert header.fragment_index == header.fragment_count - 1 or len(value) == limits.FRAGMENT_BYTES
            if len(stage) < header.fragment_count:
                return Status.OK, b""
            del self.staged[header.client, header.sequence]
            value = b"".join(stage[index] for index in range(header.fragment_count))
        header.object_version = wanted
        if wanted and self._is_changed(header, key):
            return Status.VERSION_CHANGED, b""
        self._version += 2
        self.objects[header.table, key] = (self._version, value)
        self.ttls[header.table, key] = ttl
        header.object_version = self._version
        return Status.OK, b""

    def _is_changed(self, header: Header, key: bytes) -> bool:
        """Whether the object has another version than the one that the request names."""
        return self.objects.get((header.table, key), (OBJECT_ABSENT, b""))[0] != header.object_version

    def _scan(self, header: Header, prefix: bytes, value: bytes) -> bytes:
        """Three keys at a time."""
        cursor, _ = SCAN.struct.unpack(value)
        found = sorted(key for table, key in self.objects if table == header.table and key.startswith(prefix))
        piece = found[cursor : cursor + 3]
        following = cursor + 3 if cursor + 3 < len(found) else SCAN_END
        return SCAN.struct.pack(following, 1) + b"".join(bytes([len(key)]) + key for key in piece)

    def _transact(self, header: Header, body: bytes) -> tuple[Status, bytes]:
        at, writes = 0, []
        while at < len(body):
            table, key_length, value_length, version = ENTRY.struct.unpack_from(body, at)
            at += ENTRY.struct.size
            place = table, body[at : at + key_length]
            at += key_length
            if version and self.objects.get(place, (OBJECT_ABSENT, b""))[0] != version:
                return Status.VERSION_CHANGED, b""
            if value_length != ENTRY_READS:
                is_deleted, ttl = value_length == ENTRY_DELETES, TTL_NONE
                size = 0 if is_deleted else value_length & ~ENTRY_EXPIRES
                value = body[at : at + size]
                if not is_deleted and value_length & ENTRY_EXPIRES:
                    value, ttl = value[:-TTL_BYTES], int.from_bytes(value[-TTL_BYTES:], "little")
                writes.append((place, None if is_deleted else value, ttl))
                at += size
        self._version += 2
        for place, written, ttl in writes:
            self.ttls[place] = ttl
            if written is None:
                self.objects.pop(place, None)
            else:
                self.objects[place] = (self._version, written)
        header.object_version = self._version
        return Status.OK, b""

    def _multiget(self, table: int, value: bytes, has_versions: bool) -> bytes:
        body, at = b"", 0
        while at < len(value):
            (length,) = struct.unpack_from("<H", value, at)
            key = value[at + 2 : at + 2 + length]
            at += 2 + length
            found = self.objects.get((table, key))
            if found is None:
                entry = struct.pack("<I", MULTIGET_MISSING)
            elif len(found[1]) > limits.PACKET_BODY_BYTES_MAX - (12 if has_versions else 4):
                entry = struct.pack("<I", MULTIGET_TOO_LARGE)
            else:
                entry = struct.pack("<I", len(found[1])) + (struct.pack("<Q", found[0]) if has_versions else b"") + found[1]
            if len(body) + len(entry) > limits.PACKET_BODY_BYTES_MAX:
                break
            body += entry
        return body


@pytest.fixture
def responder() -> Iterator[Responder]:
    made = Responder()
    yield made
    made.close()


@pytest.fixture
def client(responder: Responder) -> Iterator[Client]:
    with Client("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=5.0) as made:
        yield made


@pytest.fixture
def control() -> Iterator[ControlResponder]:
    made = ControlResponder()
    yield made
    made.close()


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Have an event loop of either kind run a coroutine."""

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(asyncio.wait_for(coroutine, 60))

    return run


@pytest.fixture
def made(responder: Responder) -> Callable[..., AsyncClient]:
    """Make a client of the responder."""
    return lambda **rest: AsyncClient("127.0.0.1", TENANT, TOKEN, port=responder.port, **{"timeout": ASYNC_TIMEOUT} | rest)
