"""The client for event loops: each method of :class:`splinter.client.Client`, awaited."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from splinter import limits
from splinter.client.arguments import check_integer, check_timeout
from splinter.client.asyncio.greenlets import in_thread, run, wait
from splinter.client.asyncio.lanes import Lane, SharedLine
from splinter.client.asyncio.pipeline import AsyncPipeline
from splinter.client.asyncio.transaction import AsyncTransaction, repeat
from splinter.client.calls import TRIES_DEFAULT, Calls
from splinter.client.channel import Channel
from splinter.client.encoding import Key, Value, check_table, encode_prefix
from splinter.client.extension_info import ExtensionInfo
from splinter.client.lifetimes import Ttl
from splinter.client.line import Line
from splinter.client.process import ProcessOwn
from splinter.errors import SplinterError

if TYPE_CHECKING:
    from splinter.ext.signature import Signature

_T = TypeVar("_T")


class _LoopCalls(Calls):
    """Calls that are run in greenlets of one event loop, by lanes of lines that they share."""

    def _begin(self) -> None:
        self.lines: list[SharedLine] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Future[Line] | None = None  # of a line that is being made
        self._waiting = 0  # calls, for a line that is being made
        self._closed = False

    def end(self) -> None:
        """Close what no call uses; calls that are under way close the rest."""
        self._closed = True
        if not self._waiting:
            for shared in self.lines:
                if not shared.lanes:
                    shared.close()
        self._control.close()

    @property
    def kernel_replies(self) -> int:
        return sum(shared.line.kernel_replies for shared in self.lines)

    def scan_pieces(self, table: int, prefix: Key | None, timeout: float | None) -> Iterator[list[bytes]]:
        """The keys of a table by reply."""
        raw, table = encode_prefix(prefix), check_table(table)
        return self._scan_pieces(table, raw, None if timeout is None else check_timeout(timeout))

    def _take(self, timeout: float | None, numbers: int = 1) -> Channel:
        seconds = self._seconds(timeout)
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop:
            raise SplinterError("this client belongs to another event loop: make one in each")
        if self._closed:
            raise SplinterError("this client is closed")
        while True:
            for shared in self.lines:
                if shared.has_room(numbers):
                    return shared.lane(seconds, self._diagnosis.explain, numbers)
            self._await_line(loop, seconds)

    def _await_line(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """Have one more line made, in another thread, as a name may have to be looked up. All calls wait for the same; it is
        made also when they do not any more."""
        if self._opening is not None and self._opening.done():
            wait(asyncio.sleep(0))  # the loop has yet to tell of it
            return
        if self._opening is None:
            self._opening = loop.run_in_executor(None, self._new_line, seconds)
            self._opening.add_done_callback(partial(self._opened, loop))
        self._waiting += 1
        is_left = True
        try:
            wait(asyncio.shield(self._opening))
            is_left = False
        finally:
            self._waiting -= 1
            if is_left and self._closed:
                self.end()

    def _opened(self, loop: asyncio.AbstractEventLoop, opening: asyncio.Future[Line]) -> None:
        self._opening = None
        if not opening.cancelled() and opening.exception() is None:
            self.lines.append(SharedLine(opening.result(), loop))
            if self._closed:
                self.end()

    def _give_back(self, channel: Channel) -> None:
        assert isinstance(channel, Lane)
        channel.close()
        if self._closed:
            self.end()

    def _ask(self, op: str, timeout: float | None, **fields: Any) -> dict[str, Any]:
        return in_thread(self._ask_control, op, timeout, **fields)


class AsyncClient(ProcessOwn):
    """A tenant's connection to a server, in an event loop (asyncio's or uvloop's); any number of tasks may use it at once.

    Arguments, results and exceptions are those of :class:`splinter.client.Client`. Nothing is sent before the first call, which
    is where an impossible address fails. It belongs to the event loop of that call; another loop needs a client of its own.

    A call whose task is cancelled, as by ``asyncio.timeout``, ends at once. What it had sent was executed once or not at all;
    it is not sent again.
    """

    def __init__(
        self,
        address: str,
        tenant: int,
        token: int | str,
        *,
        port: int = limits.PORT_DEFAULT,
        timeout: float | None = None,
        netns: str | None = None,
        control_port: int | None = None,
    ) -> None:
        self._calls = _LoopCalls(
            address, tenant, token, port=port, timeout=timeout, netns=netns, control_port=control_port
        )  # fmt: skip

    # --- one object ---------------------------------------------------------------------------------------------------

    async def get(self, key: Key, *, table: int = 0, timeout: float | None = None) -> bytes | None:
        """The object's value, or None when there is no such object."""
        return await run(self._calls.get, key, table=table, timeout=timeout)

    async def get_with_version(self, key: Key, *, table: int = 0, timeout: float | None = None) -> tuple[bytes | None, int]:
        """The object's value and version; (None, 0) when there is no such object."""
        return await run(self._calls.get_with_version, key, table=table, timeout=timeout)

    async def put(
        self,
        key: Key,
        value: Value,
        *,
        table: int = 0,
        ttl: Ttl | None = None,
        if_version: int = 0,
        timeout: float | None = None,
    ) -> int:
        """Store an object; returns the new version. As :meth:`Client.put`."""
        return await run(self._calls.put, key, value, table=table, ttl=ttl, if_version=if_version, timeout=timeout)

    async def delete(self, key: Key, *, table: int = 0, if_version: int = 0, timeout: float | None = None) -> bool:
        """Delete an object; False when there was none. As :meth:`Client.delete`."""
        return await run(self._calls.delete, key, table=table, if_version=if_version, timeout=timeout)

    async def expire(
        self, key: Key, ttl: Ttl, *, table: int = 0, if_version: int = 0, timeout: float | None = None
    ) -> bool:  # fmt: skip
        """Have an object live for ``ttl`` seconds from now; False when there is none. As :meth:`Client.expire`."""
        return await run(self._calls.expire, key, ttl, table=table, if_version=if_version, timeout=timeout)

    async def persist(self, key: Key, *, table: int = 0, if_version: int = 0, timeout: float | None = None) -> bool:
        """Have an object live for ever; False when there is none."""
        return await run(self._calls.persist, key, table=table, if_version=if_version, timeout=timeout)

    async def ttl(self, key: Key, *, table: int = 0, timeout: float | None = None) -> float | None:
        """Seconds that an object still lives, ``math.inf`` for ever; None when there is none."""
        return await run(self._calls.ttl, key, table=table, timeout=timeout)

    # --- many objects -------------------------------------------------------------------------------------------------

    async def multiget(self, keys: Iterable[Key], *, table: int = 0, timeout: float | None = None) -> list[bytes | None]:
        """The values of several keys in their order, None for what is not there. As :meth:`Client.multiget`."""
        return await run(self._calls.multiget, keys, table=table, timeout=timeout)

    async def get_many(
        self, keys: Iterable[Key], *, table: int = 0, window: int = 16, timeout: float | None = None
    ) -> list[bytes | None]:
        """As :meth:`multiget`, with up to ``window`` packets of keys on their way at once; ``timeout`` is each packet's."""
        return await run(self._calls.get_many, keys, table=table, window=window, timeout=timeout)

    async def put_many(
        self, items: Iterable[tuple[Key, Value]], *, table: int = 0, window: int = 64, timeout: float | None = None
    ) -> int:
        """Store every (key, value), with up to ``window`` objects on their way at once; returns how many. As
        :meth:`Client.put_many`."""
        return await run(self._calls.put_many, items, table=table, window=window, timeout=timeout)

    async def scan(
        self, table: int = 0, prefix: Key | None = None, *, timeout: float | None = None
    ) -> AsyncIterator[bytes]:  # fmt: skip
        """The keys of a table, or those that begin with ``prefix``, in no order, while others write: ``async for``. As
        :meth:`Client.scan`."""
        pieces = self._calls.scan_pieces(table, prefix, timeout)
        while (piece := await run(next, pieces, None)) is not None:
            for key in piece:
                yield key

    def pipeline(self, *, timeout: float | None = None) -> AsyncPipeline:
        """Requests that are collected and sent together: ``async with db.pipeline() as p:``, or ``await p.execute()``. As
        :meth:`Client.pipeline`."""
        return AsyncPipeline(self._calls, None if timeout is None else check_timeout(timeout))

    # --- transactions -------------------------------------------------------------------------------------------------

    def transaction(self, *, timeout: float | None = None) -> contextlib.AbstractAsyncContextManager[AsyncTransaction]:
        """A block, ``async with``, whose reads and writes happen at one instant or not at all.

        As :meth:`Client.transaction`.
        """
        return self._transaction(None if timeout is None else check_timeout(timeout))

    @contextlib.asynccontextmanager
    async def _transaction(self, timeout: float | None) -> AsyncIterator[AsyncTransaction]:
        block = self._calls.transaction(timeout=timeout)
        begun = AsyncTransaction(await run(block.__enter__))
        try:
            yield begun
        except BaseException as error:
            if not await run(block.__exit__, type(error), error, error.__traceback__):
                raise
        else:
            await run(block.__exit__, None, None, None)

    async def transact(
        self, function: Callable[[AsyncTransaction], Awaitable[_T]], *, tries: int = TRIES_DEFAULT, timeout: float | None = None
    ) -> _T:
        """Await ``function`` with an :class:`AsyncTransaction` that is committed when it returns; again after a conflict. As
        :meth:`Client.transact`."""
        return await repeat(lambda: self.transaction(timeout=timeout), function, check_integer("tries", tries))

    # --- extensions ---------------------------------------------------------------------------------------------------

    async def invoke(self, name: str, /, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        """Run an installed extension with typed arguments; returns its typed result. As :meth:`Client.invoke`."""
        return await run(self._calls.invoke, name, *args, timeout=timeout, **kwargs)

    async def signature(self, name: str, *, timeout: float | None = None) -> Signature:
        """The signature of an installed extension, asked for once and then remembered."""
        return await run(self._calls.signature, name, timeout=timeout)

    async def install(
        self, extension: Callable[..., Any] | str, *, name: str | None = None, timeout: float | None = None
    ) -> ExtensionInfo:
        """Verify, compile and publish an extension. As :meth:`Client.install`."""
        return await run(self._calls.install, extension, name=name, timeout=timeout)

    async def install_all(self, source: str, *, timeout: float | None = None) -> list[ExtensionInfo]:
        """The same for all ``@extension`` functions of a source. As :meth:`Client.install_all`."""
        return await run(self._calls.install_all, source, timeout=timeout)

    async def uninstall(self, name: str, *, timeout: float | None = None) -> None:
        """Remove an extension."""
        await run(self._calls.uninstall, name, timeout=timeout)

    async def extensions(self, *, timeout: float | None = None) -> list[ExtensionInfo]:
        """The tenant's installed extensions, by name."""
        return await run(self._calls.extensions, timeout=timeout)

    async def extension_history(self, *, timeout: float | None = None) -> list[dict[str, Any]]:
        """Installs and uninstalls. As :meth:`Client.extension_history`."""
        return await run(self._calls.extension_history, timeout=timeout)

    async def log(self, *, timeout: float | None = None) -> list[tuple[int, bytes]]:
        """What the tenant's extensions wrote by ``db.log`` of late. As :meth:`Client.log`."""
        return await run(self._calls.log, timeout=timeout)

    async def events(self, after: int | None = None, *, timeout: float | None = None) -> dict[str, Any]:
        """What happened to the tenant. As :meth:`Client.events`."""
        return await run(self._calls.events, after, timeout=timeout)

    # --- the connection -----------------------------------------------------------------------------------------------

    @property
    def kernel_replies(self) -> int:
        """How many replies so far the server's kernel made: for statistics."""
        return self._calls.kernel_replies

    async def ping(self, *, timeout: float | None = None) -> float:
        """Seconds that a round trip to the tenant's worker took."""
        return await run(self._calls.ping, timeout=timeout)

    async def close(self) -> None:
        """Close every socket; calls of other tasks that are under way are finished first."""
        self._calls.end()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
