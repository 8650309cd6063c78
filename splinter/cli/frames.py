"""What ``splinter stats`` and ``top`` show: sections of rows, made of two looks at the statistics, and fitted to a terminal.

Nothing here asks a server or a clock. A line that is too long for the terminal ends in ``…``; columns and rows that find no
room are counted in the title.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size

from splinter.server.metrics.table import DROPS, WATCHDOG
from splinter.server.statistics import numbers
from splinter.visible import visible

MILLISECONDS = 1e3
_BY_USE = ("tenants", "extensions", "kernel", "durability")  # in sections of their own
_OF_XDP = (  # splinter.net.xdp.verdicts.DROPS, which a client does without
    "truncated", "fragment", "short", "bad_magic", "reply", "unknown_tenant", "wrong_token", "no_socket", "rate_limited",
)  # fmt: skip
_NOTHING_USED = {"requests": 0, "busy": 0, "kernel_gets": 0, "kernel_ms": 0}
_GAP = "  "
_ROWS_PRINTED = 20  # of each section, where there is no height to fit into
Value = str | int | float


@dataclass(frozen=True)
class Column:
    """``kind``: ``text``; ``id``; ``number`` (a rate or a count); ``share`` of one; ``bytes``."""

    name: str
    kind: str = "number"

    def show(self, value: Value) -> str:
        """A value as its cell has it."""
        if isinstance(value, str):
            return visible(value)
        if self.kind == "id":
            return str(value)
        if self.kind == "share":
            return f"{value:.1%}"
        if self.kind == "bytes":
            return _bytes(value)
        return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}"


@dataclass(frozen=True)
class Section:
    """A table; ``sort`` is the column that it is sorted by unless another is asked for, the largest first."""

    name: str
    columns: tuple[Column, ...]
    rows: list[tuple[Value, ...]]
    sort: str

    def sorted_rows(self, by: str | None = None) -> list[tuple[Value, ...]]:
        """Rows by a column, where the section has it: numbers with the largest first, ids and texts in their order."""
        wanted = by if by is not None and by in [column.name for column in self.columns] else self.sort
        place = next(number for number, column in enumerate(self.columns) if column.name == wanted)
        if self.columns[place].kind == "text":
            return sorted(self.rows, key=lambda row: str(row[place]))
        if self.columns[place].kind == "id":
            return sorted(self.rows, key=lambda row: int(row[place]))
        return sorted(self.rows, key=lambda row: -row[place] if isinstance(row[place], int | float) else 1.0)  # type: ignore[operator]


def columns(*named: str) -> tuple[Column, ...]:
    """Columns by names; ``name:kind`` for what are no numbers."""
    parts = (each.partition(":") for each in named)
    return tuple(Column(name, kind or "number") for name, _, kind in parts)


def sections(before: dict[str, Any], after: dict[str, Any], seconds: float) -> list[Section]:
    """All there is to tell of what happened between two looks, in the order of its worth; those without rows are left out."""
    made = [
        _workers(before, after, seconds),
        _tenants(before, after, seconds),
        _extensions(before, after, seconds),
        _drops(before, after, seconds),
        _watchdog(before, after),
        _durability(after),
        _behind(after),
        _memory(after),
        _counters(before, after, seconds),
    ]
    return [section for section in made if section.rows]


def headline(before: dict[str, Any], after: dict[str, Any], seconds: float) -> str:
    """One line: what the server does in all."""
    served = sum(_change(old, new) for old, new in _pairs(before, after, "workers")) / seconds
    gets = sum(row[1] for row in _kernel(before, after, seconds).values())
    tenants = after.get("control", {}).get("tenants", len(after.get("tenants", [])))
    mode = f" ({after['mode']})" if after.get("mode") else ""
    return visible(
        f"{after.get('transport', '?')}{mode}: {served:,.0f} requests/s, {gets:,.0f} kernel gets/s, {tenants:,} tenants"
    )


def _change(old: dict[str, Any], new: dict[str, Any]) -> int:
    return _grown(*(sum(each["requests"].values()) - each["requests"].get("batch", 0) for each in (old, new)))


def _grown(old: int, new: int) -> int:
    """By how much a counter grew; one that went back began anew."""
    return int(new - old if new >= old else new)


def _growth(old: dict[str, Any], new: dict[str, Any], *names: str) -> list[int]:
    """By how much counters of one thing grew, added up over cores. When one went back, it was made anew: all began then."""
    pairs = [tuple(sum(value) if isinstance(value, list) else value for value in (old[name], new[name])) for name in names]
    is_anew = any(later < earlier for earlier, later in pairs)
    return [later - (0 if is_anew else earlier) for earlier, later in pairs]


def _pairs(before: dict[str, Any], after: dict[str, Any], name: str) -> list[tuple[Any, Any]]:
    return list(zip(before.get(name, []), after.get(name, []), strict=False))


def _kernel(before: dict[str, Any], after: dict[str, Any], seconds: float) -> dict[int, tuple[float, float]]:
    """Of each CPU where the kernel tier has answered anything: its share of the time, and gets per second."""
    earlier = {item["cpu"]: item for item in before.get("kernel", [])}
    found = {}
    for later in after.get("kernel", []):
        known = earlier.get(later["cpu"], later)
        # Sums of the tenants that there are: they go back when one is removed, and what it did meanwhile is unknown.
        busy, gets = (max(later[name] - known[name], 0) for name in ("busy_ms", "gets"))
        found[later["cpu"]] = busy / MILLISECONDS / seconds, gets / seconds
    return found


def _workers(before: dict[str, Any], after: dict[str, Any], seconds: float) -> Section:
    kernel, rows = _kernel(before, after, seconds), list[tuple[Value, ...]]()
    for index, (old, new) in enumerate(_pairs(before, after, "workers")):
        in_kernel, gets = kernel.pop(new["core"], (0.0, 0.0))
        busy = _grown(old["busy_ms"], new["busy_ms"]) / MILLISECONDS / seconds
        stolen = _grown(old.get("stolen", 0), new.get("stolen", 0)) / seconds
        told = (busy, _change(old, new) / seconds, new["tasks_live"], in_kernel, gets, stolen)
        rows.append((str(index), str(new["core"]), new["state"], *told))
    rows += [("", str(cpu), "", 0.0, 0.0, 0, busy, gets, 0.0) for cpu, (busy, gets) in sorted(kernel.items())]
    named = columns(
        "worker:text", "core:text", "state:text", "busy:share", "requests/s", "tasks",
        "kernel busy:share", "kernel gets/s", "stolen/s",
    )  # fmt: skip
    return Section("workers", named, rows, "worker")


def _tenants(before: dict[str, Any], after: dict[str, Any], seconds: float) -> Section:
    earlier, rows = {item["tenant"]: item for item in before.get("tenants", [])}, list[tuple[Value, ...]]()
    for told in after.get("tenants", []):
        old, new = _NOTHING_USED | earlier.get(told["tenant"], told), _NOTHING_USED | told
        used, in_tasks, requests, busy = _growth(old, new, "core_ms", "task_ms", "requests", "busy")
        gets, in_kernel = _growth(old, new, "kernel_gets", "kernel_ms")
        shares = (milliseconds / MILLISECONDS / seconds for milliseconds in (used + in_kernel, in_tasks))
        rows.append((new["tenant"], *shares, *(number / seconds for number in (requests, gets, busy))))
    named = columns("tenant:id", "of a core:share", "in extensions:share", "requests/s", "gets in kernel/s", "busy/s")
    return Section("tenants", named, rows, "of a core")


def _extensions(before: dict[str, Any], after: dict[str, Any], seconds: float) -> Section:
    earlier = {(item["tenant"], item["name"]): item for item in before.get("extensions", [])}
    rows = list[tuple[Value, ...]]()
    for new in after.get("extensions", []):
        old = earlier.get((new["tenant"], new["name"]), new)
        used, invocations, errors = _growth(old, new, "cpu_ms", "invocations", "errors")
        rows.append((new["tenant"], new["name"], used / MILLISECONDS / seconds, invocations / seconds, errors / seconds))
    named = columns("tenant:id", "extension:text", "of a core:share", "invokes/s", "errors/s")
    return Section("extensions", named, rows, "of a core")


def _drops(before: dict[str, Any], after: dict[str, Any], seconds: float) -> Section:
    """By reason; who counted it stands before it."""
    rows = list[tuple[Value, ...]]()
    for place, names in (("xdp", _OF_XDP), ("workers", DROPS)):
        for name in names:
            old, new = (_sum(look.get(place), name) for look in (before, after))
            if new:
                rows.append((f"{place}: {name.replace('_', ' ')}", _grown(old, new) / seconds, new))
    for name, new in after.get("sockets", {}).items():
        if name != "queues" and isinstance(new, int) and new:
            old = before.get("sockets", {}).get(name, 0)
            rows.append((f"sockets: {name.replace('_', ' ')}", _grown(old, new) / seconds, new))
    return Section("drops", columns("reason:text", "dropped/s", "since start"), rows, "dropped/s")


def _sum(place: Any, name: str) -> int:
    return sum(int(each.get(name, 0)) for each in (place if isinstance(place, list) else [place or {}]))


def _watchdog(before: dict[str, Any], after: dict[str, Any]) -> Section:
    """Workers that had to be replaced, and tenants that were moved."""
    rows = list[tuple[Value, ...]]()
    for place, names in (("watchdog", WATCHDOG), ("control", ("balancer_moves",))):
        for name in names:
            if name in after.get(place, {}):
                new = after[place][name]
                rows.append((name.replace("_", " "), _grown(before.get(place, {}).get(name, 0), new), new))
    return Section("watchdog", columns("what:text", "now", "since start"), rows, "since start")


def _durability(after: dict[str, Any]) -> Section:
    """Whatever the server tells of it: how far the disk is, its sizes, the last snapshot, whether it refuses."""
    told = {name: item for name, item in (after.get("durability") or {}).items() if not isinstance(item, list)}
    return Section("durability", columns("what:text", "value"), _leaves(told), "what")


def _leaves(value: dict[str, Any], prefix: str = "") -> list[tuple[Value, ...]]:
    found: list[tuple[Value, ...]] = []
    for name, item in value.items():
        if isinstance(item, dict):
            found += _leaves(item, f"{prefix}{name}.")
        else:
            is_number = isinstance(item, int | float) and not isinstance(item, bool)
            found.append((f"{prefix}{name}", item if is_number else "none" if item is None else str(item)))
    return found


def _behind(after: dict[str, Any]) -> Section:
    """Tenants whose changes come to the disk, and how far that is behind them."""
    told = (after.get("durability") or {}).get("tenants", [])
    rows: list[tuple[Value, ...]] = [(item["tenant"], item["mode"], item["entries_behind"]) for item in told]
    return Section("durable tenants", columns("tenant:id", "mode:text", "entries behind"), rows, "entries behind")


def _memory(after: dict[str, Any]) -> Section:
    store, rows = after.get("store", {}), list[tuple[Value, ...]]()
    total = store.get("slabs_total", 0) * store.get("slab_bytes", 0)
    known = (
        ("slabs in use", store.get("slabs_used", 0) * store.get("slab_bytes", 0)),
        ("charged to tenants", store.get("bytes_used", 0)),
        ("machine code", after.get("control", {}).get("code_bytes", 0)),
        ("machine code that waits to be freed", after.get("control", {}).get("code_bytes_waiting", 0)),
    )
    rows += [(name, size, size / total) for name, size in known if total]
    return Section("memory", columns("use:text", "size:bytes", "of the store:share"), rows, "size")


def _counters(before: dict[str, Any], after: dict[str, Any], seconds: float) -> Section:
    """Every counter that moved."""
    old = numbers({name: item for name, item in before.items() if name not in _BY_USE})
    new = numbers({name: item for name, item in after.items() if name not in _BY_USE})
    moved = {name: value - old.get(name, 0) for name, value in new.items() if "heartbeat" not in name}
    rows: list[tuple[Value, ...]] = [(name, change / seconds) for name, change in moved.items() if change > 0]
    return Section("counters", columns("counter:text", "per second"), rows, "per second")


def _bytes(value: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if abs(value) < 10240:
            return f"{value:,.0f} {unit}"
        value /= 1024
    return f"{value:,.1f} GiB"


# --- fitted to a terminal ----------------------------------------------------------------------------------------------------


def lines(section: Section, width: int, rows_max: int, by: str | None = None) -> list[str]:
    """A section as lines of at most ``width`` cells: title, heads, at most ``rows_max`` rows, sorted; the rest is counted."""
    rows = section.sorted_rows(by)
    shown = [[column.show(value) for column, value in zip(section.columns, row, strict=True)] for row in rows[:rows_max]]
    heads = [column.name for column in section.columns]
    widths = [max(map(cell_len, cells)) for cells in zip(heads, *shown, strict=True)]
    fitting = 1
    while fitting < len(widths) and sum(widths[: fitting + 1]) + len(_GAP) * fitting <= width:
        fitting += 1
    left_out = [f"{len(rows) - len(shown):,} more rows"] if len(rows) > len(shown) else []
    left_out += [f"{len(widths) - fitting} more columns"] if fitting < len(widths) else []
    title = section.name + (f" (… {', '.join(left_out)})" if left_out else "")
    table = [_line(cells[:fitting], widths, section.columns) for cells in (heads, *shown)]
    return [cut(text, width) for text in (title, *table)]


def _line(cells: list[str], widths: list[int], named: tuple[Column, ...]) -> str:
    padded = []
    for cell, size, column in zip(cells, widths, named, strict=False):
        space = " " * (size - cell_len(cell))
        padded.append(cell + space if column.kind == "text" else space + cell)
    return _GAP.join(padded).rstrip()


def cut(text: str, width: int) -> str:
    """A text of at most so many cells; one that was longer ends in …"""
    return text if cell_len(text) <= width else set_cell_size(text, max(width - 1, 0)).rstrip() + "…"


def frame(told: list[Section], head: str, width: int, height: int | None, by: str | None = None) -> list[str]:
    """All sections within a terminal of so many cells and lines; ``height`` None: 20 rows of each. Those that find no room
    are named in the last line."""
    if height is None:
        return [cut(head, width)] + [text for each in told for text in ("", *lines(each, width, _ROWS_PRINTED, by))]
    found, left = [cut(head, width)], height - 1
    for place, section in enumerate(told):
        last = place == len(told) - 1
        room = left - 3 - (0 if last else 1)  # blank, title, heads; and the line that names what is left out
        if room < 1:
            rest = ", ".join(each.name for each in told[place:])
            return [*found, cut(f"… also: {rest}", width)][:height]
        share = max(3, room // (len(told) - place)) if not last else room
        made = lines(section, width, min(share, room), by)
        found += ["", *made]
        left -= len(made) + 1
    return found
