"""``splinter stats`` and ``splinter top``: counters once, and a live view of their rates."""

from __future__ import annotations

import json
import math
import time
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table

from splinter.cli.target import Address, Instance, find_server
from splinter.server.statistics import numbers
from splinter.terminal import Terminal, say
from splinter.visible import visible

_NANOSECONDS_PER_SECOND, _MILLISECONDS_PER_SECOND = 1e9, 1e3
_BY_USE = ("tenants", "extensions", "kernel")  # lists whose places change between two looks


_INTERVAL_MAX = 3600.0


def _number(value: float) -> float:
    """Within bounds is also what cannot be compared with them."""
    if math.isnan(value):
        raise typer.BadParameter("not a number")
    return value


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
        say(json.dumps(found, indent=1))
        return
    Terminal().print(_all_counters(found))


def top(
    interval: Annotated[float, typer.Option(min=0.1, max=_INTERVAL_MAX, help="Seconds between looks.", callback=_number)] = 1.0,
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
        with Live(_rates(before, before, 1.0), console=Terminal(), auto_refresh=False) as live:
            while count == 0 or looks < count:
                time.sleep(interval)
                after, now = admin.stats(), time.monotonic_ns()
                live.update(_rates(before, after, (now - then) / _NANOSECONDS_PER_SECOND), refresh=True)
                before, then = after, now
                looks += 1


def _all_counters(found: dict[str, Any]) -> RenderableType:
    table = Table("counter", "value", box=None)
    for name, value in _leaves(found):
        is_count = isinstance(value, int) and not isinstance(value, bool)
        table.add_row(visible(name), f"{value:,}" if is_count else visible(str(value)))
    return table


def _leaves(value: Any, name: str = "") -> list[tuple[str, Any]]:
    """Dotted names and values; list items are counted."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return [(name, value)]
    return [leaf for key, item in value.items() for leaf in _leaves(item, f"{name}.{key}" if name else str(key))]


def _rates(before: dict[str, Any], after: dict[str, Any], seconds: float) -> RenderableType:
    columns = ("worker", "core", "state", "busy", "requests/s", "tasks", "kernel gets/s", "kernel busy")
    kernel = _kernel_rates(before, after, seconds)
    workers = Table(*columns, title=f"{after.get('transport', '')} transport")
    for index, (earlier, later) in enumerate(zip(before.get("workers", []), after.get("workers", []), strict=False)):
        served = sum(later["requests"].values()) - sum(earlier["requests"].values())
        busy = (later["busy_ms"] - earlier["busy_ms"]) / _MILLISECONDS_PER_SECOND / seconds
        workers.add_row(
            str(index), str(later["core"]), later["state"], f"{busy:.0%}", f"{served / seconds:,.0f}", str(later["tasks_live"]),
            *kernel.pop(later["core"], ("", "")),
        )  # fmt: skip
    for cpu, told in sorted(kernel.items()):
        workers.add_row("", str(cpu), "", "", "", "", *told)
    counters = Table("counter", "per second", box=None)
    earlier_numbers = numbers({name: item for name, item in before.items() if name not in _BY_USE})
    for name, value in numbers({name: item for name, item in after.items() if name not in _BY_USE}).items():
        change = value - earlier_numbers.get(name, 0)
        if change > 0 and "heartbeat" not in name:
            counters.add_row(visible(name), f"{change / seconds:,.0f}")
    return Group(workers, _tenant_rates(before, after, seconds), _extension_rates(before, after, seconds), counters)


def _kernel_rates(before: dict[str, Any], after: dict[str, Any], seconds: float) -> dict[int, tuple[str, str]]:
    """Of each CPU where the kernel tier has answered anything: gets, and share of its time."""
    earlier = {item["cpu"]: item for item in before.get("kernel", [])}
    found = {}
    for later in after.get("kernel", []):
        known = earlier.get(later["cpu"], {"gets": 0, "busy_ms": 0})
        busy = (later["busy_ms"] - known["busy_ms"]) / _MILLISECONDS_PER_SECOND / seconds
        found[later["cpu"]] = f"{(later['gets'] - known['gets']) / seconds:,.0f}", f"{busy:.0%}"
    return found


def _tenant_rates(before: dict[str, Any], after: dict[str, Any], seconds: float) -> Table:
    """The tenants that used most time so far, by what they use now."""
    columns = ("tenant", "of a core", "in extensions", "requests/s", "kernel gets/s", "busy/s")
    table = Table(*columns, title="tenants")
    earlier = {item["tenant"]: item for item in before.get("tenants", [])}
    rows = []
    for later in after.get("tenants", []):
        known = earlier.get(later["tenant"], later)
        used = sum(later["core_ms"]) - sum(known["core_ms"]) + later.get("kernel_ms", 0) - known.get("kernel_ms", 0)
        rows.append((used, later, known))
    for used, later, known in sorted(rows, key=lambda row: -row[0]):
        table.add_row(
            str(later["tenant"]),
            f"{used / _MILLISECONDS_PER_SECOND / seconds:.1%}",
            f"{(later['task_ms'] - known['task_ms']) / _MILLISECONDS_PER_SECOND / seconds:.1%}",
            f"{(later['requests'] - known['requests']) / seconds:,.0f}",
            f"{(later.get('kernel_gets', 0) - known.get('kernel_gets', 0)) / seconds:,.0f}",
            f"{(later['busy'] - known['busy']) / seconds:,.0f}",
        )
    return table


def _extension_rates(before: dict[str, Any], after: dict[str, Any], seconds: float) -> Table:
    table = Table("tenant", "extension", "of a core", "invokes/s", "errors/s", title="extensions")
    earlier = {(item["tenant"], item["name"]): item for item in before.get("extensions", [])}
    for later in after.get("extensions", []):
        known = earlier.get((later["tenant"], later["name"]), later)
        table.add_row(
            str(later["tenant"]),
            visible(later["name"]),
            f"{(later['cpu_ms'] - known['cpu_ms']) / _MILLISECONDS_PER_SECOND / seconds:.1%}",
            f"{(later['invocations'] - known['invocations']) / seconds:,.0f}",
            f"{(later['errors'] - known['errors']) / seconds:,.0f}",
        )
    return table
