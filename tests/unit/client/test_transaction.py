"""Client-side transactions: what is sent, what a block sees, and what becomes of a conflict."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta

import pytest

from splinter import limits
from splinter.client import Client, Transaction
from splinter.errors import (
    BadKeyError,
    ConflictError,
    QuotaExceededError,
    SplinterError,
    Status,
    TransactionTooLargeError,
    VersionChangedError,
)
from splinter.wire import Opcode
from tests.unit.client.conftest import TENANT, TOKEN, Responder


@pytest.fixture
def client(responder: Responder) -> Iterator[Client]:
    with Client("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=5) as made:
        made.put(b"a", b"1")
        made.put(b"b", b"1")
        responder.requests.clear()
        yield made


def sent(responder: Responder) -> list[Opcode]:
    return [Opcode(header.opcode) for header in list(responder.requests)]


def test_a_block_is_sent_as_a_whole(client: Client, responder: Responder):
    with client.transaction() as tx:
        assert (tx.get(b"a"), tx.get(b"c"), tx.get(b"a")) == (b"1", None, b"1")
        tx.put(b"a", b"2")
        tx.put(b"c", b"3", table=5)
        tx.delete(b"b")
        assert (tx.get(b"a"), tx.get(b"b"), tx.get(b"c", table=5), tx.get(b"c")) == (b"2", None, b"3", None)
        assert sent(responder) == [Opcode.GET, Opcode.GET]
        assert client.get(b"a") == b"1"  # nobody sees it yet
    assert sent(responder) == [Opcode.GET] * 3 + [Opcode.TRANSACT]
    assert (client.get(b"a"), client.get(b"b"), client.get(b"c", table=5)) == (b"2", None, b"3")
    version = client.get_with_version(b"a")[1]
    assert client.get_with_version(b"c", table=5)[1] == version


def test_an_exception_sends_nothing(client: Client, responder: Responder):
    with pytest.raises(ZeroDivisionError), client.transaction() as tx:
        tx.put(b"a", tx.get(b"a") or b"")
        raise ZeroDivisionError
    assert sent(responder) == [Opcode.GET]


@pytest.mark.parametrize("writes", [False, True])
@pytest.mark.parametrize("change", ["put", "delete", "make", "put anew"])
def test_what_was_read_and_is_changed_is_a_conflict(client: Client, responder: Responder, change: str, writes: bool):
    with pytest.raises(ConflictError) as raised, client.transaction() as tx:
        assert (tx.get(b"a"), tx.get(b"c")) == (b"1", None)
        if change == "make":
            client.put(b"c", b"")
        elif change == "put":
            client.put(b"a", b"1")
        else:
            client.delete(b"a")
            if change == "put anew":
                client.put(b"a", b"1")
        if writes:
            tx.put(b"d", b"")
        assert tx.get(b"a") == b"1"  # as before: a block sees one value
    assert isinstance(raised.value, VersionChangedError) and raised.value.status == Status.VERSION_CHANGED
    assert client.get(b"d") is None


def test_what_was_written_without_reading_conflicts_with_nothing(client: Client):
    with client.transaction() as tx:
        tx.put(b"a", b"2")
        tx.delete(b"b")
        client.put(b"a", b"another's")
        client.delete(b"b")
    assert (client.get(b"a"), client.get(b"b")) == (b"2", None)


def test_what_is_of_one_instant_need_not_be_sent(client: Client, responder: Responder):
    with client.transaction() as tx:
        assert tx.get_many([b"a", b"c", b"b"]) == [b"1", None, b"1"]
        assert tx.get(b"c") is None
        assert tx.get_many([]) == []
    assert sent(responder) == [Opcode.MULTIGET]
    with client.transaction():
        pass
    assert sent(responder) == [Opcode.MULTIGET]
    with client.transaction() as tx:
        assert (tx.get(b"a"), tx.get_many([b"a", b"b", b"b"])) == (b"1", [b"1", b"1", b"1"])
    assert sent(responder)[1:] == [Opcode.GET, Opcode.MULTIGET, Opcode.TRANSACT]


def test_many_are_read_with_their_versions(client: Client, responder: Responder):
    sizes = [0, 1, 900, 1390, 1397, 1400, 1408, 5000]
    values = {b"key %d" % size: bytes(size) for size in sizes}
    client.put_many(values.items())
    with client.transaction() as tx:
        tx.put(b"key 1", b"mine")
        assert tx.get_many([*values, b"none"]) == [*({**values, b"key 1": b"mine"}).values(), None]
    with client.transaction() as tx:
        tx.get_many([*values, b"none"])
        tx.put(b"none", b"is there now")
    assert client.get(b"none") == b"is there now"
    for key in values:
        with pytest.raises(ConflictError), client.transaction() as tx:
            tx.get_many([*values, b"none"])
            client.put(key, values[key])
            tx.put(b"none", b"never")
    assert client.get(b"none") == b"is there now"


def test_a_block_may_check_what_it_has_read(client: Client):
    with pytest.raises(ConflictError), client.transaction() as tx:
        tx.get(b"a")
        tx.check()
        client.put(b"a", b"2")
        tx.check()  # one object was there at one instant
        tx.get(b"b")
        tx.check()
        pytest.fail("a was not there any more when b was read")


def test_a_transaction_is_over_at_its_end(client: Client):
    with client.transaction() as tx:
        tx.put(b"a", b"2")
    for use in (
        lambda: tx.get(b"a"),
        lambda: tx.get_many([b"a"]),
        lambda: tx.put(b"a", b""),
        lambda: tx.delete(b"a"),
        tx.check,
    ):
        with pytest.raises(SplinterError):
            use()
    assert client.get(b"a") == b"2"


def test_what_does_not_fit_a_packet_is_not_sent(client: Client, responder: Responder):
    with pytest.raises(TransactionTooLargeError, match="make it an extension"), client.transaction() as tx:
        tx.put(b"a", bytes(limits.PACKET_BODY_BYTES_MAX - 16))
    assert Opcode.TRANSACT not in sent(responder)
    with client.transaction() as tx:
        tx.put(b"a", bytes(limits.PACKET_BODY_BYTES_MAX - 17))
    assert client.get(b"a") == bytes(limits.PACKET_BODY_BYTES_MAX - 17)


def test_arguments_are_checked_before_anything_is_sent(client: Client, responder: Responder):
    with client.transaction() as tx:
        for wrong in (lambda: tx.get(b""), lambda: tx.put(b"", b""), lambda: tx.delete(b""), lambda: tx.get_many([b"a", b""])):
            with pytest.raises(BadKeyError):
                wrong()
        with pytest.raises(TypeError):
            tx.put(b"a", "text")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="tries"):
        client.transact(lambda tx: None, tries=0)
    assert sent(responder) == []


def test_what_it_puts_may_expire(client: Client, responder: Responder):
    with client.transaction() as tx:
        assert (tx.ttl(b"c"), tx.expire(b"c", 5), tx.persist(b"c")) == (None, False, False)
        tx.put(b"c", b"3", ttl=2.5)
        assert (tx.get(b"c"), tx.ttl(b"c")) == (b"3", 2.5)
        tx.put(b"d", b"4", table=5, ttl=timedelta(hours=1))
        assert tx.expire(b"a", 60) and tx.get(b"a") == b"1" and tx.ttl(b"a") == 60
        assert tx.persist(b"b") and tx.ttl(b"b") == math.inf
        tx.put(b"e", b"5", ttl=9)
        tx.put(b"e", b"6")
        assert tx.ttl(b"e") == math.inf
        tx.put(b"f", b"7", ttl=9)
        tx.delete(b"f")
        assert (tx.ttl(b"f"), tx.expire(b"f", 9)) == (None, False)
    second = 1_000_000_000
    assert {key: ns for (_, key), ns in responder.ttls.items()} == {
        b"c": 5 * second // 2, b"d": 3600 * second, b"a": 60 * second, b"b": 0, b"e": 0, b"f": 0,
    }  # fmt: skip
    values = {key: value for (_, key), (_, value) in responder.objects.items()}
    assert values == {b"a": b"1", b"b": b"1", b"c": b"3", b"d": b"4", b"e": b"6"}


def test_how_long_an_object_lives_is_of_what_was_read(client: Client, responder: Responder):
    responder.ttls[0, b"a"] = 2_500_000_000
    with client.transaction() as tx:
        assert (tx.ttl(b"a"), tx.ttl(b"b")) == (2.5, math.inf)
    for change in (lambda: client.put(b"a", b"1"), lambda: client.delete(b"a")):
        with pytest.raises(ConflictError), client.transaction() as tx:
            assert tx.get(b"a") == b"1"
            change()
            tx.ttl(b"a")
    with pytest.raises(ConflictError), client.transaction() as tx:  # of two instants, and the first is over
        assert tx.ttl(b"b") == math.inf
        client.put(b"b", b"2")


def test_another_status_is_its_exception(client: Client, responder: Responder):
    responder.refuse_with = lambda header: Status.QUOTA_EXCEEDED if header.opcode == Opcode.TRANSACT else None
    with pytest.raises(QuotaExceededError), client.transaction() as tx:
        tx.put(b"a", b"")


def test_busy_is_repeated_under_the_same_number(client: Client, responder: Responder):
    left = [Status.BUSY, Status.BUSY]
    responder.refuse_with = lambda header: left.pop() if header.opcode == Opcode.TRANSACT and left else None
    with client.transaction() as tx:
        tx.put(b"a", b"2")
    asked = [header for header in responder.requests if header.opcode == Opcode.TRANSACT]
    assert len({header.sequence for header in asked}) == 1 < len(asked)
    assert all(header.acknowledged == header.sequence for header in asked)
    assert client.get(b"a") == b"2"


# --- again and again -------------------------------------------------------------------------------------------------------


def test_it_is_called_until_nobody_interferes(client: Client):
    calls = []

    def work(tx: Transaction) -> int:
        calls.append(tx.get(b"a"))
        if len(calls) < 4:
            client.put(b"a", b"%d" % len(calls))
        tx.put(b"b", b"done")
        return len(calls)

    assert client.transact(work) == 4
    assert calls == [b"1", b"1", b"2", b"3"]
    assert client.get(b"b") == b"done"


def test_it_is_given_up_after_so_many_tries(client: Client):
    calls = []

    def work(tx: Transaction) -> None:
        calls.append(tx.get(b"a"))
        client.put(b"a", b"")
        tx.put(b"b", b"never")

    with pytest.raises(ConflictError):
        client.transact(work, tries=3)
    assert len(calls) == 3
    assert client.get(b"b") == b"1"


def test_what_was_raised_of_what_never_was_there_does_not_count(client: Client):
    calls = []

    def work(tx: Transaction) -> bytes:
        a = tx.get(b"a")
        if not calls:
            calls.append(a)
            with client.transaction() as other:
                other.put(b"a", b"2")
                other.put(b"b", b"2")
        if tx.get(b"b") != a:
            raise ZeroDivisionError
        return a or b""

    assert client.transact(work) == b"2"


def test_what_was_raised_of_what_was_there_counts(client: Client, responder: Responder):
    def work(tx: Transaction) -> None:
        tx.get(b"a")
        tx.get(b"b")
        tx.put(b"a", b"never")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        client.transact(work)
    assert client.get(b"a") == b"1"
