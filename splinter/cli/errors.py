"""Errors on the command line: a sentence on standard error and exit status 1, never a traceback."""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from splinter.errors import SplinterError

FAILED = 1
INTERRUPTED = 130  # as shells have it: 128 + SIGINT


def fail(message: str) -> typer.Exit:
    """Say what is wrong; raise what this returns."""
    print(f"splinter: {message}", file=sys.stderr)
    return typer.Exit(FAILED)


class Commands(TyperGroup):
    """A group whose commands may raise :class:`SplinterError`."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except SplinterError as error:
            raise fail(str(error)) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
