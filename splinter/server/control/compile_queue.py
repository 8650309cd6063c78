"""Whose source is compiled next, so that no author keeps the others from installing.

Two lanes, each with a compiler's process of its own. Every source begins in the **quick** lane, where it has
``COMPILE_QUICK_SECONDS`` of CPU time, which is many times what an ordinary one takes. What needs more goes on, from its
beginning, in the **slow** lane, with all of ``COMPILE_SECONDS_MAX`` and less of the CPU. So whatever others install, a small
source waits for the one under way, and for those that go before it.

Before others, in both lanes, goes the tenant that used least compile time of late (what it used loses half of its weight each
minute, differences below a tenth of a second do not count), then the shorter source, then who came first. A tenant that has
used nothing and has a small source is next. An author with many tenants gains one turn of the quick lane for each, with sources
as short as others', and after that they all come behind.

Who ran out of time may not have another long source for a while that doubles each time; its quick ones are compiled as ever.
And the source itself is remembered, and refused at once. A full slow lane tells the tenant that used most to come later.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from splinter import limits
from splinter.errors import BusyError, CompileError
from splinter.ext.compile import CompiledExtension
from splinter.recent import Recent
from splinter.server.control.compiler import Compiler, TooLongError

_SLOW_NICENESS = 5  # beyond the control process's
_USE_STEP_SECONDS = 0.1  # less of a difference decides nothing
_Author = tuple[int, int]  # tenant and generation


@dataclass(frozen=True)
class Source:
    """What a tenant wants compiled."""

    tenant: int
    text: str
    name: str | None
    every: bool
    preempt: bool
    kernel: bool = False  # for the kernel's tier, too
    generation: int = 1  # of the tenant: who had its id before is somebody else

    @property
    def author(self) -> _Author:
        """Whom its compile time is charged to."""
        return self.tenant, self.generation

    @property
    def digest(self) -> bytes:
        """Of all that the outcome depends on."""
        told = f"{self.name or ''}\0{self.every}\0{self.preempt}\0{self.kernel}\0{self.text}"
        return hashlib.sha256(told.encode(errors="surrogatepass")).digest()


@dataclass
class _Waiting:
    """A source in a lane; ``turn`` is done when it is its turn, or has an exception when it shall not wait."""

    source: Source
    number: int
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class _Lane:
    """Sources that wait for one compiler. It is made when it is first needed, and ended when nothing waits if ``is_brief``."""

    def __init__(self, make: Callable[[], Compiler], use: Callable[[_Author], int], most: int | None, is_brief: bool) -> None:
        self._make, self._use, self._most, self._is_brief = make, use, most, is_brief
        self._compiler: Compiler | None = None if is_brief else make()
        self._waiting: list[_Waiting] = []
        self._numbers = itertools.count()
        self._is_busy = False

    async def compile(self, source: Source) -> tuple[list[CompiledExtension] | CompileError, float]:
        """When it is the source's turn: what comes of it, and the CPU time it took. Raises :class:`BusyError`."""
        await self._wait_for_turn(source)
        try:
            self._compiler = self._compiler or self._make()
            try:
                made: list[CompiledExtension] | CompileError = await self._compiler.compile(
                    source.text, source.name, every=source.every, preempt=source.preempt, kernel=source.kernel
                )
            except CompileError as error:
                made = error
            return made, self._compiler.seconds_used
        finally:
            self._is_busy = False
            self._next()

    def close(self) -> None:
        if self._compiler is not None:
            self._compiler.close()
            self._compiler = None

    async def _wait_for_turn(self, source: Source) -> None:
        mine = _Waiting(source, next(self._numbers))
        self._waiting.append(mine)
        if self._most is not None and len(self._waiting) > self._most:
            last = max(self._waiting, key=self._order)
            self._waiting.remove(last)
            last.turn.set_exception(BusyError("many long sources are being compiled: install a shorter one, or come later"))
        if not self._is_busy:
            self._next()
        try:
            await mine.turn
        except BaseException:
            if mine in self._waiting:
                self._waiting.remove(mine)
            elif mine.turn.done() and not mine.turn.cancelled() and mine.turn.exception() is None:
                self._is_busy = False  # cancelled as its turn came
                self._next()
            raise

    def _next(self) -> None:
        # Who was given up has not run since, so it stands here still.
        self._waiting = [waiting for waiting in self._waiting if not waiting.turn.cancelled()]
        if self._waiting:
            chosen = min(self._waiting, key=self._order)
            self._waiting.remove(chosen)
            self._is_busy = True
            chosen.turn.set_result(None)
        elif self._is_brief:
            self.close()

    def _order(self, waiting: _Waiting) -> tuple[int, int, int]:
        source = waiting.source
        return self._use(source.author), len(source.text), waiting.number


class CompileQueue:
    """Compiles what tenants install. Made in the control process, used from its event loop."""

    def __init__(
        self,
        quick_seconds: float = limits.COMPILE_QUICK_SECONDS,
        slow_seconds: float = limits.COMPILE_SECONDS_MAX,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now, kept = now, limits.COMPILE_REFUSED_KEPT
        self._used: Recent[_Author, tuple[float, float]] = Recent(kept)  # seconds, and when they were that many
        self._runs_out: Recent[_Author, tuple[float, float]] = Recent(kept)  # until when it waits, and how long that is
        self._refused: Recent[bytes, tuple[float, TooLongError]] = Recent(kept)  # by digest: until when
        self._quick = _Lane(lambda: Compiler(quick_seconds), self._use, None, is_brief=False)
        self._slow = _Lane(lambda: Compiler(slow_seconds, _SLOW_NICENESS), self._use, limits.COMPILE_WAITING_MAX, is_brief=True)

    async def compile(self, source: Source) -> list[CompiledExtension]:
        """Compile. Raises :class:`CompileError` when it is refused, :class:`BusyError` when it may be tried again later."""
        digest = source.digest
        until, refusal = self._refused.get(digest, (0.0, None))
        if refusal is not None and self._now() < until:
            raise TooLongError(refusal.diagnostics, str(refusal))
        made, seconds = await self._quick.compile(source)
        self._charge(source.author, seconds)
        if isinstance(made, TooLongError):
            self._may_take_long(source.author)
            made, seconds = await self._slow.compile(source)
            self._charge(source.author, seconds)
            if isinstance(made, TooLongError):
                self._ran_out(source.author, digest, made)
        if isinstance(made, CompileError):
            raise made
        return made

    def close(self) -> None:
        """End the compilers."""
        self._quick.close()
        self._slow.close()

    def _use(self, author: _Author) -> int:
        """CPU time that a tenant used of late, in steps."""
        seconds, at = self._used.get(author, (0.0, 0.0))
        return int(seconds * 0.5 ** ((self._now() - at) / limits.COMPILE_HALF_LIFE_SECONDS) / _USE_STEP_SECONDS)

    def _charge(self, author: _Author, seconds: float) -> None:
        before, at = self._used.get(author, (0.0, 0.0))
        now = self._now()
        self._used.note(author, (before * 0.5 ** ((now - at) / limits.COMPILE_HALF_LIFE_SECONDS) + seconds, now))

    def _may_take_long(self, author: _Author) -> None:
        until, _ = self._runs_out.get(author, (0.0, 0.0))
        left = until - self._now()
        if left > 0:
            raise BusyError(
                f"compiling this takes more than {limits.COMPILE_QUICK_SECONDS:g} s of CPU time, and an earlier source of this "
                f"tenant ran out of it: install a shorter one, or come back in {left:.0f} s"
            )

    def _ran_out(self, author: _Author, digest: bytes, error: TooLongError) -> None:
        now = self._now()
        until, wait = self._runs_out.get(author, (0.0, 0.0))
        kept = now < until + limits.COMPILE_WAIT_SECONDS_MAX  # else it has kept from it for long, and begins anew
        wait = min(wait * 2, limits.COMPILE_WAIT_SECONDS_MAX) if kept and wait else limits.COMPILE_WAIT_SECONDS
        self._runs_out.note(author, (now + wait, wait))
        self._refused.note(digest, (now + limits.COMPILE_WAIT_SECONDS_MAX, error))
