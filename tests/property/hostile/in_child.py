"""Run something in a forked child, so that a crash there is a failed test and not the end of all tests."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable
from typing import Any

CHILD_SECONDS_MAX = 120  # a child that takes longer hangs
Note = Callable[[object], None]


def in_child(action: Callable[[Note], Any], seconds_max: int = CHILD_SECONDS_MAX) -> Any:
    """The result of ``action(note)``, run in a child; what it raises is raised here as an AssertionError.

    The child tells by ``note`` what it is about to do: when it dies, the failure's message ends with that.
    """
    noted = os.memfd_create("noted")
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _child(action, writing, noted, seconds_max)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        content = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with os.fdopen(noted, "rb") as file:
        file.seek(0)
        last = file.read().decode()
    if status != 0:
        what = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        raise AssertionError(f"the child ended with {what} while running:\n{last}")
    is_error, value = pickle.loads(content)
    if is_error:
        raise AssertionError(f"{value}\nwhile running:\n{last}")
    return value


def _child(action: Callable[[Note], Any], writing: int, noted: int, seconds_max: int) -> None:
    def note(what: object) -> None:
        os.ftruncate(noted, 0)
        os.pwrite(noted, str(what).encode(errors="replace"), 0)

    status = 1
    try:
        signal.alarm(seconds_max)
        try:
            outcome = False, action(note)
        except BaseException as error:  # pytest's and Hypothesis's own too
            outcome = True, f"{type(error).__name__}: {error}"
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(outcome, pipe)
        status = 0
    finally:
        os._exit(status)
