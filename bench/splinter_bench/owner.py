"""What holds sockets, programs, processes: a context manager that gives back what it opened, in the reverse order."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from functools import cached_property
from typing import Self


class Owner:
    """A subclass puts what it opens on the stack ``_open``."""

    @cached_property
    def _open(self) -> contextlib.ExitStack:
        return contextlib.ExitStack()

    @contextlib.contextmanager
    def _opening(self) -> Generator[contextlib.ExitStack]:
        """Yields the stack; when the block fails, all that stands on it is given back."""
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            yield self._open
            undo.pop_all()

    def close(self) -> None:
        """Give everything back."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
