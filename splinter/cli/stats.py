"""``splinter stats`` and ``splinter top``: what is busy now, once or live; every counter on request."""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from splinter.cli import frames
from splinter.cli.listing import AsJson, say_json
from splinter.cli.target import Address, Instance, find_server
from splinter.client.admin import Admin
from splinter.client.control import understood
from splinter.terminal import flush, say

_NANOSECONDS_PER_SECOND = 1e9
_INTERVAL_MAX = 3600.0


def _number(value: float) -> float:
    """Within bounds is also what cannot be compared with them."""
    if math.isnan(value):
        raise typer.BadParameter("not a number")
    return value


_Interval = Annotated[
    float, typer.Option(min=0.1, max=_INTERVAL_MAX, help="Seconds between looks, which rates are about.", callback=_number)
]
_Sort = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Sort by this column, such as 'requests/s', where there is one.")
]


@dataclass(frozen=True)
class Look:
    """The statistics at two moments, and what is made of them."""

    before: dict[str, Any]
    after: dict[str, Any]
    seconds: float

    def sections(self) -> list[frames.Section]:
        """Raises :class:`splinter.errors.ControlError` for what is no server's."""
        with understood():
            return frames.sections(self.before, self.after, self.seconds)

    def head(self) -> str:
        """As :meth:`sections`."""
        with understood():
            return frames.headline(self.before, self.after, self.seconds)

    def require_column(self, name: str | None) -> None:
        """Raises :class:`typer.BadParameter` where no section has a column of this name, if any is given."""
        known = {column.name: None for section in self.sections() for column in section.columns}
        if name is not None and name not in known:
            raise typer.BadParameter(f"there is no column {name!r}, but {', '.join(known)}", param_hint="--sort")

    def plain(self, sort: str | None = None) -> dict[str, Any]:
        """For machines: sections by name, rows by column."""
        return {
            "seconds": self.seconds,
            **{
                section.name: [
                    dict(zip((column.name for column in section.columns), row, strict=True))
                    for row in section.sorted_rows(sort)
                ]
                for section in self.sections()
            },
        }


class Looker:
    """Makes looks, each from where the last one ended."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin
        self._before, self._then = admin.stats(every=True), time.monotonic_ns()

    def look(self) -> Look:
        """What happened since the last one."""
        after, now = self._admin.stats(every=True), time.monotonic_ns()
        made = Look(self._before, after, max(now - self._then, 1) / _NANOSECONDS_PER_SECOND)
        self._before, self._then = after, now
        return made


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(stats)
    app.command()(top)


def stats(
    as_json: AsJson = False,
    sums: Annotated[bool, typer.Option("--sums", help="All counters since the start, in place of rates.")] = False,
    interval: _Interval = 1.0,
    sort: _Sort = None,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """Print what the server does now: rates over an interval, or with --sums all counters since its start.

    With --json, all counters; 'recent' in them has the rates, unless --sums is given. Of more than 2,048 tenants or
    extensions that have done anything, those are told that used most time.

    Examples: splinter stats --sort requests/s; splinter stats --sums
    """
    if sums and sort is not None:
        raise typer.BadParameter("the counters of --sums stand in their own order", param_hint="--sort")
    with find_server(instance, address).admin() as admin:
        if sums:
            found = admin.stats(every=True)
            say(json.dumps(found, indent=1)) if as_json else _say_all(found)
            return
        looker = Looker(admin)
        time.sleep(interval)
        look = looker.look()
    look.require_column(sort)
    if as_json:
        say(json.dumps(look.after | {"recent": look.plain(sort)}, indent=1))
        return
    _say_frame(look, sort, None)


def top(
    interval: _Interval = 1.0,
    count: Annotated[int, typer.Option(min=0, help="Stop after this many looks; 0: at q or Ctrl-C.")] = 0,
    sort: _Sort = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: one JSON document for each look.")] = False,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """Show what is busy, live: sorted by any column, scrolled. Without a terminal, print it once.

    Examples: splinter top --interval 0.5; splinter top --json --count 10
    """
    with find_server(instance, address).admin() as admin:
        looker = Looker(admin)
        looker.look().require_column(sort)
        if as_json:
            done = 0
            while count == 0 or done < count:
                time.sleep(interval)
                say_json(looker.look().plain(sort))
                flush()
                done += 1
            return
        if sys.stdout.isatty() and sys.stdin.isatty():
            _live(looker.look, interval, count, sort)
            return
        time.sleep(interval)
        _say_frame(looker.look(), sort, None)


def _live(look: Callable[[], Look], interval: float, count: int, sort: str | None) -> None:
    from splinter.cli.top import Top  # Textual, an extra

    Top(look, interval, count, sort).show()


def _say_frame(look: Look, sort: str | None, height: int | None) -> None:
    for line in frames.frame(look.sections(), look.head(), shutil.get_terminal_size().columns, height, sort):
        say(line)


def _say_all(found: dict[str, Any]) -> None:
    told = [(name, f"{value:,}" if type(value) is int else str(value)) for name, value in _leaves(found)]
    section = frames.Section("since the start", frames.columns("counter:text", "value:text"), list(told), "counter")
    for line in frames.lines(section, max([200, *(len(name) + len(value) + 99 for name, value in told)]), len(told)):
        say(line)


def _leaves(value: Any, name: str = "") -> list[tuple[str, Any]]:
    """Dotted names and values; list items are counted."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return [(name, value)]
    return [leaf for key, item in value.items() for leaf in _leaves(item, f"{name}.{key}" if name else str(key))]
