"""Who works in a storm of kills: one client that operates at random in one thread, and checks every reply."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from splinter.client import Client
from splinter.errors import BusyError, RequestTimeoutError


@dataclass
class Tally:
    """What clients did and found."""

    requests: int = 0
    acknowledged: int = 0  # writes, the increments of counters included
    counted: int = 0  # increments of counters that were acknowledged
    counters: int = 0  # what these counters were in the end
    killed: int = 0  # invokes answered so: two workers died in them, or the watchdog took theirs for stuck
    longest_seconds: float = 0.0  # that one call of the client waited, batches included
    lost: list[str] = field(default_factory=list)  # acknowledged writes that are not there
    wrong: list[str] = field(default_factory=list)  # other replies that cannot be
    unanswered: list[str] = field(default_factory=list)  # within the client's time-out

    def add(self, other: Self) -> None:
        """Take another's in."""
        self.requests += other.requests
        self.acknowledged += other.acknowledged
        self.counted += other.counted
        self.counters += other.counters
        self.killed += other.killed
        self.longest_seconds = max(self.longest_seconds, other.longest_seconds)
        self.lost += other.lost
        self.wrong += other.wrong
        self.unanswered += other.unanswered

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.wrong or self.unanswered)


class Member:
    """Works and checks in one thread. ``number`` tells it from the others of its storm.

    ``operations`` are picked from at random, until told to end or all is done; then comes each of ``finals``. It ends its work
    at the first reply that is wrong: afterwards it knows nothing.
    """

    operations: list[Callable[[], None]]
    finals: list[Callable[[], None]]

    def __init__(self, client: Client, number: int, seed: int) -> None:
        self._client, self._number = client, number
        self._dice = random.Random(seed)
        self.tally = Tally()

    def has_done_all(self) -> bool:
        """Whether it has nothing more to do, told to end or not."""
        return False

    def work(self, is_over: Callable[[], bool], done: Callable[[int], None]) -> None:
        """Operate until told to end, or all is done, reporting the number of requests so far; then do what is final."""
        while not is_over() and not self.has_done_all():
            if not self._attempt(self._dice.choice(self.operations)):
                return
            done(self.tally.requests)
        for final in self.finals:
            if not self._attempt(final):
                return

    def _attempt(self, operation: Callable[[], None]) -> bool:
        started = time.monotonic()
        try:
            operation()
        except (RequestTimeoutError, BusyError) as error:
            self.tally.unanswered.append(f"{operation.__name__}: {error!r}")
        except Exception as error:  # a status that cannot be is a wrong reply as much as a wrong value
            self.tally.wrong.append(f"client {self._number}, {operation.__name__}: {error!r}")
        self.tally.longest_seconds = max(self.tally.longest_seconds, time.monotonic() - started)
        return self.tally.is_clean

    def _wrote(self, number: int = 1) -> None:
        self.tally.requests += number
        self.tally.acknowledged += number
