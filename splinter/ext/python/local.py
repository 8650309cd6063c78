"""A store in this process that runs extensions under CPython, for tests and the debugger."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from splinter.ext.abi import Isolation
from splinter.ext.front.checked import Program
from splinter.ext.lifetimes import NS_PER_SECOND
from splinter.ext.python.invocation import Invocation, Loaded, load
from splinter.ext.python.objects import Object, Objects, Place
from splinter.ext.python.operations import Operations, as_bytes
from splinter.ext.python.transaction import Task
from splinter.ext.views import Bytes
from splinter.limits import LOG_TEXT_BYTES_MAX


class LocalStore(Operations):
    """Objects in a dict. ``invoke`` runs an extension on them, exactly as a server would, but under CPython."""

    def __init__(self) -> None:
        self.tenant_id = 1
        self.logged: list[bytes] = []  # what extensions wrote into the debug log
        self._objects = Objects()
        self._loaded: dict[Any, Loaded] = {}

    @property
    def objects(self) -> dict[Place, bytes]:
        """Values, by table and key, of what is there now: what is over is taken away. Not while a task runs."""
        self._objects.sweep()
        return self._objects.values

    @property
    def versions(self) -> dict[Place, int]:
        """Versions, by table and key, likewise."""
        self._objects.sweep()
        return self._objects.versions

    def advance(self, seconds: float) -> None:
        """Let time pass for objects that expire: their clock goes ahead by so much, without waiting."""
        if not seconds >= 0:
            raise ValueError(f"a clock goes ahead, not by {seconds!r} seconds")
        self._objects.ahead_ns += round(seconds * NS_PER_SECOND)

    def copy(self) -> LocalStore:
        """Another store with the same objects, in the same versions, and the same log."""
        other = LocalStore()
        other.tenant_id, other.logged = self.tenant_id, list(self.logged)
        other._objects, other._loaded = self._objects.copy(), self._loaded
        return other

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def log(self, text: Bytes) -> None:
        self.logged.append(as_bytes(text)[:LOG_TEXT_BYTES_MAX])

    def tenant(self) -> int:
        return self.tenant_id

    def invoke(self, function: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> Any:
        """Run an extension, given as a function or as source text, to its end and return its result.

        Raises :class:`CompileError` when it is not in the language, :class:`BadArgumentsError` when the arguments do not fit
        its signature, and :class:`ExtensionFault` (an :class:`ExtensionRuntimeError`) for errors inside of it.
        """
        invocation = self.prepare(function, *args, **kwargs)
        while True:
            task = self.begin(invocation.isolation)
            is_done = False
            try:
                result = invocation.run(task)
                is_done = True
            finally:
                is_valid = task.end(is_done)
            if is_valid:
                return result

    def prepare(self, function: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> Invocation:
        """An invoke that has not begun. Raises what :meth:`invoke` does for what is wrong with it."""
        if function not in self._loaded:
            self._loaded[function] = load(function)
        return Invocation(self._loaded[function], args, kwargs)

    def preload(
        self, function: Callable[..., Any] | str, program: Program, python: Callable[..., Any], filename: str = "<source>"
    ) -> None:
        """Keep what has been made of an extension already, for ``invoke``."""
        self._loaded[function] = Loaded(program, python, filename)

    def begin(self, isolation: Isolation, kind: type[Task] | None = None) -> Task:
        """The store as a task has it that begins now, beside others that have not ended. ``kind``: a class for it."""
        return (kind or Task)(self, self._objects, isolation)

    def _now_ns(self) -> int:
        return self._objects.now_ns()

    def _look_up(self, place: Place) -> Object | None:
        found = self._objects.find(place)
        return found.at(self._now_ns()) if found is not None else None

    def _change(self, place: Place, value: bytes | None, expires: int = 0) -> None:
        self._objects.apply({place: self._objects.new(value, expires)})
