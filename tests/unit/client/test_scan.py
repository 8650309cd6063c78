"""Listing keys, by a client whose server answers as it should, or as none does."""

from __future__ import annotations

import pytest

from splinter.client import Client
from splinter.errors import BadKeyError, BadTableError, BusyError, ScanInterruptedError, SplinterError, Status
from splinter.wire import SCAN, SCAN_END, Opcode
from tests.unit.client.conftest import Responder

KEYS = {b"%s %d" % (name, number) for name in (b"a", b"b") for number in range(10)}


@pytest.fixture
def filled(client: Client) -> Client:
    client.put_many([(key, b"value") for key in KEYS], table=3)
    client.put(b"elsewhere", b"value")
    return client


def test_all_keys_of_a_table_come_or_those_with_a_prefix(filled: Client):
    found = list(filled.scan(3))
    assert len(found) == len(KEYS) and set(found) == KEYS
    assert set(filled.scan(3, b"a ")) == {key for key in KEYS if key.startswith(b"a ")}
    assert set(filled.scan(3, "b 7")) == {b"b 7"}
    for empty in (b"", "", bytearray()):
        assert set(filled.scan(3, empty)) == KEYS
    assert list(filled.scan(4)) == [] and list(filled.scan()) == [b"elsewhere"]


def test_keys_are_asked_for_as_they_are_needed(filled: Client, responder: Responder):
    def asked() -> int:
        return sum(header.opcode == Opcode.SCAN for header in responder.requests)

    keys = filled.scan(3)
    assert asked() == 0
    next(keys)
    assert asked() == 1
    filled.get(b"elsewhere")  # the same client may do something else in between
    assert len(list(keys)) == len(KEYS) - 1


def test_arguments_are_checked_before_the_first_key_is_asked_for(client: Client, responder: Responder):
    with pytest.raises(BadTableError):
        client.scan(-1)
    with pytest.raises(BadKeyError):
        client.scan(0, bytes(256))
    with pytest.raises(TypeError):
        client.scan(0, 1.5)  # type: ignore[arg-type]
    assert not responder.requests


def test_another_store_ends_a_scan(filled: Client, responder: Responder):
    keys = filled.scan(3)
    next(keys)
    responder.answers[Opcode.SCAN] = lambda header, key, value: (Status.VERSION_CHANGED, b"")
    with pytest.raises(ScanInterruptedError, match="begin the scan again"):
        list(keys)


def test_what_a_commit_hides_is_asked_for_again_within_the_time(client: Client, responder: Responder):
    answers = [(0, b""), (0, b""), (5, b"\1a"), (5, b""), (SCAN_END, b"\1b")]
    told = iter(answers)

    def answer(header: object, key: bytes, value: bytes) -> tuple[Status, bytes]:
        cursor, keys = next(told, (0, b""))
        return Status.OK, SCAN.struct.pack(cursor, 1) + keys

    responder.answers[Opcode.SCAN] = answer
    assert list(client.scan()) == [b"a", b"b"]
    with pytest.raises(BusyError, match="not finished"):
        list(client.scan(timeout=0.1))


@pytest.mark.parametrize(
    "told", [b"", bytes(15), SCAN.struct.pack(SCAN_END, 1) + b"\5abcd", SCAN.struct.pack(SCAN_END, 1) + b"\0", bytes(17)]
)
def test_what_no_server_says_is_an_error(client: Client, responder: Responder, told: bytes):
    responder.answers[Opcode.SCAN] = lambda header, key, value: (Status.OK, told)
    with pytest.raises(SplinterError, match="does not understand"):
        list(client.scan())
