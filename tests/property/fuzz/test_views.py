"""Random programs over views, buffers, arrays and the store: the same outcome and the same objects, compiled and under CPython.

Every back-edge yields (a budget of 1), so that all that lives goes through the frame. Integers alone are tested in
``tests/property/ext``.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.property.fuzz.fuzzing import FUZZING, Note, hold_in_child
from tests.support.forms import FORMS, prepare

I64_MIN, I64_MAX, U64_MAX = -(2**63), 2**63 - 1, 2**64 - 1
READS = ("u8", "u16", "u32", "i8", "i16", "i32", "i64", "u16_be", "u32_be", "i64_be")
DEPTH = 2
VALUES = {1: b"", 2: b"a", 3: bytes(range(40)), 4: b"\xff" * 9}
OBJECTS = {(1, key.to_bytes(8, "little")): value for key, value in VALUES.items()}


class Writer:
    """Statements over i64 ``x``, ``y``, ``a``; u64 ``b``; bytes ``k``, ``v``, ``w``; an array ``r`` and a buffer ``o``."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.loops = 0

    def pick(self, *options: str) -> str:
        return self.draw(st.sampled_from(options))

    def number(self, depth: int) -> str:
        match self.draw(st.integers(0, 9 if depth else 4)):
            case 0 | 1:
                return self.pick("x", "y", "a", "len(v)", "len(k)", "len(w)", "len(o)")
            case 2 | 3:
                return str(self.draw(st.integers(-6, 45)))
            case 4:
                return str(self.draw(st.sampled_from([I64_MIN, I64_MAX, -1, 0, 64])))
            case 5:
                return f"{self.view(depth - 1)}.{self.pick(*READS)}({self.number(depth - 1)})"
            case 6:
                return f"{self.view(depth - 1)}[{self.number(depth - 1)}]"
            case 7:
                return f"r[{self.number(depth - 1)}]"
            case 8:
                return f"({self.number(depth - 1)} {self.pick('+', '-', '&', '^')} {self.number(depth - 1)})"
        return f"int({self.view(depth - 1)} {self.pick('==', '!=')} {self.view(depth - 1)})"

    def view(self, depth: int) -> str:
        match self.draw(st.integers(0, 8 if depth else 5)):
            case 0 | 1 | 2 | 3:
                return self.pick("k", "v", "w")
            case 4:
                return "o"
            case 5:
                return self.pick("b'constant'", "b'\\0'", "b'a'")
            case 6 | 7:
                return f"{self.view(depth - 1)}[{self.bound(depth - 1)}:{self.bound(depth - 1)}]"
        return f"({self.pick('k', 'v')} if {self.condition()} else {self.pick('w', 'k')})"

    def bound(self, depth: int) -> str:
        return self.pick("", "b", str(U64_MAX)) if self.draw(st.integers(0, 3)) == 0 else self.number(depth)

    def condition(self) -> str:
        return f"{self.number(1)} {self.pick('<', '<=', '==', '!=')} {self.number(1)}"

    def key(self) -> str:
        return self.pick("1", "2", "3", "4") if self.draw(st.integers(0, 2)) else self.pick("x", "k", "v[0:3]", "o")

    def block(self, depth: int) -> str:
        return "\n".join(self.statement(depth) for _ in range(self.draw(st.integers(1, 5))))

    def statement(self, depth: int) -> str:
        match self.draw(st.integers(0, 14 if depth else 11)):
            case 0 | 1:
                return f"{self.pick('x', 'y')} = {self.number(DEPTH)}"
            case 2 | 3:
                return f"{self.pick('v', 'w')} = {self.pick('k', 'v', 'w')}[{self.bound(1)}:{self.bound(1)}]"
            case 4 | 5:
                return f"g = db.get(1, {self.key()})\nif g is not None:\n    {self.pick('v', 'w')} = g"
            case 6:
                return f"db.put(1, {self.key()}, {self.pick(self.view(1), self.number(1))})"
            case 7:
                return f"y = int(db.{self.pick('delete', 'exists')}(1, {self.key()}))"
            case 8:
                return f"r[{self.pick('x', 'y', '3', '-1', self.number(1))}] {self.pick('=', '=', '+=')} {self.number(1)}"
            case 9:
                return self.pick(f"o.append({self.view(1)})", f"o.append_i64({self.number(1)})", "o.clear()",
                                 f"o.set_u8({self.number(1)}, 7)", f"o.append_u8({self.number(0)} & 255)")  # fmt: skip
            case 10:
                return self.pick("yield", f"assert {self.condition()}", "w = v")
            case 11:
                return f"x = db.get(1, {self.key()}).i64(0)"
            case 12:
                return f"if {self.condition()}:\n{indent(self.block(depth - 1))}\nelse:\n{indent(self.block(depth - 1))}"
        self.loops += 1
        name = f"n{self.loops}"
        leave = self.pick("", "break", "continue")
        if leave:
            leave = f"\n    if {self.condition()}:\n        {leave}\n    x = 1"
        count = self.draw(st.integers(0, 5))
        return f"for {name} in range({count}):\n{indent(self.block(depth - 1))}{leave}"


def indent(text: str) -> str:
    return "\n".join("    " + line for line in text.split("\n"))


@st.composite
def programs(draw: st.DrawFn) -> str:
    writer = Writer(draw)
    start = "x = 1\ny = a\nv = k\nw = k[1:]\nr = array(i64, 4)\no = buffer(48)"
    result = writer.pick("v", "w", "k[a:]", "o", "w[x:y]")
    return (
        "@extension\ndef f(db: Store, a: i64, b: u64, k: bytes) -> bytes:\n"
        f"{indent(start)}\n{indent(writer.block(DEPTH))}\n    o.append_i64(x ^ y ^ r[0])\n    return {result}\n"
    )


def test_views_agree() -> None:
    numbers = st.one_of(st.integers(-5, 45), st.sampled_from([I64_MIN, I64_MAX]))

    def make(note: Note) -> Any:
        @FUZZING
        @given(programs(), numbers, st.sampled_from([0, 3, 40, U64_MAX]), st.binary(max_size=40), st.sampled_from([1, 1, 1000]))
        def holds(source: str, a: int, b: int, k: bytes, budget: int) -> None:
            note(f"{source}\n{a}, {b}, {k!r}")
            (prepared,) = prepare(source, forms=FORMS[:2])
            prepared.agree(a, b, k, objects=OBJECTS, budget=budget)

        return holds

    hold_in_child(make)
