"""Gets by the kernel's rates of keys that are written meanwhile: no reply is torn, foreign, stale or missed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from splinter_bench.generators.frames import FRAME_HEADER_BYTES, Route, frame
from splinter_bench.process import pinned

from splinter.errors import Status
from splinter.net import netns
from splinter.net.lab import CLIENT_ADDRESS, CLIENT_DEVICE, CLIENT_MAC, SERVER_ADDRESS, SERVER_MAC, Lab
from splinter.wire import FLAG_KERNEL, FLAG_REPLY, Header, Opcode
from tests.support.hammer import FOUND, KEYS, SOURCE_PORT, Asker, Checker, Plan, hammer, value_of
from tests.support.servers import running_server
from tests.support.xdp_runs import Action, run_once

pytestmark = pytest.mark.xdp

PORT, KEY, NUMBER = 7171, 5, 77
BACK = Route(SERVER_MAC, CLIENT_MAC, SERVER_ADDRESS, CLIENT_ADDRESS, PORT, SOURCE_PORT)
DELETES_BITS = 24


def reply(
    value: bytes = b"", *, status: Status = Status.OK, flags: int = FLAG_REPLY | FLAG_KERNEL, seen: int = 0, deletes: int = 0
) -> bytes:
    header = Header(
        opcode=Opcode.GET, status=status, flags=flags, sequence=KEYS * 9 + KEY, client=seen << DELETES_BITS | deletes,
        value_length=len(value), object_version=2,
    )  # fmt: skip
    return frame(BACK, header.pack() + value)


WHOLE = value_of(KEY, NUMBER)
OTHERS = b"".join(value_of(KEY, NUMBER + more) for more in (1, 2, 3))
REPLIES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "of the kernel": ("kernel_hit", lambda: reply(WHOLE, seen=NUMBER)),
    "of a worker": ("worker_hit", lambda: reply(WHOLE, flags=FLAG_REPLY)),
    "the last word of another value": ("torn", lambda: reply(WHOLE[:-8] + OTHERS[-8:])),
    "the third word of another value": ("torn", lambda: reply(WHOLE[:16] + OTHERS[16:24] + WHOLE[24:])),
    "a bit too many": ("torn", lambda: reply(WHOLE[:-1] + bytes([WHOLE[-1] ^ 1]))),
    "too short": ("torn", lambda: reply(WHOLE[:-8])),
    "too long": ("torn", lambda: reply(WHOLE + bytes(8))),
    "empty": ("torn", lambda: reply()),
    "of another key": ("foreign", lambda: reply(value_of(KEY + 1, NUMBER))),
    "older than what was acknowledged": ("stale", lambda: reply(WHOLE, seen=NUMBER + 1)),
    "not found, and never deleted": ("missed", lambda: reply(status=Status.NOT_FOUND)),
    "not found, and deleted since": ("kernel_miss", lambda: reply(status=Status.NOT_FOUND, deletes=2)),
    "not found, and being deleted": ("worker_miss", lambda: reply(status=Status.NOT_FOUND, deletes=1, flags=FLAG_REPLY)),
    "refused": ("other", lambda: reply(b"message", status=Status.BUSY)),
}


@pytest.fixture(scope="module")
def checker(lab: Lab) -> Iterator[Checker]:
    with netns.inside(lab.client.namespace), Checker(CLIENT_DEVICE, bytes(FRAME_HEADER_BYTES + 72), PORT) as made:
        yield made


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(f"t{os.getpid()}x902") as made:
        yield made


@pytest.mark.parametrize("kind", REPLIES)
def test_each_wrong_reply_is_found(checker: Checker, kind: str) -> None:
    assert len(WHOLE) >= 32
    expected, make = REPLIES[kind]
    with pinned(min(os.sched_getaffinity(0))):
        before = checker.counts()
        assert run_once(checker, make())[0] == Action.DROP
    after = checker.counts()
    assert {name: after[name] - before[name] for name in FOUND if after[name] != before[name]} == {expected: 1}


def test_what_is_no_reply_to_the_readers_passes(checker: Checker) -> None:
    route = Route(SERVER_MAC, CLIENT_MAC, SERVER_ADDRESS, CLIENT_ADDRESS, PORT, SOURCE_PORT + 1)
    assert run_once(checker, frame(route, Header(flags=FLAG_REPLY).pack()))[0] == Action.PASS


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(Plan(4.0, 1, (0, 1)), id="as many as can be made"),
        pytest.param(Plan(4.0, 2, (0,), 20_000.0, kills=True, moves=True), id="with kills and moves"),
        pytest.param(Plan(4.0, 3, (1,), 20_000.0, faults=True), id="with a faulty network"),
    ],
)
def test_no_reply_is_torn_foreign_stale_or_missed(plan: Plan) -> None:
    with running_server(f"t{os.getpid()}x901", "xdp", "--cores", "0,1") as server:
        verdict = hammer(server, plan)
        assert verdict.findings == [], str(verdict)
        assert verdict.replies["kernel_hit"] > 1000 and verdict.replies["kernel_miss"], str(verdict)
        assert all(writer.by_kernel for writer in verdict.writers), str(verdict)
        assert all(writer.puts for writer in verdict.writers), str(verdict)


def test_a_request_takes_along_what_was_acknowledged_and_what_was_shown(checker: Checker) -> None:
    template = frame(Route(CLIENT_MAC, SERVER_MAC, CLIENT_ADDRESS, SERVER_ADDRESS, SOURCE_PORT, PORT), bytes(72))
    checker.keys["written"], checker.keys["shown"], checker.keys["deletes"] = 50, 0, 6
    with Asker(checker, template) as asker:

        def asked() -> tuple[int, int]:
            header = Header.unpack(run_once(asker, template)[1][FRAME_HEADER_BYTES:])
            return header.client >> DELETES_BITS, header.client & ((1 << DELETES_BITS) - 1)

        assert asked() == (50, 6)
        for key in range(KEYS):
            made = Header(opcode=Opcode.GET, flags=FLAG_REPLY, sequence=key, value_length=len(value_of(key, 60)))
            run_once(checker, frame(BACK, made.pack() + value_of(key, 60)))
        assert asked() == (60, 6)
        assert checker.keys["shown"].tolist() == [60] * KEYS
    checker.keys[:] = 0
