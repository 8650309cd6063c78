"""Waiting for a condition, with a limit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
WAIT_SECONDS = 30.0  # only a failure takes so long; a machine that does much else may take some of it
_PAUSE_SECONDS, _PAUSE_SECONDS_MAX = 0.002, 0.05
_PAUSES_PER_LOOK = 3


def wait_for(condition: Callable[[], T], seconds: float = WAIT_SECONDS, what: str = "the condition") -> T:
    """The first true value of ``condition``; fails when there is none within ``seconds``."""
    began = time.monotonic()
    deadline = began + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds} s"
        time.sleep(_pause(began))  # between two looks, so that what is waited for gets the CPU; the deadline decides
        began = time.monotonic()
    return value


async def wait_until(
    condition: Callable[[], Awaitable[object]], seconds: float = WAIT_SECONDS, what: str = "the condition"
) -> None:
    """The same on an event loop, which goes on meanwhile."""
    began = time.monotonic()
    deadline = began + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds} s"
        await asyncio.sleep(_pause(began))  # as above
        began = time.monotonic()


def _pause(began: float) -> float:
    """How long to wait after a look: some times as long as that took, since it may take as much of a CPU, or of a server's."""
    took = time.monotonic() - began
    return min(max(_PAUSE_SECONDS, took * _PAUSES_PER_LOOK), _PAUSE_SECONDS_MAX)
