"""Random programs of the whole language, well-typed by construction: what ``scripts/fuzz --programs`` runs.

A program is made from two numbers, the seed and its own, by Python's generator of random numbers: a million of them cost
little, and any one can be made again. What they are made for: helper functions that return nothing, values that meet at joins
and survive yields, and effects (stores, logs, changes of arrays and buffers, errors) in every operand of every construct.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from tests.property.fuzz.expressions import (
    ELEMENTS,
    FUEL,
    I64_MAX,
    I64_MIN,
    NAMES,
    READS,
    RESULTS,
    STATEMENTS,
    TYPES,
    U64_MAX,
    ExpressionWriter,
    Helper,
    indent,
)


@dataclass(frozen=True)
class Case:
    """A program and what it is run with."""

    source: str
    arguments: tuple[Any, ...]
    budget: int


def make_case(seed: int, number: int, fuel: int = FUEL, kind: type[Program] | None = None) -> Case:
    """The program with this number of this seed; ``fuel`` bounds its size, ``kind`` is what it is made by."""
    random = Random(f"{seed}/{number}")
    program = (kind or Program)(random, fuel)
    source = program.source()
    a = random.choice((0, 1, 2, 5, -1, -7, random.randint(I64_MIN, I64_MAX)))
    u = random.choice((0, 1, 3, 8, 63, random.randint(0, U64_MAX)))
    f = random.choice((0.0, 1.5, -3.0, 1e300, random.random() * 100))
    values = {"a": a, "u": u, "p": random.random() < 0.5, "f": f, "k": _bytes(random)}
    return Case(source, tuple(values[name] for name in program.parameters), random.choice((1, 1, 2, 600, 4096)))


def _bytes(random: Random) -> bytes:
    return bytes(random.choices((0, 1, 2, 97, 98, 255), k=random.choice((0, 1, 2, 8, 9, 16, 24))))


class Program:
    """Helper functions, each of which may call those before it, and an extension."""

    letters = "aupfk"  # parameters that its extension may have
    results = RESULTS

    def __init__(self, random: Random, fuel: int) -> None:
        self.random = random
        self.fuel = fuel
        self.helpers: list[Helper] = []
        self.element = random.choice(ELEMENTS)
        self.parameters = [name for name in self.letters if random.random() < 0.5]  # of the extension

    @property
    def writer(self) -> type[Writer]:
        return Writer

    def source(self) -> str:
        made = [self._helper(number) for number in range(self.random.choice((0, 1, 1, 1, 2)))]
        names = [name for names in NAMES.values() for name in names]
        writer = self.writer(self, "".join(name for name in names if self.random.random() < 0.6), is_helper=False)
        body = writer.start() + writer.block(2, STATEMENTS) + writer.end()
        parameters = "".join(f", {name}: {TYPES[letter]}" for letter, (name, *_) in NAMES.items() if name in writer.given)
        head = f"@extension\ndef f(db: Store{parameters}) -> i64:\n"
        memory = f"    c = array({self.element}, 4)\n    m = buffer(40)\n"
        return "".join(made) + head + memory + indent(body) + "\n"

    def _helper(self, number: int) -> str:
        random = self.random
        first = [names[0] for names in NAMES.values() if names[0] in self.letters or names[0] == "o"]
        chosen = tuple(name for name in ("db", "c", "m", *first) if random.random() < (0.7 if len(name) == 2 else 0.5))
        helper = Helper(f"h{number}", chosen, random.choice(self.results))
        names = "".join(chosen).replace("db", "")
        writer = self.writer(self, names, is_helper=True, has_store="db" in chosen, result=helper.result)
        body = writer.start() + writer.block(1, 3) + writer.last_return()
        declared = {"db": "Store", "c": f"array[{self.element}]", "m": "Buffer"}
        declared |= {name: TYPES[letter] for letter, names in NAMES.items() for name in names}
        results = {"N": "None", **TYPES}
        result = results[helper.result] if len(helper.result) == 1 else f"tuple[{', '.join(results[r] for r in helper.result)}]"
        parameters = ", ".join(f"{name}: {declared[name]}" for name in chosen)
        self.helpers.append(helper)
        return f"def {helper.name}({parameters}) -> {result}:\n{indent(body)}\n"


class Writer(ExpressionWriter):
    """Writes one function's statements and expressions."""

    def block(self, depth: int, most: int) -> str:
        made = [self.statement(depth) for _ in range(self.random.randint(1, most)) if self.program.fuel > 0]
        return "\n".join(made) or "pass"

    def statement(self, depth: int) -> str:
        self.spend(2)
        maker = self.random.choice(_STATEMENTS if depth else _SIMPLE)
        return getattr(self, maker.__name__)(depth) or self.assign(depth)

    def assign(self, depth: int) -> str:
        letter = self.random.choice([letter for letter, names in self.names.items() if names] or "-")
        if letter == "-":
            return "pass"
        name = self.pick(*self.names[letter])
        if letter == "o" and self.chance(0.3):
            return f"{name} = {self._nothing(2)}"
        return f"{name} = {self.of(letter, 3)}"

    def augment(self, depth: int) -> str:
        operator = self.pick("+=", "-=", "*=", "//=", "%=", "&=", "|=", "^=", "<<=", ">>=")
        if self.has_array and self.chance(0.5):
            return f"c[{self.index(2)}] {operator} {self.of('i', 2)}"
        letter = self.pick("i", "u")
        return f"{self.pick(*self.names[letter])} {operator} {self.of(letter, 2)}" if self.names[letter] else ""

    def element(self, depth: int) -> str:
        return f"c[{self.index(2)}] = {self.of('i', 2)}" if self.has_array else ""

    def several(self, depth: int) -> str:
        """Several targets, or several values."""
        signed, unsigned = self.names["i"], self.names["u"]
        if not signed or not unsigned:
            return ""
        i, u = self.pick(*signed), self.pick(*unsigned)
        if self.chance(0.3) and self.has_array:
            targets = [i, f"c[{self.index(1)}]", f"c[{i}]"]
            self.random.shuffle(targets)
            return f"{' = '.join(targets)} = {self.of('i', 1)}"
        values = self._called("iu", 2) or f"{self.of('i', 2)}, {self.of('u', 1)}"
        if self.chance(0.3):
            return f"{i}, {u} = {self.pick(*signed)}, {u} = {values}"
        views = self.names["v"]
        if views and self.chance(0.4):
            pair = self._called("iv", 2)
            return f"{i}, {self.pick(*views)} = {pair}" if pair else f"{i}, {u} = {u} & 7, u64({i} & 7)"
        return f"{i}, {u} = {values}"

    def nothing(self, depth: int) -> str:
        """What gives None, as a statement."""
        made = self._nothing(2)
        return "" if made == "None" else made

    def use(self, depth: int) -> str:
        """A view that may be None, asked or not."""
        if not self.names["o"] or not self.names["i"]:
            return ""
        o, i = self.pick(*self.names["o"]), self.pick(*self.names["i"])
        if self.chance(0.2):
            return f"{i} = len({o})"
        return f"if {o} is not None:\n    {i} = {o}.{self.pick(*READS)}({self.index(1)})\nelse:\n    {i} = {self.of('i', 1)}"

    def store(self, depth: int) -> str:
        if not self.has_store:
            return ""
        value = self.of(self.pick("i", "u", "v", "o"), 2) if self.chance(0.8) else "m" if self.has_buffer else "5"
        match self.random.randrange(7):
            case 0 | 1 | 2:
                arguments = [f"table={'1' if self.chance(0.9) else self.of('i', 1)}", f"key={self.key()}", f"value={value}"]
                arguments += [f"ttl={self.ttl(1)}"] if self.chance(0.4) else []
                self.random.shuffle(arguments)
                return f"db.put({', '.join(arguments)})"
            case 3 if self.names["b"]:
                ttl = f", ttl={self.ttl(1)}" if self.chance(0.4) else ""
                return f"{self.pick(*self.names['b'])} = db.put_if(1, {self.key()}, {value}, {self.of('u', 1)}{ttl})"
            case 4:
                return f"db.log({self.view(1)})"
            case 5:
                arguments = ["table=1", f"key={self.key()}", f"n={self.of(self.pick('i', 'u'), 1)}"]
                self.random.shuffle(arguments)
                return f"db.add({', '.join(arguments)})"
        return "\n".join(f"db.put(1, {self.key()}, {self.of('i', 0)})" for _ in range(self.random.choice((2, 9, 17))))

    def append(self, depth: int) -> str:
        if not self.has_buffer:
            return ""
        match self.random.randrange(6):
            case 0:
                return f"m.append({self.view(2)})"
            case 1:
                return f"m.append_{self.pick('u8', 'i16', 'u32_be', 'i64')}({self.of('i', 2)})"
            case 2:
                return f"m.set_{self.pick('u8', 'i16_be', 'u32')}({self.index(2)}, {self.of('i', 2)})"
            case 3:
                number = self.of("f", 0)
                return f"m.append_{self.pick('f32', 'f64_be')}({number} if {number} == {number} else 0.0)"
            case 4 if self.names["i"]:
                return f"{self.pick(*self.names['i'])} = m.{self.pick(*READS)}({self.index(2)})"
        return "m.clear()"

    def check(self, depth: int) -> str:
        if self.chance(0.5):
            return f"assert {self.condition(1)} or {self.pick('True', self.condition(1))}"
        return f"if {self.condition(2)}:\n    raise Error({self.of(self.pick('i', 'u'), 1)})"

    def pause(self, depth: int) -> str:
        return "" if self.is_helper else "yield"

    def leave(self, depth: int) -> str:
        """Go back, or on, in the middle: what follows is there all the same."""
        if self.depth_of_loops and self.chance(0.5):
            return f"if {self.condition(1)}:\n    {self.pick('break', 'continue')}"
        if not self.is_helper:
            return f"if {self.condition(1)} and {self.condition(0)}:\n    return {self.of('i', 1)}"
        return f"if {self.condition(1)}:\n{indent(self.give_back())}"

    def choice(self, depth: int) -> str:
        last = f"else:\n{indent(self.block(depth - 1, 3))}" if self.chance(0.7) else ""
        middle = f"elif {self.condition(1)}:\n{indent(self.block(depth - 1, 2))}\n" if self.chance(0.2) else ""
        return f"if {self.condition(2)}:\n{indent(self.block(depth - 1, 3))}\n{middle}{last}".rstrip("\n")

    def loop(self, depth: int) -> str:
        self.loops += 1
        self.depth_of_loops += 1
        name = f"n{self.loops}"
        start, stop = self.random.randint(-3, 2), self.random.randint(-1, 4)
        head = self.pick(
            f"for {name} in range({start}, {stop}, {self.pick('1', '2')}):", f"for {name} in range({stop}):",
            f"for {name} in range({stop}, {start}, -1):", f"for {name} in {self.view(1)}[:3].records(1):",
        )  # fmt: skip
        if self.has_store and self.chance(0.2):
            head = f"for {name} in db.multiget(1, {self.view(1)}[:24], {self.pick('8', '8', '1', self.of('i', 0))}):"
        before = ""
        if self.chance(0.3):
            before, head = f"{name} = 0\n", f"while {name} < 3 and {self.condition(1)}:\n    {name} += 1"
        made = f"{before}{head}\n{indent(self.block(depth - 1, 3))}"
        self.depth_of_loops -= 1
        return made


_SIMPLE = [
    Writer.assign, Writer.assign, Writer.assign, Writer.assign, Writer.augment, Writer.augment, Writer.element, Writer.several,
    Writer.several, Writer.nothing, Writer.use, Writer.store, Writer.append, Writer.check, Writer.pause, Writer.leave,
]  # fmt: skip
_STATEMENTS = [*_SIMPLE, Writer.choice, Writer.choice, Writer.loop, Writer.loop]
