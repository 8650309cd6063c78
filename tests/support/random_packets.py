"""Random and mutated packets by the thousand, and the system call that sends them: valid ones of every operation, with changed
bits, fields, lengths, fragments, tenants and tokens, and some that are random from the first byte on."""

from __future__ import annotations

import contextlib
import ctypes
import random
import select
import socket
from collections.abc import Sequence

import numpy as np

from splinter import limits
from splinter.client.admin import TenantInfo
from splinter.ext.compile import compile_source
from splinter.net.netns import inside
from splinter.server.instance import InstanceInfo
from splinter.wire import BATCH_OPCODES, FIELDS, HEADER, LARGE, PART, PART_KEY_STRUCT, Header, Opcode
from tests.support import entries
from tests.support.batches import One

PACKET_BYTES_MAX = limits.UDP_PAYLOAD_BYTES_MAX
TEMPLATES = 2000
# Numbers at which code tends to be wrong. A field takes what fits it of each.
EDGES = [0, 1, 2, 3, 7, 63, 64, 65, 254, 255, 256, 1023, 1472, 0x7FFF, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE]
EDGES += [0xFFFFFFFF, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 2, (1 << 64) - 1]
EDGES += [value + step for value in (
    limits.FRAGMENTS_MAX, limits.FRAGMENT_BYTES, limits.TENANTS_MAX, limits.TABLES_MAX, limits.TABLE_CLIENTS,
    limits.TABLE_EXTENSIONS, limits.KEY_BYTES_MAX, limits.CLIENT_WINDOW,
) for step in (-1, 0, 1)]  # fmt: skip
EXTENSION = """
@extension
def look(db: Store, key: u64) -> u64:
    value = db.get(1, key)
    return 0 if value is None else len(value)

@extension
def change(db: Store, key: u64, value: bytes) -> u64:
    db.put(1, key, value)
    return len(value)

@extension
def spin(db: Store, turns: u64) -> u64:
    x = 0
    for i in range(turns & 0xFFFF):
        x = x ^ i
    return x
"""
NAMES = ("look", "change", "spin")
_IMPORTS = "from splinter.ext import Store, extension, u64\n"
SOURCES = {name: _IMPORTS + "@extension\n" + EXTENSION.split("@extension\n")[number + 1] for number, name in enumerate(NAMES)}


class RandomPackets:
    """Batches of packets. ``attackers`` are who may send, ``others`` whose objects nobody else may reach."""

    def __init__(self, seed: int, attackers: Sequence[TenantInfo], others: Sequence[TenantInfo]) -> None:
        self._dice, self._random = random.Random(seed), np.random.default_rng(seed)
        self._signatures = {name: compile_source(SOURCES[name]).signature for name in NAMES}
        packets = [self._valid(self._dice.choice(attackers)) for _ in range(TEMPLATES)]
        self._templates = np.zeros((TEMPLATES, PACKET_BYTES_MAX), np.uint8)
        for row, packet in zip(self._templates, packets, strict=True):
            row[: len(packet)] = np.frombuffer(packet, np.uint8)
        self._lengths = np.array([len(packet) for packet in packets])
        self._others = np.array([tenant.tenant for tenant in others], np.uint32)

    def _valid(self, tenant: TenantInfo) -> bytes:
        """A packet with which nothing is wrong, of any operation."""
        dice = self._dice
        opcode = dice.choice(list(Opcode))
        key, value = dice.randrange(300).to_bytes(8, "little"), b""
        fields = {"table": dice.choice((0, 1, 1, 7)), "object_version": dice.choice((0, 0, 0, 1, 5, (1 << 64) - 1))}
        if opcode == Opcode.PING:
            key = b""
        elif opcode == Opcode.PUT:
            value = dice.randbytes(dice.choice((0, 1, 30, 200, limits.FRAGMENT_BYTES)))
            if len(value) == limits.FRAGMENT_BYTES:
                count = dice.choice((2, 3, limits.FRAGMENTS_MAX))
                fields |= {"fragment_count": count, "fragment_index": dice.randrange(count)}
        elif opcode in (Opcode.PUT_PART, Opcode.GET_PART):
            key = PART_KEY_STRUCT.pack(dice.randrange(3), dice.randrange(4))
            if opcode == Opcode.PUT_PART:
                value = (
                    PART.struct.pack(fields["table"], 8, 0) + dice.randrange(300).to_bytes(8, "little") + dice.randbytes(1000)
                )
        elif opcode == Opcode.PUT_LARGE:
            value = LARGE.struct.pack(dice.randrange(3), dice.choice((1, 65_536, 70_000, 8 << 20, 1 << 63)))
        elif opcode == Opcode.MULTIGET:
            keys = [dice.randrange(300).to_bytes(8, "little") for _ in range(dice.randrange(1, 40))]
            key, value = b"", b"".join(len(each).to_bytes(2, "little") + each for each in keys)
        elif opcode == Opcode.TRANSACT:
            key, value = b"", b"".join(self._entry(fields["table"]) for _ in range(dice.randrange(1, 20)))
        elif opcode == Opcode.BATCH:
            key, value = b"", b"".join(self._request(fields["table"]) for _ in range(dice.randrange(1, 12)))
        elif opcode == Opcode.INVOKE:
            key, value = self._invoke()
            fields["object_version"] = 0
        header = Header(
            opcode=opcode, tenant=tenant.tenant, token=tenant.token, key_length=len(key), value_length=len(value),
            client=dice.choice((1, 2, 3, dice.getrandbits(64))), sequence=dice.choice((1, 2, 3, 100, dice.getrandbits(20))),
            acknowledged=dice.choice((0, 0, 1, 2, 90)), **fields,
        )  # fmt: skip
        return header.pack() + key + value

    def _entry(self, table: int) -> bytes:
        """Of a TRANSACT, with any version."""
        dice = self._dice
        key, version = dice.randrange(300).to_bytes(8, "little"), dice.choice((0, 0, 1, 4, entries.ABSENT))
        kind = dice.randrange(3)
        if kind == 0:
            return entries.puts(key, dice.randbytes(dice.choice((0, 8, 30))), version, table=table)
        return (entries.reads, entries.deletes)[kind - 1](key, version, table=table)

    def _invoke(self) -> tuple[bytes, bytes]:
        """An extension's name, and arguments for it."""
        dice, name = self._dice, self._dice.choice(NAMES)
        arguments = {"look": (dice.randrange(300),), "spin": (dice.getrandbits(16),)}
        return name.encode(), self._signatures[name].pack(arguments.get(name, (dice.randrange(300), dice.randbytes(20))))

    def _request(self, table: int) -> bytes:
        """Of a BATCH."""
        dice = self._dice
        if dice.random() < 0.2:
            return One(Opcode.INVOKE, *self._invoke(), dice.choice((0, 0, 0, 1)), table).packed()
        opcode, key = dice.choice(BATCH_OPCODES), dice.randrange(300).to_bytes(8, "little")
        value = dice.randbytes(dice.choice((0, 8, 30))) if opcode in (Opcode.PUT, Opcode.EXPIRE) else b""
        ttl_ns = dice.choice((None, None, 10**9)) if opcode == Opcode.PUT else None
        return One(opcode, key, value, dice.choice((0, 0, 1, 4, entries.ABSENT)), table, ttl_ns).packed()

    def batch(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """``uint8[count, PACKET_BYTES_MAX]`` and each packet's length."""
        random = self._random
        chosen = random.integers(0, TEMPLATES, count)
        packets, lengths = self._templates[chosen], self._lengths[chosen]
        headers = np.ndarray(count, HEADER.dtype, packets, strides=packets.strides[:1])
        fate = random.random(count)
        headers["sequence"] += random.integers(0, 1000, count).astype(np.uint64)
        headers["token"][fate < 0.05] = random.integers(0, 1 << 63, count).astype(np.uint64)[fate < 0.05]
        theirs = (fate >= 0.05) & (fate < 0.12)  # another's id with a token of one's own
        headers["tenant"][theirs] = random.choice(self._others, count)[theirs]
        for _ in range(2):
            self._set_fields(headers)
            self._flip_bits(packets, lengths)
        resized = random.random(count) < 0.1
        lengths = np.where(resized, random.integers(0, PACKET_BYTES_MAX + 1, count), lengths)
        noise = np.flatnonzero(random.random(count) < 0.03)
        packets[noise] = random.integers(0, 256, (len(noise), PACKET_BYTES_MAX), dtype=np.uint8)
        return packets, lengths

    def _set_fields(self, headers: np.ndarray) -> None:
        """Give one field of a fifth of the headers a number from an edge."""
        field = self._random.integers(0, 5 * len(FIELDS), len(headers))
        for number, name in enumerate(FIELDS):
            rows = np.flatnonzero(field == number)
            bits = 8 * HEADER.dtype[name].itemsize
            headers[name][rows] = [self._dice.choice(EDGES) % (1 << bits) for _ in rows]

    def _flip_bits(self, packets: np.ndarray, lengths: np.ndarray) -> None:
        """Flip one bit of a third of the packets, in the header or anywhere."""
        rows = np.flatnonzero((self._random.random(len(packets)) < 0.33) & (lengths > 0))
        until = np.where(self._random.random(len(rows)) < 0.5, np.minimum(lengths[rows], HEADER.itemsize), lengths[rows])
        places = (self._random.random(len(rows)) * until).astype(np.int64)
        packets[rows, places] ^= (1 << self._random.integers(0, 8, len(rows))).astype(np.uint8)


_IOVEC = np.dtype([("base", "<u8"), ("length", "<u8")])
_MMSGHDR = np.dtype(
    [
        ("name", "<u8"), ("name_length", "<u8"), ("iovec", "<u8"), ("iovec_count", "<u8"), ("control", "<u8"),
        ("control_length", "<u8"), ("flags", "<u8"), ("sent", "<u8"),
    ]
)  # fmt: skip
_libc = ctypes.CDLL(None, use_errno=True)
_SEND_TRIES_MAX = 10_000  # while the socket's buffer is full


class Sender:
    """A UDP socket to a server, in its clients' namespace, that sends a batch with one system call or few."""

    def __init__(self, info: InstanceInfo) -> None:
        with inside(info.client_netns):
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((info.address, info.port))
        self._socket.setblocking(False)

    def send(self, packets: np.ndarray, lengths: np.ndarray) -> int:
        """Returns how many left; what the network refuses is lost, as it may be anywhere."""
        count = len(packets)
        iovecs, messages = np.zeros(count, _IOVEC), np.zeros(count, _MMSGHDR)
        iovecs["base"] = packets.ctypes.data + np.arange(count) * packets.strides[0]
        iovecs["length"] = lengths
        messages["iovec"] = iovecs.ctypes.data + np.arange(count) * _IOVEC.itemsize
        messages["iovec_count"] = 1
        done, lost = 0, 0
        for _ in range(_SEND_TRIES_MAX):
            if done == count:
                break
            taken = _libc.sendmmsg(
                self._socket.fileno(),
                ctypes.c_void_p(messages.ctypes.data + done * _MMSGHDR.itemsize),
                count - done,
                socket.MSG_DONTWAIT,
            )
            if taken < 0 and ctypes.get_errno() in (11, 105):  # EAGAIN, ENOBUFS
                room = select.poll()
                room.register(self._socket, select.POLLOUT)
                room.poll(10)
                continue
            lost += taken < 0
            done += max(taken, 1)
        return done - lost

    def close(self) -> None:
        """Close the socket."""
        with contextlib.suppress(OSError):
            self._socket.close()
