"""Closing a client while the control plane answers: the answer comes, and its connection is closed then."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from splinter.client import AsyncClient, Client
from tests.support.control_responder import ControlResponder
from tests.support.waiting import wait_for

SECONDS = 30.0


@pytest.fixture
def control() -> Iterator[ControlResponder]:
    made = ControlResponder()
    yield made
    made.close()


def closed_meanwhile(control: ControlResponder, call: Callable[[], object], close: Callable[[], object]) -> None:
    """Call; close when the request has come, and answer it after that."""
    may_answer = threading.Event()
    control.answer = lambda request: {"ok": may_answer.wait(SECONDS), "extensions": []}
    calling = threading.Thread(target=call)
    calling.start()
    wait_for(lambda: control.requests, what="the request")
    close()
    may_answer.set()
    calling.join()


def test_a_client_closes_the_connection_of_another_thread(control: ControlResponder) -> None:
    client, found = Client("127.0.0.1", 7, 1, port=9, control_port=control.port), list[object]()
    closed_meanwhile(control, lambda: found.append(client.extensions()), client.close)
    assert found == [[]] and not client._control._idle


def test_an_async_client_closes_the_connection_of_another_task(control: ControlResponder) -> None:
    async def main() -> None:
        client, loop = AsyncClient("127.0.0.1", 7, 1, port=9, control_port=control.port), asyncio.get_running_loop()
        task, found = asyncio.ensure_future(client.extensions()), list[object]()

        def call() -> None:
            found.append(asyncio.run_coroutine_threadsafe(asyncio.wait_for(task, SECONDS), loop).result(SECONDS))

        close = lambda: asyncio.run_coroutine_threadsafe(client.close(), loop).result(SECONDS)  # noqa: E731
        await asyncio.to_thread(closed_meanwhile, control, call, close)
        assert found == [[]] and not client._calls._control._idle

    asyncio.run(main())


def test_a_request_after_the_end_leaves_no_connection(control: ControlResponder) -> None:
    control.answer = lambda request: {"ok": True, "extensions": []}
    client = Client("127.0.0.1", 7, 1, port=9, control_port=control.port)
    client.close()
    assert client.extensions() == []
    assert not client._control._idle
