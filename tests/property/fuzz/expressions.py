"""Random expressions, each of the type that is asked for, and the names that they are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

I64_MIN, I64_MAX, U64_MAX = -(2**63), 2**63 - 1, 2**64 - 1
NAMES = {"i": ("a", "x", "y"), "u": ("u", "w"), "b": ("p", "q"), "f": ("f", "g"), "v": ("k", "v"), "o": ("o", "t")}
TYPES = {"i": "i64", "u": "u64", "b": "bool", "f": "f64", "v": "bytes", "o": "bytes | None"}
STARTS = {
    "i": ("1", "-1", "len({k})", "a"), "u": ("3", "u", "hash64({k})"), "b": ("True", "p", "a < 3"), "f": ("0.5", "f", "f64(a)"),
    "v": ("{k}", "{k}[1:]", "b'constant'"), "o": ("db.get(1, 1)", "None", "{k}", "db.get(1, 9)"),
}  # fmt: skip
SIGNED = ("0", "1", "-1", "2", "7", "63", "64", "255", "256", "65536", "2147483648", str(I64_MAX), str(I64_MIN))
UNSIGNED = ("0", "1", "2", "8", "63", "64", "255", "4294967296", str(2**63), str(U64_MAX))
FLOATS = ("0.0", "-0.0", "1.0", "0.5", "-2.25", "1e18", "3.5e38", "1e308", "-1e-310")
READS = ("u8", "i8", "u16", "i16_be", "u32_be", "i32", "i64", "i64_be")
ELEMENTS = ("i8", "u8", "i16", "u16", "i32", "u32", "i64")
RESULTS = ("N", "N", "N", "i", "i", "u", "b", "f", "v", "o", "o", "iu", "iv")  # of helper functions; two letters: a tuple
COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
STATEMENTS = 6  # of an extension's own block, at most
FUEL = 26  # nodes of a program, roughly


@dataclass(frozen=True)
class Helper:
    name: str
    parameters: tuple[str, ...]  # `db`, `c`, `m` and names of variables
    result: str


def indent(text: str) -> str:
    return "\n".join("    " + line for line in text.split("\n"))


class ExpressionWriter:
    """Writes the expressions of one function of a program."""

    def __init__(self, program: Any, names: str, is_helper: bool, has_store: bool = True, result: str = "i") -> None:
        self.program = program
        self.random = program.random
        self.is_helper = is_helper
        self.has_store = has_store
        self.has_array = not is_helper or "c" in names
        self.has_buffer = not is_helper or "m" in names
        self.given = set(names) if is_helper else set(program.parameters)
        self.wanted = set(names)
        self.result = result
        self.loops = 0
        self.depth_of_loops = 0
        self.names: dict[str, list[str]] = {letter: [n for n in some if n in self.given] for letter, some in NAMES.items()}

    # --- choices ------------------------------------------------------------------------------------------------------

    def pick(self, *options: str) -> str:
        return self.random.choice(options)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def spend(self, cost: int = 1) -> bool:
        """Whether there is fuel for something larger."""
        self.program.fuel -= cost
        return self.program.fuel > 0

    # --- function's start and end -------------------------------------------------------------------------------------

    def start(self) -> str:
        """Give every variable a value, on a way of some kind."""
        lines = []
        for letter, names in NAMES.items():
            for name in names:
                is_wanted = self.chance(0.25) if self.is_helper else name in self.wanted
                if name in self.given or not is_wanted:
                    continue
                lines += self._first(letter, name)
                self.names[letter].append(name)
        return "".join(line + "\n" for line in lines)

    def _first(self, letter: str, name: str) -> list[str]:
        bytes_there = self.names["v"][0] if self.names["v"] else "b'none'"
        options = [o.format(k=bytes_there) for o in STARTS[letter]]
        fitting = [
            o for o in options
            if not (o[:1] in "aupf" and o[:1] not in self.given and o[1:2] in ("", " ")) and (self.has_store or "db" not in o)
            and not ("f64(a)" in o and "a" not in self.given)
        ]  # fmt: skip
        value = self.pick(*fitting)
        declare = f": {TYPES[letter]}" if letter == "o" or self.chance(0.7) else ""
        condition = self.names["b"][0] if self.names["b"] else "1 < 2"
        if self.chance(0.15):
            other = self.pick(*fitting)
            return [f"if {condition}:", f"    {name}{declare} = {value}", "else:", f"    {name}{declare} = {other}"]
        if self.chance(0.06) and not self.is_helper:
            return ["while True:", f"    {name}{declare} = {value}", "    break"]
        return [f"{name}{declare} = {value}"]

    def end(self) -> str:
        """Show what everything has become."""
        forms = {
            "i": "{}",
            "u": f"({{}} & {I64_MAX})",
            "b": "int({})",
            "f": "int({} < 7.5)",
            "v": "len({})",
            "o": "int({} is None)",
        }
        pairs = [(letter, name) for letter, names in self.names.items() for name in names]
        lines = [f"db.log({name})" for letter, name in pairs if letter == "v"]
        optional = [name for letter, name in pairs if letter == "o" and self.chance(0.7)]
        lines += [f"if {name} is not None:\n    db.log({name})" for name in optional]
        shown = ["c[0]", "c[3] * 7", *(forms[letter].format(name) for letter, name in pairs)]
        return "\n".join(("", "db.log(m)", *lines, f"return {' ^ '.join(shown)}"))

    def last_return(self) -> str:
        if self.result == "N":
            return self.pick("", "\nreturn", "\nreturn None", "")
        return "\n" + self.give_back()

    def give_back(self) -> str:
        if self.result == "N":
            return self.pick("return", "return None")
        if len(self.result) == 2:
            return f"return {self.of(self.result[0], 1)}, {self.of(self.result[1], 1)}"
        if self.result == "o" and self.chance(0.2):
            return "return"
        return f"return {self.of(self.result, 2)}"

    # --- expressions --------------------------------------------------------------------------------------------------

    def of(self, letter: str, depth: int) -> str:
        """An expression of a type; sometimes over two lines."""
        made = getattr(self, f"_of_{letter}")(depth if self.spend() else 0)
        return str(made.replace("(", "(\n        ", 1) if made.startswith("(") and self.chance(0.05) else made)

    def _called(self, results: str, depth: int) -> str:
        """A call of a helper function with one of these results; empty when there is none."""
        fitting = [h for h in self.program.helpers if h.result == results and self._can_give(h)]
        if not fitting or not self.spend(6):
            return ""
        return self.call(self.random.choice(fitting), depth)

    def _can_give(self, helper: Helper) -> bool:
        there = {"db": self.has_store, "c": self.has_array, "m": self.has_buffer}
        return all(there.get(name, True) for name in helper.parameters)

    def call(self, helper: Helper, depth: int) -> str:
        letters = {name: letter for letter, names in NAMES.items() for name in names}
        values = {
            name: name if name in ("db", "c", "m") else self.of(letters[name], max(depth - 1, 0)) for name in helper.parameters
        }
        for name in values:
            if name in letters and letters[name] in "vo" and self.has_buffer and self.chance(0.2):
                values[name] = "m"
            elif name in letters and letters[name] == "u" and self.chance(0.2):
                values[name] = self.of("i", 1)  # converted, with a check
            elif name in letters and letters[name] == "o" and self.chance(0.3):
                values[name] = self._nothing(1)
        positional = self.random.randint(0, len(values)) if self.chance(0.3) else len(values)
        parts = list(values.values())[:positional]
        named = [f"{name}={value}" for name, value in list(values.items())[positional:]]
        self.random.shuffle(named)
        return f"{helper.name}({', '.join(parts + named)})"

    def _nothing(self, depth: int) -> str:
        """An expression that gives None."""
        put = f"db.put(1, {self.key()}, {self.of('i', 0)})" if self.has_store else "None"
        append = self.pick("m.clear()", f"m.append({self.of('v', 0)})") if self.has_buffer else "None"
        return self._called("N", depth) or self.pick("None", put, append)

    def _of_i(self, depth: int) -> str:
        if depth <= 0 or self.chance(0.25):
            return self.pick(*(self.names["i"] or ["3"]), *self.names["i"], self.pick(*SIGNED), self.pick("1", "2", "-3"))
        e = lambda letter="i": self.of(letter, depth - 1)  # noqa: E731
        match self.random.randrange(17):
            case 0 | 1 | 2:
                return f"({e()} {self.pick('+', '-', '*', '//', '%', '&', '|', '^', '<<', '>>')} {e()})"
            case 3:
                return f"(({e(self.pick('i', 'u'))} {self.pick('+', '-', '*', '^')} {e(self.pick('i', 'u'))}) & {self.mask()})"
            case 4:
                return f"{self.pick('-', '~', '+', 'abs', 'i64', 'int')}({e()})"
            case 5:
                return f"({e()} if {self.condition(depth - 1)} else {e()})"
            case 6:
                return f"{self.pick('min', 'max')}({e()}, {e()})"
            case 7:
                return f"int({e('b')})"
            case 8:
                return f"{self.view(depth - 1)}.{self.pick(*READS)}({self.index(depth - 1)})"
            case 9:
                return f"{self.view(depth - 1)}[{self.index(depth - 1)}]"
            case 10:
                return f"len({self.view(depth - 1)})"
            case 11:
                return f"i64({e('u')})"
            case 12 | 13 if self.has_array:
                return f"c[{self.index(depth - 1)}]"
            case 14:
                return f"{self.pick('crc32', 'len')}({self.view(depth - 1)})"
            case 15:
                return f"{self.pick('popcount', 'clz', 'ctz')}({e('u')})"
        return self._called("i", depth) or e()

    def _of_u(self, depth: int) -> str:
        if depth <= 0 or self.chance(0.3):
            return self.pick(*(self.names["u"] or ["5"]), *self.names["u"], self.pick(*UNSIGNED))
        e = lambda letter="u": self.of(letter, depth - 1)  # noqa: E731
        match self.random.randrange(10):
            case 0 | 1:
                return f"(u64({e()}) {self.pick('+', '-', '*', '//', '%', '&', '|', '^', '<<', '>>')} {e()})"
            case 2:
                return f"(({e()} {self.pick('+', '-', '*', '<<')} {e()}) & 0xFFFFFFFFFFFFFFFF)"
            case 3:
                return f"u64({e('i')})"
            case 4:
                return f"({e()} if {self.condition(depth - 1)} else {e()})"
            case 5:
                return f"rotl64({e()}, {self.pick('1', '63', e())})"
            case 6:
                return f"hash64({self.view(depth - 1)})"
            case 7 if self.has_store:
                return self.pick(f"db.version(1, {self.key()})", f"db.add(1, {self.key()}, {e(self.pick('i', 'u'))})")
        return self._called("u", depth) or e()

    def _of_f(self, depth: int) -> str:
        if depth <= 0 or self.chance(0.3):
            return self.pick(*(self.names["f"] or ["2.5"]), self.pick(*FLOATS))
        e = lambda letter="f": self.of(letter, depth - 1)  # noqa: E731
        match self.random.randrange(7):
            case 0 | 1:
                return f"({e()} {self.pick('+', '-', '*', '/')} {e()})"
            case 2:
                return f"{self.pick('floor', 'sqrt', 'abs', 'exp', 'log', '-')}({e()})"
            case 3:
                return f"{self.pick('min', 'max')}({e()}, {e()})"
            case 4:
                return f"f64({e(self.pick('i', 'u'))})"
            case 5:
                return f"({e()} if {self.condition(depth - 1)} else {e()})"
            case 6 if self.has_store:
                return f"db.ttl(1, {self.key()})"
        return self._called("f", depth) or e()

    def ttl(self, depth: int) -> str:
        """Mostly one that may be: the others end the task."""
        good = self.pick("1e-9", "0.25", "60", "3600.5", "3_000_000_000", "7", "1e-10 + 5.0")
        return good if self.chance(0.9) else self.of(self.pick("i", "u", "f"), depth)

    def _of_b(self, depth: int) -> str:
        if depth <= 0 or self.chance(0.2):
            return self.pick(*(self.names["b"] or ["True"]), *self.names["b"], "True", "False")
        e = lambda letter="b": self.of(letter, depth - 1)  # noqa: E731
        match self.random.randrange(9):
            case 0 | 1:
                return f"({e()} {self.pick('and', 'or')} {e()})"
            case 2:
                return f"(not {self.condition(depth - 1)})"
            case 3 | 4:
                return f"({self.compared(depth - 1)})"
            case 5:
                return f"bool({self.condition(depth - 1)})"
            case 6 if self.has_store:
                if self.chance(0.3):
                    return self.pick(f"db.persist(1, {self.key()})", f"db.expire(1, {self.key()}, {self.ttl(depth - 1)})")
                version = f", {e('u')}" if self.chance(0.2) else f", version=db.version(1, {self.key()})"
                return self.pick(f"db.{self.pick('exists', 'delete')}(1, {self.key()})", f"db.delete(1, {self.key()}{version})")
            case 7:
                return f"({self._nothing(depth - 1) if self.chance(0.3) else e('o')} is {self.pick('', 'not ')}None)"
        return self._called("b", depth) or e()

    def compared(self, depth: int) -> str:
        """A comparison, or a chain of them; integers meet floats through constants only."""
        e = lambda letter: self.of(letter, depth)  # noqa: E731
        match self.random.randrange(5):
            case 0 | 1:
                parts = [e(self.pick("i", "u")) for _ in range(self.random.choice((2, 2, 3, 4)))]
            case 2:
                parts = [e("f"), *(self.pick(e("f"), "3") for _ in range(self.random.choice((1, 2))))]
            case 3:
                parts = [e("i"), self.pick("5", "0", "-1"), e("f")]
            case _:
                parts = [self.either_view(depth) for _ in range(self.random.choice((2, 2, 3)))]
                return f" {self.pick('==', '!=')} ".join(parts)
        text = parts[0]
        for part in parts[1:]:
            text += f" {self.pick(*COMPARISONS)} {part}"
        return text

    def condition(self, depth: int) -> str:
        match self.random.randrange(5):
            case 0:
                return self.of(self.pick("i", "u"), depth)
            case 1 if depth > 0:
                return f"({self.condition(depth - 1)} {self.pick('and', 'or')} {self.condition(depth - 1)})"
            case 2 if depth > 0:
                return f"(not {self.condition(depth - 1)})"
        return self.of("b", depth)

    def either_view(self, depth: int) -> str:
        return self.of("o", depth) if self.chance(0.4) and self.names["o"] else self.view(depth)

    def view(self, depth: int) -> str:
        """Bytes: a view, or what is in the buffer."""
        return "m" if self.has_buffer and self.chance(0.2) else self.of("v", depth)

    def _of_v(self, depth: int) -> str:
        if depth <= 0 or self.chance(0.35):
            return self.pick(*(self.names["v"] or ["b'abc'"]), *self.names["v"], "b'constant'", "b''")
        match self.random.randrange(6):
            case 0 | 1 | 2:
                bounds = [self.index(depth - 1) if self.chance(0.7) else "" for _ in range(2)]
                return f"{self.either_view(depth - 1) if self.chance(0.3) else self.view(depth - 1)}[{bounds[0]}:{bounds[1]}]"
            case 3:
                return f"({self.of('v', depth - 1)} if {self.condition(depth - 1)} else {self.of('v', depth - 1)})"
        return self._called("v", depth) or self.of("v", depth - 1)

    def _of_o(self, depth: int) -> str:
        if depth <= 0 or self.chance(0.3):
            return self.pick(*(self.names["o"] or self.names["v"] or ["b'abc'"]))
        match self.random.randrange(6):
            case 0 if self.has_store:
                return f"db.get({'1' if self.chance(0.9) else self.of('i', 0)}, {self.key()})"
            case 1:
                return f"({self.of('o', depth - 1)} if {self.condition(depth - 1)} else {self._nothing(depth - 1)})"
            case 2:
                return f"({self._nothing(depth - 1)} if {self.condition(depth - 1)} else {self.of('v', depth - 1)})"
            case 3:
                return f"({self.of('o', depth - 1)} if {self.condition(depth - 1)} else {self.of('o', depth - 1)})"
        return self._called("o", depth) or self.of("o", depth - 1)

    def index(self, depth: int) -> str:
        """Mostly one that is there, or programs would not come far; often one with effects."""
        if self.chance(0.4):
            return self.pick("0", "1", "-1", "2", "3")
        return (self._called("i", 1) if self.chance(0.1) and depth > 0 else "") or self.of("i", min(depth, 1))

    def key(self) -> str:
        return self.pick("1", "2", "3") if self.chance(0.6) else self.pick(*self.names["i"], *self.names["v"], "b'a'", "70")

    def mask(self) -> str:
        return self.pick("255", "0xFFFF", "0xFFFFFFFF", str(I64_MAX))
