"""Whose source is compiled next: nobody keeps others from installing, with one tenant or with many."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from splinter import limits
from splinter.errors import BusyError, CompileError
from splinter.ext import compile as compile_module
from splinter.ext.compile import CompiledExtension, compile_extensions
from splinter.server.control import compiler as compiler_module
from splinter.server.control.compile_queue import CompileQueue, Source
from splinter.server.control.compiler import TooLongError
from tests.support.waiting import wait_for

QUICK_SECONDS = 0.3  # some thirty times what a small source takes
SLOW_SECONDS = 0.6
SMALL = "@extension\ndef f(db: Store, n: u64) -> u64:\n    return n + {}\n"
BOMB = "# spin {}\n" + "# " + "x" * 20_000 + "\n" + SMALL.format(1)


def burn(seconds: float) -> None:
    """Use CPU time."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """First lines of the sources that a compiler began with, in their order; the compilers' processes write them down."""
    path = tmp_path / "begun"
    path.touch()

    def noting(source: str, *args: object, **kwargs: object) -> list[CompiledExtension]:
        if "warm_up" not in source:
            with path.open("a") as file:
                file.write(source.partition("\n")[0] + "\n")
        if "# spin" in source:
            burn(3600)
        if "# long" in source:
            burn(QUICK_SECONDS * 1.3)
        return compile_extensions(source)

    monkeypatch.setattr(compiler_module, "compile_extensions", noting)
    yield lambda: path.read_text().splitlines()


def source(tenant: int, text: str) -> Source:
    return Source(tenant, text, None, every=False, preempt=True)


def small(tenant: int) -> Source:
    return source(tenant, f"# small of {tenant}\n{SMALL.format(tenant)}")


def bomb(tenant: int, number: int = 0) -> Source:
    return source(tenant, BOMB.format(f"{tenant}.{number}"))


def run(scenario: Callable[[CompileQueue], Awaitable[None]], **options: object) -> None:
    async def with_queue() -> None:
        queue = CompileQueue(**{"quick_seconds": QUICK_SECONDS, "slow_seconds": SLOW_SECONDS, **options})  # type: ignore[arg-type]
        try:
            await scenario(queue)
        finally:
            queue.close()

    asyncio.run(with_queue())


async def until(condition: Callable[[], object]) -> None:
    await asyncio.to_thread(wait_for, condition, 60)


def ask(queue: CompileQueue, *sources: Source) -> list[asyncio.Task[list[CompiledExtension]]]:
    return [asyncio.create_task(queue.compile(one)) for one in sources]


async def end(*tasks: asyncio.Task[list[CompiledExtension]]) -> list[object]:
    for task in tasks:
        task.cancel()
    return list(await asyncio.gather(*tasks, return_exceptions=True))


@pytest.mark.parametrize("tenants", [1, 6, 40])
def test_a_small_source_of_a_new_tenant_is_next_after_the_one_under_way(begun, tenants):
    """Whether the bombs are one tenant's, or of many with as little history."""

    async def scenario(queue: CompileQueue) -> None:
        bombs = ask(queue, *(bomb(1 + number % tenants, number) for number in range(40)))
        await until(begun)
        assert (await queue.compile(small(1000)))[0].code
        order = begun()
        bombs_before = set(order[: order.index("# small of 1000")])  # one that ran out of time has begun twice
        assert len(bombs_before) <= 1, order
        await end(*bombs)

    run(scenario)


def test_who_gives_up_together_with_the_one_under_way_is_passed_over(begun):
    async def scenario(queue: CompileQueue) -> None:
        tasks = ask(queue, bomb(1), small(2), small(3))
        await until(begun)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in await end(*tasks))
        assert (await queue.compile(small(4)))[0].code

    run(scenario)


def test_a_long_source_in_the_slow_lane_keeps_nobody_waiting(begun):
    async def scenario(queue: CompileQueue) -> None:
        (long,) = ask(queue, bomb(1))
        await until(lambda: len(begun()) == 2)  # it ran out of the quick lane's time
        for tenant in range(2, 12):
            assert (await queue.compile(small(tenant)))[0].code
        assert not long.done()
        await end(long)

    run(scenario, slow_seconds=3600.0)


def test_what_needs_more_than_the_quick_lane_gives_is_compiled(begun):
    async def scenario(queue: CompileQueue) -> None:
        made = await queue.compile(source(1, "# long\n" + SMALL.format(1)))
        assert made == compile_extensions("# long\n" + SMALL.format(1))

    run(scenario, slow_seconds=60.0)
    assert begun() == ["# long", "# long"]


async def order_of_small_ones(queue: CompileQueue, begun) -> list[str]:
    """Of two tenants' that wait behind a long source; the first tenant's came first."""
    waiting = ask(queue, bomb(3))
    await until(lambda: begun()[-1] == "# spin 3.0")
    waiting += ask(queue, small(1))
    await asyncio.sleep(0)  # it waits before the other asks
    waiting += ask(queue, small(2))
    await asyncio.gather(*waiting[1:])
    order = [line for line in begun() if "small" in line]
    await end(*waiting)
    return order


def test_who_used_less_of_late_goes_before(begun):
    async def scenario(queue: CompileQueue) -> None:
        with pytest.raises(CompileError):
            await queue.compile(bomb(1))
        assert await order_of_small_ones(queue, begun) == ["# small of 2", "# small of 1"]

    run(scenario)


def test_what_was_used_is_forgotten_in_time(begun):
    now = [1000.0]

    async def scenario(queue: CompileQueue) -> None:
        with pytest.raises(CompileError):
            await queue.compile(bomb(1))
        now[0] += 10 * limits.COMPILE_HALF_LIFE_SECONDS
        assert await order_of_small_ones(queue, begun) == ["# small of 1", "# small of 2"]

    run(scenario, now=lambda: now[0])


def test_a_source_that_ran_out_of_time_is_refused_at_once_for_a_while(begun):
    now = [1000.0]

    async def scenario(queue: CompileQueue) -> None:
        text = BOMB.format("the same")
        with pytest.raises(TooLongError, match=f"more than {SLOW_SECONDS:g} s of CPU time"):
            await queue.compile(source(1, text))
        tried = len(begun())
        for tenant in (1, 2, 3):  # whoever brings it
            with pytest.raises(TooLongError, match="of CPU time"):
                await queue.compile(source(tenant, text))
        assert len(begun()) == tried
        now[0] += limits.COMPILE_WAIT_SECONDS_MAX + 1
        with pytest.raises(TooLongError):
            await queue.compile(source(2, text))
        assert len(begun()) > tried

    run(scenario, now=lambda: now[0])


def test_who_ran_out_of_time_waits_longer_each_time_with_long_sources_only(begun):
    now = [1000.0]

    async def scenario(queue: CompileQueue) -> None:
        waits = []
        for number in range(4):
            with pytest.raises(TooLongError):
                await queue.compile(bomb(1, number))
            with pytest.raises(BusyError, match="come back in") as raised:
                await queue.compile(bomb(1, 100 + number))
            waits.append(int(str(raised.value).rpartition("come back in ")[2].split()[0]))
            assert (await queue.compile(small(1)))[0].code
            now[0] += waits[-1] + 1
        assert waits == [limits.COMPILE_WAIT_SECONDS * 2**number for number in range(4)]
        now[0] += 10 * limits.COMPILE_WAIT_SECONDS_MAX
        with pytest.raises(TooLongError):
            await queue.compile(bomb(1, 200))
        with pytest.raises(BusyError, match=f"come back in {limits.COMPILE_WAIT_SECONDS:.0f} s"):
            await queue.compile(bomb(1, 201))

    run(scenario, now=lambda: now[0])


def test_the_next_tenant_of_an_id_has_used_nothing(begun):
    async def scenario(queue: CompileQueue) -> None:
        with pytest.raises(TooLongError):
            await queue.compile(bomb(1))
        with pytest.raises(BusyError):
            await queue.compile(bomb(1, 1))
        with pytest.raises(TooLongError):  # it had its time
            await queue.compile(replace(bomb(1, 2), generation=2))
        # Of two that wait, the one that used least is first, whatever an earlier tenant of its id used.
        under_way = ask(queue, bomb(3))
        await until(lambda: "# spin 3.0" in begun())
        waiting = ask(queue, replace(small(1), text="# earlier\n" + small(1).text), replace(small(4), generation=2))
        await asyncio.gather(*waiting)
        order = begun()
        assert order.index("# small of 4") < order.index("# earlier")
        await end(*under_way)

    run(scenario)


def test_the_slow_lane_has_an_end(begun, monkeypatch):
    monkeypatch.setattr(limits, "COMPILE_WAITING_MAX", 2)

    async def scenario(queue: CompileQueue) -> None:
        tasks = []
        for tenant in range(1, 5):  # one is under way, two wait, and one is too many
            tasks += ask(queue, bomb(tenant))
            await until(lambda tenant=tenant: f"# spin {tenant}.0" in begun())
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        (refused,) = done
        with pytest.raises(BusyError, match="come later"):
            refused.result()
        assert (await queue.compile(small(9)))[0].code
        await end(*tasks)

    run(scenario, slow_seconds=3600.0)


def test_who_goes_away_while_waiting_leaves_nothing_behind(begun):
    async def scenario(queue: CompileQueue) -> None:
        first, *rest = ask(queue, *(bomb(tenant) for tenant in range(1, 6)))
        await until(begun)
        await end(*rest)
        assert (await queue.compile(small(9)))[0].code
        await end(first)
        assert (await queue.compile(small(10)))[0].code
        assert begun().count("# small of 9") == begun().count("# small of 10") == 1

    run(scenario)


def test_what_llvm_would_take_long_for_is_compiled_quickly(monkeypatch):
    """Its optimizer's time is quadratic in a chain of checked operations; what is large goes without it."""
    sizes: dict[bool, list[int]] = {False: [], True: []}
    native = compile_module._native

    def noting(results, functions, preempt, is_quick):
        sizes[is_quick] += [sum(len(block.instructions) for block in function.blocks) for function in functions]
        return native(results, functions, preempt, is_quick)

    monkeypatch.setattr(compile_module, "_native", noting)
    chain = "@extension\ndef {}(db: Store, a: i64) -> i64:\n    for _ in range(2):\n{}    return a\n"
    for lines in (100, 400, 600, 1400):
        compile_extensions(chain.format("f", "        a = a * a - a\n" * lines))
    compile_extensions("".join(chain.format(f"f{n}", "        a = a * a - a\n" * 180) for n in range(6)), every=True)
    assert len(sizes[False]) == 4 and max(sizes[False]) <= limits.THOROUGH_INSTRUCTIONS_MAX
    assert sum(sizes[False][2:]) <= limits.THOROUGH_INSTRUCTIONS_MAX  # of a source with several, all of them together
    assert len(sizes[True]) == 6 and max(sizes[True]) > limits.THOROUGH_INSTRUCTIONS_MAX
