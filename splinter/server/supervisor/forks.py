"""Forking children, now or later: a system that has no room for a process at the moment is no reason to end the server."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

Fork = Callable[[], None]
FORK_SECONDS = 0.5  # until a fork that failed is tried again, or a child replaced that ended at once


class Forks:
    """Forks that failed, or would come too soon, and are tried again. Used from the supervisor's one thread."""

    def __init__(self) -> None:
        self._tried: dict[Fork, float] = {}  # when last, monotonic seconds
        self._postponed: list[Fork] = []
        self._postponed_until = 0.0  # monotonic seconds

    @property
    def are_postponed(self) -> bool:
        """Whether there is something to try again."""
        return bool(self._postponed)

    def note(self, fork: Fork) -> None:
        """A child is forked by this function now; :meth:`replace` asks for it."""
        self._tried[fork] = time.monotonic()

    def attempt(self, fork: Fork) -> None:
        """Fork a child now, or later."""
        try:
            fork()
        except OSError as error:
            logger.warning("no process can be forked (%s); tried again", error.strerror)
            self._put_off(fork)

    def replace(self, fork: Fork) -> None:
        """Fork a child in the place of one that has ended; later, if that was forked only just: forking takes long, and the
        workers are not watched meanwhile."""
        if time.monotonic() - self._tried[fork] < FORK_SECONDS:
            self._put_off(fork)
        else:
            self.attempt(fork)

    def attempt_again(self) -> None:
        """Try what was put off, when it is time."""
        if self._postponed and time.monotonic() >= self._postponed_until:
            postponed, self._postponed = self._postponed, []
            for fork in postponed:
                self.attempt(fork)

    def call_off(self, fork: Fork) -> None:
        """A fork that may have been put off is not wanted any more."""
        self._postponed = [one for one in self._postponed if one != fork]

    def _put_off(self, fork: Fork) -> None:
        self._postponed.append(fork)
        self._postponed_until = time.monotonic() + FORK_SECONDS
