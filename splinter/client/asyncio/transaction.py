"""A transaction in an event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from splinter.client.asyncio.greenlets import run
from splinter.client.encoding import Key, Value
from splinter.client.lifetimes import Ttl
from splinter.client.transaction import Transaction, pauses
from splinter.errors import ConflictError, SplinterError

_T = TypeVar("_T")


class AsyncTransaction:
    """What a block of :meth:`AsyncClient.transaction` reads and writes: a :class:`splinter.client.Transaction` whose reads are
    awaited."""

    def __init__(self, begun: Transaction) -> None:
        self._begun = begun

    async def get(self, key: Key, *, table: int = 0) -> bytes | None:
        """The object's value, or None when there is no such object."""
        return await run(self._begun.get, key, table=table)

    async def get_many(self, keys: Iterable[Key], *, table: int = 0) -> list[bytes | None]:
        """The values of several keys in their order, None for what is not there."""
        return await run(self._begun.get_many, keys, table=table)

    def put(self, key: Key, value: Value, *, table: int = 0, ttl: Ttl | None = None) -> None:
        """Have an object stored at the end of the block. From then on it lives for ``ttl`` seconds; without, for ever."""
        self._begun.put(key, value, table=table, ttl=ttl)

    def delete(self, key: Key, *, table: int = 0) -> None:
        """Have an object deleted at the end of the block, if there is one."""
        self._begun.delete(key, table=table)

    async def expire(self, key: Key, ttl: Ttl, *, table: int = 0) -> bool:
        """Have an object live for ``ttl`` seconds from the end of the block on; False when there is none."""
        return await run(self._begun.expire, key, ttl, table=table)

    async def persist(self, key: Key, *, table: int = 0) -> bool:
        """Have an object live for ever; False when there is none."""
        return await run(self._begun.persist, key, table=table)

    async def ttl(self, key: Key, *, table: int = 0) -> float | None:
        """Seconds that an object still lives, ``math.inf`` for ever; None when there is none."""
        return await run(self._begun.ttl, key, table=table)

    async def check(self) -> None:
        """Raise :class:`splinter.errors.ConflictError` when something that was read has changed since. If not, all of it was
        there at one instant."""
        await run(self._begun.check)


async def repeat(
    begin: Callable[[], contextlib.AbstractAsyncContextManager[AsyncTransaction]],
    function: Callable[[AsyncTransaction], Awaitable[_T]],
    tries: int,
) -> _T:
    """As :func:`splinter.client.transaction.repeat`."""
    waits = pauses()
    while True:
        tries -= 1
        try:
            async with begin() as begun:
                try:
                    result = await function(begun)
                except SplinterError:
                    raise
                except Exception:
                    await begun.check()
                    raise
            return result
        except ConflictError:
            if tries == 0:
                raise
        await asyncio.sleep(next(waits))
