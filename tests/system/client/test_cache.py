"""A tenant as a cache on a running server: what is used stays, what is not makes room; for every way to use an object."""

from __future__ import annotations

import contextlib
import random
import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from splinter.cli.main import app
from splinter.client import Client
from splinter.client.admin import TenantInfo
from splinter.errors import BusyError, ControlError, QuotaExceededError
from tests.support.commands import CliRunner
from tests.support.kill_all import kill_everything
from tests.support.servers import RunningServer, running_lab, running_server, serving

TRANSPORTS = [pytest.param("xdp", marks=pytest.mark.xdp), "udp"]
QUOTA = 1 << 20
VALUE = bytes(1000)
HOT = [b"hot %d" % number for number in range(50)]
LOOK = """
from splinter.ext import extension, Store, u64, bytes_

@extension
def there(db: Store, key: bytes) -> bool:
    found = db.get(1, key)
    return found is not None
"""

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "how-to" / "cache.md").read_text()


@pytest.fixture
def tenant(server: RunningServer) -> TenantInfo:
    return server.admin().create_tenant(quota_bytes=QUOTA, eviction="hyperbolic")


WAYS: dict[str, Callable[[Client], object]] = {
    "get": lambda client: [client.get(key, table=1) for key in HOT],
    "multiget": lambda client: client.multiget(HOT, table=1),
    "extension": lambda client: [client.invoke("there", key) for key in HOT],
}


@pytest.mark.parametrize("use", WAYS.values(), ids=WAYS)
def test_what_is_used_stays_and_the_quota_holds(
    server: RunningServer, tenant: TenantInfo, client: Client, use: Callable[[Client], object]
) -> None:
    client.install(LOOK.replace(", bytes_", ""))
    other = server.admin().create_tenant()
    server.client(other).put(b"of another", VALUE)
    client.put_many([(key, VALUE) for key in HOT], table=1)
    for turn in range(60):
        client.put_many([(b"cold %d %d" % (turn, number), VALUE) for number in range(100)], table=1)
        use(client)
    assert sum(value is not None for value in client.multiget(HOT, table=1)) >= len(HOT) * 9 // 10
    assert client.get(b"cold 0 0", table=1) is None
    told = server.admin().get_tenant(tenant.tenant)
    assert told.bytes_used <= QUOTA and told.evictions > 4000 and told.eviction == "hyperbolic"
    assert server.client(other).get(b"of another") == VALUE


def test_large_values_make_room_and_are_evicted_whole(server: RunningServer, tenant: TenantInfo, client: Client) -> None:
    for number in range(30):
        value = random.Random(number).randbytes(200_000)
        client.put(number, value)
        assert client.get(number) == value
        assert server.admin().get_tenant(tenant.tenant).bytes_used <= QUOTA
    left = [number for number in range(30) if client.get(number) is not None]
    assert 1 <= len(left) <= 5
    for number in left:
        assert client.get(number) == random.Random(number).randbytes(200_000)
    for number in left:
        client.delete(number)
    assert server.admin().get_tenant(tenant.tenant).bytes_used < 10_000


@pytest.mark.parametrize(("quota", "size"), [(60_000, 65_000), (500_000, 600_000)], ids=["in fragments", "in parts"])
def test_what_cannot_fit_evicts_nothing(
    server: RunningServer, tenant: TenantInfo, client: Client, quota: int, size: int
) -> None:
    client.put_many([(key, VALUE) for key in HOT])
    server.admin().limit_tenant(tenant.tenant, quota_bytes=quota)
    with pytest.raises(QuotaExceededError):
        client.put(b"large", bytes(size), timeout=1.0)
    assert server.admin().get_tenant(tenant.tenant).evictions == 0


def test_an_operator_says_and_takes_back_that_a_tenant_evicts(
    server: RunningServer, tenant: TenantInfo, client: Client
) -> None:
    admin = server.admin()
    with pytest.raises(ControlError, match="'eviction' is one of none, hyperbolic"):
        admin.limit_tenant(tenant.tenant, eviction="lru")
    assert admin.limit_tenant(tenant.tenant, eviction="none").eviction == "none"
    with pytest.raises((QuotaExceededError, BusyError)):
        client.put_many([(number, VALUE) for number in range(2000)])
    before = admin.get_tenant(tenant.tenant).evictions
    admin.limit_tenant(tenant.tenant, eviction="hyperbolic")
    client.put_many([(number, VALUE) for number in range(2000)])
    assert admin.get_tenant(tenant.tenant).evictions > before


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_restart_keeps_the_setting_and_brings_nothing_back(tmp_path: Path, unique_name: str, transport: str) -> None:
    with running_lab(unique_name) if transport == "xdp" else contextlib.nullcontext() as lab:
        options = ("--data", str(tmp_path / "data"))
        with serving(unique_name, lab, *options) as server:
            tenant = server.admin().create_tenant(quota_bytes=QUOTA, eviction="hyperbolic", durability="always")
            client = server.client(tenant, timeout=20.0)
            client.put_many([(number, VALUE) for number in range(3000)])
            there = [number for number in range(3000) if client.get(number) is not None]
            assert 100 < len(there) < 1100
            for kills in (True, False):
                if kills:
                    kill_everything(server, "at random", random.Random(1))
                else:
                    assert server.stop(signal.SIGTERM) == 0
                server.start_again(lab, *options)
                client = server.client(tenant, timeout=20.0)
                assert [number for number in range(3000) if client.get(number) is not None] == there
                assert server.admin().get_tenant(tenant.tenant).eviction == "hyperbolic"
            client.put_many([(number, VALUE) for number in range(3000, 6000)])
            assert server.admin().get_tenant(tenant.tenant).bytes_used <= QUOTA


def test_the_examples_of_the_page_do_what_it_says(unique_name: str) -> None:
    (commands,), (program,) = (re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) for language in ("bash", "python"))
    asked: list[bytes] = []

    def ask_the_database(key: bytes) -> bytes:
        asked.append(key)
        return b"from the database"

    with running_server(unique_name, "udp") as server:
        create, limit = commands.splitlines()
        for number, command in enumerate((create, limit)):
            words = [*shlex.split(command, comments=True)[1:], "--instance", server.info.instance]
            result = CliRunner().invoke(app, words)
            assert result.exit_code == 0, result.output
            tenant = server.admin().get_tenant(7, token=True)
            assert tenant.eviction == ("hyperbolic", "none")[number]
        with server.client(tenant, timeout=20.0) as client:
            for _ in range(2):
                names = {"client": client, "key": b"key", "ask_the_database": ask_the_database}
                exec(program, names)
                assert names["value"] == b"from the database"
            assert asked == [b"key"]
            assert 0 < client.ttl(b"key") <= 300  # type: ignore[operator]
