"""Forked children of a test: what they found, told to the parent."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable
from typing import Any


def start(action: Callable[[], Any], fork: Callable[[], int] = os.fork) -> Callable[[], Any]:
    """Run ``action`` in a forked child; what this returns waits for the child and returns the result, or raises."""
    read, write = os.pipe()
    pid = fork()
    if pid == 0:
        report(write, action)
    os.close(write)
    return lambda: result(pid, read)


def report(write: int, action: Callable[[], Any]) -> None:
    """In a child: write down what ``action`` gives, and end."""
    try:
        try:
            told = (True, action())
        except BaseException as error:
            told = (False, f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
        os.write(write, pickle.dumps(told))
    finally:
        os._exit(0)


def result(pid: int, read: int) -> Any:
    """In the parent: what the child wrote down."""
    with os.fdopen(read, "rb") as file:
        told = file.read()
    os.waitpid(pid, 0)
    assert told, "the child ended without a word"
    is_good, value = pickle.loads(told)
    if not is_good:
        raise AssertionError(f"in the child: {value}")
    return value
