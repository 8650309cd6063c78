"""Compiling ahead what a server runs: each function once, by as many processes as there are cores.

The processes that compile are children that leave nothing but files in the cache (:mod:`splinter.native.cache`), so that one
can be killed at any time. Whoever goes on then loads what they left. What could not be saved, for a full disk or a child that
was killed, is compiled where it is needed, as ever. A start that found everything leaves a record of it
(:mod:`splinter.server.supervisor.warm_record`), so that those after it look at files alone.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numba
from numba import types
from numba.core.ccallback import CFunc
from numba.core.registry import CPUDispatcher, cpu_target

from splinter.native.cache import modules_digest
from splinter.native.callbacks import c_function
from splinter.native.parts import part_of
from splinter.server.processes import fork_child, kill
from splinter.server.supervisor.warm_record import WarmRecord
from splinter.worker.helpers import HELPERS

TRANSPORTS = ("xdp", "udp", "redis")
_LOOPS: dict[str, dict[str, tuple[str, ...]]] = {  # by transport: modules, and what a server calls of them
    "xdp": {"splinter.worker.xdp.loop": ("serve_xdp",), "splinter.worker.chunks": ("fill_all", "recover_chunks")},
    "udp": {"splinter.worker.udp.loop": ("serve_udp",)},
    "redis": {"splinter.worker.resp.door": ()},  # beside one of the others: it has callbacks alone
}
_CALLERS = (  # modules whose Python calls compiled code
    "splinter.durable.logger",
    "splinter.durable.replay",
    "splinter.native.clock",
    "splinter.server.control.registry",
    "splinter.server.control.server",
    "splinter.server.control.tenants",
    "splinter.server.supervisor.recovery",
    "splinter.server.supervisor.seats",
    "splinter.server.supervisor.watchdog",
    "splinter.server.worker_statistics",
    "splinter.store.log",
    "splinter.store.store",
)
_TYPES = {"int": types.int64, "bool": types.boolean}
_LINES = 10  # of a server that compiles
_PROCESSES_MAX = 4  # each takes some 200 MiB


@dataclass(frozen=True)
class Step:
    """One function that is compiled."""

    name: str
    run: Callable[[], bool]  # whether its code was saved
    needs: frozenset[int]  # places of the steps before this one whose code it contains


@dataclass(frozen=True)
class _Code:
    """What is compiled of a function."""

    function: Any  # Numba's
    signature: Any  # of its arguments; a callback's with its result
    source: Any  # the function of Python's
    callee: Any | None  # what others' sources name, for a part of these


def missing(transports: Iterable[str] = TRANSPORTS) -> list[Step]:
    """What the cache lacks of a server's code, callees before their callers; empty when there is nothing to do."""
    places: dict[Any, int] = {}
    steps: list[Step] = []
    for code in _all_code(transports):
        is_loaded = bool(getattr(code.function, "signatures", ()))
        if not is_loaded and not _is_saved(code.function, code.signature):
            needs = _places_of(code.source, places)
            if code.callee is not None:
                places[code.callee] = len(steps)
            steps.append(Step(code.source.__qualname__, _compiling(code.function, code.signature), needs))
    return steps


def remember(transports: Iterable[str] = TRANSPORTS) -> None:
    """Write down that nothing is missing, so that the next start need not look at each function."""
    for transport in transports:
        indexes = [code.function._cache._cache_file._index_path for code in _all_code([transport])]
        WarmRecord(_record_name(transport)).write(indexes)


def compile_ahead(steps: Sequence[Step], tell: Callable[[int, str], None]) -> bool:
    """Run all steps in child processes; ``tell`` hears after each how many are done, and the name of the last.

    Returns whether all were done: a child whose code cannot be saved, or that dies, ends the rest. The children are killed
    when this returns, and when ``tell``, or a signal's handler, raises an exception.
    """
    children: dict[Connection, _Child] = {}
    try:
        for number in range(min(len(steps), len(os.sched_getaffinity(0)), _PROCESSES_MAX)):
            child = _Child(number, steps)
            children[child.connection] = child
        return _hand_out(steps, children, tell)
    finally:
        for child in children.values():
            child.kill()


def at_start(transports: Sequence[str]) -> None:
    """Compile what a server by these transports lacks, and say on standard output how far that is."""
    if all(WarmRecord(_record_name(transport)).holds() for transport in transports):
        return
    steps = missing(transports)
    if steps and not compile_ahead(steps, by_lines(len(steps), print)):
        print("compiling the worker in one process, as its code cannot be saved")
    else:
        remember(transports)


def by_lines(total: int, say: Callable[[str], object]) -> Callable[[int, str], None]:
    """A ``tell`` for :func:`compile_ahead` that says a line at the beginning, and then for each tenth."""

    def tell(done: int, _: str = "") -> None:
        if done == 0 or done * _LINES // total > (done - 1) * _LINES // total:
            say(f"compiling the worker, {done} of {total} functions (only at the first start)")

    tell(0)
    return tell


def _hand_out(steps: Sequence[Step], children: dict[Connection, _Child], tell: Callable[[int, str], None]) -> bool:
    idle, waiting, done = list(children.values()), list(range(len(steps))), set[int]()
    while len(done) < len(steps):
        for place in [place for place in waiting if steps[place].needs <= done][: len(idle)]:
            waiting.remove(place)
            idle.pop().connection.send(place)
        for connection in wait(list(children)):
            assert isinstance(connection, Connection)
            try:
                place = connection.recv()
            except (EOFError, ConnectionError):
                return False
            done.add(place)
            idle.append(children[connection])
            tell(len(done), steps[place].name)
    return True


class _Child:
    """A process that compiles what it is told to."""

    def __init__(self, number: int, steps: Sequence[Step]) -> None:
        self.connection, other = Pipe()
        self._pid, self._pidfd = fork_child(f"splinter-cc{number}", lambda: self._work(other, steps))
        other.close()

    def _work(self, connection: Connection, steps: Sequence[Step]) -> None:
        self.connection.close()
        while (place := _next_place(connection)) is not None:
            if not steps[place].run():
                return  # no other process would see any of it
            connection.send(place)

    def kill(self) -> None:
        """End it, whatever it does."""
        kill(self._pid, self._pidfd)
        self.connection.close()


def _next_place(connection: Connection) -> int | None:
    """Which step a child is to compile; None when whoever told it has gone."""
    try:
        return int(connection.recv())
    except (EOFError, ConnectionError):
        return None


def _record_name(transport: str) -> str:
    """Another one for each change of what is compiled, and of how."""
    modules = [__name__, *_LOOPS[transport], *_CALLERS]
    machine = "\0".join([numba.__version__, sys.version, *map(str, cpu_target.target_context.codegen().magic_tuple())])
    return f"{transport}-{modules_digest(modules)}-{hashlib.sha256(machine.encode()).hexdigest()[:16]}"


def _all_code(transports: Iterable[str]) -> Iterator[_Code]:
    """What servers by these transports run, callees before their callers."""
    entries, callbacks = list(_entries(transports)), _callbacks(transports)
    called = (callee for function in (*(entry.py_func for entry in entries), *callbacks) for callee in _callees(function))
    for function in _in_order(called):
        if (signature := _signature(function)) is not None:
            yield _Code(part_of(function), signature, function.py_func, function)
    for function in entries:
        if (signature := _signature(function)) is not None:
            yield _Code(function, signature, function.py_func, None)
    for callback in callbacks:
        compiled = c_function(callback)
        yield _Code(compiled, compiled._sig, callback, None)


def _callbacks(transports: Iterable[str]) -> list[Callable[..., int]]:
    """What compiled code calls by its address."""
    found: list[Callable[..., int]] = [*HELPERS.values()]
    if "redis" in transports:
        found += import_module("splinter.worker.resp.door").DOOR_FUNCTIONS.values()
    return found


def _entries(transports: Iterable[str]) -> Iterator[Any]:
    """The compiled functions that a server's Python calls, the longest first."""
    found: dict[Any, None] = {}
    for transport in transports:
        for module, names in _LOOPS[transport].items():
            found.update((getattr(import_module(module), name), None) for name in names)
    for caller in _CALLERS:
        named = [function for code in _python(import_module(caller)) for function in _callees(code)]
        found.update(dict.fromkeys(named))
    yield from found


def _python(module: ModuleType) -> Iterator[FunctionType]:
    """The functions and methods of a module that are Python's."""
    for value in vars(module).values():
        if getattr(value, "__module__", "") == module.__name__:
            for each in vars(value).values() if isinstance(value, type) else [value]:
                function = getattr(each, "fget", None) or getattr(each, "__func__", each)
                if isinstance(function, FunctionType):
                    yield inspect.unwrap(function)


def _in_order(roots: Iterable[Any]) -> list[Any]:
    """Compiled functions and all that they call, one through the other; each after its callees."""
    order: dict[Any, None] = {}

    def visit(function: Any) -> None:
        if function not in order:
            for callee in _callees(function.py_func):
                visit(callee)
            order[function] = None

    for root in roots:
        visit(root)
    return list(order)


def _places_of(function: Any, places: dict[Any, int]) -> frozenset[int]:
    """The places of all that a function calls, one through the other, as far as they have one."""
    return frozenset(places[callee] for callee in _in_order(_callees(function)) if callee in places)


@functools.cache
def _callees(function: Any) -> list[Any]:
    """The compiled functions that a function's source names: its own module's, or another's as ``module.function``."""
    named = _named(function.__code__, function.__globals__)
    return [value for value in named if isinstance(value, CPUDispatcher)]


def _named(code: CodeType, scope: dict[str, Any]) -> Iterator[Any]:
    module = None  # that the instruction before loaded
    for instruction in dis.get_instructions(code):
        value = None
        if instruction.opname == "LOAD_GLOBAL":
            value = scope.get(instruction.argval)
        elif module is not None and instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            value = getattr(module, instruction.argval, None)
        module = value if isinstance(value, ModuleType) else None
        yield value
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _named(constant, scope)


def _signature(function: Any) -> tuple[Any, ...] | None:
    """The types of its arguments, by its annotations; None for one that is not compiled alone."""
    if function.targetoptions.get("inline") == "always":
        return None
    annotations = inspect.get_annotations(function.py_func)
    kinds = tuple(_TYPES.get(annotations.get(name, "")) for name in inspect.signature(function.py_func).parameters)
    return None if None in kinds else kinds


def _is_saved(function: Any, signature: Any) -> bool:
    cache = function._cache
    cpu_target.target_context.refresh()
    return cache._index_key(signature, cpu_target.target_context.codegen()) in cache._cache_file._load_index()


def _compiling(function: Any, signature: Any) -> Callable[[], bool]:
    def run() -> bool:
        function.compile(*(() if isinstance(function, CFunc) else (signature,)))
        return _is_saved(function, signature)

    return run
