"""What ``stats`` and ``top`` show: recent use, sorted, and right in terminals of any size."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import Any

import pytest
import typer
from rich.cells import cell_len
from textual.widgets import DataTable

from splinter.cli import frames
from splinter.cli import stats as stats_commands
from splinter.cli.errors import explain
from splinter.cli.main import app
from splinter.cli.stats import Look
from splinter.cli.top import Line, Top
from splinter.errors import ControlError
from splinter.net.xdp.verdicts import DROPS as VERDICTS
from splinter.server.metrics.table import DROPS
from tests.support.commands import CliRunner
from tests.support.waiting import WAIT_SECONDS

SIZES = [(80, 24), (40, 10), (200, 60), (1, 1), (20, 3)]
HOSTILE = "\x1b[31m[/nope]\u202e\n" + "漢字" * 60


def statistics(times: int, tenants: int = 3, **more: Any) -> dict[str, Any]:
    """What a server tells after so many seconds in which everybody did the same each second."""
    return {
        "transport": "xdp", "mode": "native",
        "workers": [
            {"core": core, "state": "running", "busy_ms": 250 * times,
             "requests": {"get": 1000 * times, "put": 500 * times, "batch": 50 * times},
             "tasks_live": 2, "stolen": 7 * times, "malformed": 4 * times}
            for core in range(2)
        ],
        "kernel": [{"cpu": 0, "gets": 9000 * times, "busy_ms": 100 * times}],
        "tenants": [
            {"tenant": number + 1, "requests": number * 10 * times, "busy": times, "core_ms": [number * times, 0],
             "task_ms": times, "kernel_gets": 0, "kernel_ms": 0}
            for number in range(tenants)
        ],
        "extensions": [{"tenant": 7, "name": HOSTILE, "cpu_ms": 10 * times, "invocations": 30 * times, "errors": times}],
        "xdp": {"steered": 3000 * times, "rate_limited": 50 * times, "wrong_token": 5},
        "watchdog": {"stuck": times, "died": 0, "replaced": times, "starved": 0},
        "store": {"slabs_total": 100, "slabs_used": 40, "slab_bytes": 1 << 20, "bytes_used": 1 << 20, "objects": 5},
        "control": {"tenants": tenants, "balancer_moves": 3, "code_bytes": 4096, "code_bytes_waiting": 0},
        **more,
    }  # fmt: skip


def look(tenants: int = 3, **more: Any) -> Look:
    return Look(statistics(10, tenants, **more), statistics(12, tenants, **more), 2.0)


def section(name: str, made: Look | None = None) -> frames.Section:
    return next(each for each in (made or look()).sections() if each.name == name)


def test_rates_are_of_the_interval_and_not_since_the_start():
    assert section("workers").rows[0] == ("0", "0", "running", 0.25, 1500.0, 2, 0.1, 9000.0, 7.0)
    assert section("tenants").sorted_rows()[0] == (3, 0.002, 0.001, 20.0, 0.0, 1.0)
    assert section("extensions").rows[0][2:] == (0.01, 30.0, 1.0)
    assert look().head() == "xdp (native): 3,000 requests/s, 9,000 kernel gets/s, 3 tenants"


def test_a_tenant_that_was_busy_once_is_not_busy_now():
    made = look()
    made.before["tenants"][0]["core_ms"] = made.after["tenants"][0]["core_ms"] = [10**9, 0]
    assert section("tenants", made).sorted_rows()[-1][0] == 1


def test_what_was_made_anew_between_two_looks_counts_from_there():
    made = Look(statistics(1000), statistics(2), 2.0)
    tenant = section("tenants", made).sorted_rows("requests/s")[0]
    assert tenant == (3, 0.002, 0.001, 20.0, 0.0, 1.0)
    assert section("extensions", made).rows[0][2:] == (0.01, 30.0, 1.0)
    for each in made.sections():
        assert all(value >= 0 for row in each.rows for value in row if not isinstance(value, str)), each
    # One that has asked for more by now than its predecessor is known by what else went back.
    made = look()
    made.before["tenants"][2].update(core_ms=[10**9, 0], requests=1)
    assert section("tenants", made).sorted_rows("requests/s")[0][3] == 120.0


def test_what_the_kernel_did_is_no_more_when_a_tenant_is_removed():
    made = look()
    made.after["kernel"][0].update(gets=50_000, busy_ms=900)
    assert section("workers", made).rows[0][6:8] == (0.0, 0.0) and ", 0 kernel gets/s, " in made.head()


def test_drops_come_by_reason_with_the_busiest_first():
    rows = section("drops").sorted_rows()
    assert rows[0] == ("xdp: rate limited", 50.0, 600)
    assert ("xdp: wrong token", 0.0, 5) in rows and ("workers: malformed", 8.0, 96) in rows


def test_every_reason_of_drops_is_told():
    made = look(xdp={verdict.name.lower(): 3 for verdict in VERDICTS})
    for worker in made.after["workers"]:
        worker.update(dict.fromkeys(DROPS, 3))
    reasons = {row[0] for row in section("drops", made).rows}
    assert reasons == {f"workers: {name.replace('_', ' ')}" for name in DROPS} | {
        f"xdp: {verdict.name.lower().replace('_', ' ')}" for verdict in VERDICTS
    }
    assert "workers: unheld" in reasons


def test_the_watchdog_and_moves_are_told():
    assert set(section("watchdog").rows) >= {("stuck", 2, 12), ("replaced", 2, 12), ("balancer moves", 0, 3)}


def test_durability_is_there_when_the_server_tells_of_it():
    assert "durability" not in [each.name for each in look().sections()]
    told = {"mode": "always", "lag": {"entries": 12, "ms": 3.5}, "state": HOSTILE}
    rows = section("durability", look(durability=told)).rows
    assert rows == [("mode", "always"), ("lag.entries", 12), ("lag.ms", 3.5), ("state", HOSTILE)]


def test_tenants_behind_the_disk_have_a_section_of_their_own_with_the_furthest_first():
    told = {"mode": "interval", "snapshot": None, "refused_seconds": None}
    behind = [{"tenant": 7, "mode": "always", "entries_behind": 3}, {"tenant": 9, "mode": "interval", "entries_behind": 80}]
    made = look(durability=told | {"tenants": behind})
    assert section("durability", made).rows == [("mode", "interval"), ("snapshot", "none"), ("refused_seconds", "none")]
    assert section("durable tenants", made).sorted_rows() == [(9, "interval", 80), (7, "always", 3)]
    assert made.plain()["durable tenants"][0] == {"tenant": 9, "mode": "interval", "entries behind": 80}


def test_memory_is_told_by_use():
    assert section("memory").sorted_rows()[0] == ("slabs in use", 40 << 20, 0.4)


@pytest.mark.parametrize("by", ["requests/s", "tenant", "in extensions", "no such column", None])
def test_rows_are_sorted_by_any_column(by):
    made = section("tenants", look(50))
    names = [column.name for column in made.columns]
    place = names.index(by if by in names else "of a core")
    values = [row[place] for row in made.sorted_rows(by)]
    assert values == sorted(values, reverse=by != "tenant")


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("tenants", [0, 3, 1024])
def test_no_line_is_too_long_and_what_is_left_out_is_told(width, height, tenants):
    made = look(tenants, durability={"mode": "always"})
    told = made.sections()
    found = frames.frame(told, made.head(), width, height)
    assert len(found) <= height
    assert all(cell_len(line) <= width and line.isprintable() for line in found)
    text = "\n".join(found)
    if width >= 40 and height >= 10:
        shown = [each.name for each in told if any(line.startswith(each.name) for line in found)]
        missing = [each.name for each in told if each.name not in shown]
        assert all(name in text or "…" in found[-1] for name in missing)
        if tenants == 1024 and "tenants" in shown:
            assert "more rows" in text or width < 60
        assert "workers" in shown


@pytest.mark.parametrize("width", range(1, 130))
def test_columns_that_find_no_room_are_counted(width):
    made = section("workers")
    title, heads, *_ = frames.lines(made, width, 10)
    fitting = sum(column.name in heads for column in made.columns)
    if fitting < len(made.columns) and width > 30:
        assert f"… {len(made.columns) - fitting} more columns" in title
    elif fitting == len(made.columns):
        assert "…" not in title


def test_a_thousand_tenants_are_quick():
    """In processor time, with much room: the point is that nothing is quadratic."""
    begun = time.process_time()
    made = look(1024)
    frames.frame(made.sections(), made.head(), 80, 24)
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    "broken", [{"workers": [{}]}, {"tenants": [{"tenant": 1}]}, {"kernel": 5}, {"store": {"slabs_total": 5, "slab_bytes": "x"}}]
)
def test_what_is_no_servers_is_told_so(broken):
    with pytest.raises(ControlError, match="no reply of a Splinter server"):
        Look(statistics(1) | broken, statistics(2) | broken, 1.0).sections()


def test_for_machines_it_is_rows_by_column():
    plain = look().plain()
    assert plain["tenants"][0] == {
        "tenant": 3, "of a core": 0.002, "in extensions": 0.001, "requests/s": 20.0, "gets in kernel/s": 0.0, "busy/s": 1.0,
    }  # fmt: skip
    assert plain["seconds"] == 2.0


# --- live --------------------------------------------------------------------------------------------------------------------


def texts(app: Top) -> tuple[str, str]:
    return app.query_one("#head", Line).render().plain, app.query_one("#title", Line).render().plain


def live(width: int, height: int, act, made: Look | None = None) -> None:
    """Run the view in a terminal of this size, without a clock, and let ``act(app, pilot)`` use it."""
    shown = made or look(1024)

    async def run() -> None:
        app = Top(lambda: shown, interval=3600)
        async with app.run_test(size=(width, height)) as pilot:
            app.take(shown)
            await pilot.pause()
            await act(app, pilot)

    asyncio.run(run())


def column(app: Top, place: int) -> list[str]:
    table = app.query_one(DataTable)
    return [str(table.get_row_at(row)[place]) for row in range(table.row_count)]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 10), (200, 60)])
def test_the_live_view_fits_and_follows_a_resize(width, height):
    async def act(app: Top, pilot) -> None:
        for size in ((width, height), (60, 15), (width, height)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            for line in texts(app):
                assert cell_len(line) <= size[0] and (line.endswith("…") or "tenants" in line or "counters" in line)
            table = app.query_one(DataTable)
            assert table.size.width <= size[0] and table.size.height <= size[1] - 3
            assert (table.virtual_size.width > table.size.width) == table.show_horizontal_scrollbar

    live(width, height, act)


def test_documents_for_machines_are_sorted_too():
    for by, first in ((None, 3), ("requests/s", 3), ("tenant", 1)):
        assert look().plain(by)["tenants"][0]["tenant"] == first
    look().require_column("requests/s")
    look().require_column(None)
    with pytest.raises(typer.BadParameter, match=r"no column 'request', but .*requests/s"):
        look().require_column("request")


@pytest.mark.parametrize(
    "command", [["stats"], ["stats", "--json"], ["top", "--count", "1"], ["top", "--json", "--count", "1"]]
)
def test_a_column_that_no_section_has_is_refused(monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    told = iter(range(10, 99))

    class Server:
        def admin(self) -> contextlib.AbstractContextManager[Server]:
            return contextlib.nullcontext(self)

        def stats(self, *, every: bool) -> dict[str, Any]:
            return statistics(next(told))

    monkeypatch.setattr(stats_commands, "find_server", lambda *_: Server())
    for sort, status in (("none", 2), ("of a core", 0)):
        assert CliRunner().invoke(app, [*command, "--interval", "0.1", "--sort", sort]).exit_code == status
    assert CliRunner().invoke(app, ["stats", "--sums", "--sort", "of a core"]).exit_code == 2


def test_tab_goes_through_the_sections_and_s_sorts():
    async def act(app: Top, pilot) -> None:
        assert texts(app)[1].startswith("[workers]")
        await pilot.press("tab")
        assert texts(app)[1].startswith("[tenants] 1,024 rows, by of a core")
        assert column(app, 0)[:2] == ["1024", "1023"]
        await pilot.press("S", "S")
        await pilot.press("S", "s")
        await pilot.press("s", "s", "s")
        assert ", by " in texts(app)[1]
        await pilot.press("shift+tab")
        assert texts(app)[1].startswith("[workers]")

    live(80, 24, act)


def test_another_look_keeps_the_place():
    async def act(app: Top, pilot) -> None:
        await pilot.press("tab")
        table = app.query_one(DataTable)
        await pilot.press(*["down"] * 40)
        before, row = table.scroll_y, table.cursor_row
        assert row == 40 and before > 0
        app.take(look(1024))
        await pilot.pause()
        assert (table.scroll_y, table.cursor_row) == (before, row)
        app.take(look(5))  # most tenants have gone
        await pilot.pause()
        assert table.row_count == 5 and table.cursor_row == 4

    live(80, 24, act)


def test_hostile_names_are_text():
    async def act(app: Top, pilot) -> None:
        await pilot.press("tab", "tab")
        (name,) = column(app, 1)
        assert name.isprintable() and "[/nope]" in name and "\\x1b" in name

    live(80, 24, act)


def test_q_ends_it_and_a_failed_look_is_raised():
    async def run(app: Top, *keys: str) -> None:
        async with app.run_test() as pilot:
            if keys:
                await pilot.press(*keys)
            else:
                app.refresh_look()
                async with asyncio.timeout(WAIT_SECONDS):
                    while app._error is None:
                        await pilot.pause()
            await pilot.pause()

    def fails() -> Look:
        raise ControlError("gone", "x")

    quiet = Top(look, 3600)
    asyncio.run(run(quiet, "q"))
    assert not quiet.is_running
    failing = Top(fails, 3600)
    with contextlib.suppress(Exception):  # a pilot tells of it, too
        asyncio.run(run(failing))
    assert isinstance(failing._error, ControlError)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_a_key_ends_it_while_the_server_does_not_answer(key):
    asked, answered = threading.Event(), threading.Event()
    given_up = threading.Timer(WAIT_SECONDS, answered.set)  # only a failure takes so long

    def hangs() -> Look:
        asked.set()
        answered.wait()
        return look(1)

    async def run() -> None:
        app = Top(hangs, 3600)
        async with app.run_test() as pilot:
            app.refresh_look()
            assert await asyncio.get_running_loop().run_in_executor(None, asked.wait, WAIT_SECONDS)
            await pilot.press(key)
        assert not app.is_running

    given_up.start()
    try:
        asyncio.run(run())
        assert not answered.is_set()
    finally:
        given_up.cancel()
        answered.set()


def test_what_is_printed_without_a_height_is_short_and_counts_the_rest():
    made = look(1024)
    found = frames.frame(made.sections(), made.head(), 80, None)
    assert len(found) < 100 and any("1,004 more rows" in line for line in found)


def test_who_lacks_the_library_is_told_where_it_comes_from():
    said = explain(ModuleNotFoundError("no", name="textual.app"))
    assert "pip install 'splinter-store[cli]'" in said and "splinter stats" in said
