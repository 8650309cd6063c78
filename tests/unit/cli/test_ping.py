"""How long ``splinter ping`` waits for a server that has begun to answer, and what it makes of what others do meanwhile."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

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
