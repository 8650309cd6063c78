"""The same programs on a real server: no worker dies, each ends as written, nobody else notices."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splinter.client import Client
from splinter.client.admin import TenantInfo
from splinter.errors import (
    CompileError,
    ControlError,
    ExtensionRuntimeError,
    QuotaExceededError,
    ReplyTooLargeError,
    Status,
)
from splinter.ext.abi import ExtensionError, error_message
from splinter.limits import TABLE_EXTENSIONS
from splinter.wire import Header, Opcode
from tests.property.hostile.corpus import CASES, Failure, Refusal, Result, invocations
from tests.property.hostile.corpus.case import body
from tests.support.raw import RawSocket
from tests.support.servers import RunningServer, running_server

YIELDS_MAX = 40_000  # endless programs end sooner than by default; the longest that ends needs less
MEMORY = "256MiB"  # what an endless storm of puts retires until then has room
ERRORS = {error.text: error.name for error in ExtensionError}
REFUSED_STEP = 10  # every tenth refused program is sent to a server too: it is the same compiler


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = tmp_path_factory.mktemp("hostile") / "splinter.toml"
    settings.write_text(f"task_yields_max = {YIELDS_MAX}\n")
    with running_server(f"t{os.getpid()}x7h", "udp", "--config", str(settings), "--memory", MEMORY) as running:
        pids = running.worker_pids()
        yield running
        assert running.worker_pids() == pids, "a worker died"


@pytest.fixture(scope="module")
def tenant(server: RunningServer) -> TenantInfo:
    return server.admin().create_tenant()


@pytest.fixture(scope="module")
def client(server: RunningServer, tenant: TenantInfo) -> Client:
    return server.client(tenant, timeout=30.0)


@pytest.fixture
def raw(server: RunningServer) -> Iterator[RawSocket]:
    raw = RawSocket(server.info)
    yield raw
    raw.close()


def outcome(action: Callable[[], Any]) -> Result | Failure:
    try:
        return Result(action())
    except ExtensionRuntimeError as error:
        found = re.fullmatch(r"hostile, line (\d+): (.*)", str(error))
        assert found is not None, error
        return Failure(ERRORS[found[2]], int(found[1]))


def test_every_program_ends_as_written(server: RunningServer, client: Client) -> None:
    pids = server.worker_pids()
    wrong = []
    for case in CASES:
        if isinstance(case.expected, Refusal):
            continue
        client.install(case.source, name="hostile")
        got = outcome(lambda case=case: client.invoke("hostile", *case.used_arguments))
        if not case.is_expected(got):
            wrong.append((case.source, case.expected, got))
    assert not wrong
    assert server.worker_pids() == pids, "a worker died"


def test_refused_programs_are_refused_over_the_wire(client: Client) -> None:
    before = [extension.name for extension in client.extensions()]
    for case in [case for case in CASES if isinstance(case.expected, Refusal)][::REFUSED_STEP]:
        with pytest.raises((CompileError, ControlError)):  # of what is no text, empty or too long no compiler hears
            client.install(case.source)
    assert [extension.name for extension in client.extensions()] == before


@pytest.mark.parametrize(("block", "expected"), invocations.BLOCKS)
def test_argument_blocks(raw: RawSocket, client: Client, tenant: TenantInfo, block: bytes, expected: int | None) -> None:
    client.install(invocations.SOURCE, name="strict")
    fields = {"key_length": len(b"strict"), "value_length": len(block)}
    reply = raw.request(tenant.tenant, tenant.token, Opcode.INVOKE, b"strict" + block, **fields)
    assert reply is not None
    header, value = reply
    if expected is None:
        assert Status(header.status) is Status.BAD_ARGUMENTS
    else:
        assert Status(header.status) is Status.OK
        assert struct.unpack("<q", value) == (expected,)


def test_a_reply_beyond_a_packet_is_a_status(client: Client) -> None:
    client.put(b"large", bytes(60_000), table=1)
    client.install(body("v = db.get(1, b'large')\nassert v is not None\nreturn v[a:b]", "bytes"), name="large")
    assert client.invoke("large", 0, 1408, b"") == bytes(1408)
    for stop in (1409, 60_000, 2**64 - 1):
        with pytest.raises(ReplyTooLargeError):
            client.invoke("large", 0, stop, b"")


def test_tenants_cannot_reach_one_another(server: RunningServer, client: Client, tenant: TenantInfo) -> None:
    client.put(b"secret", b"of the first", table=1)
    other = server.client(server.admin().create_tenant(home=tenant.home), timeout=30.0)  # on the same worker
    other.install(body("v = db.get(1, b'secret')\nif v is None:\n    return b'nothing'\nreturn v", "bytes"), name="spy")
    assert other.invoke("spy", 0, 0, b"") == b"nothing"
    other.install(body("return int(db.delete(1, b'secret'))"), name="vandal")
    assert other.invoke("vandal", 0, 0, b"") == 0
    assert client.get(b"secret", table=1) == b"of the first"


def test_a_frame_tells_nothing_of_the_task_before(server: RunningServer, client: Client, tenant: TenantInfo) -> None:
    """Frames are used again, by any tenant: what a task sees of its own is what it stored there."""
    client.install(body("x = array(u64, 400)\nfor i in range(400):\n    x[i] = b\n    yield\nreturn 1"), name="writer")
    other = server.client(server.admin().create_tenant(home=tenant.home), timeout=30.0)
    other.install(body("x = array(i64, 400)\ny = 0\nfor i in range(400):\n    y |= x[i]\n    yield\nreturn y"), name="reader")
    for _ in range(20):
        assert client.invoke("writer", 0, 2**62 - 1, b"") == 1
        assert other.invoke("reader", 0, 0, b"") == 0


def test_a_quota_ends_a_storm_of_puts(server: RunningServer, client: Client, tenant: TenantInfo) -> None:
    poor = server.client(server.admin().create_tenant(quota_bytes=64 << 10, home=tenant.home), timeout=30.0)
    source = body("for i in range(1 << 40):\n    db.put(1, i, k)\nreturn 1", is_long=True)
    poor.install(source, name="storm")
    with pytest.raises(ExtensionRuntimeError) as caught:
        poor.invoke("storm", 0, 0, b"x" * 100)
    assert str(caught.value) == error_message("storm", ExtensionError.QUOTA, 4)
    with pytest.raises(QuotaExceededError):
        poor.put(b"one more", bytes(1000), table=1)
    client.put(b"of another", bytes(1000), table=1)


def test_reserved_tables_are_out_of_reach(client: Client) -> None:
    """The table of extensions holds addresses of code: whoever could write there would run anything."""
    client.install(body("db.put(a, k, k)\nreturn 1"), name="forger")
    for table in range(TABLE_EXTENSIONS - 3, TABLE_EXTENSIONS + 2):
        with pytest.raises(ExtensionRuntimeError, match="table"):
            client.invoke("forger", table, 0, b"forger")
    assert next(extension.version for extension in client.extensions() if extension.name == "forger") == 1


def test_endless_tasks_do_not_keep_others_waiting(server: RunningServer, client: Client, tenant: TenantInfo) -> None:
    """On the same worker, while tasks of another tenant spin: every request is answered."""
    bad = server.admin().create_tenant(home=tenant.home)
    spinner = server.client(bad, timeout=30.0)
    spinner.install(body("while True:\n    pass"), name="spin")
    arguments = struct.pack("<qQQ", 0, 0, 24)
    spinning = RawSocket(server.info)
    try:
        for sequence in range(20):
            header = Header(opcode=Opcode.INVOKE, tenant=bad.tenant, token=bad.token, client=7, sequence=sequence,
                            key_length=len(b"spin"), value_length=len(arguments))  # fmt: skip
            spinning.send(header.pack() + b"spin" + arguments)
        client.put(b"key", b"value", table=1)
        for _ in range(200):
            assert client.get(b"key", table=1) == b"value"
    finally:
        spinning.close()


def test_the_code_region_is_never_writable_in_any_process(server: RunningServer, client: Client) -> None:
    client.install(body("return 1"), name="one")
    assert client.invoke("one", 0, 0, b"") == 1
    children = Path(f"/proc/{server.info.pid}/task/{server.info.pid}/children").read_text().split()
    mapped = {}
    for pid in (server.info.pid, *map(int, children)):
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
        mapped[pid] = [line.split()[1] for line in lines if "splinter-code" in line]
    # The spare is the next worker, and the forker forks spares.
    workers = [*server.worker_pids(), *server.children("splinter-spare"), *server.children("splinter-forker")]
    others = [*server.children("splinter-ctl"), *server.children("splinter-log")]
    assert mapped == {server.info.pid: ["r-xs"], **{other: [] for other in others}, **{worker: ["r-xs"] for worker in workers}}
    for worker in workers:  # nor has a process that runs extensions a descriptor to write by
        descriptors = Path(f"/proc/{worker}/fd").iterdir()
        assert not any("splinter-code" in str(descriptor.readlink()) for descriptor in descriptors)
