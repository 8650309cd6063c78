"""Waiting for a condition, with a limit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
WAIT_SECONDS = 30.0  # only a failure takes so long; a machine that does much else may take some of it


def wait_for(condition: Callable[[], T], seconds: float = WAIT_SECONDS, what: str = "the condition") -> T:
    """The first true value of ``condition``; fails when there is none within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds} s"
        time.sleep(0.002)  # between two looks, so that what is waited for gets the CPU; the deadline decides
    return value


async def wait_until(
    condition: Callable[[], Awaitable[object]], seconds: float = WAIT_SECONDS, what: str = "the condition"
) -> None:
    """The same on an event loop, which goes on meanwhile."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds} s"
        await asyncio.sleep(0.002)  # as above
