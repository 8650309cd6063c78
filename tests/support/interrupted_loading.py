"""Loads the store's compiled code, interrupted at each place of the compiler in turn.

``python -m tests.support.interrupted_loading [EVERY]``; ``EVERY``: one place of so many (default: all, which takes a minute).

The places are the calls of functions of Numba and llvmlite, and the returns from them, each at the first time that the loading
comes there. Each is tried in a process of its own, which loads the same code once more after the interruption.
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

from splinter.interrupts import interruptible
from splinter.native import cache
from splinter.store.store import Store
from tests.support.waiting import wait_for

Place = tuple[str, str, str]  # module, function, event
Profile = Callable[[FrameType, str, Any], None]


def load() -> None:
    store = Store.create(64 << 20, participants=1)
    store.open_tenant(1)


def listener(at: Callable[[Place], None]) -> Profile:
    def listen(frame: FrameType, event: str, _: object) -> None:
        module = frame.f_globals.get("__name__", "")
        if event in ("call", "return") and module.startswith(("numba.", "llvmlite.")):
            at((module, frame.f_code.co_name, event))

    return listen


def find_places() -> list[Place]:
    """All places, in the order of the loading. The loading itself is done in a child: it is done once in a process."""
    with tempfile.TemporaryFile("w+") as output:
        if (pid := os.fork()) == 0:
            found: dict[Place, None] = {}
            sys.setprofile(listener(lambda place: found.setdefault(place)))
            load()
            sys.setprofile(None)
            json.dump(list(found), output)
            output.flush()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        output.seek(0)
        return [(module, function, event) for module, function, event in json.load(output)]


def interrupt_at(place: Place) -> None:
    def interrupt_there(where: Place) -> None:
        if where == place:
            sys.setprofile(None)
            signal.raise_signal(signal.SIGTERM)

    with suppress(KeyboardInterrupt), interruptible():
        sys.setprofile(listener(interrupt_there))
        load()
        wait_for(lambda: os.getpid() < 0, 5, "the interruption, which comes after the loading at the latest")
    load()
    gc.collect()


def try_at(place: Place) -> str | None:
    """Interrupt a child there; returns what went wrong."""
    with tempfile.TemporaryFile("w+") as output:
        if (pid := os.fork()) == 0:
            os.dup2(output.fileno(), 2)
            status = 1
            try:
                interrupt_at(place)
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
    places = find_places()[:: int(sys.argv[1]) if len(sys.argv) > 1 else 1]
    failed = [text for place in places if (text := try_at(place)) is not None]
    print(json.dumps({"places": len(places), "failed": failed}))
