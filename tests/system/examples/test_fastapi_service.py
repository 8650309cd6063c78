"""The web service of the example, asked by HTTP without a network; its store is a running server, or none."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from examples import fastapi_service as service
from splinter.client import AsyncClient
from splinter.testing.process import free_port
from tests.support.waiting import WAIT_SECONDS

DOG = {"title": "Dog", "text": "barks"}
Ask = Callable[[Callable[[httpx.AsyncClient], Awaitable[Any]]], Any]


@pytest.fixture
def ask(splinter_arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Start the service, have it asked, stop it."""
    named = splinter_arguments
    monkeypatch.setenv("SPLINTER_ADDRESS", f"{named['address']}:{named['port']}")
    monkeypatch.setenv("SPLINTER_TENANT", str(named["tenant"]))
    monkeypatch.setenv("SPLINTER_TOKEN", named["token"])
    monkeypatch.setattr(service, "TIMEOUT_SECONDS", WAIT_SECONDS)

    async def started(questions: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
        transport = httpx.ASGITransport(service.app)
        async with service.lifespan(service.app), httpx.AsyncClient(transport=transport, base_url="http://pages") as http:
            return await questions(http)

    return lambda questions: asyncio.run(started(questions))


def test_a_page_is_written_read_and_deleted_with_its_visits(ask: Ask) -> None:
    async def questions(http: httpx.AsyncClient) -> None:
        assert (await http.get("/pages/dog")).status_code == 404
        assert (await http.post("/pages/dog/visits")).status_code == 404
        assert (await http.put("/pages/dog", json=DOG)).status_code == 204
        assert (await http.get("/pages/dog")).json() == DOG
        assert [(await http.post("/pages/dog/visits")).json() for _ in range(2)] == [1, 2]
        assert (await http.get("/visits", params={"name": ["cat", "dog"]})).json() == {"cat": 0, "dog": 2}
        assert (await http.delete("/pages/dog")).status_code == 204
        assert (await http.get("/pages/dog")).status_code == 404
        assert (await http.get("/visits", params={"name": ["dog"]})).json() == {"dog": 0}

    ask(questions)


def test_of_two_who_change_the_same_version_one_is_refused(ask: Ask) -> None:
    async def questions(http: httpx.AsyncClient) -> None:
        await http.put("/pages/dog", json=DOG)
        tag = {"If-Match": (await http.get("/pages/dog")).headers["ETag"]}
        changes = [http.put("/pages/dog", json={**DOG, "text": str(number)}, headers=tag) for number in range(8)]
        told = [change.status_code for change in await asyncio.gather(*changes)]
        assert sorted(told) == [204] + [412] * 7
        assert (await http.get("/pages/dog")).json()["text"] == str(told.index(204))

    ask(questions)


def test_visits_at_the_same_time_are_all_counted(ask: Ask) -> None:
    async def questions(http: httpx.AsyncClient) -> None:
        await http.put("/pages/dog", json=DOG)
        visits = await asyncio.gather(*(http.post("/pages/dog/visits") for _ in range(50)))
        assert sorted(visit.json() for visit in visits) == list(range(1, 51))

    ask(questions)


def test_what_cannot_be_is_the_caller_s_mistake(ask: Ask) -> None:
    async def questions(http: httpx.AsyncClient) -> None:
        assert (await http.get(f"/pages/{'k' * 256}")).status_code == 422
        for tag in ("*", '"0"', '"18446744073709551615"', "7"):
            assert (await http.put("/pages/dog", json=DOG, headers={"If-Match": tag})).status_code == 422

    ask(questions)


@pytest.mark.parametrize(("listens", "status"), [(False, 503), (True, 504)], ids=["nobody listens", "nobody answers"])
def test_a_store_that_is_away_is_told(ask: Ask, listens: bool, status: int) -> None:
    async def questions(http: httpx.AsyncClient) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken, socket.socket() as control:
            port = free_port()
            taken.bind(("127.0.0.1", port))
            control.bind(("127.0.0.1", port))
            if listens:
                control.listen()
            else:
                taken.close()
            async with AsyncClient("127.0.0.1", 1, 1, port=port, timeout=0.1) as away:
                service.app.dependency_overrides[service.database] = lambda: away
                try:
                    reply = await http.get("/pages/dog")
                finally:
                    service.app.dependency_overrides.clear()
        assert reply.status_code == status
        assert reply.headers.get("Retry-After") == ("1" if status == 503 else None)
        assert reply.json() == {"detail": "the store cannot be used at present"}

    ask(questions)


def test_the_client_is_closed_with_the_service(ask: Ask) -> None:
    async def questions(http: httpx.AsyncClient) -> AsyncClient:
        await http.put("/pages/dog", json=DOG)
        return service.app.state.db

    closed = ask(questions)
    assert isinstance(closed, AsyncClient)
    assert closed._calls._closed and all(shared.is_closed for shared in closed._calls.lines)
