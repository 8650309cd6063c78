"""What a load generator asks for: prepared requests and the order in which they are sent.

Keys and values carry a number. The last 8 bytes of a key are its number; a value begins with the number of its key, so
that a reply can be checked without remembering what was stored.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from splinter.limits import (
    FRAGMENT_BYTES,
    KEY_BYTES_MAX,
    MULTIGET_KEYS_MAX,
    PACKET_BODY_BYTES_MAX,
    REQUEST_HEADER_BYTES,
    VALUE_BYTES_MAX,
)
from splinter.wire import H_OPCODE, Header, Opcode
from splinter_bench.seed import SEED

NUMBER_BYTES = 8
KEY_BYTES_DEFAULT = 30
VALUE_BYTES_DEFAULT = 100
KEYS_DEFAULT = 100_000
SCHEDULE_ENTRIES = 1 << 18  # requests in a schedule before it starts again from its beginning
OPERATIONS_MAX = 1 << 16  # of one workload, and accounts: a schedule's entry has 16 bits for each
ANY_VERSION = -1  # in place of a column, in a reply: there stands an object's version, which is not 0
_U16, _U32 = struct.Struct("<H"), struct.Struct("<I")
_KEY_PREFIX = b"splinter-benchmark-key"


@dataclass(frozen=True)
class Account:
    """Whose objects the load generator reads and writes."""

    tenant: int
    token: int
    table: int = 1


@dataclass(frozen=True)
class Packet:
    """One packet of a request. ``patches`` and ``reply_patches`` are pairs of offset (in the payload, in the reply's value) and
    column of the schedule: where a number is written, or expected (``ANY_VERSION``: one that nobody knows). ``reply``: see
    :class:`Operation`."""

    payload: bytes
    patches: tuple[tuple[int, int], ...] = ()
    reply: bytes | None = None
    reply_patches: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Operation:
    """One kind of request.

    ``payload`` is header, key and value. ``key_at`` and ``value_at`` are where in it the number of the key is written, None
    where it is not; ``patches`` are further numbers, as pairs of offset and column of the schedule. ``reply`` is the value that
    an OK reply carries, its first 8 bytes replaced by the number, or what ``reply_patches`` says in place of that; None: any.

    A value that takes several packets stands in ``others``: a put's further fragments, or what a get's further fragments
    are asked for by, and carry. ``then`` follows when the reply was OK, with the version that it had, and both together are
    the request (a read-modify-write); when the version has changed meanwhile they begin again.

    A ``batch`` is so many requests in one packet, and each has a sequence number and a status of its own.
    """

    name: str
    payload: bytes
    key_at: int | None = None
    value_at: int | None = None
    reply: bytes | None = None
    patches: tuple[tuple[int, int], ...] = ()
    reply_patches: tuple[tuple[int, int], ...] | None = None
    others: tuple[Packet, ...] = ()
    then: Operation | None = None
    batch: int = 0  # requests that are in it; 0: it is none
    writes: bool = False  # of an invoke: whether the extension changes objects; of a batch: whether a request in it does
    may_miss: bool = False  # that there is no such object is a right answer

    @property
    def packets(self) -> tuple[Packet, ...]:
        """All its packets, the first one first."""
        patches = (*((at, 0) for at in (self.key_at, self.value_at) if at is not None), *self.patches)
        in_reply = self.reply_patches
        if in_reply is None:
            in_reply = ((0, 0),) if self.reply is not None and len(self.reply) >= NUMBER_BYTES else ()
        return (Packet(self.payload, patches, self.reply, in_reply), *self.others)

    @property
    def opcode(self) -> Opcode:
        """What it asks for."""
        return Opcode(self.payload[H_OPCODE])

    @property
    def is_put(self) -> bool:
        """Whether its fragments are of the request, and not of the reply."""
        return self.opcode == Opcode.PUT

    @property
    def is_mutation(self) -> bool:
        """Whether the server may have to remember that it was done."""
        return self.opcode in (Opcode.PUT, Opcode.DELETE) or (self.opcode in (Opcode.INVOKE, Opcode.BATCH) and self.writes)


@dataclass(frozen=True)
class Workload:
    """Operations, and a schedule: for each request which of them (``choice``), and its numbers (``keys``).

    ``keys`` is ``int64[entries]``, or ``int64[entries, columns]``; the first column is the number of the key. After its last
    entry a schedule starts again, with ``advance`` added to each first number. ``accounts`` and ``account_choice`` (an index
    for each entry) say who asks; without them it is the account of the operation. ``reach``: no request is begun before the
    one so many entries earlier has its reply; 0: any may be.

    ``clients``: requests are of so many client ids by turns. Where there are several, so few are under way that every one that
    begins with a mutation asks to be executed once: a reply that is late holds up the others.
    """

    name: str
    operations: tuple[Operation, ...]
    choice: np.ndarray
    keys: np.ndarray
    accounts: tuple[Account, ...] = ()
    account_choice: np.ndarray | None = None
    advance: int = 0
    reach: int = 0
    clients: int = 1

    def __post_init__(self) -> None:
        if len(self.choice) != len(self.keys) or not len(self.keys):
            raise ValueError("a schedule needs as many choices as keys, and at least one")
        if not 0 < len(self.operations) <= OPERATIONS_MAX or len(self.accounts) > OPERATIONS_MAX:
            raise ValueError(f"a workload has 1 to {OPERATIONS_MAX:,} operations and at most as many accounts")
        if int(self.choice.max()) >= len(self.operations):
            raise ValueError("the schedule asks for an operation that the workload does not have")
        if self.clients < 1:
            raise ValueError("a workload has at least one client")
        if self.accounts:
            who = self.account_choice
            if who is None or len(who) != len(self.choice) or int(who.max()) >= len(self.accounts):
                raise ValueError("a schedule with accounts names one of them in each entry")


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


def request(
    account: Account,
    opcode: Opcode,
    key: bytes,
    value: bytes = b"",
    *,
    table: int | None = None,
    fragment_index: int = 0,
    fragment_count: int = 0,
) -> bytes:
    """One packet's header, key and value; in the account's table, if no other one is said."""
    header = Header(
        opcode=opcode,
        tenant=account.tenant,
        token=account.token,
        table=account.table if table is None else table,
        key_length=len(key),
        value_length=len(value),
        fragment_index=fragment_index,
        fragment_count=fragment_count,
    )
    return header.pack() + key + value


def _pieces(value: bytes, body_bytes: int) -> list[bytes]:
    """What a value travels in, as part of so long a body: one packet, or fragments."""
    size = len(value) if body_bytes <= PACKET_BODY_BYTES_MAX else FRAGMENT_BYTES
    return [value[at : at + size] for at in range(0, len(value), size)]


def get_operation(account: Account, key_bytes: int = KEY_BYTES_DEFAULT, value_bytes: int = VALUE_BYTES_DEFAULT) -> Operation:
    """Read one object and check its value. What does not fit one reply is asked for by further requests."""
    key, value = key_template(key_bytes), value_template(value_bytes, room=VALUE_BYTES_MAX)
    pieces = _pieces(value, value_bytes)
    asked = [request(account, Opcode.GET, key, fragment_index=index) for index in range(len(pieces))]
    number_at = len(asked[0]) - NUMBER_BYTES
    others = (Packet(text, ((number_at, 0),), piece) for text, piece in zip(asked[1:], pieces[1:], strict=True))
    return Operation("get", asked[0], number_at, reply=pieces[0], others=tuple(others))


def put_operation(account: Account, key_bytes: int = KEY_BYTES_DEFAULT, value_bytes: int = VALUE_BYTES_DEFAULT) -> Operation:
    """Write one object: the same value that is there already, in a new object. In fragments when it does not fit a packet."""
    key, value = key_template(key_bytes), value_template(value_bytes, room=VALUE_BYTES_MAX)
    value_at = REQUEST_HEADER_BYTES + len(key)
    number_at = value_at - NUMBER_BYTES
    pieces = _pieces(value, key_bytes + value_bytes)
    count = len(pieces) if len(pieces) > 1 else 0
    first, *others = (
        request(account, Opcode.PUT, key, piece, fragment_index=index, fragment_count=count)
        for index, piece in enumerate(pieces)
    )
    return Operation("put", first, number_at, value_at, others=tuple(Packet(packet, ((number_at, 0),)) for packet in others))


def delete_operation(account: Account, key_bytes: int = KEY_BYTES_DEFAULT) -> Operation:
    """Remove one object."""
    payload = request(account, Opcode.DELETE, key_template(key_bytes))
    return Operation("delete", payload, key_at=len(payload) - NUMBER_BYTES)


def modify_operation(account: Account, key_bytes: int = KEY_BYTES_DEFAULT, value_bytes: int = VALUE_BYTES_DEFAULT) -> Operation:
    """Read an object and put it again if it still has the version that was read; otherwise again from the start.

    Raises ``ValueError`` for values that do not fit one packet with their key.
    """
    if key_bytes + value_bytes > PACKET_BODY_BYTES_MAX:
        raise ValueError(f"a read-modify-write takes values that fit one packet, not {value_bytes} bytes")
    get, put = get_operation(account, key_bytes, value_bytes), put_operation(account, key_bytes, value_bytes)
    return replace(get, name="read-modify-write", then=replace(put, name="read-modify-write"))


def multiget_operation(
    account: Account, keys: int, key_bytes: int = KEY_BYTES_DEFAULT, value_bytes: int = VALUE_BYTES_DEFAULT
) -> Operation:
    """Read ``keys`` objects at once and check their values; the schedule needs as many columns of key numbers.

    Raises ``ValueError`` when request or reply do not fit a packet.
    """
    key, value = key_template(key_bytes), value_template(value_bytes)
    entry, answer = _U16.pack(key_bytes) + key, _U32.pack(value_bytes) + value
    most = min(PACKET_BODY_BYTES_MAX // len(entry), PACKET_BODY_BYTES_MAX // len(answer), MULTIGET_KEYS_MAX)
    if not 1 <= keys <= most:
        sizes = f"{key_bytes}-byte keys and {value_bytes}-byte values"
        raise ValueError(f"a multiget of {sizes} has 1 to {most} keys: more do not fit one packet")
    payload = request(account, Opcode.MULTIGET, b"", entry * keys)
    last = len(entry) - NUMBER_BYTES
    patches = tuple((REQUEST_HEADER_BYTES + n * len(entry) + last, n) for n in range(keys))
    in_reply = tuple((n * len(answer) + _U32.size, n) for n in range(keys))
    return Operation("multiget", payload, patches=patches, reply=answer * keys, reply_patches=in_reply)


def invoke_operation(
    account: Account,
    name: str,
    arguments: bytes,
    *,
    number_at: int | None = None,
    numbers: Sequence[tuple[int, int]] = (),
    reply: bytes | None = None,
    writes: bool = False,
) -> Operation:
    """Run an installed extension.

    ``number_at`` is where in the packed arguments the key's number is written; ``numbers``: where those of which columns are.
    ``writes``: it changes objects, so that it must not run twice.
    """
    header = Header(
        opcode=Opcode.INVOKE,
        tenant=account.tenant,
        token=account.token,
        key_length=len(name.encode()),
        value_length=len(arguments),
    )
    payload = header.pack() + name.encode() + arguments
    start = len(payload) - len(arguments)
    value_at = None if number_at is None else start + number_at
    patches = tuple((start + at, column) for at, column in numbers)
    return Operation(f"invoke {name}", payload, value_at=value_at, reply=reply, patches=patches, writes=writes)


def only(
    operation: Operation, keys: np.ndarray, accounts: tuple[Account, ...] = (), who: np.ndarray | None = None, *, name: str = ""
) -> Workload:
    """One operation with these numbers, named after it by default."""
    return Workload(name or operation.name, (operation,), np.zeros(len(keys), np.uint16), keys, accounts, who)


def uniform(operation: Operation, keys: int = KEYS_DEFAULT, columns: int = 1) -> Workload:
    """One operation on uniformly chosen keys 0 … ``keys`` - 1, ``columns`` of them at once, the same on every run."""
    shape = SCHEDULE_ENTRIES if columns == 1 else (SCHEDULE_ENTRIES, columns)
    return only(operation, np.random.default_rng(SEED).integers(0, keys, shape, dtype=np.int64))


def each_once(operation: Operation, keys: int = KEYS_DEFAULT) -> Workload:
    """One operation on every key in order: run it for exactly ``keys`` requests to load them."""
    return only(operation, np.arange(keys, dtype=np.int64), name=f"load {operation.name}")


def echo(payload_bytes: int) -> Workload:
    """What an echo sends back: a header, then zeros; ``ValueError`` when there is no room for the header."""
    if payload_bytes < REQUEST_HEADER_BYTES:
        raise ValueError(f"an echo's payload has at least {REQUEST_HEADER_BYTES} bytes, not {payload_bytes}")
    return only(Operation("echo", Header(opcode=Opcode.PING).pack().ljust(payload_bytes, b"\0")), np.zeros(1, np.int64))
