"""Pipelines of a running server: in order, executed once through a network that does what it likes, over deaths."""

from __future__ import annotations

import asyncio
import random
import re
import struct
from pathlib import Path

import pytest

from splinter import limits
from splinter.client import AsyncClient, Client
from splinter.client.admin import TenantInfo
from splinter.errors import BadArgumentsError, NoSuchExtensionError, VersionChangedError
from splinter.wire import OBJECT_ABSENT
from tests.support.counting import COUNT, INCREMENT, LATE, LOOSE
from tests.support.histories import Killer
from tests.support.kill_all import kill_everything
from tests.support.proxy import Faults, Proxy
from tests.support.servers import RunningServer, serving
from tests.support.threads import at_once

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "how-to" / "pipelines.md").read_text()
THREADS, EACH, KEYS = 4, 25, 12
COUNTED = object()
TIMEOUT_SECONDS = 20.0
KILL_EVERY_SECONDS = 0.15
SIZES = (0, 5, 100, 1000, 1380, 1388, 1390, 1396, 1400, 1409, 5000, limits.VALUE_BYTES_MAX, limits.VALUE_BYTES_MAX + 1)


def test_each_kind_of_request_is_answered_in_its_place(client: Client) -> None:
    client.install(INCREMENT)
    dice = random.Random(1)
    values = {size: dice.randbytes(size) for size in SIZES}
    with client.pipeline() as p:
        for size, value in values.items():
            p.put(size, value, table=2)
        for size in SIZES:
            p.get_with_version(size, table=2)
        p.invoke("increment", 7)
        p.invoke("increment", key=7)
        p.get(7, table=1)
        p.put("k", b"1", ttl=100)
        p.ttl("k")
        p.persist("k")
        p.ttl("k")
        p.delete("k")
        p.get("k")
        p.expire("k", 5)
        p.put("k", b"2", if_version=OBJECT_ABSENT)
    count = len(SIZES)
    versions = p.results[:count]
    assert versions == sorted(set(versions))
    assert p.results[count : 2 * count] == list(zip(values.values(), versions, strict=True))
    counted = p.results[2 * count :]
    assert counted[:3] == [1, 2, struct.pack("<Q", 2)]
    assert 99 < counted[4] <= 100
    assert counted[5:10] == [True, float("inf"), True, None, False] and counted[10] > counted[3]


def test_what_is_refused_keeps_no_other_from_being_executed(client: Client) -> None:
    p = client.pipeline()
    p.put("k", b"1")
    p.put("k", b"2", if_version=2)
    p.invoke("nothing")
    p.delete("k", if_version=2)
    p.get("k")
    found = p.execute(raise_errors=False)
    assert [type(one) for one in found[1:4]] == [VersionChangedError, NoSuchExtensionError, VersionChangedError]
    assert found[4] == b"1"


def test_invokes_of_all_kinds_are_executed_in_their_places(client: Client) -> None:
    for source in (INCREMENT, LATE, LOOSE, COUNT):
        client.install(source)
    dice, made = random.Random(3), 0
    p = client.pipeline()
    wanted: list[object] = []
    for number in range(600):
        kind = dice.choice(("increment", "increment", "increment", "late", "loose", "count", "count", "get", "put"))
        if kind == "get":
            p.get(7, table=1)
            wanted.append(struct.pack("<Q", made) if made else None)
        elif kind == "put":
            p.put(7, struct.pack("<Q", number), table=1)
            made = number
            wanted.append(int)
        else:
            p.invoke(kind, 7)
            made += kind != "count"
            wanted.append(made)
    found = p.execute()
    assert [int if expected is int else result for result, expected in zip(found, wanted, strict=True)] == wanted


def test_short_invokes_take_few_packets(server: RunningServer, client: Client) -> None:
    client.install(INCREMENT)
    admin = server.admin()

    def packets() -> int:
        return sum(worker["received"] for worker in admin.stats()["workers"])

    before = packets()
    with client.pipeline() as p:
        for _ in range(1000):
            p.invoke("increment", 7)
    assert p.results == list(range(1, 1001))
    assert packets() - before < 1000  # 25 where none is cut short, as invokes that take long are


def test_a_replaced_extension_is_invoked_by_its_new_signature(client: Client, server: RunningServer, tenant: TenantInfo):
    client.install(INCREMENT)
    with client.pipeline() as p:
        p.invoke("increment", 7)
    server.client(tenant).install(INCREMENT.replace("key: u64", "other: u64, key: u64"))
    p = client.pipeline()
    p.put("k", b"1")
    p.invoke("increment", 7)
    p.put("k", b"2")
    p.invoke("increment", 5, 7)
    p.get("k")
    found = p.execute(raise_errors=False)
    assert type(found[1]) is BadArgumentsError
    assert found[3:] == [2, b"2"]


def test_many_requests_in_many_packets(client: Client) -> None:
    with client.pipeline() as p:
        for number in range(5000):
            p.put(number, b"%d" % number, table=5)
        for number in range(5000):
            p.get(number, table=5)
    assert p.results[5000:] == [b"%d" % number for number in range(5000)]


def test_pipelines_of_one_event_loop(server: RunningServer, tenant: TenantInfo) -> None:
    async def main() -> None:
        async with AsyncClient(
            server.info.address, tenant.tenant, tenant.token,
            port=server.info.port, netns=server.info.client_netns, timeout=TIMEOUT_SECONDS,
        ) as db:  # fmt: skip

            async def work(number: int) -> None:
                async with db.pipeline() as p:
                    for key in range(1 + number % 20):
                        p.put(f"{number} {key}", b"%d" % key)
                    for key in range(1 + number % 20):
                        p.get(f"{number} {key}")
                assert p.results[1 + number % 20 :] == [b"%d" % key for key in range(1 + number % 20)]

            await asyncio.gather(*(work(number) for number in range(200)))

    asyncio.run(main())


@pytest.mark.parametrize("kills", [False, True], ids=["no deaths", "deaths"])
def test_each_request_is_executed_once(server: RunningServer, tenant: TenantInfo, kills: bool) -> None:
    """A duplicate of a write that comes late, or a packet that is executed again in part, would show in versions and counts."""
    direct = server.client(tenant)
    for source in (INCREMENT, LATE, LOOSE):
        direct.install(source)

    def write(slot: int) -> None:
        dice = random.Random(slot)
        with proxy.client(tenant, timeout=TIMEOUT_SECONDS) as client:
            known: dict[str, tuple[bytes | None, int]] = {}
            for turn in range(EACH):
                p = client.pipeline()
                wanted: list[object] = []
                for number in range(dice.randrange(1, 30)):
                    key = f"{slot} {dice.randrange(KEYS)}"
                    value, version = known.get(key, (None, 0))
                    if dice.random() < 0.3:
                        p.get(key, table=2)
                        wanted.append(value)
                    elif value is not None and dice.random() < 0.3:
                        p.delete(key, table=2)
                        known[key] = None, 0
                        wanted.append(True)
                    else:
                        body = b"%d %d " % (turn, number) * dice.choice((1, 20, 900 * (turn % 5 == 0) + 1))
                        # On the condition of what is there, where that is known: a second execution would fail.
                        p.put(key, body, table=2, if_version=OBJECT_ABSENT if value is None else version)
                        known[key] = body, 0
                        wanted.append(key)
                    if dice.random() < 0.3:
                        p.invoke(dice.choice(("increment", "increment", "late", "loose")), 7)
                        wanted.append(COUNTED)
                for found, expected in zip(p.execute(), wanted, strict=True):
                    if expected is COUNTED:
                        counted.append(found)
                    elif isinstance(expected, str):
                        known[expected] = known[expected][0], found if known[expected][0] is not None else 0
                    else:
                        assert found == expected
            with client.pipeline() as p:
                for key in known:
                    p.get_with_version(key, table=2)
            assert p.results == [(value, version if value is not None else 0) for value, version in known.values()]

    counted: list[int] = []
    with Proxy(server, Faults(), seed=5) as proxy:
        killer = Killer(server, 5, KILL_EVERY_SECONDS) if kills else None
        try:
            at_once([lambda slot=slot: write(slot) for slot in range(THREADS)])
        finally:
            if killer:
                killer.__exit__()
        assert proxy.counts["repeated"] > 0 and proxy.counts["lost"] > 0
    assert sorted(counted) == list(range(1, len(counted) + 1)) and direct.get(7, table=1) == struct.pack("<Q", len(counted))


def test_what_was_answered_is_kept_over_the_death_of_all(tmp_path: Path, unique_name: str) -> None:
    """With durability `always`."""
    options = ("--transport", "udp", "--port", "0", "--data", str(tmp_path / "data"), "--durability", "always")
    with serving(unique_name, None, *options) as server:
        tenant = server.admin().create_tenant()
        there: list[tuple[bytes, int]] = []
        for turn in range(3):
            with server.client(tenant, timeout=TIMEOUT_SECONDS) as client:
                with client.pipeline() as p:
                    for number in range(len(there)):
                        p.get_with_version(number)
                    for number in range(200):
                        p.put(number, b"%d %d" % (turn, number))
                assert p.results[: len(there)] == there
                there = [(b"%d %d" % (turn, number), p.results[len(there) + number]) for number in range(200)]
            kill_everything(server, "at random", random.Random(turn))
            server.start_again(None, *options)


def test_the_page_is_true(server: RunningServer, tenant: TenantInfo, capsys: pytest.CaptureFixture[str]) -> None:
    """The example of docs/how-to/pipelines.md."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    where = f"tenant={tenant.tenant}, port={server.info.port}, netns={server.info.client_netns!r}"
    for name, value in {"ADDRESS": repr(server.info.address), "TOKEN": repr(tenant.token), "tenant=1": where}.items():
        block = block.replace(name, value)
    names: dict[str, object] = {}
    exec(compile(block, "pipelines.md", "exec"), names)
    told = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\[\d+, \d+, None, 3\d\d\d\.\d+\]", told[0]) and told[1] == "VersionChangedError"
    assert names["values"] == [None] * 1000 and isinstance(names["bought"], int)
