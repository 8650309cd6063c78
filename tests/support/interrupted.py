"""Interrupts a library at each place of what it does, and has it do that again.

``python -m tests.support.interrupted code|devices [EVERY]``: ``code``: the store's compiled code is loaded (Numba, llvmlite);
``devices``: the kernel is asked for its devices (pyroute2). ``EVERY``: one place of so many (default: all).

The places are the calls of the library's functions, and the returns from them, each at the first time that it comes there. Each
is tried in a process of its own, which does the same once more after the interruption.
Prints a JSON object: ``places`` (count) and ``failed`` (texts).
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from pyroute2 import IPRoute

from splinter.interrupts import interruptible
from splinter.native import cache
from splinter.store.store import Store
from tests.support.waiting import wait_for

SECONDS_MAX = 20  # of one process; then SIGALRM ends it
Place = tuple[str, str, str]  # module, function, event
Profile = Callable[[FrameType, str, Any], None]


def load() -> None:
    """Of ``code``."""
    store = Store.create(64 << 20, participants=1)
    store.open_tenant(1)


def ask() -> None:
    """Of ``devices``."""
    with IPRoute() as ip:
        assert ip.get_links()


WHAT: dict[str, tuple[Callable[[], None], tuple[str, ...]]] = {  # and the modules whose functions count
    "code": (load, ("numba.", "llvmlite.")),
    "devices": (ask, ("pyroute2.", "asyncio.", "selectors")),
}


def listener(modules: tuple[str, ...], at: Callable[[Place], None]) -> Profile:
    def listen(frame: FrameType, event: str, _: object) -> None:
        module = frame.f_globals.get("__name__", "")
        if event in ("call", "return") and module.startswith(modules):
            at((module, frame.f_code.co_name, event))

    return listen


def find_places(do: Callable[[], None], modules: tuple[str, ...]) -> list[Place]:
    """All places, in the order of what is done. A child does it: code is loaded once in a process."""
    with tempfile.TemporaryFile("w+") as output:
        if (pid := os.fork()) == 0:
            found: dict[Place, None] = {}
            sys.setprofile(listener(modules, lambda place: found.setdefault(place)))
            do()
            sys.setprofile(None)
            json.dump(list(found), output)
            output.flush()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        output.seek(0)
        return [(module, function, event) for module, function, event in json.load(output)]


def interrupt_at(place: Place, do: Callable[[], None], modules: tuple[str, ...]) -> None:
    def interrupt_there(where: Place) -> None:
        if where == place:
            sys.setprofile(None)
            signal.raise_signal(signal.SIGTERM)

    with suppress(KeyboardInterrupt), interruptible():
        sys.setprofile(listener(modules, interrupt_there))
        do()
        wait_for(lambda: os.getpid() < 0, 5, "the interruption, which comes afterwards at the latest")
    do()
    gc.collect()


def try_at(place: Place, do: Callable[[], None], modules: tuple[str, ...]) -> str | None:
    """Interrupt a child there; returns what went wrong."""
    with tempfile.TemporaryFile("w+") as output:
        if (pid := os.fork()) == 0:
            os.dup2(output.fileno(), 2)
            status = 1
            signal.alarm(SECONDS_MAX)
            try:
                interrupt_at(place, do, modules)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        output.seek(0)
        said = output.read()
    return f"{'.'.join(place)}: status {status}: {said[-1000:]}" if status or said else None


if __name__ == "__main__":
    cache.configure()
    do, modules = WHAT[sys.argv[1]]
    places = find_places(do, modules)[:: int(sys.argv[2]) if len(sys.argv) > 2 else 1]
    failed = [text for place in places if (text := try_at(place, do, modules)) is not None]
    print(json.dumps({"places": len(places), "failed": failed}))
