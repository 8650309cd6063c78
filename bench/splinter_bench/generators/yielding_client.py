"""A text client in a process of its own, for load beside what is measured: it runs only while nobody else wants its CPU."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable, Generator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from splinter.errors import SplinterError
from splinter.testing.process import die_with_parent
from splinter_bench.generators.text_client import Script, TextClient
from splinter_bench.owner import Owner

_RUN_SECONDS = 0.02  # between two looks whether to go on; what is under way is answered first
_REPLY_SECONDS_MAX = 60  # others may want the CPU for so long
_END_SECONDS_MAX = 5.0


@dataclass
class Beside:
    """What the load was: requests a second, known when it is over."""

    per_second: float = 0.0


class YieldingClient(Owner):
    """``connections`` connections, made by ``connect``, on which a process of CPU ``core`` repeats ``script`` while asked to.

    It has the policy SCHED_IDLE: whatever else is ready on its CPU comes first. A context manager that ends the process.
    """

    def __init__(self, connect: Callable[[], socket.socket], connections: int, script: Script, *, core: int) -> None:
        self._script = script
        context = multiprocessing.get_context("fork")
        with self._opening() as stack:
            self._pipe, far = context.Pipe()
            stack.enter_context(self._pipe)
            # The client is made, and compiled, here. The process inherits it, and its connections end with the process.
            with far, TextClient(connect, connections, reply_seconds_max=_REPLY_SECONDS_MAX) as client:
                self._child = context.Process(target=self._serve, args=(far, client, core, os.getpid()))
                self._child.start()
            stack.callback(_end, self._child)

    @property
    def pid(self) -> int:
        """Of its process."""
        return int(self._child.pid or 0)

    @contextlib.contextmanager
    def running(self) -> Generator[Beside]:
        """Load from before the block until after it. Raises :class:`SplinterError` when a reply was wrong or did not come."""
        found = Beside()
        self._ask()  # it has run for a while
        try:
            yield found
        finally:
            found.per_second = self._ask()

    def _ask(self) -> float:
        """Have it begin, or end. Returns requests a second so far."""
        with contextlib.suppress(ConnectionError):  # it has ended, and may have said why
            self._pipe.send(None)
        if not self._pipe.poll(_REPLY_SECONDS_MAX):
            raise SplinterError(f"{self._script.name}: the load beside had no CPU for {_REPLY_SECONDS_MAX:g} s")
        try:
            said: float | str = self._pipe.recv()
        except (EOFError, ConnectionError):
            raise SplinterError(f"{self._script.name}: the process of the load beside has ended") from None
        if isinstance(said, str):
            raise SplinterError(said)
        return said

    def _serve(self, pipe: Connection, client: TextClient, core: int, parent: int) -> None:
        die_with_parent(parent)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process, after its own clean-up
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which is how
        self._pipe.close()
        os.sched_setaffinity(0, {core})
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        try:
            while True:
                pipe.recv()
                self._load(pipe, client)
        except SplinterError as error:
            pipe.send(str(error))

    def _load(self, pipe: Connection, client: TextClient) -> None:
        while not (first := self._run(client)):  # others had its CPU
            pass
        pipe.send(first)
        recorded = runs = 0.0
        while not pipe.poll():
            recorded += self._run(client)
            runs += 1
        pipe.recv()
        pipe.send(recorded / runs if runs else 0.0)

    def _run(self, client: TextClient) -> float:
        """Requests a second of a short run."""
        result = client.run(self._script, seconds=_RUN_SECONDS, warmup_seconds=0.0)
        if result.failed:
            raise SplinterError(
                f"{self._script.name}: {result.recorded} right replies, {result.corrupt} wrong, {result.lost} lost"
            )
        return result.per_second


def _end(child: BaseProcess) -> None:
    child.terminate()
    child.join(_END_SECONDS_MAX)
    child.kill()
    child.join()
