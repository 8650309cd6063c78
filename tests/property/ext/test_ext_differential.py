"""Random programs give the same result, or the same error on the same line, compiled and under CPython."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splinter.errors import CompileError
from splinter.ext import ExtensionFault, LocalStore
from splinter.ext.compile import compile_source
from splinter.ext.runner import Runner

EXAMPLES = int(os.environ.get("SPLINTER_FUZZ_EXAMPLES", "150"))
ORDINARY = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES <= 150, suppress_health_check=list(HealthCheck)
)
I64_VALUES = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.integers(-10, 10), st.sampled_from([-(2**63), 2**63 - 1, 63, 64, -1, 2**32])
)
U64_VALUES = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 10), st.sampled_from([2**63, 2**64 - 1, 2**32]))
DEPTH = 3


class Writer:
    """Writes a random program, well-typed by construction: signed and unsigned expressions meet only where they may."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw

    def pick(self, *options: str) -> str:
        return options[self.draw(st.integers(0, len(options) - 1))]

    def signed(self, depth: int) -> str:
        """An expression of type i64 or nat."""
        choice = self.draw(st.integers(0, 17)) if depth else self.draw(st.integers(0, 5))
        if choice <= 3:
            return self.pick("a", "b", "x", "y", "len(k)")
        if choice <= 5:
            return str(self.draw(I64_VALUES))
        e, o = (lambda: self.signed(depth - 1)), (lambda: self.either(depth - 1))
        match choice:
            case 6 | 7 | 8:
                return f"({e()} {self.pick('+', '-', '*', '//', '%', '&', '|', '^', '<<', '>>')} {e()})"
            case 9:
                mask = self.pick("0xFF", "0xFFFFFFFF", "(1 << 63) - 1")
                return f"(({o()} {self.pick('+', '-', '*', '<<', '^', '|')} {o()}) & {mask})"
            case 10:
                return f"{self.pick('-', '~', '+', 'i64', 'abs', 'int')}({e()})"
            case 11:
                return f"i64({o()})"
            case 12:
                return f"({e()} if {self.condition(depth - 1)} else {e()})"
            case 13:
                return f"({e()} if {o()} {self.comparison()} {o()} {self.comparison()} {o()} else 7)"
            case 14:
                return f"{self.pick('min', 'max')}({e()}, {e()}, {e()})"
            case 15:
                return f"k.{self.pick('u8', 'i8', 'u16', 'i16', 'u32', 'i32', 'i64')}({o()})"
            case 16:
                return f"k[{o()}]"
        return f"len(k[{o()}:{o()}])"

    def unsigned(self, depth: int) -> str:
        """An expression of type u64 or nat."""
        choice = self.draw(st.integers(0, 12)) if depth else self.draw(st.integers(0, 5))
        if choice <= 3:
            return self.pick("u", "w", "len(k)")
        if choice <= 5:
            return str(self.draw(U64_VALUES))
        e = lambda: self.unsigned(depth - 1)  # noqa: E731
        match choice:
            case 6 | 7 | 8:
                return f"(u64({e()}) {self.pick('+', '-', '*', '//', '%', '&', '|', '^', '<<', '>>')} {e()})"
            case 9:
                operator = self.pick("+", "-", "*", "<<", "^")
                return f"(({e()} {operator} {self.either(depth - 1)}) & 0xFFFFFFFFFFFFFFFF)"
            case 10:
                return f"u64({self.signed(depth - 1)})"
            case 11:
                return f"({e()} if {self.condition(depth - 1)} else {e()})"
        return f"{self.pick('min', 'max')}({e()}, {e()})"

    def either(self, depth: int) -> str:
        return self.signed(depth) if self.draw(st.booleans()) else self.unsigned(depth)

    def comparison(self) -> str:
        return self.pick("<", "<=", ">", ">=", "==", "!=")

    def condition(self, depth: int) -> str:
        choice = self.draw(st.integers(0, 4)) if depth else 0
        if choice == 1:
            return self.either(depth - 1)
        if choice == 2:
            return f"({self.condition(depth - 1)}) {self.pick('and', 'or')} ({self.condition(depth - 1)})"
        if choice == 3:
            return f"not ({self.condition(depth - 1)})"
        return f"{self.either(max(depth - 1, 0))} {self.comparison()} {self.either(max(depth - 1, 0))}"

    def block(self, depth: int) -> str:
        return "\n".join(self.statement(depth) for _ in range(self.draw(st.integers(1, 4))))

    def statement(self, depth: int) -> str:
        choice = self.draw(st.integers(0, 14)) if depth else self.draw(st.integers(0, 11))
        match choice:
            case 0 | 1:
                return f"{self.pick('a', 'b', 'x', 'y', 'u', 'w')} = {self.either(DEPTH)}"
            case 2 | 3:
                return f"{self.pick('a', 'b', 'x', 'y')} {self.pick('+=', '-=', '*=', '^=', '>>=')} {self.signed(DEPTH)}"
            case 4 | 5:
                return f"{self.pick('u', 'w')} {self.pick('+=', '-=', '*=', '^=', '>>=')} {self.unsigned(DEPTH)}"
            case 6:
                return f"db.put(1, {self.either(2)}, {self.either(2)})"
            case 7:
                return f"v = db.get(1, {self.either(1)})"
            case 8:
                return f"if v is not None:\n    x = v.i64({self.either(1)})"
            case 9:
                return f"y = int(db.delete(1, {self.either(1)}))"
            case 10:
                return f"assert {self.condition(2)}"
            case 11:
                return "yield"
            case 12:
                return f"if {self.condition(2)}:\n{indent(self.block(depth - 1))}\nelse:\n{indent(self.block(depth - 1))}"
            case 13:
                bounds = [self.draw(st.integers(-3, 9)) for _ in range(2)]
                leave = self.pick("", "\n    if x > y:\n        break", "\n    if a == n0:\n        continue\n    w = 1")
                step = self.pick("1", "2", "-1", "-3")
                head = f"n0 = -9\nfor n0 in range({bounds[0]}, {bounds[1]}, {step}):"
                return f"{head}\n{indent(self.block(depth - 1))}{leave}"
        name = f"n{depth}"
        return f"{name} = 0\nwhile {name} < 5 and ({self.condition(2)}):\n    {name} += 1\n{indent(self.block(depth - 1))}"


def indent(text: str) -> str:
    return "\n".join("    " + line for line in text.split("\n"))


@st.composite
def programs(draw: st.DrawFn) -> str:
    writer = Writer(draw)
    return (
        "@extension\ndef f(db: Store, a: i64, b: i64, u: u64, k: bytes) -> i64:\n    x: i64 = 1\n    y: i64 = 2\n"
        f"    w: u64 = 3\n    v = db.get(1, 1)\n{indent(writer.block(2))}\n    return {writer.either(DEPTH)}\n"
    )


def _outcome(action):  # type: ignore[no-untyped-def]
    try:
        return action()
    except ExtensionFault as fault:
        return fault.error.name, fault.line


@ORDINARY
@given(programs(), I64_VALUES, I64_VALUES, U64_VALUES, st.binary(max_size=20), st.sampled_from([1, 3, 1000]))
def test_programs_agree(source: str, a: int, b: int, u: int, k: bytes, budget: int) -> None:
    try:
        compiled = compile_source(source)
    except CompileError as error:
        assert all(finding.rule == "constant" for finding in error.diagnostics), error  # type: ignore[attr-defined]
        return
    local = LocalStore()
    local.put(1, 1, 12345)
    with Runner(budget=budget) as runner:
        runner.store.objects.update(local.objects)
        native = _outcome(lambda: runner.run(compiled, a, b, u, k))
        assert native == _outcome(lambda: local.invoke(source, a, b, u, k))
        assert runner.store.objects == local.objects


@ORDINARY
@given(st.text(max_size=200))
def test_garbage_is_refused(text: str) -> None:
    for source in (text, f"@extension\ndef f(db: Store, a: u64) -> u64:\n    {text}\n    return a"):
        try:
            compile_source(source)
        except CompileError as error:
            assert error.diagnostics


PIECES = st.sampled_from(
    ["db", ".", "get", "put", "(", ")", "a", "k", "u64", "[", "]", ":", "\n    ", "\n        ", "if ", "while ", "for ",
     " in ", "range", "=", "==", "+", "-", "1", "0", ",", "yield", "return ", "None", " is ", "not ", "b'x'", "'s'", "*",
     "**", "lambda ", "else", "def g():", "class C:", "@", "try:", "async ", "await ", "break", "continue", "pass", "assert ",
     "1.5", "2**99", "f'{a}'", "{", "}", "global a", "del ", "import os", "raise", "with ", ":=", "~", "<<", "table=", "key="]
)  # fmt: skip


@ORDINARY
@given(st.lists(PIECES, max_size=25).map("".join))
def test_shuffled_python_is_compiled_or_refused(text: str) -> None:
    try:
        compile_source(f"@extension\ndef f(db: Store, a: u64, k: bytes) -> u64:\n    {text}\n    return a")
    except CompileError as error:
        assert error.diagnostics
        assert all(finding.rule != "internal" for finding in error.diagnostics), error  # type: ignore[attr-defined]
