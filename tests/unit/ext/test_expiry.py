"""``put(…, ttl=)``, ``expire``, ``persist`` and ``ttl`` in extensions, compiled and under CPython."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest

from splinter.client.arguments import check_ttl
from splinter.errors import CompileError, Status
from splinter.ext import ExtensionFault, LocalStore
from splinter.ext.abi import ExtensionError, Isolation
from splinter.ext.compile import compile_source
from splinter.ext.lifetimes import ttl_ns
from splinter.limits import HELPER_COST, TASK_PUT_BYTES_MAX, TTL_NS_MAX, VALUE_BYTES_MAX
from splinter.testing import Invoke, interleavings
from splinter.worker.lifetimes import BAD
from splinter.worker.lifetimes import ttl_ns as worker_ttl_ns
from tests.support.forms import NOW_NS, prepare, state_of, stopped
from tests.support.runner import Runner
from tests.support.worlds import body, both

ISOLATIONS = pytest.mark.parametrize("decorator", ["@extension", "@extension(isolation='none')"])
KEY = (7).to_bytes(8, "little")
SECOND = 1_000_000_000
OVER = ("TTL", 3)


def program(decorator: str, text: str, parameters: str = "k: u64", result: str = "f64") -> str:
    return body(text, parameters, result).replace("@extension", decorator)


def agree(source: str, *args: Any, objects: dict[tuple[int, bytes], bytes] | None = None) -> Any:
    """The outcome in all forms and under CPython, on stores whose clocks stand still."""
    (prepared,) = prepare(source)
    return prepared.agree(*args, objects=objects or {})


@ISOLATIONS
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("return db.ttl(1, k)", 0.0),
        ("db.put(1, k, 5)\nreturn db.ttl(1, k)", math.inf),
        ("db.put(1, k, 5, ttl=60)\nreturn db.ttl(1, k)", 60.0),
        ("db.put(1, k, 5, 0.25)\nreturn db.ttl(key=k, table=1)", 0.25),
        ("db.put(ttl=k, value=k, key=k, table=1)\nreturn db.ttl(1, k)", 7.0),
        ("db.put(1, k, 5, ttl=60)\ndb.put(1, k, 6)\nreturn db.ttl(1, k)", math.inf),
        ("db.put(1, k, 5)\nassert db.expire(1, k, 9)\nassert db.get(1, k).u64(0) == 5\nreturn db.ttl(1, k)", 9.0),
        ("db.put(1, k, 5, ttl=60)\nassert db.persist(1, k)\nassert db.get(1, k).u64(0) == 5\nreturn db.ttl(1, k)", math.inf),
        ("assert not db.expire(1, k, 9)\nassert not db.persist(1, k)\nreturn f64(int(db.exists(1, k)))", 0.0),
        ("assert db.put_if(1, k, 5, 0, ttl=1.5)\nassert not db.put_if(1, k, 5, 0, 2)\nreturn db.ttl(1, k)", 1.5),
        ("db.put(1, k, 5, ttl=60)\ndb.delete(1, k)\nreturn db.ttl(1, k)", 0.0),
        ("db.put(1, k, 5, ttl=60)\nv = db.version(1, k)\ndb.expire(1, k, 60)\nreturn f64(int(v == db.version(1, k)))", 0.0),
        ("db.put(1, k, 5, ttl=60)\nyield\ndb.add(1, k, 2)\nassert db.get(1, k).u64(0) == 7\nreturn db.ttl(1, k)", 60.0),
        ("db.add(1, k, 2)\nreturn db.ttl(1, k)", math.inf),
        ("db.put(1, k, 5, ttl=1e-9)\nassert db.exists(1, k)\nreturn db.ttl(1, k)", 1e-9),
        ("db.put(1, k, 5, ttl=3_000_000_000)\nreturn db.ttl(1, k)", 3e9),
        ("db.put(1, k, b'', ttl=5)\nyield\nreturn db.ttl(1, k) + 1.0 if db.ttl(1, k) < 6 else 0.0", 6.0),
    ],
)  # fmt: skip
def test_all_worlds_agree(decorator: str, text: str, expected: float) -> None:
    assert agree(program(decorator, text), 7) == expected


@pytest.mark.parametrize("ttl", [0.0, -1.0, -math.inf, math.inf, math.nan, 1e-320, TTL_NS_MAX / 1e9 * 1.001, 1e300])
@pytest.mark.parametrize("call", ["db.put(1, k, 5, ttl=t)", "db.put_if(1, k, 5, 0, ttl=t)", "db.expire(1, k, t)"])
def test_a_ttl_that_cannot_be_ends_the_task(ttl: float, call: str) -> None:
    expected: Any = OVER if ttl != 1e-320 else 1
    source = body(f"{call}\nreturn 1", "k: u64, t: f64", "u64")
    outcome = agree(source, 7, ttl)
    assert outcome == (expected if expected == 1 else (*OVER, 0))


def test_the_error_is_the_clients() -> None:
    assert ExtensionError.TTL.text == Status.BAD_TTL.text
    with pytest.raises(ExtensionFault, match="f, line 3: an object lives for 1 ns to 100 years"):
        LocalStore().invoke(body("db.put(1, 1, 1, ttl=t)", "t: i64", "None"), -5)


@pytest.mark.parametrize(
    "seconds", [1e-9, 1.4e-9, 1.5e-9, 2.5e-9, 3.5e-9, 0.1, 0.3, 1.1, 86400.123456789, 2**31, 3e9, 3_162_240_000]
)
def test_all_take_it_for_as_many_ns(seconds: float) -> None:
    bits = int.from_bytes(struct.pack("<d", float(seconds)), "little", signed=True)
    assert ttl_ns(seconds) == worker_ttl_ns(bits) == check_ttl(seconds)


@pytest.mark.parametrize("seconds", [0.0, -0.0, -1e-9, math.nan, math.inf, -math.inf, 3_162_240_001])
def test_all_refuse_it(seconds: float) -> None:
    bits = int.from_bytes(struct.pack("<d", float(seconds)), "little", signed=True)
    assert (ttl_ns(seconds), worker_ttl_ns(bits)) == (0, BAD)


@pytest.mark.parametrize(
    ("line", "rule", "text"),
    [
        ("db.put(1, 1, 1, ttl=0)", "ttl", "and this is 0 s"),
        ("db.expire(1, 1, -2.5)", "ttl", "and this is -2.5 s"),
        ("db.put_if(1, 1, 1, 0, 4_000_000_000)", "ttl", "and this is 4000000000 s"),
        ("db.put(1, 1, 1, ttl=b'1')", "type", "a number of seconds, and this is bytes"),
        ("db.put(1, 1, 1, ttl=None)", "type", "and this is None"),
        ("db.put(1, 1, 1, ttl=True)", "type", "and this is bool"),
        ("db.expire(1, 1)", "call", "argument `ttl` is missing"),
        ("db.persist(1, 1, 5)", "call", "3 arguments for 2 parameters"),
        ("db.ttl(1)", "call", "argument `key` is missing"),
        ("x: u64 = db.ttl(1, 1)", "type", "f64"),
    ],
)
def test_what_the_compiler_refuses(line: str, rule: str, text: str) -> None:
    with pytest.raises(CompileError) as refused:
        compile_source(body(f"{line}\nreturn 1", "k: u64", "u64"))
    (finding,) = refused.value.diagnostics  # type: ignore[attr-defined]
    assert (finding.rule, finding.line) == (rule, 3) and text in finding.message


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("db.put(70000 + k, b'', 1, ttl=t)", "TABLE"), ("db.put(1, b[:0], 1, ttl=t)", "KEY"), ("db.put(1, k, 1, ttl=t)", "TTL"),
        ("db.expire(70000 + k, b, t)", "TABLE"), ("db.expire(1, b[:0], t)", "KEY"), ("db.expire(1, k, t)", "TTL"),
        ("db.persist(70000 + k, b)", "TABLE"), ("db.persist(1, b[:0])", "KEY"),
        ("db.ttl(70000 + k, b)", "TABLE"), ("db.ttl(1, b[:0])", "KEY"),
    ],
)  # fmt: skip
@ISOLATIONS
def test_the_first_parameter_that_is_wrong_is_told(decorator: str, call: str, error: str) -> None:
    source = program(decorator, f"{call}\nreturn 1", "k: u64, b: bytes, t: f64", "u64").replace("b''", "b[:0]")
    assert agree(source, 7, b"key", -1.0) == (error, 3, 0)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("db.get(1, k) is None", 1), ("db.exists(1, k)", 0), ("db.version(1, k) == 0", 1), ("db.delete(1, k)", 0),
        ("db.expire(1, k, 5)", 0), ("db.persist(1, k)", 0), ("db.add(1, k, 1) == 1", 1), ("db.ttl(1, k) == 0.0", 1),
        ("db.put_if(1, k, 1, 0)", 1),
    ],
)  # fmt: skip
@ISOLATIONS
def test_what_is_over_is_gone_for_every_call(runner: Runner, decorator: str, asked: str, told: int) -> None:
    source = program(decorator, f"return int({asked})", "k: u64", "u64")
    store = runner.store
    for run in (lambda: runner.run(compile_source(source), 7), lambda: store.invoke(source, 7)):
        stopped(store, NOW_NS).put(1, 7, 40, ttl=60)
        stopped(store, NOW_NS + 60 * SECOND - 1)
        assert store.exists(1, 7)
        stopped(store, NOW_NS + 60 * SECOND)
        assert run() == told
        store.delete(1, 7)


def test_an_invoke_has_one_moment() -> None:
    """Its end comes later, and is compared by the clock of then."""
    store = LocalStore()
    store.put(1, 7, 1, ttl=100)
    task = store.begin(Isolation.WRITES)
    first = task.ttl(1, 7)
    store.advance(60)
    assert task.ttl(1, 7) == first
    task.put(1, 9, 1, ttl=5)
    assert task.ttl(1, 9) == 5
    assert task.end(True) and not store.exists(1, 9)  # it lasted longer than its object lives
    task = store.begin(Isolation.WRITES)
    assert task.exists(1, 7)
    task.put(1, 9, 1)
    store.advance(60)
    assert not task.end(True) and not store.exists(1, 9)  # what it has read is over


def test_time_can_be_let_pass() -> None:
    store = LocalStore()
    store.put(1, 7, 1, ttl=60)
    store.put(1, 8, 1)
    before = store.copy()
    store.advance(59)
    assert store.exists(1, 7) and 0 < store.ttl(1, 7) <= 1
    store.advance(1)
    assert not store.exists(1, 7) and set(store.objects) == set(store.versions) == {(1, (8).to_bytes(8, "little"))}
    assert before.exists(1, 7) and store.ttl(1, 8) == math.inf
    for wrong in (-1, math.nan):
        with pytest.raises(ValueError, match="a clock goes ahead"):
            store.advance(wrong)


def test_interleavings_stop_at_each_call() -> None:
    source = (
        "@extension\ndef f(db: Store, k: u64) -> f64:\n    db.expire(1, k, 9)\n    db.persist(1, k)\n    return db.ttl(1, k)\n"
    )
    store = LocalStore()
    store.put(1, 7, 1)
    count = interleavings(
        store, [Invoke(source, 7), Invoke(source, 7)], lambda after, results: results == [math.inf] * 2, at="calls"
    )
    assert count > 20


def test_a_copy_is_paid_for() -> None:
    """A value that may be long is copied: so a task that has others' time copies no second one in the same slice."""
    source = body("for i in range(8):\n    db.expire(1, i, 9)\nreturn 1", "k: u64", "u64")
    with Runner() as runner:
        runner.run(compile_source(source), 7)
        assert runner.resumes >= 8
        runner.run(compile_source(source.replace("db.expire(1, i, 9)", "db.ttl(1, i)")), 7)
        assert runner.resumes <= 2
    assert VALUE_BYTES_MAX // 8 > 8 * HELPER_COST


@ISOLATIONS
def test_copies_count_as_puts(decorator: str) -> None:
    size = VALUE_BYTES_MAX if "none" in decorator else 60_000
    times = TASK_PUT_BYTES_MAX // size + 1
    source = program(decorator, f"for i in range({times}):\n    db.expire(1, k, 9)\nreturn 1", "k: u64", "u64")
    expected = "QUOTA" if "none" in decorator else "TRANSACTION"
    assert agree(source, 7, objects={(1, KEY): bytes(size)}) == (expected, 4, 0)


def test_a_store_tells_its_moments(runner: Runner) -> None:
    """What comparisons of stores rest on: a moment that is another makes them differ."""
    assert both(runner, body("return 1 if db.exists(1, k) else 0", "k: u64", "u64"), 7) == 0
    first, second = stopped(LocalStore()), stopped(LocalStore())
    first.put(1, 7, 1, ttl=5)
    second.put(1, 7, 1, ttl=6)
    assert state_of(first) != state_of(second)
