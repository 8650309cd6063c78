"""Functions that wait, run by an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar, cast

from greenlet import getcurrent, greenlet

_T = TypeVar("_T")
_P = ParamSpec("_P")


async def run(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call a function that may :func:`wait`; returns what it returns."""
    driver = getcurrent()
    callee = greenlet(function, driver)
    callee.gr_context = driver.gr_context
    found: Any = callee.switch(*args, **kwargs)
    while not callee.dead:
        try:
            result = await found
        except BaseException as error:  # a cancellation, too, is raised where the function waits
            found = callee.throw(error)
        else:
            found = callee.switch(result)
    return cast(_T, found)


def wait(awaitable: Awaitable[_T]) -> _T:
    """The result of something that the event loop is to wait for, in a function called by :func:`run`."""
    driver = getcurrent().parent
    assert driver is not None
    return cast(_T, driver.switch(awaitable))


def in_thread(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """The same of a function that keeps its thread waiting: it is called in another one."""
    return wait(asyncio.get_running_loop().run_in_executor(None, partial(function, *args, **kwargs)))
