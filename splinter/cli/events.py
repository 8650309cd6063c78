"""``splinter events``: what happened, and what happens."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from splinter import limits
from splinter.cli.completion import complete_tenant
from splinter.cli.listing import say_json
from splinter.cli.target import Address, Instance, Server, Token, find_server
from splinter.client.control import understood
from splinter.errors import ControlConnectionError, ControlTimeoutError, SplinterError
from splinter.server import instance as instances
from splinter.terminal import complain, flush, say
from splinter.visible import visible

POLL_SECONDS = 0.25
_RECONNECT_SECONDS = 5.0  # a control process that died has a successor well before
_BEFORE = 10  # events shown that were there when --follow began
_SPAN = re.compile(r"([0-9]{1,6})([smhd])")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_Ask = Callable[[int | None], dict[str, Any]]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(events)


def events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens, until Ctrl-C.")] = False,
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="From then on: 10m, 2h, a time in UTC (2026-11-29T01:00:00), or after a number."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: one JSON document a line.")] = False,
    tenant: Annotated[
        int | None,
        typer.Option(
            "--tenant",
            "-t",
            min=1,
            max=limits.TENANTS_MAX - 1,
            help="Only what this tenant may see.",
            autocompletion=complete_tenant,
        ),
    ] = None,
    token: Token = None,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """Show what happened to the server: workers replaced, tenants moved, extensions quarantined, devices lost and more.

    The administrator sees all; with --tenant, one tenant's own. Exit status of --follow: 0 when the server was stopped, 1
    when it went otherwise.

    Examples: splinter events --since 10m; splinter events --follow --json
    """
    after, begin = _parse_since(since)
    server = find_server(instance, address)
    with contextlib.ExitStack() as held:
        ask = _asker(server, tenant, token, held)
        if follow and after is None and begin == 0:
            after = max(0, int(_checked(ask(None))["newest"]) - _BEFORE)
        for one in stream(ask, after, Patience(server), follow=follow):
            if one.get("time_ns", begin) >= begin:
                say_json(one) if as_json else say(line(one))
                if follow:
                    flush()


def stream(
    ask: _Ask, after: int | None, on_failure: Callable[[], bool], *, follow: bool, pause: Callable[[float], None] = time.sleep
) -> Iterator[dict[str, Any]]:
    """Events, and ``{"missed": n}`` where some are kept no more. ``on_failure``: the server does not answer; true: ask again,
    false: it was stopped. It raises when it is over otherwise. Raises :class:`SplinterError` when another server answers."""
    server = None
    while True:
        try:
            found = _checked(ask(after))
        except (ControlConnectionError, ControlTimeoutError):
            if not follow:
                raise
            if not on_failure():
                return
            pause(POLL_SECONDS)
            continue
        if server not in (None, found["server"]):
            raise SplinterError("the server was started anew: its events are numbered from 1 again")
        server = found["server"]
        if found["missed"]:
            yield {"missed": found["missed"]}
        yield from found["events"]
        if after == found["next"] or not found["events"]:
            if not follow:
                return
            pause(POLL_SECONDS)
        after = found["next"]


def line(one: dict[str, Any]) -> str:
    """An event for people."""
    if "missed" in one:
        return f"… {one['missed']} events are kept no more, or were lost"
    at = datetime.fromtimestamp(one["time_ns"] / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    return visible(f"{one['number']} {at}Z {one['level']} {one['kind']}: {one['text']}")


def _checked(found: dict[str, Any]) -> dict[str, Any]:
    with understood():
        for name in ("next", "newest", "missed", "server"):
            if type(found[name]) is not int:
                raise TypeError(name)
        for one in found["events"]:
            (one["number"], one["time_ns"] / 1, one["level"], one["kind"], one["text"])
            datetime.fromtimestamp(one["time_ns"] / 1e9, UTC)
    return found


def _asker(server: Server, tenant: int | None, token: str | None, held: contextlib.ExitStack) -> _Ask:
    if tenant is None:
        admin = held.enter_context(server.admin())
        return lambda after: admin.events(after)
    client = held.enter_context(server.client(tenant, token))
    return lambda after: client.events(after)


class Patience:
    """What to do while a server does not answer. Called after each failure."""

    def __init__(self, server: Server, clock: Callable[[], float] = time.monotonic) -> None:
        self._server, self._clock = server, clock
        self._since, self._last = 0.0, -_RECONNECT_SECONDS * 2

    def __call__(self) -> bool:
        """Whether to ask again. False: it was stopped. Raises :class:`SplinterError` when it has gone otherwise."""
        name = self._server.instance
        if name is not None and not instances.is_running(name):
            if (instances.run_dir(name) / "server.json").exists():  # a stop removes it
                raise SplinterError("the server has died")
            complain("splinter: the server was stopped")
            return False
        now = self._clock()
        if now - self._last > _RECONNECT_SECONDS:  # it answered meanwhile
            self._since = now
        self._last = now
        if now - self._since > _RECONNECT_SECONDS:
            raise SplinterError(f"the server has not answered for {_RECONNECT_SECONDS:g} s: it has gone, or cannot be reached")
        return True


def _parse_since(text: str | None) -> tuple[int | None, int]:
    """After which number, and from which time on (nanoseconds since 1970)."""
    if text is None:
        return None, 0
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text), 0
    if match := _SPAN.fullmatch(text):
        return None, time.time_ns() - int(match[1]) * _UNIT_SECONDS[match[2]] * 10**9
    try:
        moment = datetime.fromisoformat(text)
        told = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)  # as events themselves are told
        return None, int(told.timestamp() * 1e9)
    except (ValueError, OverflowError, OSError):
        raise typer.BadParameter("write 10m, 2h, 1d, a time such as 2026-11-29T01:00:00, or a number") from None
