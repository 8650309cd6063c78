"""Errors on the command line: a sentence on standard error and an exit status, never a traceback."""

from __future__ import annotations

import contextlib
import os
import traceback
from typing import Any

import typer
from typer.core import TyperGroup

from splinter.cli.exit_status import ExitStatus, status_of
from splinter.errors import ControlError, RequestError, SplinterError
from splinter.extras import advice
from splinter.terminal import complain
from splinter.visible import visible

NOBODY_READS = ExitStatus.FAILED  # 'splinter stats | head': nothing is said, as nothing is wrong
_TRACEBACK_VARIABLE = "SPLINTER_TRACEBACK"


def fail(message: str, status: int = ExitStatus.FAILED) -> typer.Exit:
    """Say what is wrong; raise what this returns."""
    with contextlib.suppress(OSError, ValueError):  # nobody can be told
        complain(f"splinter: {message}")
    return typer.Exit(int(status))


def report(error: BaseException) -> int:
    """Say what ended a command; returns the exit status."""
    if isinstance(error, KeyboardInterrupt):
        return status_of(error)
    if isinstance(error, BrokenPipeError):
        return NOBODY_READS.value
    if os.environ.get(_TRACEBACK_VARIABLE) == "1":
        traceback.print_exception(error)
    return int(fail(explain(error), status_of(error)).exit_code)


def explain(error: BaseException) -> str:
    """An exception as a sentence, by its kind: what a user, a file system, a network, the kernel or a library can cause."""
    library = type(error).__module__.partition(".")[0]  # of those that not every command loads
    if isinstance(error, SplinterError):
        # What a server said is one line, so that it cannot look like another message; findings have lines of their own.
        return visible(str(error)) if isinstance(error, RequestError | ControlError) else str(error)
    if isinstance(error, OSError):
        said = error.strerror or str(error) or type(error).__name__
        if error.filename is None:
            return f"{said} ({_TRACEBACK_VARIABLE}=1 shows where)"
        return f"{said}: {error.filename!r}" + (f", {error.filename2!r}" if error.filename2 is not None else "")
    if isinstance(error, ImportError):
        return (
            advice(error) or f"a library is missing or damaged ({error}): install Splinter again (in a checkout: scripts/setup)"
        )
    if isinstance(error, MemoryError):
        return "there is not enough memory for this"
    if isinstance(error, RecursionError):
        return "this is nested too deeply"
    if isinstance(error, UnicodeError):
        return f"this text cannot be converted ({error.reason if hasattr(error, 'reason') else error})"
    if library == "pyroute2":
        return f"the kernel refused this about a network device or namespace: {error}"
    if library == "msgpack":
        return f"what came is no message of Splinter's ({type(error).__name__}): is this the port of a server?"
    said = f"{type(error).__name__}: {error}".replace("\n", " ")
    return f"a defect of Splinter, please report it: {said} ({_TRACEBACK_VARIABLE}=1 shows where)"


# What mistakes in the use of a command derive from; the library shows them itself (it has no public name for it).
_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[2]


class Commands(TyperGroup):
    """A group whose commands may raise anything."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, _USAGE_ERROR):
            raise
        except (Exception, KeyboardInterrupt) as error:
            raise typer.Exit(report(error)) from None
