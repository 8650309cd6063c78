"""Extensions as Python functions, in a store of this process."""

from __future__ import annotations

import inspect

import pytest

from splinter.errors import BadArgumentsError, CompileError, SplinterError
from splinter.ext import Error, ExtensionFault, LocalStore, Store, View, extension, i64, u64
from splinter.ext.abi import ExtensionError
from splinter.ext.compile import compile_source
from splinter.ext.front.source_of import source_of
from tests.support.runner import Runner


@extension
def chain(db: Store, start: u64, limit: u64) -> u64:
    """Follow a chain of keys."""
    at = start
    for _ in range(limit):
        node = db.get(table=1, key=at)
        if node is None:
            return at
        at = node.u64(0)
        yield
    assert at != start, "a circle"
    return at


STEP = 3


def next_key(key: u64) -> u64:
    return key + STEP


@extension
def stride(db: Store, start: u64) -> u64:
    """Uses a helper function and a constant of this module."""
    while db.exists(1, start):
        start = next_key(start)
    if start > 100:
        raise Error(start)
    return start


@extension
def refused(db: Store) -> u64:
    return db.open(7)


def test_a_function_runs_unchanged() -> None:
    store = LocalStore()
    for key in range(5):
        store.put(1, key, key + 1)
    assert store.invoke(chain, 0, limit=100) == 5
    assert store.invoke(chain, start=2, limit=1) == 3
    plain = chain(store, 0, 100)  # Python's own generator, without the checks
    with pytest.raises(StopIteration) as stopped:
        while True:
            next(plain)
    assert stopped.value.value == 5


def test_errors_name_the_line_of_the_file() -> None:
    store = LocalStore()
    store.put(1, 7, 7)
    with pytest.raises(ExtensionFault) as caught:
        store.invoke(chain, 7, 3)
    lines, first = inspect.getsourcelines(chain)
    assert caught.value.error == ExtensionError.ASSERTION
    assert caught.value.line == first + next(i for i, line in enumerate(lines) if "assert" in line)
    assert "assertion failed" in str(caught.value)


def test_a_function_comes_with_what_it_uses() -> None:
    store = LocalStore()
    for key in (0, 3, 6, 99):
        store.put(1, key, b"")
    assert store.invoke(stride, 0) == 9
    source, filename, before = source_of(stride)
    assert filename == __file__ and before == 0
    assert source.count("def ") == 2 and "STEP = 3" in source
    with Runner(store) as runner:
        assert runner.run(compile_source(source), 0) == 9
        with pytest.raises(ExtensionFault) as compiled:
            runner.run(compile_source(source), 99)
    with pytest.raises(ExtensionFault) as interpreted:
        store.invoke(stride, 99)
    for caught in (compiled, interpreted):
        assert (caught.value.error, caught.value.code) == (ExtensionError.RAISED, 102)
        assert caught.value.line == inspect.getsourcelines(stride)[1] + 6


def test_a_function_inside_of_another_comes_alone() -> None:
    @extension
    def fine(db: Store, a: u64) -> u64:
        return 7 // a

    assert LocalStore().invoke(fine, 7) == 1
    with pytest.raises(ExtensionFault) as caught:
        LocalStore().invoke(fine, 0)
    assert caught.value.line == inspect.getsourcelines(fine)[1] + 2


def test_refusals() -> None:
    store = LocalStore()
    with pytest.raises(CompileError):
        store.invoke(refused)
    with pytest.raises(BadArgumentsError):
        store.invoke(chain, -1, 5)
    with pytest.raises(SplinterError, match="source"):
        store.invoke(eval("lambda db: 1"))


def test_store_checks_as_the_server_does() -> None:
    store = LocalStore()
    for action, error in [
        (lambda: store.get(-1, 1), ExtensionError.TABLE),
        (lambda: store.get(0xFF00, 1), ExtensionError.TABLE),
        (lambda: store.get(1, b""), ExtensionError.KEY),
        (lambda: store.put(1, b"x" * 256, 1), ExtensionError.KEY),
        (lambda: store.put(1, b"x", bytes(65537)), ExtensionError.VALUE),
    ]:
        with pytest.raises(ExtensionFault) as caught:
            action()
        assert caught.value.error == error


def test_views() -> None:
    view = View(bytes(range(250, 256)) + bytes(10))
    assert (view.u8(0), view.i8(0), view.u16(0), view.i16(0)) == (250, -6, 0xFBFA, -1030)
    assert (view.u32(0), view.i32(0), view.u64(0)) == (0xFDFCFBFA, -33752070, 0x0000FFFEFDFCFBFA)
    assert view.i64(0) == 0x0000FFFEFDFCFBFA and view[-16] == 250 and len(view[3:5]) == 2
    assert view[0:2] == b"\xfa\xfb" and view[0:2] == View(b"\xfa\xfb") and view != b""
    assert bytes(view[4:]) == b"\xfe\xff" + bytes(10)
    for offset in (-1, 9, 2**63):
        with pytest.raises(ExtensionFault):
            view.u64(offset)


def test_conversions() -> None:
    assert u64(2**64 - 1) == 2**64 - 1 and i64(-(2**63)) == -(2**63)
    for convert, value in ((u64, -1), (u64, 2**64), (i64, 2**63), (i64, -(2**63) - 1)):
        with pytest.raises(ExtensionFault):
            convert(value)
