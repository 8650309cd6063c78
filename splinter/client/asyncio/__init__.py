"""The client for event loops: :class:`AsyncClient`.

**The way of a request.** What a client does is written once, as functions that wait. Each call of an :class:`AsyncClient` runs
them in a greenlet (:mod:`.greenlets`). Where they would wait they hand the event loop a future, and go on with its result. So
tries, repetitions, fragments and transactions are those of :class:`splinter.client.Client`, and cost no thread.

**Sockets.** Many calls share a line, a socket with a client id (:mod:`.lanes`). Each has a *lane* of it: what waits for the
replies to its own numbers. A line has room for CLIENT_WINDOW numbers; where that is not enough there is another line.

**Turns of the loop.** A call waits until the loop finds the line's socket readable. Where the kernel made the last reply, the
next is looked for as soon as its request is sent; 16 replies in a row are taken so, and then other tasks have their turn. All
lanes of a line share one timer.

**A call that is cancelled** ends where it waits. What it has sent was executed or not; it is not sent again, and its number is
given up: the server refuses what comes with it later.
"""

from splinter.client.asyncio.client import AsyncClient
from splinter.client.asyncio.pipeline import AsyncPipeline
from splinter.client.asyncio.transaction import AsyncTransaction

__all__ = ["AsyncClient", "AsyncPipeline", "AsyncTransaction"]
