"""Several compiled tasks on one store, interleaved at their store operations as a seed says, and killed between them.

A task is a thread that runs only while it has the turn; before each operation the turn goes to a task that the seed picks.
So every run with one seed is the same, whatever the machine does.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

from splinter.ext.python.local import LocalStore
from tests.support.library import NativeSide
from tests.support.runner import Runner

SECONDS_MAX = 60
BURSTS = (0, 0, 0, 5, 20, 60)  # operations that a task goes on for: some wait long, while others do much


class KilledError(BaseException):
    """The task's worker died."""


class Turns:
    """Who may run. ``between`` is called before each operation; ``death`` is the probability of dying there."""

    def __init__(self, seed: int, death: float = 0.0, between: Callable[[], None] = lambda: None) -> None:
        self._random = random.Random(seed)
        self._death, self._between = death, between
        self._burst = 0
        self._waiting: dict[threading.Thread, threading.Semaphore] = {}
        self._ended = threading.Semaphore(0)
        self.failures: list[BaseException] = []

    def run(self, bodies: list[Callable[[], None]]) -> None:
        """Run all bodies to their ends and raise the first failure of one."""
        for body in bodies:
            thread = threading.Thread(target=self._body, args=(body,), daemon=True)
            self._waiting[thread] = threading.Semaphore(0)
        threads = list(self._waiting)
        for thread in threads:
            thread.start()
        self._pick().release()
        assert self._ended.acquire(timeout=SECONDS_MAX), "the tasks did not end"
        for thread in threads:
            thread.join(SECONDS_MAX)
        if self.failures:
            raise self.failures[0]

    def step(self) -> None:
        """Called by the running task before each store operation."""
        if threading.current_thread() not in self._waiting:
            return
        self._between()
        mine = self._waiting[threading.current_thread()]
        self._burst -= 1
        chosen = mine if self._burst > 0 else self._pick()
        if chosen is not mine:
            chosen.release()
            assert mine.acquire(timeout=SECONDS_MAX)
        if self._random.random() < self._death:
            raise KilledError

    def _pick(self) -> threading.Semaphore:
        self._burst = self._random.choice(BURSTS)
        return self._random.choice(list(self._waiting.values()))

    def _body(self, body: Callable[[], None]) -> None:
        self._waiting[threading.current_thread()].acquire()
        try:
            body()
        except BaseException as failure:
            self.failures.append(failure)
        del self._waiting[threading.current_thread()]
        (self._pick() if self._waiting else self._ended).release()


class InterleavedSide(NativeSide):
    """One task's compiled code on a store that it shares with others'. What its worker's death cuts off begins anew."""

    def __init__(self, store: LocalStore, turns: Turns) -> None:
        self.store = store
        self.runner = _TurnRunner(store, turns)

    def invoke(self, name: str, *args: Any) -> Any:
        while True:
            try:
                return super().invoke(name, *args)
            except KilledError:
                pass


class _TurnRunner(Runner):
    def __init__(self, store: LocalStore, turns: Turns) -> None:
        self._turns = turns
        super().__init__(store)

    def _guard(self, action: Callable[[], Any]) -> int:
        def in_turn() -> Any:
            self._turns.step()
            return action()

        return super()._guard(in_turn)
