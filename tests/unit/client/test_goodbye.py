"""A client that ends says so, where the server keeps something of it and nothing can come late."""

from __future__ import annotations

import pytest

from splinter.client import Client, line
from splinter.errors import BusyError, RequestTimeoutError, Status
from splinter.wire import Opcode
from tests.support.waiting import wait_for

TENANT, TOKEN = 7, 0x1122334455667788
SECONDS_MAX = 20


def goodbyes(responder) -> list[tuple[int, int, int]]:
    """(client, sequence, acknowledged) of each."""
    heard = [header for header in list(responder.requests) if header.opcode == Opcode.GOODBYE]
    return [(header.client, header.sequence, header.acknowledged) for header in heard]


def last(responder) -> None:
    """Wait until all that was sent before is in ``responder.requests``: packets of loopback keep their order."""
    with Client("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=SECONDS_MAX) as another:
        another.ping()


def test_a_client_that_has_written_says_goodbye(responder):
    with Client("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=SECONDS_MAX) as client:
        client.put(b"k", b"v")
        writer = responder.requests[-1].client
        assert goodbyes(responder) == []
    wait_for(lambda: goodbyes(responder), SECONDS_MAX, "a goodbye")
    assert goodbyes(responder) == [(writer, 2, 2)]
    client.close()  # a second time
    last(responder)
    assert len(goodbyes(responder)) == 1


@pytest.mark.parametrize("opcode", ["delete", "put_many", "pipeline"])
def test_whatever_it_has_written(responder, opcode):
    with Client("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=SECONDS_MAX) as client:
        if opcode == "delete":
            client.delete(b"k")
        elif opcode == "pipeline":
            with client.pipeline() as p:
                p.put(b"k", b"v")
        else:
            client.put_many((b"%d" % number, bytes(3000)) for number in range(3))
    wait_for(lambda: goodbyes(responder), SECONDS_MAX, "a goodbye")


def test_one_that_has_only_read_does_not(responder):
    with Client("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=SECONDS_MAX) as client:
        assert client.get(b"k") is None
        client.ping()
        assert client.get_many([b"a", b"b"]) == [None, None]
    last(responder)
    assert goodbyes(responder) == []


def test_after_a_repetition_a_copy_may_be_on_its_way(responder, monkeypatch):
    seen = []

    def lose_first(header, packet):
        seen.append(header.sequence)
        return [] if header.opcode == Opcode.PUT and seen.count(header.sequence) == 1 else [packet]

    responder.on_reply = lose_first
    monkeypatch.setattr(line, "_QUIET_SECONDS_MIN", 1000.0)
    with Client("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=SECONDS_MAX) as client:
        client.put(b"k", b"v")
    last(responder)
    assert goodbyes(responder) == []
    monkeypatch.setattr(line, "_QUIET_SECONDS_MIN", 0.0)  # as if it were long ago
    with Client("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=SECONDS_MAX) as client:
        seen.clear()
        client.put(b"k", b"v")
    wait_for(lambda: goodbyes(responder), SECONDS_MAX, "a goodbye")


def test_after_a_request_that_was_given_up_likewise(responder):
    responder.refuse_with = lambda header: Status.BUSY
    client = Client("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=0.1)
    with client, pytest.raises((BusyError, RequestTimeoutError)):  # the last answer may come too late, on a busy machine
        client.put(b"k", b"v")
    responder.refuse_with = lambda header: None
    last(responder)
    assert goodbyes(responder) == []


def test_nobody_waits_for_the_answer(responder):
    client = Client("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=SECONDS_MAX)
    client.put(b"k", b"v")
    responder.on_request = lambda header, packet: [] if header.opcode == Opcode.GOODBYE else [packet]
    client.close()
    last(responder)
    assert len(goodbyes(responder)) == 1
