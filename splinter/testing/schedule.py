"""Several invokes on one :class:`LocalStore`, in all orders of their slices, or in random ones.

A slice is what an invoke does from one point where others may run to the next. Each invoke is a thread that runs only while it
has the turn, so that every order can be made again. What a transaction finds at its end is as in a worker: when another one
has changed what it has read, it begins anew.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from splinter.ext import ExtensionFault, LocalStore
from splinter.ext.abi import Isolation
from splinter.ext.python.invocation import Invocation
from splinter.ext.python.transaction import Task
from splinter.ext.views import Bytes, View

INTERLEAVINGS_MAX = 10_000  # that are all run; of more, random ones are
SLICES_MAX = 10_000  # of one interleaving

Choose = Callable[[list[int]], int]  # of the invokes that have not ended, by their numbers
Points = Literal["yields", "calls"]


class Invoke:
    """An extension, a function or its source, and what it is invoked with."""

    def __init__(self, function: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs

    def _prepared(self, store: LocalStore) -> Invocation:
        """The invoke on a store, not begun."""
        return store.prepare(self.function, *self.args, **self.kwargs)

    def __str__(self) -> str:
        name = "<source>" if isinstance(self.function, str) else self.function.__name__
        return f"{name}({', '.join([*map(repr, self.args), *(f'{key}={value!r}' for key, value in self.kwargs.items())])})"


def interleavings(
    store: LocalStore,
    invokes: Sequence[Invoke],
    check: Callable[[LocalStore, list[Any]], object],
    *,
    at: Points = "yields",
    seeds: int | None = None,
    only: Sequence[int] | None = None,
) -> int:
    """Run invokes in all interleavings, each on a copy of ``store``, and check what comes of it. Returns how many there were.

    ``check(store, results)`` gets the store after all invokes have ended and their results, in the order of ``invokes``; in
    place of the result of one that ended with an error stands its :class:`ExtensionFault`. It asserts, or returns False.

    ``at="yields"``: others run where an extension yields by ``yield``, and where it ends. ``at="calls"``: also before each of
    its calls of the store but the first, and before the commit of a transaction. A worker lets others run where the
    extension yields, and where it has used its budget; workers on other cores go on all the time. So for an extension with
    ``isolation="none"`` only ``"calls"`` shows all that may happen.

    ``seeds``: run so many random interleavings, of the seeds 0, 1, …, in place of all. ``only``: run this one, a list of
    invokes by their numbers, one for each slice.

    Raises ``AssertionError`` when the check fails, or the invokes do not end; it tells the interleaving, as ``only`` takes it.
    Raises ``ValueError`` when there are more than 10,000 interleavings, or ``only`` is none; and what ``LocalStore.invoke``
    raises for an invoke that is wrong.
    """
    for invoke in invokes:
        invoke._prepared(store)
    count = 0
    for choose in _choosers(seeds, only):
        if seeds is None and count == INTERLEAVINGS_MAX:
            raise ValueError(f"there are more than {INTERLEAVINGS_MAX:,} interleavings: run some of them with seeds=…")
        run = _Run(store.copy(), invokes, at)
        run.to_the_end(choose)
        try:
            is_right = check(run.store, run.results)
        except AssertionError as failure:
            raise AssertionError(run.story(str(failure))) from failure
        if is_right is False:
            raise AssertionError(run.story("the check returned False"))
        count += 1
    return count


# --- which one runs next ----------------------------------------------------------------------------------------------


def _choosers(seeds: int | None, only: Sequence[int] | None) -> Iterator[Choose]:
    """One for each interleaving."""
    if only is not None:
        yield _follower(only)
    elif seeds is not None:
        for seed in range(seeds):
            yield random.Random(seed).choice
    else:
        yield from _each()


def _follower(order: Sequence[int]) -> Choose:
    left = list(order)

    def choose(live: list[int]) -> int:
        if not left or left[0] not in live:
            raise ValueError(f"{list(order)} is no interleaving of these invokes")
        return left.pop(0)

    return choose


def _each() -> Iterator[Choose]:
    """All: each one goes the way of the one before, up to the last choice that leaves another."""
    way: list[int] = []
    while True:
        taken: list[tuple[int, int]] = []  # which, of how many

        def choose(live: list[int], taken: list[tuple[int, int]] = taken, way: list[int] = way) -> int:
            which = way[len(taken)] if len(taken) < len(way) else 0
            taken.append((which, len(live)))
            return live[which]

        yield choose
        while taken and taken[-1][0] + 1 == taken[-1][1]:
            taken.pop()
        if not taken:
            return
        way = [which for which, _ in taken]
        way[-1] += 1


# --- one interleaving -------------------------------------------------------------------------------------------------


class _CancelledError(BaseException):
    """The interleaving is given up."""


class _Run:
    """One interleaving, on a store of its own."""

    def __init__(self, store: LocalStore, invokes: Sequence[Invoke], at: Points) -> None:
        self.store, self.invokes = store, invokes
        self.results: list[Any] = [None] * len(invokes)
        self.slices: list[tuple[int, str]] = []  # whose, and how far it went
        self._at = at
        self._live = list(range(len(invokes)))
        self._turn = [threading.Semaphore(0) for _ in invokes]
        self._back = threading.Semaphore(0)  # the turn is nobody's
        self._failure: BaseException | None = None
        self._is_cancelled = False

    def to_the_end(self, choose: Choose) -> None:
        """Run all invokes."""
        threads = [threading.Thread(target=self._body, args=(number,), daemon=True) for number in self._live]
        for thread in threads:
            thread.start()
        try:
            while self._live and self._failure is None:
                if len(self.slices) == SLICES_MAX:
                    raise AssertionError(self.story(f"the invokes have not ended after {SLICES_MAX:,} slices"))
                self._turn[choose(list(self._live))].release()
                self._back.acquire()
        finally:
            self._is_cancelled = True
            for number in list(self._live):
                self._turn[number].release()
            for thread in threads:
                thread.join()
        if self._failure is not None:
            raise self._failure

    def story(self, reason: str) -> str:
        """What an error says."""
        names = [f"{number}: {invoke}" for number, invoke in enumerate(self.invokes)]
        steps = [f"  {number} {what}" for number, what in self.slices[:100]]
        rest = len(self.slices) - len(steps)
        lines = [reason, "", "of the invokes", *(f"  {name}" for name in names), "in this order:", *steps]
        lines += [f"  … and {rest} slices more"] if rest else [f"results: {self.results}"]
        return "\n".join([*lines, f"only={[number for number, _ in self.slices]}"])

    def _body(self, number: int) -> None:
        self._turn[number].acquire()
        try:
            if not self._is_cancelled:
                self.results[number] = self._invoke(number)
                self.slices.append((number, "to its end"))
        except _CancelledError:
            pass
        except BaseException as failure:
            self._failure = failure
        self._live.remove(number)
        self._back.release()

    def _invoke(self, number: int) -> Any:
        invocation = self.invokes[number]._prepared(self.store)

        def pause(what: str) -> None:
            self.slices.append((number, what))
            self._back.release()
            self._turn[number].acquire()
            if self._is_cancelled:
                raise _CancelledError

        while True:
            task = self.store.begin(invocation.isolation, _Stepped if self._at == "calls" else Task)
            if isinstance(task, _Stepped):
                task.pause = pause
            result: Any = None
            is_done = False
            try:
                result = invocation.run(task, lambda: pause("to a yield"))
                is_done = True
            except ExtensionFault as fault:
                result = fault
            if self._at == "calls" and is_done and invocation.isolation == Isolation.WRITES:
                pause("to its commit")
            if task.end(is_done):
                return result
            pause("to its end, in vain: what it has read was changed, and it begins anew")


class _Stepped(Task):
    """A task that lets others run before each call of the store but its first."""

    pause: Callable[[str], None]
    has_called = False

    def _step(self, name: str) -> None:
        if self.has_called:
            self.pause(f"to db.{name}")
        self.has_called = True

    def get(self, table: int, key: int | Bytes) -> View | None:
        self._step("get")
        return super().get(table, key)

    def exists(self, table: int, key: int | Bytes) -> bool:
        self._step("exists")
        return super().exists(table, key)

    def version(self, table: int, key: int | Bytes) -> int:
        self._step("version")
        return super().version(table, key)

    def put(self, table: int, key: int | Bytes, value: int | Bytes, ttl: float | None = None) -> None:
        self._step("put")
        super().put(table, key, value, ttl)

    def put_if(self, table: int, key: int | Bytes, value: int | Bytes, version: int, ttl: float | None = None) -> bool:
        self._step("put_if")
        return super().put_if(table, key, value, version, ttl)

    def expire(self, table: int, key: int | Bytes, ttl: float) -> bool:
        self._step("expire")
        return super().expire(table, key, ttl)

    def persist(self, table: int, key: int | Bytes) -> bool:
        self._step("persist")
        return super().persist(table, key)

    def ttl(self, table: int, key: int | Bytes) -> float:
        self._step("ttl")
        return super().ttl(table, key)

    def add(self, table: int, key: int | Bytes, n: int) -> int:
        self._step("add")
        return super().add(table, key, n)

    def delete(self, table: int, key: int | Bytes, version: int | None = None) -> bool:
        self._step("delete")
        return super().delete(table, key, version)
