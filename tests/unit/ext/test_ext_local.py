"""Extensions as Python functions, in a store of this process."""

from __future__ import annotations

import inspect

import pytest

from splinter.errors import BadArgumentsError, CompileError, SplinterError
from splinter.ext import ExtensionFault, LocalStore, Store, View, extension, i64, u64
from splinter.ext.abi import ExtensionError


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
