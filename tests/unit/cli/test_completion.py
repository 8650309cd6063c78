"""Shells complete each name that there is, and nobody at a prompt waits long for a server that hangs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from splinter.cli.completion import complete_extension, complete_tenant
from splinter.cli.main import app
from tests.support.control_responder import ControlResponder
from tests.unit.client.conftest import Responder

SOON_SECONDS = 20  # less than what an administrator's messages may take
NAMES = {"tenant", "instance", "as"}
# Names of what is not there yet, and of tenants of a dump.
NEW = {
    ("splinter serve", "instance"),
    ("splinter tenant create", "tenant"),
    ("splinter restore", "tenant"),
    ("splinter restore", "as"),
}


def parameters(name: str, command: Any) -> Iterator[tuple[str, str, Any]]:
    for each in command.params:
        for word in {each.name, *(option.lstrip("-") for option in each.opts)} & NAMES:
            yield name, word, each
    for called, other in getattr(command, "commands", {}).items():
        yield from parameters(f"{name} {called}", other)


def test_every_name_that_there_is_is_completed() -> None:
    found = list(parameters("splinter", typer.main.get_command(app)))
    assert len(found) > 30
    lacking = {(command, word) for command, word, each in found if each._custom_shell_complete is None}
    assert lacking <= NEW


@pytest.mark.parametrize("complete", [complete_tenant, complete_extension])
def test_a_server_that_hangs_completes_nothing_and_soon(
    responders: tuple[Responder, ControlResponder], complete: Callable[[Any, str], list[str]]
) -> None:
    responders[1].answer = lambda request: None
    where = {"address": f"127.0.0.1:{responders[1].port}", "tenant": 7}
    with ThreadPoolExecutor() as pool:
        assert pool.submit(complete, SimpleNamespace(params=where), "").result(SOON_SECONDS) == []
    assert responders[1].requests
