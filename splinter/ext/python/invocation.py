"""One invoke of an extension under CPython: what is made of the extension, and how its errors are told."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
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
from splinter.ext.views import Buffer, View, one_nan


@dataclass(frozen=True)
class Loaded:
    """An extension, ready to run."""

    program: Program
    python: Callable[..., Any]
    filename: str


def load(function: Callable[..., Any] | str) -> Loaded:
    """Check an extension, given as a function or as source text. Raises :class:`CompileError`."""
    source, filename, before = (function, "<source>", 0) if isinstance(function, str) else source_of(function)
    findings = Findings(source, filename)
    module = parse(source, findings)
    desugar(module)
    name = None if isinstance(function, str) else function.__name__
    program = check(choose(module, name, findings), check_library(module, findings), None, findings)
    return Loaded(program, python_function(program, filename, before), filename)


class Invocation:
    """An extension and its arguments. Raises :class:`BadArgumentsError` when they do not fit its signature."""

    def __init__(self, loaded: Loaded, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._loaded = loaded
        signature = loaded.program.signature
        signature.pack(args, kwargs)
        values = dict(zip(loaded.program.extension.parameters, args, strict=False)) | kwargs
        self._arguments = {name: View(value) if isinstance(value, bytes) else value for name, value in values.items()}
        self.name = signature.name
        self.isolation: Isolation = loaded.program.isolation

    def run(self, db: Store, at_yield: Callable[[], None] = lambda: None) -> Any:
        """Run it once from its beginning to its end, and return its result. ``at_yield`` is called at each of its own yields.

        Raises :class:`ExtensionFault` for errors inside of it.
        """
        filename = self._loaded.filename
        try:
            result = self._loaded.python(db, **self._arguments)
            if isinstance(result, Generator):
                result = _drive(result, at_yield)
        except ExtensionFault as fault:
            raise ExtensionFault(fault.error, self.name, _line(fault.__traceback__, filename)) from fault
        except Error as raised:
            line = _line(raised.__traceback__, filename)
            code = int(raised.code) & 0xFFFFFFFFFFFFFFFF
            raise ExtensionFault(ExtensionError.RAISED, self.name, line, code) from raised
        except (ZeroDivisionError, IndexError, AssertionError, TypeError, AttributeError) as error:
            if isinstance(error, TypeError | AttributeError) and "NoneType" not in str(error):
                raise  # not the extension's doing: nothing but None can have a wrong type in a checked function
            line = _line(error.__traceback__, filename)
            raise ExtensionFault(_error_of(error), self.name, line) from error
        if isinstance(result, tuple):
            return tuple(map(_result, result))
        return _result(result)


def _result(value: Any) -> Any:
    """A result, or one of several, as it arrives."""
    if isinstance(value, float):
        return one_nan(value)
    return bytes(value) if isinstance(value, View | Buffer) else value


def _drive(generator: Any, at_yield: Callable[[], None]) -> Any:
    """Resume a generator until it returns."""
    while True:
        try:
            next(generator)
        except StopIteration as stop:
            return stop.value
        at_yield()


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
