"""The client for event loops: :class:`AsyncClient`.

**The way of a request.** What a client does is written once, as functions that wait. Each call of an :class:`AsyncClient` runs
them in a greenlet (:mod:`.greenlets`). Where they would wait they hand the event loop a future, and go on with its result. So
tries, repetitions, fragments and transactions are those of :class:`splinter.client.Client`, and cost no thread.

**Sockets.** Many calls share a line, a socket with a client id (:mod:`.lanes`). Each has a *lane* of it: what waits for the
replies to its own numbers. A line has room for CLIENT_WINDOW numbers; where that is not enough there is another line.

**A call that is cancelled** ends where it waits. What it has sent was executed or not; it is not sent again, and its number is
given up: the server refuses what comes with it later.
"""

from splinter.client.asyncio.client import AsyncClient
from splinter.client.asyncio.pipeline import AsyncPipeline
from splinter.client.asyncio.transaction import AsyncTransaction

__all__ = ["AsyncClient", "AsyncPipeline", "AsyncTransaction"]
