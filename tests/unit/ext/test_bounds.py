"""Sources that would take the compiler too much: each is refused at the place that does."""

from __future__ import annotations

import pytest

from splinter.errors import CompileError
from splinter.ext import LocalStore
from splinter.ext.compile import compile_extensions, compile_source
from splinter.limits import EXPRESSION_DEPTH_MAX, HELPER_DEPTH_MAX, LOOP_DEPTH_MAX
from tests.support.refused import body, findings, rules


def test_helpers_that_nest_too_deeply_are_refused_where_they_do() -> None:
    functions = ["def g0(x: u64) -> u64:\n    return x + 1"]
    functions += [f"def g{i}(x: u64) -> u64:\n    return g{i - 1}(x)" for i in range(1, 300)]
    source = "\n".join(functions) + "\n@extension\ndef f(db: Store) -> u64:\n    return g299(1)\n"
    (found,) = findings(source)
    assert (found.rule, found.column) == ("nesting", 12)
    assert found.line == 2 * (HELPER_DEPTH_MAX // 2) + 2  # each is two levels: the first that is too much


def test_the_deepest_nesting_that_is_accepted_compiles() -> None:
    """Helper functions at their limit, called from an expression at its own, in a caller that is deep itself."""
    functions = ["def g0(x: u64) -> u64:\n    return x + 1"]
    functions += [f"def g{i}(x: u64) -> u64:\n    return g{i - 1}(x) + 1" for i in range(1, HELPER_DEPTH_MAX // 3)]
    deep = EXPRESSION_DEPTH_MAX - 6
    call = "(1 if db.exists(1, a) else " * deep + f"g{len(functions) - 1}(a)" + ")" * deep
    source = "\n".join(functions) + f"\n@extension\ndef f(db: Store, a: u64) -> u64:\n    return {call}\n"

    def compiled(depth: int) -> str:
        return compiled(depth - 1) if depth else compile_source(source).name

    assert compiled(200) == "f"


def nested_loops(depth: int) -> str:
    return "".join(f"{'    ' * i}for x{i} in range(1):\n" for i in range(depth)) + "    " * depth + "a += 1\nreturn u64(a)"


def test_loops_are_nested_as_deep_as_cpython_does() -> None:
    source = body(nested_loops(LOOP_DEPTH_MAX))
    assert compile_source(source)
    assert LocalStore().invoke(source, 1, 2, b"") == 2
    assert rules(body(nested_loops(LOOP_DEPTH_MAX + 1))) == [(LOOP_DEPTH_MAX + 3, LOOP_DEPTH_MAX * 4 + 5, "nesting")]


def test_exponential_inlining_is_bounded() -> None:
    functions = ["def g0(x: u64) -> u64:\n    return x + 1"]
    functions += [f"def g{i}(x: u64) -> u64:\n    return g{i - 1}(x) + g{i - 1}(x)" for i in range(1, 40)]
    source = "\n".join(functions) + "\n@extension\ndef f(db: Store) -> u64:\n    return g39(1)\n"
    assert [d.rule for d in findings(source)] == ["too-large"]


@pytest.mark.parametrize(
    ("kind", "leaf", "calls"),
    [
        ("() -> None", "pass", "{0}()\n    {0}()"),
        ("() -> None", "x: u64", "{0}()\n    {0}()"),
        ("() -> None", "while False:\n        pass", "{0}()\n    {0}()"),
        ("() -> None", "while True:\n        break", "{0}()\n    {0}()"),
        (
            "() -> None",
            "if True:\n        pass",
            "if True:\n        {0}()\n    if False:\n        pass\n    else:\n        {0}()",
        ),
        ("() -> None", f"assert {'not ' * 60}True", "{0}()\n    {0}()"),
        ("(x: u64) -> u64", f"return {'+' * 60}x", "return {0}({0}(x))"),
        ("(x: u64) -> bool", "return True", "return {0}(x) and {0}(x)"),
        ("(x: u64) -> bytes | None", "return None", "y = {0}(x)\n    return {0}(x)"),
        ("(x: u64) -> tuple[u64, u64, u64]", "return x, x, x", "a, b, c = {0}(x)\n    return {0}(x)"),
        ("(x: u64) -> u64", "return len(T)", "x = {0}(x)\n    return {0}(x)"),
    ],
)
def test_inlining_that_leaves_no_instruction_is_bounded(kind: str, leaf: str, calls: str) -> None:
    functions = [f"T = ({'1, ' * 5000})\ndef g0{kind}:\n    {leaf}"]
    functions += [f"def g{i}{kind}:\n    {calls.format(f'g{i - 1}')}" for i in range(1, 38)]
    call = "g37(1)" if "x" in kind else "g37()"
    source = "\n".join(functions) + f"\n@extension\ndef f(db: Store) -> None:\n    {call}\n"
    (finding,) = findings(source)  # a compiler that does not count would not come back
    assert (finding.rule, "to compile" in finding.message) == ("too-large", True)


@pytest.mark.parametrize(
    ("statement", "count", "refused"),
    [("if 1: pass", 4000, []), ("while b: pass", 3300, ["too-large"]), ("assert 1", 4000, []),
     ("db.now_ns()", 2600, ["too-large"])],
)  # fmt: skip
def test_many_simple_statements_count_for_what_they_take(statement: str, count: int, refused: list[str]) -> None:
    """Whatever leaves neither blocks nor instructions is nothing; what leaves either is bounded as any other code."""
    found: list[str] = []
    try:
        compile_source("@extension\ndef f(db: Store, b: bool) -> None:\n" + f"    {statement}\n" * count)
    except CompileError as error:
        found = [finding.rule for finding in error.diagnostics]  # type: ignore[attr-defined]
    assert found == refused


@pytest.mark.parametrize(
    ("line", "count", "reason"),
    [("x = x * 3 & 255", 300, "steps"), ("pass", 300, "steps"), ("x += v.u64(0)", 4, "instructions together")],
)
def test_what_extensions_take_together_is_bounded(line: str, count: int, reason: str) -> None:
    """Each is small enough, and all of them are not."""
    source = "def h(v: bytes, x: u64) -> u64:\n" + f"    {line}\n" * 1000 + "    return x\n"
    for number in range(count):
        source += f"@extension\ndef f{number}(db: Store, v: bytes, x: u64) -> u64:\n    return h(v, x)\n"
    assert compile_source(source, "f1").name == "f1"
    with pytest.raises(CompileError, match=reason):
        compile_extensions(source, every=True)
