"""A process beside the workers, such as the control process: started, replaced when it dies, ended."""

from __future__ import annotations

import logging
import selectors
import signal
import time
from collections.abc import Callable

from splinter.errors import ServerError
from splinter.server.events import event
from splinter.server.processes import fork_child, reap, wait_or_kill
from splinter.server.supervisor.forks import Forks

logger = logging.getLogger(__name__)

_LIFE_SECONDS_MIN = 0.01  # one that dies at once must not take the machine with it
_FAILURE_SECONDS, _FAILURES_MAX = 1.0, 5


class AttendedProcess:
    """One such process at a time, which does ``run``; ``recover`` puts right what a dead one had in the store. ``name`` is what
    ``ps`` shows, ``title`` what people read."""

    def __init__(
        self,
        name: str,
        title: str,
        selector: selectors.BaseSelector,
        forks: Forks,
        run: Callable[[], None],
        recover: Callable[[], None] = lambda: None,
    ) -> None:
        self._name, self._title = name, title
        self._selector, self._forks, self._run, self._recover = selector, forks, run, recover
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
        if self._failures >= _FAILURES_MAX:
            raise ServerError(f"the {self._title} cannot run: it failed {self._failures} times (its error is above)")
        told = event(f"{self._title.split()[0]}.replaced", pid=self.pid, status=status)
        logger.warning("the %s (pid %d) ended with status %d; replaced", self._title, self.pid, status, extra=told)
        self.pid, self._pidfd = 0, -1
        self._recover()
        time.sleep(max(0.0, _LIFE_SECONDS_MIN - lived))
        self._forks.attempt(self.start)
