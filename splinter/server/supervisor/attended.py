"""A process beside the workers, such as the control process: started, replaced when it dies, ended."""

from __future__ import annotations

import logging
import os
import selectors
import signal
import time
from collections.abc import Callable

from splinter.errors import ServerError
from splinter.server.events import event
from splinter.server.processes import fork_child, reap, wait_or_kill
from splinter.server.supervisor.forks import Forks
from splinter.server.supervisor.timers import make_timer

logger = logging.getLogger(__name__)

_LIFE_SECONDS_MIN = 0.01  # one that dies at once must not take the machine with it
_FAILURE_SECONDS, _FAILURES_MAX = 1.0, 5
_AGAIN_SECONDS = 60  # until one that a server can do without is tried again


class AttendedProcess:
    """One such process at a time, which does ``run``; ``recover`` puts right what a dead one had in the store. ``name`` is what
    ``ps`` shows, ``title`` what people read. A server ends when one that ``is_needed`` cannot run. It goes on without another,
    which is tried again after some time."""

    def __init__(
        self,
        name: str,
        title: str,
        selector: selectors.BaseSelector,
        forks: Forks,
        run: Callable[[], None],
        recover: Callable[[], None] = lambda: None,
        *,
        is_needed: bool = True,
    ) -> None:
        self._name, self._title = name, title
        self._selector, self._forks, self._run, self._recover = selector, forks, run, recover
        self._is_needed = is_needed
        self._timer = -1  # of one that could not run; -1: none
        self.pid = 0  # 0: there is none
        self._pidfd = -1
        self._failures = 0  # consecutive, each within _FAILURE_SECONDS of its start
        self._started = 0.0  # monotonic seconds

    def start(self) -> None:
        """Fork it."""
        self._started = time.monotonic()
        self.pid, self._pidfd = fork_child(self._name, self._run)
        self._selector.register(self._pidfd, selectors.EVENT_READ, self._replace)

    def ask_to_end(self) -> None:
        """Send it a signal that ends it; :meth:`reap` waits for that."""
        if self.pid:
            signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)

    def reap(self, deadline: float) -> None:
        """Wait for its end until ``deadline`` (monotonic seconds), then kill it."""
        if self.pid:
            wait_or_kill(self.pid, self._pidfd, deadline)
            self.pid, self._pidfd = 0, -1

    def end(self) -> None:
        """End it at once, and what was to be forked in its place."""
        self._forks.call_off(self.start)
        self._forget_timer()
        if self.pid:
            self._selector.unregister(self._pidfd)
            self.reap(time.monotonic())
            self._recover()

    def _replace(self) -> None:
        """Reap it, recover what it had in the store, start another."""
        self._selector.unregister(self._pidfd)
        status = reap(self.pid, self._pidfd)
        lived = time.monotonic() - self._started
        # One that was killed may well live on as its successor; one that raised an exception at once will again.
        self._failures = self._failures + 1 if status > 0 and lived < _FAILURE_SECONDS else 0
        if self._failures >= _FAILURES_MAX and not self._is_needed:
            self._give_up_for_now()
            return
        if self._failures >= _FAILURES_MAX:
            raise ServerError(f"the {self._title} cannot run: it failed {self._failures} times (its error is above)")
        told = event(f"{self._title.split()[0]}.replaced", pid=self.pid, status=status)
        logger.warning("the %s (pid %d) ended with status %d; replaced", self._title, self.pid, status, extra=told)
        self.pid, self._pidfd = 0, -1
        self._recover()
        time.sleep(max(0.0, _LIFE_SECONDS_MIN - lived))
        self._forks.attempt(self.start)

    def _give_up_for_now(self) -> None:
        """It fails each time: the server goes on without it, and tries again later."""
        self.pid, self._pidfd = 0, -1
        told = event(f"{self._title.split()[0]}.failed")
        logger.error(
            "the %s cannot run: it failed %d times (its error is above); tried again in %d s",
            self._title, self._failures, _AGAIN_SECONDS, extra=told,
        )  # fmt: skip
        self._timer = make_timer(_AGAIN_SECONDS)
        self._selector.register(self._timer, selectors.EVENT_READ, self._try_again)

    def _try_again(self) -> None:
        self._forget_timer()
        self._forks.attempt(self.start)

    def _forget_timer(self) -> None:
        if self._timer >= 0:
            self._selector.unregister(self._timer)
            os.close(self._timer)
            self._timer = -1
