"""Names that mean something to Python or to LocalStore: refused, or the same compiled and under CPython."""

from __future__ import annotations

import pytest

from splinter.errors import CompileError
from splinter.ext import LocalStore
from splinter.ext.compile import compile_source
from splinter.ext.front.names import AUTHOR_NAMES, PYTHON_NAMES
from splinter.ext.python.invocation import load
from tests.support.runner import Runner

_HEAD = "@extension\ndef f(db: Store, k: bytes) -> u64:\n"
ROLES = {  # of NAME
    "variable": _HEAD + "    NAME = 3\n    NAME += len(k) + u64(1)\n    return NAME\n",
    "declared": _HEAD + "    NAME: u64 = 3\n    a, NAME = 1, 9\n    return NAME + a + len(k)\n",
    "loop": _HEAD + "    c = 0\n    for NAME in range(4):\n        c += NAME + len(k)\n    return u64(c)\n",
    "array": _HEAD + "    NAME = array(u64, 3)\n    NAME[1] = len(k)\n    return NAME[1] + len(NAME)\n",
    "parameter": "@extension\ndef f(db: Store, NAME: bytes) -> u64:\n    return len(NAME) + NAME[0] * min(3, 4)\n",
    "store": "@extension\ndef f(NAME: Store, q: bytes) -> u64:\n    NAME.put(1, q, q)\n    return len(NAME.get(1, q))\n",
    "helper": "def g(a: u64) -> u64:\n    return max(a, 4)\ndef NAME(q: bytes, a: u64) -> u64:\n    return len(q) + a\n"
    "def h(a: u64) -> u64:\n    return min(a, 3)\n" + _HEAD + "    return NAME(k, 3) + h(NAME(a=4, q=k)) + g(1)\n",
    "helper's parameter": "def h(NAME: bytes, a: u64) -> u64:\n    return len(NAME) + a\n"
    + _HEAD
    + "    return h(a=4, NAME=k)\n",
    "constant": "NAME = 7\n" + _HEAD + "    return NAME + len(k) + min(NAME, 3)\n",
}
EXTENSION = """def h(k: bytes) -> u64:
    return len(k) + min(3, 4) + u64(i64(3)) + max(1, 2)
@extension
def NAME(db: Store, k: bytes) -> u64:
    c = buffer(9)
    a = array(u64, 2)
    for i in range(3):
        a[1] += i
    c.append_u8(u8(3) + abs(1))
    return h(k=k) + len(c) + u64(i64(f64(4))) + a[1] + int(bool(1)) + crc32(k) + u64(sqrt(4.0))
"""
PYTHONS = ("__class__", "__name__", "__import__", "__build_class__", "__annotations__", "print", "super", "self", "cls", "args",
           "kwargs", "function", "t", "_", "match", "float", "locals", "AssertionError", "ﬁ")  # fmt: skip


@pytest.mark.parametrize("name", [*sorted(PYTHON_NAMES), "__ｄebug__"])
@pytest.mark.parametrize("role", [*ROLES, "extension"])
def test_what_python_keeps_for_itself_is_refused(role: str, name: str) -> None:
    source = {**ROLES, "extension": EXTENSION}[role].replace("NAME", name)
    for run in (compile_source, load):
        with pytest.raises(CompileError) as caught:
            run(source)
        assert caught.value.diagnostics[0].rule == "reserved-name"  # type: ignore[attr-defined]


@pytest.mark.parametrize("role", ROLES)
def test_what_is_python_s_means_nothing_here(role: str) -> None:
    for name in PYTHONS:
        source = ROLES[role].replace("NAME", name)
        with Runner() as runner:
            assert runner.run(compile_source(source), b"abc") == LocalStore().invoke(source, b"abc"), name
        if role == "parameter" and name.isascii():
            assert LocalStore().invoke(source, **{name: b"abc"}) == LocalStore().invoke(source, b"abc"), name


@pytest.mark.parametrize("name", sorted({*AUTHOR_NAMES, *PYTHONS}))
def test_an_extension_may_be_called_like_what_it_calls(name: str) -> None:
    source = EXTENSION.replace("NAME", name)
    with Runner() as runner:
        assert runner.run(compile_source(source), b"abc") == LocalStore().invoke(source, b"abc")
