"""The compiler's process: what it gives, and what is left when it takes too long, takes too much, or dies."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from splinter import limits
from splinter.errors import BusyError, CompileError
from splinter.ext import library
from splinter.ext.compile import CompiledExtension, compile_extensions, compile_source
from splinter.server.control import compiler as module
from splinter.server.control.compiler import Compiler
from splinter.server.processes import is_readable
from tests.support.waiting import wait_for

GOOD = "@extension\ndef f(db: Store, n: u64, k: bytes) -> bytes:\n    v = db.get(1, n)\n    return k if v is None else v\n"
# Each multiplication builds on the one before, which LLVM takes more than linear time for.
LONG = (
    "@extension\ndef f(db: Store, a: i64) -> i64:\n    for _ in range(2):\n"
    + "        a = a * a - a\n" * 1400
    + "    return a\n"
)
_Result = TypeVar("_Result")


@pytest.fixture(autouse=True)
def without_the_bound_that_makes_it_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else no source of allowed size takes LLVM long."""
    monkeypatch.setattr("splinter.ext.compile.THOROUGH_INSTRUCTIONS_MAX", limits.INSTRUCTIONS_MAX)


@contextmanager
def compiling(seconds_max: float = 60) -> Iterator[Compiler]:
    compiler = Compiler(seconds_max)
    try:
        yield compiler
    finally:
        compiler.close()


def in_loop(action: Callable[[], Awaitable[_Result]]) -> _Result:
    async def run() -> _Result:
        return await action()

    return asyncio.run(run())


def compiled(compiler: Compiler, source: str = GOOD, *, preempt: bool = True) -> CompiledExtension:
    return in_loop(lambda: compiler.compile(source, preempt=preempt))[0]


def ended(pid: int) -> bool:
    """Not there, or not yet reaped by whoever inherited it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_it_gives_what_the_compiler_gives() -> None:
    with compiling() as compiler:
        for preempt in (True, False):
            assert compiled(compiler, preempt=preempt) == compile_source(GOOD, preempt=preempt)


def test_it_gives_all_extensions_of_a_source_at_once() -> None:
    with compiling() as compiler:
        source = library.text("tao")
        assert in_loop(lambda: compiler.compile(source, every=True)) == compile_extensions(source, every=True)


@pytest.mark.parametrize(
    "source", ["@extension\ndef f(db: Store) -> u64:\n    return x + (1, y)\n", "x = '\ud800'", "\0", "def ("]
)
def test_findings_come_back_as_they_are(source: str) -> None:
    with pytest.raises(CompileError) as expected:
        compile_source(source)
    with compiling() as compiler, pytest.raises(CompileError) as raised:
        compiled(compiler, source)
    assert raised.value.diagnostics == expected.value.diagnostics
    assert str(raised.value) == str(expected.value)


def test_what_takes_too_long_is_refused_and_the_next_source_is_compiled() -> None:
    with compiling(seconds_max=0.3) as compiler:
        compiled(compiler)
        first = compiler.pid
        with pytest.raises(CompileError, match=r"compile-time.*more than 0\.3 s of CPU time"):
            compiled(compiler, LONG)
        assert compiler.pid != first
        assert compiled(compiler).code


def test_a_crash_of_the_compiler_is_one_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(source: str, *args: object, **kwargs: object) -> list[CompiledExtension]:
        if "crash" in source:
            os.abort()
        return compile_extensions(source)

    monkeypatch.setattr(module, "compile_extensions", crash)  # the child inherits it
    with compiling() as compiler:
        for _ in range(2):
            with pytest.raises(CompileError, match="the compiler crashed"):
                compiled(compiler, f"# crash\n{GOOD}")
            assert compiled(compiler).code


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(source: str, *args: object, **kwargs: object) -> list[CompiledExtension]:
        if "greedy" in source:
            bytearray(4 << 30)
        return compile_extensions(source)

    monkeypatch.setattr(module, "compile_extensions", greedy)
    with compiling() as compiler:
        with pytest.raises(CompileError, match="ran out of memory"):
            compiled(compiler, f"# greedy\n{GOOD}")
        assert compiled(compiler).code


def test_a_child_that_was_killed_while_idle_is_no_tenants_fault() -> None:
    with compiling() as compiler:
        compiled(compiler)
        first = compiler.pid
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: ended(first), 10)
        assert compiled(compiler).code
        assert compiler.pid != first


def test_a_child_that_has_grown_is_replaced_between_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[bytearray] = []

    def hoard(source: str, *args: object, **kwargs: object) -> list[CompiledExtension]:
        kept.append(bytearray(300 << 20))
        return compile_extensions(source)

    monkeypatch.setattr(module, "compile_extensions", hoard)
    with compiling() as compiler:
        pids = set()
        for _ in range(3):
            assert compiled(compiler).code
            pids.add(compiler.pid)
            wait_for(lambda: ended(compiler.pid), 10)
        assert len(pids) == 3


def test_requests_are_taken_in_turn_and_a_cancelled_one_leaves_nothing_behind() -> None:
    async def several(compiler: Compiler) -> None:
        tasks = [asyncio.create_task(compiler.compile(GOOD.replace("db.get(1", f"db.get({n}"), None)) for n in range(5)]
        slow = asyncio.create_task(compiler.compile(LONG, None))
        after = asyncio.create_task(compiler.compile(GOOD, "after"))
        results = await asyncio.gather(*tasks)
        assert [one.first_lookup.table for (one,) in results] == list(range(5))
        slow.cancel()
        assert (await after)[0].name == "after"
        with pytest.raises(asyncio.CancelledError):
            await slow

    with compiling() as compiler:
        in_loop(lambda: several(compiler))
        assert compiled(compiler).name == "f"


def test_it_shares_no_memory_and_no_descriptors(tmp_path: Path) -> None:
    with compiling() as compiler:
        compiled(compiler)  # it has begun its work
        descriptors = sorted(int(entry.name) for entry in Path(f"/proc/{compiler.pid}/fd").iterdir())
        assert [number for number in descriptors if number > 2] == descriptors[-1:]


@pytest.mark.parametrize("is_first", [True, False])
def test_where_no_process_can_be_forked_one_is_when_there_is_room(monkeypatch: pytest.MonkeyPatch, is_first: bool) -> None:
    """Neither does the control process end for it, nor is the compiler lost for good."""
    real = module.fork_child

    def no_room(*_: object) -> tuple[int, int]:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    if is_first:
        monkeypatch.setattr(module, "fork_child", no_room)
    with compiling() as compiler:
        if not is_first:
            monkeypatch.setattr(module, "fork_child", no_room)
            os.kill(compiler.pid, signal.SIGKILL)
            wait_for(lambda: is_readable(compiler._child.pidfd), what="the child's end")
        for _ in range(2):
            with pytest.raises(BusyError):
                compiled(compiler)
        monkeypatch.setattr(module, "fork_child", real)
        assert compiled(compiler).code


def test_a_process_with_many_descriptors_compiles_all_the_same() -> None:
    """A server on many cores has a socket for each queue of each: more than FD_SETSIZE, which select() can take."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    many = 1024
    if hard != resource.RLIM_INFINITY and hard < 2 * many:  # a limit that only root may raise; CI takes this skip for a failure
        pytest.skip(f"no process may have {2 * many} descriptors here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * many), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(many)]
    try:
        with compiling() as compiler:
            assert compiled(compiler).code
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
