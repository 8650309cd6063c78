"""A store in this process that runs extensions under CPython, for tests and the debugger."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import Any

from splinter.ext.abi import ExtensionError, Isolation
from splinter.ext.author import Error, Store
from splinter.ext.faults import ExtensionFault
from splinter.ext.front.check import check, check_library
from splinter.ext.front.checked import Program
from splinter.ext.front.desugar import desugar
from splinter.ext.front.diagnostics import Findings
from splinter.ext.front.parse import choose, parse
from splinter.ext.front.source_of import source_of
from splinter.ext.python.instrument import python_function
from splinter.ext.python.transaction import Place, Transaction
from splinter.ext.types import I64_MAX, I64_MIN, U64_MAX, WORD_BYTES
from splinter.ext.views import Buffer, Bytes, View, one_nan
from splinter.limits import (
    KEY_BYTES_MAX,
    LOG_TEXT_BYTES_MAX,
    OBJECT_HEADER_BYTES,
    TABLES_MAX,
    TASK_PUT_BYTES_MAX,
    VALUE_BYTES_MAX,
)


def as_bytes(value: int | Bytes | None) -> bytes:
    """A key or value as the store keeps it: an integer is its 8 bytes, little-endian, two's complement."""
    if value is None:
        raise ExtensionFault(ExtensionError.NONE)
    if isinstance(value, int):
        return int(value).to_bytes(WORD_BYTES, "little", signed=value < 0)
    return bytes(value)


def _check_table(table: int) -> None:
    if not 0 <= table < TABLES_MAX:
        raise ExtensionFault(ExtensionError.TABLE)


class LocalStore(Store):
    """Objects in a dict. ``invoke`` runs an extension on them, exactly as a server would, but under CPython."""

    def __init__(self) -> None:
        self.objects: dict[Place, bytes] = {}
        self.versions: dict[Place, int] = {}
        self.tenant_id = 1
        self.logged: list[bytes] = []  # what extensions wrote into the debug log
        self._last_version = 0
        self._task_put_bytes: int | None = None  # None: no task runs, and puts are the test's own
        self._transaction = Transaction(Isolation.NONE_WRITES)
        self._loaded: dict[Any, tuple[Program, Callable[..., Any], str]] = {}

    def get(self, table: int, key: int | Bytes) -> View | None:
        value = self.objects.get(self._read(table, key))
        return None if value is None else View(value)

    def exists(self, table: int, key: int | Bytes) -> bool:
        return self.get(table, key) is not None

    def put(self, table: int, key: int | Bytes, value: int | Bytes) -> None:
        self._put(table, key, value, None)

    def version(self, table: int, key: int | Bytes) -> int:
        place = self._read(table, key)
        return self.versions.get(place, 0) if place in self.objects else 0

    def put_if(self, table: int, key: int | Bytes, value: int | Bytes, version: int) -> bool:
        return self._put(table, key, value, version)

    def _put(self, table: int, key: int | Bytes, value: int | Bytes, version: int | None) -> bool:
        """With every check in the order in which compiled code and the worker make them."""
        _check_table(table)
        key, value = as_bytes(key), as_bytes(value)
        if version is not None and not 0 <= version < 1 << 64:
            raise ExtensionFault(ExtensionError.OVERFLOW)
        place = self._place(table, key)
        if len(value) > VALUE_BYTES_MAX:
            raise ExtensionFault(ExtensionError.VALUE)
        self._count_put(place, len(value))
        if version is not None and self.version(table, key) != version:
            return False
        self._write(place, value)
        return True

    def _count_put(self, place: Place, value_bytes: int) -> None:
        """Of a task that puts so many bytes."""
        if self._task_put_bytes is not None:
            put_bytes = self._task_put_bytes + OBJECT_HEADER_BYTES + len(place[1]) + value_bytes
            if put_bytes > TASK_PUT_BYTES_MAX:
                raise ExtensionFault(ExtensionError.QUOTA)
            self._task_put_bytes = put_bytes

    def _write(self, place: Place, value: bytes) -> None:
        self._transaction.write(place, len(value), self._object(place))
        self.objects[place] = value
        self._last_version += 1
        self.versions[place] = self._last_version

    def add(self, table: int, key: int | Bytes, n: int) -> int:
        _check_table(table)
        key = as_bytes(key)
        if not I64_MIN <= n <= I64_MAX:
            raise ExtensionFault(ExtensionError.OVERFLOW)
        place = self._place(table, key)
        self._count_put(place, WORD_BYTES)
        found = self.get(table, key)
        if found is not None and len(found) != WORD_BYTES:
            raise ExtensionFault(ExtensionError.COUNTER)
        total = (0 if found is None else found.u64(0)) + int(n)
        if not 0 <= total <= U64_MAX:
            raise ExtensionFault(ExtensionError.OVERFLOW)
        self._write(place, total.to_bytes(WORD_BYTES, "little"))
        return total

    def multiget(self, table: int, keys: Bytes, size: int) -> Iterator[View | None]:
        _check_table(table)
        if keys is None:
            raise ExtensionFault(ExtensionError.NONE)
        return (self.get(table, key) for key in View(keys).records(size))

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def log(self, text: Bytes) -> None:
        self.logged.append(as_bytes(text)[:LOG_TEXT_BYTES_MAX])

    def tenant(self) -> int:
        return self.tenant_id

    def delete(self, table: int, key: int | Bytes, version: int | None = None) -> bool:
        _check_table(table)
        key = as_bytes(key)
        if version is not None and not 0 <= version < 1 << 64:
            raise ExtensionFault(ExtensionError.OVERFLOW)
        place = self._read(table, key)
        if place not in self.objects or version not in (None, self.versions.get(place, 0)):
            return False
        self._transaction.write(place, 0, self._object(place))
        del self.objects[place]
        return True

    def invoke(self, function: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> Any:
        """Run an extension, given as a function or as source text, to its end and return its result.

        Raises :class:`CompileError` when it is not in the language, :class:`BadArgumentsError` when the arguments do not fit
        its signature, and :class:`ExtensionFault` (an :class:`ExtensionRuntimeError`) for errors inside of it.
        """
        program, python, filename = self._load(function)
        signature = program.signature
        signature.pack(args, kwargs)
        values = dict(zip(program.extension.parameters, args, strict=False)) | kwargs
        prepared = {name: View(value) if isinstance(value, bytes) else value for name, value in values.items()}
        self.begin_task(program.isolation)
        is_done = False
        try:
            result = python(self, **prepared)
            if isinstance(result, Generator):
                result = _drive(result)
            is_done = True
        except ExtensionFault as fault:
            raise ExtensionFault(fault.error, signature.name, _line(fault.__traceback__, filename)) from fault
        except Error as raised:
            line = _line(raised.__traceback__, filename)
            code = int(raised.code) & 0xFFFFFFFFFFFFFFFF
            raise ExtensionFault(ExtensionError.RAISED, signature.name, line, code) from raised
        except (ZeroDivisionError, IndexError, AssertionError, TypeError, AttributeError) as error:
            if isinstance(error, TypeError | AttributeError) and "NoneType" not in str(error):
                raise  # not the extension's doing: nothing but None can have a wrong type in a checked function
            line = _line(error.__traceback__, filename)
            raise ExtensionFault(_error_of(error), signature.name, line) from error
        finally:
            self.end_task(is_done)
        if isinstance(result, tuple):
            return tuple(map(_result, result))
        return _result(result)

    def begin_task(self, isolation: Isolation) -> None:
        """From here on puts count against what one task may put, and a transaction is under way."""
        self._task_put_bytes = 0
        self._transaction = Transaction(isolation)

    def end_task(self, is_done: bool) -> None:
        """From here on puts are not limited. What a transaction has written that is not done goes."""
        self._task_put_bytes = None
        if not is_done:
            self._transaction.undo(self.objects, self.versions)
        self._transaction = Transaction(Isolation.NONE_WRITES)

    def preload(
        self, function: Callable[..., Any] | str, program: Program, python: Callable[..., Any], filename: str = "<source>"
    ) -> None:
        """Keep what has been made of an extension already, for ``invoke``."""
        self._loaded[function] = program, python, filename

    def _read(self, table: int, key: int | Bytes) -> Place:
        place = self._place(table, key)
        self._transaction.read(place)
        return place

    def _object(self, place: Place) -> tuple[bytes, int] | None:
        return (self.objects[place], self.versions.get(place, 0)) if place in self.objects else None

    def _place(self, table: int, key: int | Bytes) -> Place:
        _check_table(table)
        key = as_bytes(key)
        if not 1 <= len(key) <= KEY_BYTES_MAX:
            raise ExtensionFault(ExtensionError.KEY)
        return table, key

    def _load(self, function: Callable[..., Any] | str) -> tuple[Program, Callable[..., Any], str]:
        if function not in self._loaded:
            source, filename, before = (function, "<source>", 0) if isinstance(function, str) else source_of(function)
            findings = Findings(source, filename)
            module = parse(source, findings)
            desugar(module)
            name = None if isinstance(function, str) else function.__name__
            program = check(choose(module, name, findings), check_library(module, findings), None, findings)
            self.preload(function, program, python_function(program, filename, before), filename)
        return self._loaded[function]


def _result(value: Any) -> Any:
    """A result, or one of several, as it arrives."""
    if isinstance(value, float):
        return one_nan(value)
    return bytes(value) if isinstance(value, View | Buffer) else value


def _drive(generator: Any) -> Any:
    """Resume a generator until it returns."""
    while True:
        try:
            next(generator)
        except StopIteration as stop:
            return stop.value


def _line(traceback: TracebackType | None, filename: str) -> int:
    """The innermost line of the extension's source in a traceback."""
    line = 0
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == filename:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line


def _error_of(error: Exception) -> ExtensionError:
    if isinstance(error, ZeroDivisionError):
        return ExtensionError.DIVISION
    if isinstance(error, IndexError):  # of a table of constants
        return ExtensionError.INDEX
    if isinstance(error, AssertionError):
        return ExtensionError.ASSERTION
    return ExtensionError.NONE
