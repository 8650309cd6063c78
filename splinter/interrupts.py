"""Ending a command before its end, so that it removes the labs and servers that it has made."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Generator
from types import FrameType
from typing import Any

_AGAIN_SECONDS = 0.01
# What must run whole: LLVM's objects are freed twice, its engine keeps code without an owner, a table of types stays half read;
# pyroute2's event loop drops the exception, or tells in tracebacks what it left undone.
_WHOLE_MODULES = ("llvmlite.binding", "numba.core.codegen", "numba.core.caching", "pyroute2")
_WHOLE_FUNCTIONS = ("refresh",)  # of Numba
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_INTERRUPTING = (*_ENDING, signal.SIGALRM)
_under_way: set[int] = set()  # signals that are sent again


def must_run_whole(frame: FrameType | None) -> bool:
    """Whether a signal came within a step of a library that no exception may leave half done.

    So it is where compiled code is made ready: the process would die later, when other code is loaded. What takes long in a
    compiler, its passes, may be interrupted. And so it is in the event loop with which the kernel is asked about devices.
    """
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(_WHOLE_MODULES) or (module.startswith("numba.") and frame.f_code.co_name in _WHOLE_FUNCTIONS):
            return True
        frame = frame.f_back
    return False


def send_again(number: int) -> None:
    """Send this process a signal in a moment; once, however often it came until then."""
    if number not in _under_way:
        _under_way.add(number)
        threading.Timer(_AGAIN_SECONDS, _send, (number,)).start()


def _send(number: int) -> None:
    _under_way.discard(number)
    os.kill(os.getpid(), number)


def interrupt(number: int, frame: FrameType | None) -> None:
    """A handler of SIGINT: ``KeyboardInterrupt``, as by Python's own, but not where :func:`must_run_whole` says so."""
    if must_run_whole(frame):
        send_again(number)
    else:
        signal.default_int_handler(number, frame)


@contextlib.contextmanager
def interruptible(reasons: dict[int, str] | None = None) -> Generator[None]:
    """``KeyboardInterrupt`` in the block at Ctrl-C, at SIGTERM, at the terminal's end, and with its reason at each signal of
    ``reasons``. A SIGHUP that is ignored stays ignored (``nohup``).

    Only once: further ones are ignored, so that what the block has made is removed in order.
    """
    texts: dict[int, str] = {**dict.fromkeys(_ENDING, ""), **(reasons or {})}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        texts.pop(signal.SIGHUP, None)
    came: list[int] = []

    def interrupt_once(number: int, frame: FrameType | None) -> None:
        if must_run_whole(frame):
            send_again(number)
            return
        for one in texts:
            signal.signal(one, signal.SIG_IGN)
        came.append(number)
        raise KeyboardInterrupt(*filter(None, [texts[number]]))

    def ignored(unraisable: sys.UnraisableHookArgs) -> None:
        """It came in a finalizer or a callback around a fork, whose exceptions the interpreter drops: again, elsewhere."""
        if unraisable.exc_type is not KeyboardInterrupt or not came:
            hook(unraisable)
            return
        for one in texts:
            signal.signal(one, interrupt_once)
        send_again(came.pop())

    hook, sys.unraisablehook = sys.unraisablehook, ignored
    before = {one: signal.signal(one, interrupt_once) for one in texts}
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for one, handler in before.items():
            signal.signal(one, handler)


@contextlib.contextmanager
def uninterrupted() -> Generator[None]:
    """What interrupts the block by an exception, Ctrl-C for one, waits for its end.

    For what has to be done whole, or not begun: who makes a thing knows only then what is there to be removed, and a library
    that is interrupted inside its event loop is of no use for removing it. Blocks may stand in each other. Signals whose action
    is the kernel's act as ever. Python runs handlers in the main thread: in others nothing is to be done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before: dict[signal.Signals, Any] = {}
    try:
        for one in _INTERRUPTING:
            if callable(handler := signal.getsignal(one)):
                before[one] = handler
                signal.signal(one, lambda number, _: came.append(number))
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        for number in came:
            signal.raise_signal(number)
