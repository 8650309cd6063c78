"""``splinter stats`` and ``splinter top``: counters once, and a live view of their rates."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table

from splinter.cli.target import Address, Instance, find_server
from splinter.server.statistics import numbers

_NANOSECONDS = 1e9


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(stats)
    app.command()(top)


def stats(
    as_json: Annotated[bool, typer.Option("--json", help="For machines: one JSON document.")] = False,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """Print all counters once.

    Example: splinter stats --json
    """
    with find_server(instance, address).admin() as admin:
        found = admin.stats()
    if as_json:
        print(json.dumps(found, indent=1))
        return
    Console().print(_all_counters(found))


def top(
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between looks.")] = 1.0,
    count: Annotated[int, typer.Option(min=0, help="Stop after this many looks; 0: at Ctrl-C.")] = 0,
    instance: Instance = "default",
    address: Address = None,
) -> None:
    """Show each worker's load and every rate that is not zero, live.

    Example: splinter top --interval 0.5
    """
    with find_server(instance, address).admin() as admin:
        before, then = admin.stats(), time.monotonic_ns()
        looks = 0
        with Live(_rates(before, before, 1.0), auto_refresh=False) as live:
            while count == 0 or looks < count:
                time.sleep(interval)
                after, now = admin.stats(), time.monotonic_ns()
                live.update(_rates(before, after, (now - then) / _NANOSECONDS), refresh=True)
                before, then = after, now
                looks += 1


def _all_counters(found: dict[str, Any]) -> RenderableType:
    table = Table("counter", "value", box=None)
    for name, value in _leaves(found):
        table.add_row(name, f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value))
    return table


def _leaves(value: Any, name: str = "") -> list[tuple[str, Any]]:
    """Dotted names and values; list items are counted."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return [(name, value)]
    return [leaf for key, item in value.items() for leaf in _leaves(item, f"{name}.{key}" if name else str(key))]


def _rates(before: dict[str, Any], after: dict[str, Any], seconds: float) -> RenderableType:
    workers = Table("worker", "core", "state", "requests/s", "tasks", title=f"{after.get('transport', '')} transport")
    for index, (earlier, later) in enumerate(zip(before.get("workers", []), after.get("workers", []), strict=False)):
        served = sum(later["requests"].values()) - sum(earlier["requests"].values())
        workers.add_row(str(index), str(later["core"]), later["state"], f"{served / seconds:,.0f}", str(later["tasks_live"]))
    counters = Table("counter", "per second", box=None)
    earlier_numbers = numbers(before)
    for name, value in numbers(after).items():
        change = value - earlier_numbers.get(name, 0)
        if change > 0 and "heartbeat" not in name:
            counters.add_row(name, f"{change / seconds:,.0f}")
    return Group(workers, counters)
