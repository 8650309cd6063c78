"""How long ``splinter ping`` waits for a server that has begun to answer, and what it makes of what others do meanwhile."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from splinter.errors import Status
from splinter.wire import Header
from tests.support.control_responder import ControlResponder
from tests.unit.client.conftest import Responder

Responders = tuple[Responder, ControlResponder]
SOON_SECONDS = 20  # less than what an administrator's other messages may take
LAST = {"tenant": 16383, "token": 1 << 63, "home": 0}


def ping(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "splinter", "ping", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=SOON_SECONDS, check=False)


@pytest.mark.parametrize("options", [(), ("--wait", "--timeout", "0.3")], ids=["at once", "waiting"])
@pytest.mark.parametrize(
    ("silent", "tenant"), [("hello", ()), ("tenant.list", ()), ("tenant.list", ("-t", "7")), ("tenant.create", ())]
)
def test_a_server_that_says_nothing_more_is_given_up_in_time(
    responders: Responders, silent: str, tenant: tuple[str, ...], options: tuple[str, ...]
) -> None:
    def answer(request: dict[str, Any]) -> dict[str, Any] | None:
        told = {"ok": True, "tenants": [] if request["op"] == "tenant.list" else [LAST], "next": None}
        return None if request["op"] == silent else told

    responders[1].answer = answer
    done = ping(*tenant, *options)
    assert done.returncode == 6, done.stderr
    assert "no answer within" in done.stderr
    assert silent in {request["op"] for request in responders[1].requests}


class Tenants:
    """Those of a server on which others ping, too: ``interfere(request)`` is what they do before each request."""

    def __init__(self, responders: Responders) -> None:
        self.there: dict[int, dict[str, Any]] = {}
        self.interfere: Callable[[dict[str, Any]], None] = lambda request: None
        self.made: list[int] = []
        responders[1].answer = self._answer
        responders[0]._run_request = self._run_request  # type: ignore[method-assign]

    def add(self, tenant: int, **more: Any) -> None:
        self.there[tenant] = {"tenant": tenant, "token": 1 << 63 | tenant, "home": 0, "quota_bytes": 0, **more}

    def _run_request(self, header: Header, key: bytes, value: bytes) -> tuple[Status, bytes]:
        return (Status.OK if header.tenant in self.there else Status.UNKNOWN_TENANT), b""

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        self.interfere(request)
        tenant = request.get("tenant")
        if request["op"] == "tenant.create":
            if tenant in self.there:
                return {"ok": False, "error": "tenant_exists", "message": "it exists"}
            self.add(tenant)
            self.made.append(tenant)
            return {"ok": True, "tenants": [self.there[tenant]], "next": None}
        if request["op"] == "tenant.remove":
            del self.there[tenant]
        return {"ok": True, "tenants": list(self.there.values()), "next": None}


def test_a_tenant_that_another_ping_has_is_left_to_it(responders: Responders) -> None:
    tenants = Tenants(responders)
    tenants.add(16383)
    assert ping().returncode == 0
    assert (tenants.made, set(tenants.there)) == ([16382], {16383})


def test_a_tenant_that_another_ping_makes_first_is_left_to_it(responders: Responders) -> None:
    tenants = Tenants(responders)
    tenants.interfere = lambda request: tenants.add(request["tenant"]) if request.get("tenant") in (16383, 16382) else None
    assert ping().returncode == 0
    assert (tenants.made, set(tenants.there)) == ([16381], {16383, 16382})


def test_a_tenant_of_the_highest_number_that_is_no_pings_will_do(responders: Responders) -> None:
    tenants = Tenants(responders)
    tenants.add(16383, quota_bytes=1 << 20)
    assert ping().returncode == 0
    assert tenants.made == []


def test_when_what_was_found_is_removed_another_look_is_taken(responders: Responders) -> None:
    tenants = Tenants(responders)
    tenants.add(7, quota_bytes=1 << 20)

    def remove(header: Header, packet: bytes) -> list[bytes]:
        tenants.there.pop(7, None)
        return [packet]

    responders[0].on_request = remove
    done = ping()
    assert done.returncode == 0, done.stderr
    assert (tenants.made, tenants.there) == ([16383], {})


def test_with_all_numbers_of_pings_taken_one_of_theirs_will_do(responders: Responders) -> None:
    tenants = Tenants(responders)
    for number in range(16383 - 15, 16384):
        tenants.add(number)
    assert ping().returncode == 0
    assert tenants.made == []
