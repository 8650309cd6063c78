"""Random programs give the same result, or the same error on the same line, compiled and under CPython."""

from __future__ import annotations

import ast
import operator
import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splinter.errors import CompileError
from splinter.ext.compile import compile_source
from splinter.ext.front.diagnostics import Diagnostic
from splinter.limits import TABLES_MAX
from tests.support.forms import FORMS, prepare

EXAMPLES = int(os.environ.get("SPLINTER_FUZZ_EXAMPLES", "150"))
ORDINARY = settings(max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES <= 150, suppress_health_check=list(HealthCheck))
I64_VALUES = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.integers(-10, 10), st.sampled_from([-(2**63), 2**63 - 1, 63, 64, -1, 2**32])
)
U64_VALUES = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 10), st.sampled_from([2**63, 2**64 - 1, 2**32]))
DEPTH = 3
OBJECTS = {(1, (1).to_bytes(8, "little")): (12345).to_bytes(8, "little")}
TAKE_A_TABLE = {"get", "exists", "version", "put", "put_if", "add", "delete", "expire", "persist", "ttl", "multiget"}
CONSTANT_BITS = 128  # of intermediate results of constants
UNARY = {ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Invert: operator.invert}
BINARY = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod, ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.BitXor: operator.xor,
    ast.LShift: operator.lshift, ast.RShift: operator.rshift,
}  # fmt: skip


class Writer:
    """Writes a random program, well-typed by construction: signed and unsigned expressions meet only where they may."""

    def __init__(self, draw: st.DrawFn, is_helper: bool = False) -> None:
        self.draw = draw
        self.is_helper = is_helper

    def pick(self, *options: str) -> str:
        return options[self.draw(st.integers(0, len(options) - 1))]

    def signed(self, depth: int) -> str:
        """An expression of type i64 or nat."""
        choice = self.draw(st.integers(0, 19)) if depth else self.draw(st.integers(0, 5))
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
                return f"k.{self.pick('u8', 'i8', 'u16', 'i16', 'u32', 'i32', 'i64')}({self.index(depth - 1)})"
            case 16:
                return f"k[{self.index(depth - 1)}]"
            case 17:
                return f"len(k[{o()}:{o()}])"
            case 18:
                return self.pick("crc32(k)", f"crc32(k[{o()}:])", "crc32(m)", "len(c)", "db.tenant()")
        bits = self.pick("popcount", "clz", "ctz")
        return self.pick(f"{bits}({self.unsigned(depth - 1)})", f"rotl32({self.unsigned(0)} & 0xFFFFFFFF, {self.unsigned(0)})")

    def unsigned(self, depth: int) -> str:
        """An expression of type u64 or nat."""
        choice = self.draw(st.integers(0, 14)) if depth else self.draw(st.integers(0, 5))
        if choice <= 3:
            return self.pick("u", "w", "len(k)")
        if choice <= 5:
            return str(self.draw(U64_VALUES))
        e = lambda: self.unsigned(depth - 1)  # noqa: E731
        match choice:
            case 6 | 7 | 8:
                return f"(u64({e()}) {self.pick('+', '-', '*', '//', '%', '&', '|', '^', '<<', '>>')} {e()})"
            case 9:
                sign = self.pick("+", "-", "*", "<<", "^")
                return f"(({e()} {sign} {self.either(depth - 1)}) & 0xFFFFFFFFFFFFFFFF)"
            case 10:
                return f"u64({self.signed(depth - 1)})"
            case 11:
                return f"({e()} if {self.condition(depth - 1)} else {e()})"
            case 12:
                return f"{self.pick('min', 'max')}({e()}, {e()})"
            case 13:
                return f"rotl64({e()}, {self.pick('7', '63', 'u', 'w')})"
        return self.pick("hash64(k)", "hash64(m)", f"db.version({self.table()}, {self.key()})")

    def index(self, depth: int) -> str:
        """Mostly one that is there, or programs would not come far."""
        return self.pick("0", "1", "-1", "0") if self.draw(st.integers(0, 3)) else self.either(depth)

    def table(self) -> str:
        return "1" if self.draw(st.integers(0, 15)) else self.either(1)

    def key(self) -> str:
        """What a key may be: few of them, so that programs meet what they have put."""
        return self.pick("1", "1", "2", "3", "x", "y", "k", "m") if self.draw(st.integers(0, 4)) else self.either(1)

    def view(self) -> str:
        return self.pick("k", "k[1:]", "m", "m[:2]", "b'constant'", "v")

    def floating(self, depth: int) -> str:
        """An expression of type f64."""
        if not depth:
            return self.pick("f", "1.5", "-0.25", "1e18", "f64(x)", "f64(u)")
        e = lambda: self.floating(depth - 1)  # noqa: E731
        operation = f"({e()} {self.pick('+', '-', '*', '/')} {e()})"
        function = f"{self.pick('floor', 'exp', 'log', 'sqrt', 'abs')}({e()})"
        extreme = f"{self.pick('min', 'max')}({e()}, {e()})"
        return self.pick(operation, function, function, extreme, f"({e()} if {e()} < {e()} else {e()})")

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
        choice = self.draw(st.integers(-7, 20)) if depth else self.draw(st.integers(-5, 17))
        match choice:
            case -7:
                keys, size = self.pick("k", "m", "k[1:]", "v"), self.pick("1", "1", "1", "2", "8", "x", "w")
                head = f"for g in db.multiget({self.table()}, {keys}, {size}):\n    if g is not None:\n        y = len(g)"
                return f"{head}\n{indent(self.block(depth - 1))}"
            case -6:
                over, size = self.pick("k", "k[1:]", "m[:]"), self.pick("1", "1", "1", "2", "3", "x")
                return f"for r in {over}.records({size}):\n{indent(self.block(depth - 1))}\n    y = r[0]"
            case -5:
                return f"c[{self.index(0)}] = {self.pick('len(k)', '7', self.either(1))}"
            case -4:
                return f"x = c[{self.index(1)}]"
            case -3:
                return f"m.append{self.pick('_u8', '_u16', '_i32_be', '_i64')}({self.pick('5', 'len(m)', self.either(1))})"
            case -2:
                place = self.index(1)
                return self.pick("m.append(k)", "m.clear()", "x = len(m)", f"y = m.i32({place})", f"m.set_u8({place}, 7)")
            case -1:
                return f"f = {self.floating(2)}\ny = i64(f)"
            case 0 | 1:
                return f"{self.pick('a', 'b', 'x', 'y', 'u', 'w')} = {self.either(DEPTH)}"
            case 2 | 3:
                return f"{self.pick('a', 'b', 'x', 'y')} {self.pick('+=', '-=', '*=', '^=', '>>=')} {self.signed(DEPTH)}"
            case 4 | 5:
                return f"{self.pick('u', 'w')} {self.pick('+=', '-=', '*=', '^=', '>>=')} {self.unsigned(DEPTH)}"
            case 6:
                ttl = self.pick("", "", ", ttl=60", ", ttl=f", ", ttl=0.5", ", ttl=w")
                return f"db.put({self.table()}, {self.key()}, {self.pick(self.either(2), self.view())}{ttl})"
            case 7:
                return f"v = db.get({self.table()}, {self.key()})"
            case 8:
                return f"if v is not None:\n    x = v.i64({self.index(1)})"
            case 9:
                place = f"{self.table()}, {self.key()}"
                lasting = self.pick(f"persist({place})", f"expire({place}, {self.pick('9', 'f', 'x')})")
                return self.pick(
                    f"y = int(db.{self.pick('delete', 'exists')}({place}))", f"y = int(db.{lasting})", f"f = db.ttl({place})"
                )
            case 10:
                return f"assert {self.condition(2)}"
            case 11:
                return "y = 0" if self.is_helper else "yield"
            case 12:
                deleted = f"y = int(db.delete(1, {self.key()}, {self.pick('w', 'version=w', self.either(1))}))"
                added = f"w = db.add({self.table()}, {self.key()}, {self.either(1)})"
                return self.pick(f"w = db.version(1, {self.key()})", deleted, added)
            case 13:
                version = self.pick("w", "w", "0", self.either(1))
                ttl = self.pick("", ", ttl=2.5")
                return f"y = int(db.put_if(1, {self.key()}, {self.pick('7', self.view())}, {version}{ttl}))"
            case 14:
                return f"db.log({self.view()})"
            case 15:
                return f"if {self.condition(1)}:\n    raise Error({self.either(1)})"
            case 16:
                return "\n".join(self.call() for _ in range(self.draw(st.integers(8, 20))))
            case 17:
                return self.help()
            case 18:
                return f"if {self.condition(2)}:\n{indent(self.block(depth - 1))}\nelse:\n{indent(self.block(depth - 1))}"
            case 19:
                bounds = [self.draw(st.integers(-3, 9)) for _ in range(2)]
                leave = self.pick("", "\n    if x > y:\n        break", "\n    if a == n0:\n        continue\n    w = 1")
                step = self.pick("1", "2", "-1", "-3")
                head = f"n0 = -9\nfor n0 in range({bounds[0]}, {bounds[1]}, {step}):"
                return f"{head}\n{indent(self.block(depth - 1))}{leave}"
        name = f"n{depth}"
        return f"{name} = 0\nwhile {name} < 5 and ({self.condition(2)}):\n    {name} += 1\n{indent(self.block(depth - 1))}"

    def call(self) -> str:
        """A short call of the store: many in a row are cut by checkpoints."""
        key = self.pick("1", "2", "3", "x", "y", "1" if self.draw(st.integers(0, 3)) else "k")
        get, version = f"v = db.get(1, {key})", f"w = db.version(1, {key})"
        put, put_if = f"db.put(1, {key}, {self.pick('x', 'w', 'm', 'k')})", f"y = int(db.put_if(1, {key}, x, w))"
        add, delete_if = f"w = db.add(1, {key}, {self.pick('x', 'w', '7', '-7')})", f"y = int(db.delete(1, {key}, version=w))"
        expire, left = self.pick(f"y = int(db.expire(1, {key}, 60))", f"y = int(db.persist(1, {key}))"), f"f = db.ttl(1, {key})"
        deletes = f"y = int(db.delete(1, {key}))"
        return self.pick(get, version, put, put_if, add, delete_if, deletes, expire, left, "db.log(m)")

    def help(self) -> str:
        """A call of the helper functions, but not from within one."""
        if self.is_helper:
            return "y = len(m)"
        number = f"x = h(db, c, m, {self.signed(1)}, {self.signed(0)}, {self.unsigned(1)}, {self.pick('k', 'm', 'k[2:]')})"
        return self.pick(number, number, f"x, w = both({self.signed(1)}, u)", "v = maybe(db, x, k)")


def indent(text: str) -> str:
    return "\n".join("    " + line for line in text.split("\n"))


_VARIABLES = """    x: i64 = 1
    y: i64 = 2
    w: u64 = 3
    v = db.get(1, 1)
    f = 0.5
"""
_FIXED = """def both(x: i64, u: u64) -> tuple[i64, u64]:
    return x - 1, u
def maybe(db: Store, x: i64, k: bytes) -> bytes | None:
    if x % 3 == 0:
        return None
    return db.get(1, x) if x % 3 == 1 else k[x:]
"""


@st.composite
def programs(draw: st.DrawFn) -> str:
    writer, helper = Writer(draw), Writer(draw, is_helper=True)
    return (
        f"{_FIXED}def h(db: Store, c: array[i32], m: Buffer, a: i64, b: i64, u: u64, k: bytes) -> i64:\n{_VARIABLES}"
        f"{indent(helper.block(1))}\n    return {helper.signed(1)}\n"
        f"@extension\ndef p(db: Store, a: i64, b: i64, u: u64, k: bytes) -> i64:\n{_VARIABLES}"
        f"    c = array(i32, 5)\n    m = buffer(24)\n{indent(writer.block(2))}\n    return {writer.either(DEPTH)}\n"
    )


class Constants:
    """The expressions of a source that consist of constants only, which the generator combines freely: why it is refused."""

    def __init__(self, source: str) -> None:
        self.beyond_i64: set[int] = set()  # lines: what is there is u64, though it stands where an i64 does
        self.impossible: set[int] = set()  # lines of what is no number of 64 bits
        self.no_table: set[int] = set()  # lines of calls of the store with a table that cannot be
        self._visit(ast.parse(source))

    def _visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in TAKE_A_TABLE:
            table = self._value(node.args[0])
            if table is not None and not 0 <= table < TABLES_MAX:
                self.no_table.add(node.args[0].lineno)
        value = self._value(node) if isinstance(node, ast.BinOp | ast.UnaryOp) else None
        if value is None:
            for child in ast.iter_child_nodes(node):
                self._visit(child)
        elif not -(2**63) <= value < 2**64:
            self.impossible.add(node.lineno)
        elif value >= 2**63:
            self.beyond_i64.add(node.lineno)

    def _value(self, node: ast.AST) -> int | None:
        """Its exact value; None when it is not of constants only. Goes on with 1 for what cannot be computed."""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, int) else None
        if isinstance(node, ast.UnaryOp) and type(node.op) in UNARY:
            operand = self._value(node.operand)
            return None if operand is None else UNARY[type(node.op)](operand)
        if not isinstance(node, ast.BinOp) or type(node.op) not in BINARY:
            return None
        left, right = self._value(node.left), self._value(node.right)
        if left is None or right is None:
            return None
        is_shift = isinstance(node.op, ast.LShift | ast.RShift)
        if (is_shift and not 0 <= right < CONSTANT_BITS) or (isinstance(node.op, ast.FloorDiv | ast.Mod) and right == 0):
            value = None
        else:
            value = BINARY[type(node.op)](left, right)
        if value is None or value.bit_length() > CONSTANT_BITS:
            self.impossible.add(node.lineno)
            return 1
        return value

    def explain(self, finding: Diagnostic) -> bool:
        """Whether a program that is otherwise right is refused for this reason, on this line."""
        lines = {"mixed-signs": self.beyond_i64, "constant": self.impossible, "table": self.no_table}
        return finding.line in lines.get(finding.rule, ())


@ORDINARY
@given(programs(), I64_VALUES, I64_VALUES, U64_VALUES, st.binary(max_size=20), st.sampled_from([1, 3, 1000]))
def test_programs_agree(source: str, a: int, b: int, u: int, k: bytes, budget: int) -> None:
    try:
        (prepared,) = prepare(source, forms=FORMS[:2])
    except CompileError as error:
        constants = Constants(source)
        assert error.diagnostics
        assert all(map(constants.explain, error.diagnostics)), error
        return
    prepared.agree(a, b, u, k, objects=OBJECTS, budget=budget)


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


def test_a_refusal_has_its_reason_on_its_line() -> None:
    lines = ["a = 1 + 2**0 if a else 3", "a = (1 << 62) + (1 << 62)", "a = 1 + 7 // 0", "db.put(-1 + 0, 1, 1)", "a = -(2)"]
    constants = Constants("\n".join(lines))
    assert (constants.beyond_i64, constants.impossible, constants.no_table) == ({2}, {3}, {4})
    assert constants.explain(Diagnostic(2, 1, "mixed-signs", ""))
    assert not constants.explain(Diagnostic(1, 1, "mixed-signs", ""))
    assert not constants.explain(Diagnostic(2, 1, "type", ""))
