"""A pipeline in an event loop."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from splinter.client.asyncio.greenlets import run
from splinter.client.pipeline import Requests


class AsyncPipeline(Requests):
    """Requests of :meth:`AsyncClient.pipeline`, collected as by a :class:`splinter.client.Pipeline`, without waiting. What is
    collected is sent by :meth:`execute`, or at the end of its ``async with`` block.

    Where the task is cancelled while they are sent, each was executed once or not at all, none is sent again, and the pipeline
    is empty; ``results`` has what is known.
    """

    async def execute(self, *, raise_errors: bool = True) -> list[Any]:
        """Send all, and return ``results``. As :meth:`Pipeline.execute`."""
        return await run(self._execute, raise_errors=raise_errors)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self._requests.clear()
        elif self._requests:
            await self.execute()
