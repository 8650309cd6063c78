"""The program's beginning and end, whatever it was started with: closed descriptors, missing libraries, signals.

Nothing but the standard library is loaded before what may go wrong is looked after.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import signal
import sys
from types import FrameType

from splinter.interrupts import interrupt, must_run_whole, send_again

_FAILED = 1
_STREAMS = (("stdin", os.O_WRONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_RDONLY, "w"))
_ENDING = (signal.SIGTERM, signal.SIGHUP)
_SERVE = "serve"
_NOTHING_TO_A_SERVER = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_ENDING_A_SERVER = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


def main() -> None:
    """Entry point of the console script; ends by ``SystemExit``."""
    is_server = next((word for word in sys.argv[1:] if not word.startswith("-")), None) == _SERVE
    gc.disable()  # while modules are loaded, which stay: to look for garbage among them takes a tenth of a start
    # The BLAS that comes with NumPy starts a thread for each CPU, which spins for a while. Nothing here uses one, and a server
    # forks: it has one thread.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if is_server:
        _bear_signals()
    _open_standard_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error: what the terminal's alphabet lacks is no failure
    for number in _ENDING:
        if signal.getsignal(number) is signal.SIG_DFL:  # what is ignored stays ignored
            signal.signal(number, _end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    try:
        status = _run(is_server)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else _say(end.code)
    status = _flush(status)
    if is_server:
        for number in _NOTHING_TO_A_SERVER:
            signal.signal(number, signal.SIG_IGN)  # the interpreter takes its handlers away before it ends
    gc.freeze()  # nor does the interpreter look for garbage before it ends
    sys.exit(status)


def _bear_signals() -> None:
    """What a signal means to a server, it means to one that starts: before all else, until the supervisor takes over.

    Those that mean nothing are not ignored, as the supervisor tells from that what the server was started with.
    """
    for numbers, handler in ((_NOTHING_TO_A_SERVER, _pass), (_ENDING_A_SERVER, _leave)):
        for number in numbers:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(number, handler)


def _pass(*_: object) -> None:
    """At a signal that does nothing."""


def _leave(*_: object) -> None:
    """At a signal that ends a server, which has nothing yet that would be left: in order, as that is what was asked for.

    By no exception: it could come where it is dropped, or where a library must run whole.
    """
    os._exit(0)


def _run(is_server: bool) -> int:
    """Run the command; returns the exit status, or raises SystemExit."""
    try:
        from splinter.cli.main import app

        if not is_server:  # which has more to load
            gc.enable()
        app(prog_name="splinter")
        return 0
    except (Exception, KeyboardInterrupt) as error:
        try:
            from splinter.cli.errors import report
        except ImportError as missing:
            return _say(
                f"splinter: a library is missing or damaged ({missing}): install Splinter again (in a checkout: scripts/setup)"
            )
        return report(error)


def _say(text: object) -> int:
    """The last words of a program that ends with an error; returns the exit status."""
    if text is None:
        return 0
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)
    return _FAILED


def _end(number: int, frame: FrameType | None) -> None:
    """At a signal: an exception, so that what was begun is removed on the way."""
    if must_run_whole(frame):
        send_again(number)
        return
    for each in _ENDING:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _open_standard_streams() -> None:
    """Put something in the place of descriptors 0 to 2 that are closed.

    Else the next file or socket gets the number, and what is printed is written there. What is put there fails when it is used.
    """
    for number, (name, flags, mode) in enumerate(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, flags)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False, errors="backslashreplace" if number == 2 else None))  # noqa: SIM115


def _flush(status: int) -> int:
    """Write what is still to be written; returns the exit status. What cannot be written is an error, and said."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            status = status or _FAILED
            discard(stream.fileno())
        except (OSError, ValueError) as error:
            status = status or _say(f"splinter: standard output: {getattr(error, 'strerror', None) or error}")
            discard(stream.fileno())
    return status


def discard(descriptor: int) -> None:
    """What is left in a stream's buffer goes nowhere, so that the interpreter finds nothing to complain of at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
