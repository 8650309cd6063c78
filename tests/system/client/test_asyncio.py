"""The client for event loops, of a running server: many calls at a time, deaths and cancellations among them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from splinter.client import AsyncClient, Client
from splinter.client.admin import TenantInfo
from splinter.errors import ExtensionRuntimeError, NoSuchExtensionError
from tests.support.servers import RunningServer

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "how-to" / "asyncio.md").read_text()
TASKS, TURNS = 40, 25
COUNT = """
from splinter.ext import extension, Store, u64

@extension
def count_up(db: Store, key: u64) -> u64:
    seen = db.get(1, key)
    count = u64(1) if seen is None else seen.u64(0) + 1
    db.put(1, key, count)
    yield
    return count
"""
OVER = """
from splinter.ext import extension, Store, u64

@extension
def over(db: Store, n: u64) -> u64:
    return 1 // n
"""


@pytest.fixture
def made(server: RunningServer, tenant: TenantInfo) -> AsyncClient:
    return AsyncClient(
        server.info.address, tenant.tenant, tenant.token,
        port=server.info.port, netns=server.info.client_netns, timeout=20.0,
    )  # fmt: skip


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Any:
    """Have an event loop of either kind run a coroutine."""

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(asyncio.wait_for(coroutine, 120))

    return run


def test_what_many_tasks_do_at_a_time_is_each_done_once(run: Any, made: AsyncClient, client: Client) -> None:
    async def main() -> list[int]:
        async with made as db:
            installed = await db.install(COUNT)
            assert installed.name in [extension.name for extension in await db.extensions()]

            async def work(number: int) -> list[int]:
                found = []
                for turn in range(TURNS):
                    found.append(await db.invoke("count_up", 7))
                    await db.put(f"{number} {turn}", bytes([turn]) * (turn * 500), table=2)
                    assert await db.get(f"{number} {turn}", table=2) == bytes([turn]) * (turn * 500)
                return found

            found = await asyncio.gather(*(work(number) for number in range(TASKS)))
            assert len([key async for key in db.scan(2)]) == TASKS * TURNS
            with pytest.raises(NoSuchExtensionError):
                await db.invoke("none")
            return [count for one in found for count in one]

    counted = run(main())
    assert sorted(counted) == list(range(1, TASKS * TURNS + 1))
    assert client.get(7, table=1) == (TASKS * TURNS).to_bytes(8, "little")


def test_large_values_are_put_side_by_side(run: Any, made: AsyncClient) -> None:
    """None waits for what the server has collected of another that is done."""
    values = {f"large {number}": bytes([number]) * 200_000 for number in range(16)}

    async def main() -> list[bytes | None]:
        async with made as db:
            await asyncio.gather(*(db.put(key, value) for key, value in values.items()))
            return [await db.get(key) for key in values]

    assert run(main()) == list(values.values())


def test_cancelled_calls_are_done_once_or_never_while_workers_die(
    run: Any, made: AsyncClient, server: RunningServer, client: Client
) -> None:
    dice = random.Random(9)

    async def main() -> tuple[list[int], int]:
        counted: list[int] = []
        cancelled = 0
        async with made as db:
            await db.install(COUNT)

            async def work() -> None:
                nonlocal cancelled
                for _ in range(TURNS):
                    try:
                        async with asyncio.timeout(dice.choice((0.0005, 0.002, None, None))):
                            counted.append(await db.invoke("count_up", 8))
                    except TimeoutError:
                        cancelled += 1

            async def kill() -> None:
                for pid in server.worker_pids():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                    await asyncio.sleep(0.05)

            await asyncio.gather(*(work() for _ in range(TASKS)), kill())
        return counted, cancelled

    counted, cancelled = run(main())
    stored = int.from_bytes(client.get(8, table=1) or b"", "little")
    assert len(set(counted)) == len(counted) == TASKS * TURNS - cancelled
    assert len(counted) <= stored <= len(counted) + cancelled
    assert max(counted) <= stored


def test_an_error_of_an_extension_is_raised_where_it_was_invoked(run: Any, made: AsyncClient) -> None:
    async def main() -> None:
        async with made as db:
            await db.install(OVER)
            with pytest.raises(ExtensionRuntimeError, match="over, line 6"):
                await db.invoke("over", 0)
            assert await db.invoke("over", 1) == 1
            await db.uninstall("over")

    run(main())


def test_the_page_is_true(server: RunningServer, tenant: TenantInfo, capsys: pytest.CaptureFixture[str]) -> None:
    """The example of docs/how-to/asyncio.md."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    where = f"tenant={tenant.tenant}, port={server.info.port}, netns={server.info.client_netns!r}"
    names = {"ADDRESS": repr(server.info.address), "TOKEN": repr(tenant.token), "tenant=1": where}
    for name, value in names.items():
        block = block.replace(name, value)
    exec(compile(block, "asyncio.md", "exec"), {"__name__": "page"})
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == ["b'barks'", "b'0'"]
    assert sorted(told[2:])[0] == "b'page 7'" and len(told) == 2 + 111
