"""What a load generator asks for: prepared requests and the order in which they are sent.

Keys and values carry a number. The last 8 bytes of a key are its number; a value begins with the number of its key, so
that a reply can be checked without remembering what was stored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from splinter.limits import KEY_BYTES_MAX, PACKET_BODY_BYTES_MAX, REQUEST_HEADER_BYTES
from splinter.wire import Header, Opcode

NUMBER_BYTES = 8
KEY_BYTES_DEFAULT = 30
VALUE_BYTES_DEFAULT = 100
KEYS_DEFAULT = 100_000
SCHEDULE_ENTRIES = 1 << 18  # requests in a schedule before it starts again from its beginning
_KEY_PREFIX = b"splinter-benchmark-key"
_SEED = 20180919  # fixed, so that every run asks for the same keys in the same order


@dataclass(frozen=True)
class Account:
    """Whose objects the load generator reads and writes."""

    tenant: int
    token: int
    table: int = 1


@dataclass(frozen=True)
class Operation:
    """One kind of request.

    ``payload`` is header, key and value. ``key_at`` and ``value_at`` are where in it the number of the key is written,
    None where it is not. ``reply`` is the value that an OK reply carries, its first 8 bytes replaced by the number;
    None: anything.
    """

    name: str
    payload: bytes
    key_at: int | None = None
    value_at: int | None = None
    reply: bytes | None = None


@dataclass(frozen=True)
class Workload:
    """Operations, and for each request of the schedule which of them (``choice``) on which key number (``keys``)."""

    name: str
    operations: tuple[Operation, ...]
    choice: np.ndarray
    keys: np.ndarray

    def __post_init__(self) -> None:
        if len(self.choice) != len(self.keys) or not len(self.keys):
            raise ValueError("a schedule needs as many choices as keys, and at least one")


def key_template(key_bytes: int = KEY_BYTES_DEFAULT) -> bytes:
    """A key with the number 0; raises ``ValueError`` when no number fits or the key is too long."""
    if not NUMBER_BYTES <= key_bytes <= KEY_BYTES_MAX:
        raise ValueError(f"a key of the benchmark has {NUMBER_BYTES} to {KEY_BYTES_MAX} bytes, not {key_bytes}")
    prefix = key_bytes - NUMBER_BYTES
    return _KEY_PREFIX[:prefix].ljust(prefix, b".") + bytes(NUMBER_BYTES)


def value_template(value_bytes: int = VALUE_BYTES_DEFAULT, *, room: int = PACKET_BODY_BYTES_MAX) -> bytes:
    """A value with the number 0; raises ``ValueError`` when it has no room for one or does not fit ``room`` bytes."""
    if not NUMBER_BYTES <= value_bytes <= room:
        raise ValueError(f"a value of the benchmark has {NUMBER_BYTES} to {room} bytes, not {value_bytes}")
    filler = bytes(range(256)) * (value_bytes // 256 + 1)
    return bytes(NUMBER_BYTES) + filler[: value_bytes - NUMBER_BYTES]


def _request(account: Account, opcode: Opcode, key: bytes, value: bytes = b"") -> bytes:
    header = Header(
        opcode=opcode,
        tenant=account.tenant,
        token=account.token,
        table=account.table,
        key_length=len(key),
        value_length=len(value),
    )
    return header.pack() + key + value


def get_operation(account: Account, key_bytes: int = KEY_BYTES_DEFAULT, value_bytes: int = VALUE_BYTES_DEFAULT) -> Operation:
    """Read one object and check its value."""
    payload = _request(account, Opcode.GET, key_template(key_bytes))
    return Operation("get", payload, key_at=len(payload) - NUMBER_BYTES, reply=value_template(value_bytes))


def put_operation(account: Account, key_bytes: int = KEY_BYTES_DEFAULT, value_bytes: int = VALUE_BYTES_DEFAULT) -> Operation:
    """Write one object: the same value that is there already, in a new object."""
    key = key_template(key_bytes)
    value = value_template(value_bytes, room=PACKET_BODY_BYTES_MAX - key_bytes)
    value_at = REQUEST_HEADER_BYTES + len(key)
    return Operation("put", _request(account, Opcode.PUT, key, value), value_at - NUMBER_BYTES, value_at)


def invoke_operation(
    account: Account, name: str, arguments: bytes, *, number_at: int | None = None, reply: bytes | None = None
) -> Operation:
    """Run an installed extension. ``number_at`` is where in the packed arguments the key's number is written."""
    header = Header(
        opcode=Opcode.INVOKE,
        tenant=account.tenant,
        token=account.token,
        key_length=len(name.encode()),
        value_length=len(arguments),
    )
    payload = header.pack() + name.encode() + arguments
    value_at = None if number_at is None else len(payload) - len(arguments) + number_at
    return Operation(f"invoke {name}", payload, value_at=value_at, reply=reply)


def uniform(operation: Operation, keys: int = KEYS_DEFAULT) -> Workload:
    """One operation on uniformly chosen keys 0 … ``keys`` - 1, the same on every run."""
    order = np.random.default_rng(_SEED).integers(0, keys, SCHEDULE_ENTRIES, dtype=np.int64)
    return Workload(operation.name, (operation,), np.zeros(SCHEDULE_ENTRIES, np.uint8), order)


def each_once(operation: Operation, keys: int = KEYS_DEFAULT) -> Workload:
    """One operation on every key in order: run it for exactly ``keys`` requests to load them."""
    return Workload(f"load {operation.name}", (operation,), np.zeros(keys, np.uint8), np.arange(keys, dtype=np.int64))


def echo(payload_bytes: int) -> Workload:
    """What an echo sends back: a header, then zeros; ``ValueError`` when there is no room for the header."""
    if payload_bytes < REQUEST_HEADER_BYTES:
        raise ValueError(f"an echo's payload has at least {REQUEST_HEADER_BYTES} bytes, not {payload_bytes}")
    operation = Operation("echo", Header(opcode=Opcode.PING).pack().ljust(payload_bytes, b"\0"))
    return Workload("echo", (operation,), np.zeros(1, np.uint8), np.zeros(1, np.int64))
