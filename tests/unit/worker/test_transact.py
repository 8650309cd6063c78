"""A client's transaction in one packet: all of it or nothing, once; and whatever a tenant sends, nothing else."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import numpy as np
import pytest
from splinter_bench.subjects.in_worker import WorkerInProcess

from splinter import limits
from splinter.errors import Status
from splinter.store.reclaim import reclaim
from splinter.store.turns import leave_turn, take_turn
from splinter.wire import ENTRIES_MAX, ENTRY, ENTRY_DELETES, HEADER, Header, Opcode
from splinter.worker.reply import DROP
from splinter.worker.requests import handle
from splinter.worker.turn import begin_turn
from tests.support.entries import ABSENT, deletes, puts, puts_for, reads

TENANT, OTHER = 1, 2
CANARY = b"canary"
FUZZED, VALID = 4000, 4000
TRIES_MAX, IDLE_TURNS = 100, 3
KEYS = [b"a", b"bb", b"k" * limits.KEY_BYTES_MAX, bytes(8)]
TABLES = [0, 7, limits.TABLES_MAX - 1]


@pytest.fixture(scope="module")
def one() -> Iterator[WorkerInProcess]:
    with WorkerInProcess(limits.STORE_BYTES_MIN) as made:
        for tenant in (TENANT, OTHER):
            made.add_tenant(tenant)
        yield made


@pytest.fixture
def worker(one: WorkerInProcess) -> Iterator[WorkerInProcess]:
    """An empty store."""
    yield one
    one.store.open_tenant(TENANT)
    for table in TABLES:
        for stored in list(one.store.scan(table, tenant=TENANT)):
            one.store.delete(TENANT, table, stored.key)
    assert one.store.problems() == []


class Sender:
    """Sends packets to a worker, by default each under a number of its own; ``client`` 0: not to be executed once."""

    def __init__(self, worker: WorkerInProcess, client: int) -> None:
        self._worker, self._client, self.sequence = worker, client, 0

    def __call__(self, *entries: bytes, sequence: int = 0, **fields: int) -> tuple[Status, int]:
        """The reply's status and version; BUSY is repeated, as by a client, until memory has come back."""
        if not sequence:
            self.sequence += 1
        for _ in range(TRIES_MAX):
            status, version = self.ask(*entries, sequence=sequence or self.sequence, **fields)
            if status != Status.BUSY:
                break
        return status, version

    def ask(self, *entries: bytes, sequence: int, **fields: int) -> tuple[Status, int]:
        """One packet."""
        body = b"".join(entries)
        header = Header(
            opcode=Opcode.TRANSACT, tenant=TENANT, client=self._client, sequence=sequence,
            acknowledged=max(self.sequence - 5, 1) if self._client else 0,
        )  # fmt: skip
        header.value_length = len(body)
        for name, value in fields.items():
            setattr(header, name, value)
        request = header.pack() + body
        packet = np.zeros(limits.CHUNK_BYTES, np.uint8)
        packet[: len(request)] = np.frombuffer(request, np.uint8)
        begin_turn(self._worker.address)
        length = handle(self._worker.address, packet.ctypes.data, len(request), 0, 0, 0)
        for _ in range(IDLE_TURNS):  # until the next packet
            begin_turn(self._worker.address)
            for participant in (0, limits.PARTICIPANT_CONTROL):
                reclaim(self._worker.store.address, participant, limits.RECLAIM_SLOTS_MAX)
        assert length != DROP
        reply = packet[: HEADER.itemsize].view(HEADER.dtype)[0]
        status = Status(int(reply["status"]))
        assert length == HEADER.itemsize + int(reply["value_length"])
        assert packet[HEADER.itemsize : length].tobytes().decode() == status.text
        return status, int(reply["object_version"])


@pytest.fixture
def send(worker: WorkerInProcess) -> Sender:
    """Without a client."""
    return Sender(worker, 0)


@pytest.fixture
def once(worker: WorkerInProcess) -> Sender:
    """Of a client that is new."""
    return Sender(worker, random.getrandbits(63) | 1)


def contents(worker: WorkerInProcess) -> dict[tuple[int, bytes], tuple[bytes, int]]:
    found = (stored for table in TABLES for stored in worker.store.scan(table, tenant=TENANT))
    return {(stored.table, stored.key): (stored.value, stored.version) for stored in found}


def test_all_is_written_at_once_and_has_one_version(worker: WorkerInProcess, send: Sender):
    read = worker.store.put(TENANT, 0, b"read", b"1")
    changed = worker.store.put(TENANT, 0, b"changed", b"1")
    worker.store.put(TENANT, 7, b"deleted", b"1")
    before = int(worker.store.accounts[TENANT]["sequence"])
    status, version = send(
        reads(b"read", read), reads(b"absent", ABSENT), puts(b"changed", b"22", changed), puts(b"made", b"", table=7),
        deletes(b"deleted", table=7), deletes(b"was never there"),
    )  # fmt: skip
    assert (status, version) == (Status.OK, 2 * (before + 1))
    assert worker.store.accounts[TENANT]["sequence"] == before + 1
    assert contents(worker) == {
        (0, b"read"): (b"1", read), (0, b"changed"): (b"22", version), (7, b"made"): (b"", version),
    }  # fmt: skip


@pytest.mark.parametrize("writes", [0, 1, 2])
@pytest.mark.parametrize("told", ["older", "newer", "odd", "absent, and is there", "there, and is absent"])
def test_what_was_read_must_be_there_still(worker: WorkerInProcess, send: Sender, told: str, writes: int):
    old = worker.store.put(TENANT, 0, b"read", b"1")
    new = worker.store.put(TENANT, 0, b"read", b"1")
    worker.store.put(TENANT, 0, b"gone", b"1")
    worker.store.delete(TENANT, 0, b"gone")
    version = {"older": old, "newer": new + 2, "odd": new + 1, "absent, and is there": ABSENT}.get(told, old)
    key = b"gone" if told == "there, and is absent" else b"read"
    before = contents(worker)
    others = [puts(b"written %d" % number, b"") for number in range(writes)]
    for entries in ([reads(key, version), *others], [*others, puts(key, b"2", version)], [*others, deletes(key, version)]):
        assert send(*entries) == (Status.VERSION_CHANGED, 0)
    assert contents(worker) == before
    assert send(reads(b"read", new), reads(b"gone", ABSENT), *others)[0] == Status.OK


def test_what_comes_and_goes_in_between_is_absent(worker: WorkerInProcess, send: Sender):
    worker.store.put(TENANT, 0, b"brief", b"1")
    worker.store.delete(TENANT, 0, b"brief")
    assert send(reads(b"brief", ABSENT), puts(b"made", b"1"))[0] == Status.OK


def test_an_object_that_was_made_anew_is_another(worker: WorkerInProcess, send: Sender):
    version = worker.store.put(TENANT, 0, b"anew", b"1")
    worker.store.delete(TENANT, 0, b"anew")
    worker.store.put(TENANT, 0, b"anew", b"1")
    assert send(puts(b"anew", b"2", version))[0] == Status.VERSION_CHANGED


def test_of_two_writes_of_a_key_the_later_counts(worker: WorkerInProcess, send: Sender):
    several = [puts(b"key %d" % number, b"first") for number in range(10)]
    later = [puts(b"key %d" % number, b"later") for number in range(5)] + [deletes(b"key 5")]
    assert send(*several, *later)[0] == Status.OK
    found = {key: value for (_, key), (value, _) in contents(worker).items()}
    assert found == {b"key %d" % n: b"later" if n < 5 else b"first" for n in range(10) if n != 5}
    assert send(puts(b"one", b"first"), deletes(b"one"), puts(b"one", b"last"))[0] == Status.OK
    assert worker.store.get(TENANT, 0, b"one") == b"last"
    # Which of them was read does not matter: each version is compared.
    version = worker.store.put(TENANT, 0, b"one", b"")
    assert send(puts(b"one", b"first", version), puts(b"one", b"x", version + 2))[0] == Status.VERSION_CHANGED


def test_as_many_entries_as_fit_a_packet(worker: WorkerInProcess, send: Sender):
    keys = [bytes((number,)) for number in range(ENTRIES_MAX)]
    assert len(b"".join(deletes(key) for key in keys)) + 17 > limits.PACKET_BODY_BYTES_MAX
    assert send(*(puts(key, b"") for key in keys))[0] == Status.OK
    assert len(contents(worker)) == ENTRIES_MAX
    assert send(*(puts(keys[0], b"") for _ in keys))[0] == Status.OK
    largest = bytes(limits.PACKET_BODY_BYTES_MAX - 17)
    assert send(puts(b"k", largest))[0] == Status.OK
    assert worker.store.get(TENANT, 0, b"k") == largest
    assert send(*(deletes(key) for key in keys)) == (Status.OK, 0)


REFUSED = [
    pytest.param(Status.BAD_LENGTH, b"", {}, id="nothing"),
    pytest.param(Status.BAD_LENGTH, puts(b"k", b"v")[:15], {}, id="a part of an entry"),
    pytest.param(Status.BAD_LENGTH, puts(b"k", b"v")[:16], {}, id="an entry without its key"),
    pytest.param(Status.BAD_LENGTH, puts(b"k", b"v")[:17], {}, id="an entry without its value"),
    pytest.param(Status.BAD_LENGTH, puts(b"k", b"v") + b"x", {}, id="one byte more"),
    pytest.param(Status.BAD_LENGTH, struct.pack("<HHIQ", 0, 255, 0, 0) + b"k" * 254, {}, id="key beyond the packet"),
    pytest.param(Status.BAD_LENGTH, struct.pack("<HHIQ", 0, 1, 0xFFFFFFFD, 0) + b"k", {}, id="value as long as can be"),
    pytest.param(Status.BAD_LENGTH, struct.pack("<HHIQ", 0, 2, ENTRY_DELETES, 0) + b"k", {}, id="key of a delete beyond it"),
    pytest.param(Status.BAD_LENGTH, struct.pack("<HHIQ", 0, 1, 2, 0) + b"kv", {}, id="value beyond the packet"),
    *(
        pytest.param(
            Status.BAD_LENGTH,
            struct.pack("<HHIQ", 0, 1, 1 << 31 | size, 0) + b"k" + bytes(size),
            {},
            id=f"{size} bytes",
        )
        for size in range(8)
    ),
    *(
        pytest.param(Status.BAD_TTL, puts(b"j", b"v") + puts_for(b"k", b"v", ns), {}, id=f"{ns} ns")
        for ns in (0, limits.TTL_NS_MAX + 1, 1 << 63, (1 << 64) - 1)
    ),
    pytest.param(Status.BAD_LENGTH, puts_for(b"k", b"v", 5)[:-1], {}, id="lifetime beyond the packet"),
    pytest.param(Status.BAD_KEY, puts(b"", b"v"), {}, id="empty key"),
    pytest.param(Status.BAD_KEY, puts(b"k" * 256, b"v"), {}, id="long key"),
    pytest.param(Status.BAD_KEY, puts(b"k", b"v"), {"key_length": 1}, id="a key beside them"),
    pytest.param(Status.BAD_TABLE, puts(b"k", b"v", table=limits.TABLES_MAX), {}, id="reserved table"),
    pytest.param(Status.BAD_TABLE, puts(bytes(8), bytes(1000), table=limits.TABLE_CLIENTS), {}, id="clients' table"),
    pytest.param(Status.BAD_TABLE, deletes(b"name", table=limits.TABLE_EXTENSIONS), {}, id="extensions' table"),
    pytest.param(Status.BAD_TABLE, reads(b"name", ABSENT, table=limits.TABLE_EXTENSIONS), {}, id="read of a reserved table"),
    pytest.param(Status.BAD_TABLE, puts(b"k", b"v"), {"table": limits.TABLES_MAX}, id="reserved table in the header"),
    pytest.param(Status.BAD_FRAGMENT, puts(b"k", b"v"), {"fragment_index": 1}, id="fragment index"),
    pytest.param(Status.BAD_FRAGMENT, puts(b"k", b"v"), {"fragment_count": 2}, id="fragment count"),
    pytest.param(Status.UNKNOWN_TENANT, puts(b"k", b"v"), {"tenant": 3}, id="no such tenant"),
]


@pytest.mark.parametrize(("status", "body", "fields"), REFUSED)
def test_what_is_wrong_is_refused_and_changes_nothing(
    worker: WorkerInProcess, send: Sender, status: Status, body: bytes, fields: dict[str, int]
):  # fmt: skip
    worker.store.put(TENANT, 0, CANARY, b"sings")
    before, accounts = contents(worker), worker.store.accounts.copy()
    if body:
        body = deletes(CANARY) + body
    lengths = {"value_length": len(body) - 1} if "key_length" in fields else {}
    assert send(body, **lengths, **fields) == (status, 0)
    assert contents(worker) == before
    assert (worker.store.accounts == accounts).all()


def test_what_it_puts_may_expire(worker: WorkerInProcess, send: Sender):
    """All of it from the same moment on; of two writes of a key the later stands, with its lifetime or without."""
    hour = 3600 * 10**9
    read = worker.store.put(TENANT, 0, b"read", b"1", ttl=hour)
    entries = [puts_for(b"a", b"", 2 * hour), puts_for(b"read", b"22", 5 * hour, read), puts_for(b"b", b"33", 2 * hour)]
    assert send(*entries, puts(b"for ever", b""), puts_for(b"c", b"1", 1), puts(b"c", b"2"))[0] == Status.OK
    moments = {stored.key: stored.expires for stored in worker.store.scan(0, tenant=TENANT)}
    assert moments[b"a"] == moments[b"b"] == moments[b"read"] - 3 * hour
    assert 0 < moments[b"a"] - worker.store.now_ns <= 2 * hour
    assert moments[b"c"] == moments[b"for ever"] == 0
    assert {key: value for (_, key), (value, _) in contents(worker).items()} == {
        b"a": b"", b"read": b"22", b"b": b"33", b"for ever": b"", b"c": b"2",
    }  # fmt: skip
    worker.store.descriptor["clock_base"] += 2 * hour
    assert {key for _, key in contents(worker)} == {b"read", b"for ever", b"c"}
    # One alone is another way of committing.
    assert send(puts_for(b"a", b"x", limits.TTL_NS_MAX))[0] == Status.OK
    assert send(reads(b"b", ABSENT), puts_for(b"d", b"x", hour))[0] == Status.OK
    assert send(reads(b"d", ABSENT), puts_for(b"e", b"x", hour))[0] == Status.VERSION_CHANGED
    worker.store.descriptor["clock_base"] += hour
    assert send(reads(b"d", ABSENT), puts_for(b"e", b"x", hour))[0] == Status.OK
    for key in (b"b", b"d"):  # they are over, and another test's put over the quota would take their room
        worker.store.put(TENANT, 0, key, b"")
        worker.store.delete(TENANT, 0, key)


def test_it_reaches_nothing_of_other_tenants(worker: WorkerInProcess, send: Sender):
    version = worker.store.put(OTHER, 0, b"theirs", b"1")
    assert send(reads(b"theirs", version), puts(b"mine", b""))[0] == Status.VERSION_CHANGED
    assert send(puts(b"theirs", b"2"), deletes(b"theirs"))[0] == Status.OK
    assert worker.store.get(OTHER, 0, b"theirs") == b"1"


# --- once ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([puts(b"a", b"1")], id="one put"),
        pytest.param([puts(b"a", b"1"), puts(b"b", b"1")], id="two puts"),
        pytest.param([puts(b"a", b"1"), deletes(b"there")], id="put and delete"),
        pytest.param([deletes(b"there")], id="one delete"),
        pytest.param([deletes(b"was never there")], id="a delete of nothing"),
        pytest.param([deletes(b"there"), deletes(b"was never there")], id="two deletes"),
    ],
)
def test_a_repetition_has_the_first_reply_and_no_effect(worker: WorkerInProcess, once: Sender, entries: list[bytes]):
    worker.store.put(TENANT, 0, b"there", b"1")
    first = once(*entries)
    assert first[0] == Status.OK
    assert (first[1] != 0) == any(entry[16:17] == b"a" for entry in entries)
    for key in (b"a", b"b", b"there"):
        worker.store.put(TENANT, 0, key, b"another's")
    before = contents(worker)
    assert [once(*entries, sequence=1) for _ in range(3)] == [first] * 3
    assert contents(worker) == before


def test_a_refusal_is_repeated_whatever_has_changed(worker: WorkerInProcess, once: Sender):
    version = worker.store.put(TENANT, 0, b"read", b"1")
    worker.store.delete(TENANT, 0, b"read")
    later = int(worker.store.accounts[TENANT]["sequence"]) * 2 + 2
    entries = [puts(b"read", b"2", later), puts(b"beside", b"")]
    assert once(*entries) == (Status.VERSION_CHANGED, 0)
    assert worker.store.put(TENANT, 0, b"read", b"1") == later > version
    assert once(*entries, sequence=1) == (Status.VERSION_CHANGED, 0)
    assert once(*entries)[0] == Status.OK  # as a new request


def test_what_only_reads_leaves_nothing(worker: WorkerInProcess, once: Sender):
    version = worker.store.put(TENANT, 0, b"read", b"1")
    before = worker.store.accounts.copy()
    assert once(reads(b"read", version), reads(b"absent", ABSENT)) == (Status.OK, 0)
    assert once(reads(b"read", version + 2)) == (Status.VERSION_CHANGED, 0)
    assert (worker.store.accounts == before).all()


# --- limits --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writes", [1, 3])
@pytest.mark.parametrize("reason", ["quota", "memory"])
def test_what_has_no_room_leaves_nothing_and_stays_refused(worker: WorkerInProcess, once: Sender, reason: str, writes: int):
    store = worker.store
    assert once(puts(b"replaced", b"1"), puts(b"deleted", b"1"))[0] == Status.OK  # the client has its record
    free = 0
    if reason == "memory":
        free = store.descriptor["slabs_total"] - store.descriptor["slabs_used"]
        store.descriptor["slabs_total"] -= free
        while once(puts(b"filler %d" % once.sequence, bytes(1200), table=7))[0] == Status.OK:
            pass
    before, account = contents(worker), store.accounts[TENANT].copy()
    if reason == "quota":
        store.open_tenant(TENANT, int(account["bytes_used"]) + 300)
    status = Status.QUOTA_EXCEEDED if reason == "quota" else Status.OUT_OF_MEMORY
    entries = [puts(b"replaced", b"2"), deletes(b"deleted"), puts(b"made", bytes(1200))][-writes:]
    assert once(*entries) == (status, 0)
    store.descriptor["slabs_total"] += free
    store.open_tenant(TENANT)
    assert once(*entries, sequence=once.sequence) == (status, 0)
    assert contents(worker) == before
    for field in ("bytes_used", "objects", "sequence"):
        assert store.accounts[TENANT][field] == account[field]
    assert once(*entries)[0] == Status.OK


def test_while_another_has_the_turn_it_is_busy_and_nothing_is_decided(worker: WorkerInProcess, once: Sender):
    version = worker.store.put(TENANT, 0, b"read", b"1")
    turn = take_turn(worker.store.address, limits.PARTICIPANT_CONTROL, TENANT, 1)
    assert turn != 0
    assert once(puts(b"read", b"2", version))[0] == Status.BUSY
    assert once(reads(b"read", version))[0] == Status.OK  # waits for nobody
    leave_turn(worker.store.address, TENANT, turn)
    assert once(puts(b"read", b"2", version), sequence=1)[0] == Status.OK


# --- anything ------------------------------------------------------------------------------------------------------------

ALLOWED = {
    Status.OK, Status.BAD_LENGTH, Status.BAD_KEY, Status.BAD_TABLE, Status.BAD_FRAGMENT, Status.BAD_TTL, Status.VERSION_CHANGED,
}  # fmt: skip
LIFETIMES_NS = (0, 1, 10**18, limits.TTL_NS_MAX, limits.TTL_NS_MAX + 1, (1 << 64) - 1)


def test_any_bytes_are_executed_or_refused(worker: WorkerInProcess, send: Sender):
    """Valid packets with bits flipped, cut off, with more behind them, and noise; a refused one changes nothing."""
    dice, seen = random.Random(1), dict.fromkeys(ALLOWED, 0)
    worker.store.put(TENANT, 0, CANARY, b"sings")
    for _ in range(FUZZED):
        body = bytearray(b"".join(_entry(dice) for _ in range(dice.choice((1, 2, 5, 20))))[: limits.PACKET_BODY_BYTES_MAX])
        for _ in range(dice.choice((0, 1, 1, 2, 8))):
            place = dice.randrange(len(body) if dice.random() < 0.5 else ENTRY.itemsize)
            if dice.random() < 0.5:
                body[place] ^= 1 << dice.randrange(8)
            else:
                body[place] = dice.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF))
        if dice.random() < 0.2:
            body = body[: dice.randrange(len(body) + 1)]
        if dice.random() < 0.1:
            body = bytearray(dice.randbytes(dice.randrange(limits.PACKET_BODY_BYTES_MAX + 1)))
        before, sequence = contents(worker), int(worker.store.accounts[TENANT]["sequence"])
        status, version = send(bytes(body))
        assert status in ALLOWED
        seen[status] += 1
        if status != Status.OK:
            assert version == 0
            assert contents(worker) == before
            assert worker.store.accounts[TENANT]["sequence"] == sequence
    assert min(seen[status] for status in ALLOWED - {Status.BAD_FRAGMENT}) > FUZZED / 200
    assert worker.store.problems() == []


def _entry(dice: random.Random) -> bytes:
    key, table, version = dice.choice(KEYS), dice.choice(TABLES), dice.choice((0, 0, 0, ABSENT, 2))
    kind = dice.randrange(4)
    if kind == 0:
        return reads(key, version, table=table)
    if kind == 3:
        return puts_for(key, dice.randbytes(dice.randrange(40)), dice.choice(LIFETIMES_NS), version, table=table)
    return (
        deletes(key, version, table=table) if kind == 1 else puts(key, dice.randbytes(dice.randrange(40)), version, table=table)
    )


def test_many_transactions_do_what_a_dictionary_does(worker: WorkerInProcess, send: Sender):
    dice, seen = random.Random(2), dict.fromkeys((Status.OK, Status.VERSION_CHANGED), 0)
    model: dict[tuple[int, bytes], tuple[bytes, int]] = {}
    for _ in range(VALID):
        entries, holds, after, puts_any = [], True, {}, False
        for _ in range(dice.randrange(1, 6)):
            place = (dice.choice(TABLES), dice.choice(KEYS))
            table, key = place
            there = model[place][1] if place in model else ABSENT
            version = dice.choice((0, there, there, there, ABSENT, 2, there ^ 2))
            holds = holds and version in (0, there)
            kind = dice.randrange(3)
            if kind == 0:
                entries.append(reads(key, version, table=table))
            elif kind == 1:
                entries.append(deletes(key, version, table=table))
                after[place] = None
            else:
                value = dice.randbytes(dice.randrange(40))
                entries.append(puts(key, value, version, table=table))
                after[place] = value
        status, version = send(*entries)
        assert status == (Status.OK if holds else Status.VERSION_CHANGED)
        seen[status] += 1
        puts_any = any(value is not None for value in after.values())
        if status == Status.OK:
            assert (version != 0) == puts_any
            for place, value in after.items():
                if value is None:
                    model.pop(place, None)
                else:
                    model[place] = value, version
        else:
            assert version == 0
        assert contents(worker) == model
    assert min(seen.values()) > VALID / 10
