"""Several requests in one packet: each does what it would do by itself, in their order, once."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from splinter_bench.subjects.in_worker import WorkerInProcess

from splinter import limits
from splinter.errors import Status
from splinter.store.reclaim import reclaim
from splinter.store.turns import leave_turn, take_turn
from splinter.wire import BATCH_OPCODES, BATCH_REQUESTS_MAX, HEADER, OBJECT_OPCODES, Header, Opcode
from splinter.worker.reply import DROP
from splinter.worker.requests import handle
from splinter.worker.turn import begin_turn
from tests.support.batches import Answer, One, answers

ALONE, TOGETHER = 1, 2  # tenants
ABSENT = (1 << 64) - 1
CLIENT = 77
KEYS = [b"a", b"bb", b"k" * limits.KEY_BYTES_MAX, bytes(8)]
TABLES = [0, 7, limits.TABLES_MAX - 1]
ANSWER_BYTES = 12
IDLE_TURNS, TRIES_MAX = 3, 100
FUZZED, VALID = 4000, 600
REPEATED = 200


@pytest.fixture(scope="module")
def one() -> Iterator[WorkerInProcess]:
    with WorkerInProcess(limits.STORE_BYTES_MIN) as made:
        for tenant in (ALONE, TOGETHER):
            made.add_tenant(tenant)
        yield made


@pytest.fixture
def worker(one: WorkerInProcess) -> Iterator[WorkerInProcess]:
    """An empty store."""
    yield one
    for tenant in (ALONE, TOGETHER):
        one.store.open_tenant(tenant)
        for table in TABLES:
            for stored in list(one.store.scan(table, tenant=tenant)):
                one.store.delete(tenant, table, stored.key)
    assert one.store.problems() == []


class Sender:
    """One client of both tenants; not ``asks``: its requests are executed as often as they come."""

    def __init__(self, worker: WorkerInProcess, *, asks: bool = True) -> None:
        self.worker, self.asks = worker, asks
        self.client = random.getrandbits(63) | 1
        self.sequence = 1  # the next one

    def packet(self, request: bytes) -> tuple[Status, bytes, np.void] | None:
        """The reply: status, body, header; None when there is none."""
        w, packet = self.worker.address, np.zeros(limits.CHUNK_BYTES, np.uint8)
        packet[: len(request)] = np.frombuffer(request, np.uint8)
        begin_turn(w)
        length = handle(w, packet.ctypes.data, len(request), 0, 0, 0)
        for _ in range(IDLE_TURNS):
            begin_turn(w)
            for participant in (0, limits.PARTICIPANT_CONTROL):
                reclaim(self.worker.store.address, participant, limits.RECLAIM_SLOTS_MAX)
        if length == DROP:
            return None
        reply = packet[: HEADER.itemsize].view(HEADER.dtype)[0]
        assert length == HEADER.itemsize + int(reply["value_length"])
        assert reply["client"] == self.client
        return Status(int(reply["status"])), packet[HEADER.itemsize : length].tobytes(), reply

    def header(self, tenant: int, opcode: int, sequence: int, **fields: int) -> Header:
        acknowledged = max(sequence - limits.CLIENT_WINDOW // 2, 1) if self.asks else 0
        made = Header(opcode=opcode, tenant=tenant, client=self.client, sequence=sequence, acknowledged=acknowledged)
        for name, value in fields.items():
            setattr(made, name, value)
        return made

    def alone(self, request: One, sequence: int) -> Answer:
        """Asked for in a packet of its own."""
        header = self.header(
            ALONE, request.opcode, sequence, table=request.table, key_length=len(request.key), value_length=len(request.body),
            object_version=request.version, flags=request.flags,
        )  # fmt: skip
        for _ in range(TRIES_MAX):
            reply = self.packet(header.pack() + request.key + request.body)
            assert reply is not None
            if reply[0] != Status.BUSY:
                break
        status, body, told = reply
        return Answer(status, int(told["object_version"]), body if status == Status.OK else b"")

    def raw(self, body: bytes, sequence: int | None = None, **fields: int) -> tuple[Status, bytes] | None:
        """One BATCH of any content."""
        header = self.header(TOGETHER, Opcode.BATCH, self.sequence if sequence is None else sequence, value_length=len(body))
        for name, value in fields.items():
            setattr(header, name, value)
        reply = self.packet(header.pack() + body)
        return None if reply is None else reply[:2]

    def together(self, *requests: One, sequence: int | None = None, **fields: int) -> list[Answer]:
        """All answers, by as many packets as it takes; every one answers one request at least."""
        first = self.sequence if sequence is None else sequence
        found: list[Answer] = []
        for _ in range(TRIES_MAX * len(requests)):
            left = [each.packed() for each in requests[len(found) :]]
            if not left:
                break
            while sum(map(len, left)) > limits.PACKET_BODY_BYTES_MAX:
                del left[-1]
            reply = self.raw(b"".join(left), first + len(found), **fields)
            assert reply is not None
            if reply[0] == Status.BUSY:
                continue
            assert reply[0] == Status.OK
            more = answers(reply[1])
            assert 1 <= len(more) <= len(left)
            found += more
        assert len(found) == len(requests)
        self.sequence = max(self.sequence, first + len(requests))
        return found


@pytest.fixture
def send(worker: WorkerInProcess) -> Sender:
    """A client that is new."""
    return Sender(worker)


def put(key: bytes, value: bytes, version: int = 0, *, table: int = 0, ttl_ns: int | None = None) -> One:
    return One(Opcode.PUT, key, value, version, table, ttl_ns)


def get(key: bytes, version: int = 0, *, table: int = 0) -> One:
    return One(Opcode.GET, key, b"", version, table)


def delete(key: bytes, version: int = 0, *, table: int = 0) -> One:
    return One(Opcode.DELETE, key, b"", version, table)


def contents(worker: WorkerInProcess, tenant: int = TOGETHER) -> dict[tuple[int, bytes], tuple[bytes, int]]:
    found = (stored for table in TABLES for stored in worker.store.scan(table, tenant=tenant))
    return {(stored.table, stored.key): (stored.value, stored.version) for stored in found}


def values(worker: WorkerInProcess, tenant: int) -> dict[tuple[int, bytes], bytes]:
    return {place: value for place, (value, _) in contents(worker, tenant).items()}


def test_each_has_its_own_answer_in_their_order(worker: WorkerInProcess, send: Sender):
    told = send.together(
        put(b"k", b"1"), get(b"k"), put(b"k", b"22"), get(b"k"), get(b"none"), delete(b"k"), get(b"k"), delete(b"k"),
        put(b"k", b"333", 5), put(b"k", b"333", ABSENT), One(Opcode.TTL, b"k"), One(Opcode.EXPIRE, b"k", bytes(8)), get(b"k"),
    )  # fmt: skip
    assert [(each.status, each.value) for each in told] == [
        (Status.OK, b""), (Status.OK, b"1"), (Status.OK, b""), (Status.OK, b"22"), (Status.NOT_FOUND, b""), (Status.OK, b""),
        (Status.NOT_FOUND, b""), (Status.NOT_FOUND, b""), (Status.VERSION_CHANGED, b""), (Status.OK, b""),
        (Status.OK, bytes(8)), (Status.OK, b""), (Status.OK, b"333"),
    ]  # fmt: skip
    assert told[1].version == told[0].version < told[3].version == told[2].version
    assert values(worker, TOGETHER) == {(0, b"k"): b"333"}


def _any_request(dice: random.Random, there: dict[tuple[int, bytes], tuple[bytes, int]]) -> tuple[One, bool]:
    """A request, and whether it names the version that is there."""
    key, table = dice.choice([*KEYS, b"", b"n"]), dice.choice([*TABLES, *TABLES, limits.TABLES_MAX, limits.TABLE_CLIENTS])
    opcode = dice.choice(OBJECT_OPCODES)
    now = there.get((table, key), (b"", ABSENT))[1]
    names_it = dice.random() < 0.3
    version = now if names_it else dice.choice((0, 0, 0, 0, ABSENT, 2))
    value, ttl = b"", None
    if opcode == Opcode.PUT:
        value = dice.randbytes(dice.choice((0, 1, 8, 40, 300)))
        ttl = dice.choice((None, None, None, 0, 10**15, limits.TTL_NS_MAX + 1))
    elif opcode == Opcode.EXPIRE:
        value = dice.choice((bytes(8), (10**15).to_bytes(8, "little"), b"1234567", (1 << 63).to_bytes(8, "little")))
    return One(opcode, key, value, version, table, ttl), names_it and version == now


def test_they_do_what_they_would_do_by_themselves(worker: WorkerInProcess, send: Sender):
    """Of two tenants one asks for each in its own packet, the other for several at once."""
    dice, seen = random.Random(1), dict.fromkeys(Status, 0)
    for _ in range(VALID):
        requests: list[One] = []
        expected: list[Answer] = []
        twins: list[One] = []
        began = send.sequence
        mine, theirs = contents(worker, ALONE), contents(worker, TOGETHER)
        touched = set()
        for number in range(dice.randrange(1, 9)):
            request, names_it = _any_request(dice, mine)
            place = (request.table, request.key)
            twin = request
            if names_it:
                if place in touched:  # its twin's version is known only when the packet has been answered
                    request = twin = request._replace(version=0)
                else:
                    twin = request._replace(version=theirs.get(place, (b"", ABSENT))[1])
            touched.add(place)
            requests.append(request)
            twins.append(twin)
            expected.append(send.alone(request, began + number))
        told = send.together(*twins, sequence=began)
        for one, other, request in zip(told, expected, requests, strict=True):
            seen[one.status] += 1
            assert one.status == other.status
            assert (one.version == 0) == (other.version == 0)
            if request.opcode != Opcode.TTL or len(one.value) != len(other.value):
                assert one.value == other.value
        assert values(worker, ALONE) == values(worker, TOGETHER)
    statuses = (
        Status.OK, Status.NOT_FOUND, Status.VERSION_CHANGED, Status.BAD_KEY, Status.BAD_TABLE, Status.BAD_TTL,
        Status.BAD_LENGTH,
    )  # fmt: skip
    assert min(seen[status] for status in statuses) > 10


def test_a_request_names_its_own_version_or_none(worker: WorkerInProcess, send: Sender):
    version = worker.store.put(TOGETHER, 0, b"k", b"0")
    told = send.together(put(b"k", b"1"), put(b"k", b"2", version), put(b"j", b"3"), object_version=version)
    assert [each.status for each in told] == [Status.OK, Status.VERSION_CHANGED, Status.OK]


def test_as_many_as_may_be(worker: WorkerInProcess, send: Sender):
    most = [put(b"%d" % number, b"") for number in range(BATCH_REQUESTS_MAX)]
    assert len(b"".join(each.packed() for each in most)) < limits.PACKET_BODY_BYTES_MAX
    reply = send.raw(b"".join(each.packed() for each in most))
    assert reply is not None
    told = answers(reply[1])  # as many as have room
    assert len(told) == limits.PACKET_BODY_BYTES_MAX // ANSWER_BYTES < BATCH_REQUESTS_MAX
    assert len(contents(worker)) == len(told)
    assert {each.status for each in send.together(*most)} == {Status.OK}
    assert len(contents(worker)) == BATCH_REQUESTS_MAX
    largest = put(b"k", bytes(limits.PACKET_BODY_BYTES_MAX - len(put(b"k", b"").packed())))
    assert send.together(largest)[0].status == Status.OK


# --- room ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [0, 70, 100])
@pytest.mark.parametrize("less", [0, 1])
def test_answers_end_before_what_has_no_room(worker: WorkerInProcess, send: Sender, room: int, less: int):
    most = (min(room * limits.ROOM_UNIT_BYTES, limits.UDP_PAYLOAD_BYTES_MAX) or limits.UDP_PAYLOAD_BYTES_MAX) - HEADER.itemsize
    size = most // 3 - ANSWER_BYTES
    sizes = [size, size, most - 2 * (size + ANSWER_BYTES) - ANSWER_BYTES + 1 - less]
    for number, each in enumerate(sizes):
        worker.store.put(TOGETHER, 0, b"%d" % number, bytes(each))
    body = b"".join(get(b"%d" % number).packed() for number in range(3))
    reply = send.raw(body, status=room)
    assert reply is not None
    assert [len(each.value) for each in answers(reply[1])] == sizes[: 2 + less]
    assert [len(each.value) for each in send.together(*(get(b"%d" % n) for n in range(3)), status=room)] == sizes


@pytest.mark.parametrize("beyond", [0, 1, ANSWER_BYTES, ANSWER_BYTES + 1, 5000])
@pytest.mark.parametrize("place", [0, 1])
def test_a_value_that_needs_more_than_a_packet_is_got_by_itself(worker: WorkerInProcess, send: Sender, beyond: int, place: int):
    size = limits.PACKET_BODY_BYTES_MAX - ANSWER_BYTES + beyond
    version = worker.store.put(TOGETHER, 0, b"large", bytes(size))
    told = send.together(*[get(b"none")] * place, get(b"large"), put(b"after", b"1"))
    assert [each.status for each in told[:place]] == [Status.NOT_FOUND] * place
    assert told[-1].status == Status.OK
    assert told[place].status == (Status.VALUE_TOO_LARGE if beyond else Status.OK)
    assert len(told[place].value) == (0 if beyond else size)
    assert beyond or told[place].version == version


# --- once ------------------------------------------------------------------------------------------------------------------


def test_each_is_executed_once_whatever_packet_it_comes_in(worker: WorkerInProcess, send: Sender):
    """Cut anew, and begun anew from any number, in any order."""
    dice = random.Random(3)
    for _ in range(REPEATED):
        began = send.sequence
        requests = [
            dice.choice(
                (put(b"n", dice.randbytes(4)), delete(b"n"), put(b"m", b"x", ABSENT), One(Opcode.EXPIRE, b"m", bytes(8)))
            )
            for _ in range(10)
        ]
        told = send.together(*requests)
        after = contents(worker)
        for _ in range(3):
            first = dice.randrange(10)
            last = dice.randrange(first, 10) + 1
            assert send.together(*requests[first:last], sequence=began + first) == told[first:last]
        assert contents(worker) == after


def test_what_has_not_been_executed_yet_is_when_it_comes_again(worker: WorkerInProcess, send: Sender):
    requests = [put(b"%d" % number, b"1", ABSENT) for number in range(6)]
    send.together(*requests[2:4], sequence=3)
    told = send.together(*requests, sequence=1)
    assert [each.status for each in told] == [Status.OK] * 6
    assert len({each.version for each in told}) == 6
    assert told[2].version < told[0].version  # it was executed before


def test_nothing_behind_what_cannot_be_answered_now_is_executed(worker: WorkerInProcess, send: Sender):
    """Another has the tenant's turn: reads are answered, and a write ends the answers."""
    worker.store.put(TOGETHER, 0, b"k", b"0")
    send.together(put(b"made", b""))
    store = worker.store.address
    turn = take_turn(store, limits.PARTICIPANT_CONTROL, TOGETHER, 1)
    assert turn != 0
    try:
        body = b"".join(each.packed() for each in (get(b"k"), put(b"k", b"1"), get(b"k"), put(b"k", b"2")))
        reply = send.raw(body)
        assert reply is not None
        assert [(each.status, each.value) for each in answers(reply[1])] == [(Status.OK, b"0")]
        refused = send.raw(put(b"k", b"1").packed() + get(b"k").packed())
        assert refused == (Status.BUSY, Status.BUSY.text.encode())
    finally:
        leave_turn(store, TOGETHER, turn)
    assert worker.store.get(TOGETHER, 0, b"k") == b"0"
    assert [each.value for each in send.together(get(b"k"), put(b"k", b"1"), get(b"k"), put(b"k", b"2"))] == [
        b"0",
        b"",
        b"1",
        b"",
    ]


def test_what_its_client_does_not_wait_for_any_more_is_not_executed(worker: WorkerInProcess, send: Sender):
    send.together(*[put(b"k", b"1")] * 4, acknowledged=1)
    assert send.together(put(b"k", b"2"), sequence=9, acknowledged=5)[0].status == Status.OK
    for first in (1, 4):
        assert send.raw(put(b"k", b"3").packed(), sequence=first, acknowledged=1) is None
    reply = send.raw(get(b"k").packed() + put(b"k", b"3").packed(), sequence=3, acknowledged=1)
    assert reply is not None
    assert [each.value for each in answers(reply[1])] == [b"2"]
    assert worker.store.get(TOGETHER, 0, b"k") == b"2"


def test_numbers_beyond_the_window_wait(worker: WorkerInProcess, send: Sender):
    window = limits.CLIENT_WINDOW
    send.together(put(b"k", b"1"), sequence=1, acknowledged=1)
    reply = send.raw(put(b"k", b"2").packed() * 3, sequence=window - 1, acknowledged=1)  # two of them are within it
    assert reply is not None
    assert len(answers(reply[1])) == 2
    reply = send.raw(put(b"k", b"3").packed(), sequence=window + 1, acknowledged=1)
    assert reply is not None
    assert reply[0] == Status.BUSY
    assert worker.store.get(TOGETHER, 0, b"k") == b"2"


# --- what a tenant may send ------------------------------------------------------------------------------------------------

FINE = put(b"k", b"v").packed()
REFUSED = [
    pytest.param(Status.BAD_LENGTH, b"", {}, id="nothing"),
    *(pytest.param(Status.BAD_LENGTH, FINE + FINE[:size], {}, id=f"{size} bytes of one") for size in range(1, len(FINE))),
    pytest.param(Status.BAD_LENGTH, put(b"k", b"v", 5).packed()[:15], {}, id="half a version"),
    pytest.param(Status.BAD_LENGTH, FINE + b"x", {}, id="one byte more"),
    pytest.param(Status.BAD_LENGTH, get(b"k").packed()[:1] + b"\xff" + get(b"k").packed()[2:], {}, id="key beyond the packet"),
    pytest.param(Status.BAD_LENGTH, get(b"k").packed() * BATCH_REQUESTS_MAX, {}, id="one request more"),  # with the canary's
    *(
        pytest.param(Status.UNKNOWN_OPCODE, FINE + bytes((opcode,)) + FINE[1:], {}, id=f"opcode {opcode}")
        for opcode in range(256)
        if opcode not in BATCH_OPCODES
    ),
    pytest.param(Status.BAD_KEY, FINE, {"key_length": 1, "value_length": len(FINE) - 1}, id="a key beside them"),
    pytest.param(Status.BAD_FRAGMENT, FINE, {"fragment_index": 1}, id="fragment index"),
    pytest.param(Status.BAD_FRAGMENT, FINE, {"fragment_count": 2}, id="fragment count"),
    pytest.param(Status.BAD_TABLE, FINE, {"table": limits.TABLES_MAX}, id="reserved table in the header"),
]


@pytest.mark.parametrize(("status", "body", "fields"), REFUSED)
def test_what_is_wrong_is_refused_and_changes_nothing(
    worker: WorkerInProcess, send: Sender, status: Status, body: bytes, fields: dict[str, int]
):  # fmt: skip
    worker.store.put(TOGETHER, 0, b"canary", b"sings")
    before, accounts = contents(worker), worker.store.accounts.copy()
    if body and not fields and len(body) < limits.PACKET_BODY_BYTES_MAX - 100:
        body = delete(b"canary").packed() + body
    assert send.raw(body, **fields) == (status, status.text.encode())
    assert contents(worker) == before
    assert (worker.store.accounts == accounts).all()


@pytest.mark.parametrize("tenant", [0, 3, limits.TENANTS_MAX - 1])
def test_a_tenant_that_is_not_there_has_nothing(worker: WorkerInProcess, send: Sender, tenant: int):
    reply = send.raw(put(b"k", b"v").packed() + get(b"k").packed(), tenant=tenant)
    assert reply is not None
    assert [each.status for each in answers(reply[1])] == [Status.UNKNOWN_TENANT, Status.NOT_FOUND]
    assert contents(worker) == {}


def _flipped(dice: random.Random, requests: Sequence[One]) -> bytes:
    body = bytearray(b"".join(each.packed(always_names_version=dice.random() < 0.2) for each in requests))
    for _ in range(dice.randrange(1, 4)):
        body[dice.randrange(len(body))] ^= 1 << dice.randrange(8)
    most = dice.randrange(len(body)) + 1 if dice.random() < 0.2 else limits.PACKET_BODY_BYTES_MAX
    return bytes(body[:most])


def test_whatever_is_sent_touches_nobody_else(worker: WorkerInProcess):
    dice, send = random.Random(5), Sender(worker, asks=False)
    worker.store.put(ALONE, 0, b"a", b"sings")
    before, seen = contents(worker, ALONE), dict.fromkeys(Status, 0)
    for _ in range(FUZZED):
        requests = [_any_request(dice, {})[0] for _ in range(dice.randrange(1, 12))]
        reply = send.raw(_flipped(dice, requests))
        assert reply is not None
        seen[reply[0]] += 1
        if reply[0] == Status.OK:
            assert answers(reply[1])
    assert contents(worker, ALONE) == before
    assert {status for status, count in seen.items() if count} <= {
        Status.OK, Status.BAD_LENGTH, Status.UNKNOWN_OPCODE, Status.BUSY, Status.BAD_TABLE,
    }  # fmt: skip
    assert min(seen[status] for status in (Status.OK, Status.BAD_LENGTH, Status.UNKNOWN_OPCODE)) > FUZZED / 50
