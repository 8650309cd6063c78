"""Whatever text comes as a source, the compiler says no in its own way, or gives code that does no harm."""

from __future__ import annotations

import ast
import io
import random
import tokenize
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from splinter.errors import CompileError
from splinter.ext.compile import CompiledExtension, compile_source
from tests.property.fuzz.fuzzing import EXAMPLES, FUZZING, Note, hold_in_child
from tests.property.fuzz.programs import make_case
from tests.property.hostile.corpus import CASES, Refusal
from tests.support.forms import FORMS, PATTERNS, PoisonedRunner, accepted, make, same

MUTATED_BYTES_MAX = 2000
RESUMES_MAX = 2000  # of a program that does not end by itself
SOURCES = sorted({
    case.source for case in CASES if not isinstance(case.expected, Refusal) and len(case.source) <= MUTATED_BYTES_MAX
})  # fmt: skip
CHARACTERS = "()[]{}:,.=+-*/%&|^~<>@!;\\\n\t '\"#_0123456789abkxé\0\ufeff"
ALPHABET = [*CHARACTERS, "  ", "    ", "\n    ", "\n        ", "**", "//", "<<", ":="]
EXTREMES = ["0", "1", "255", "65280", str(2**63 - 1), str(2**63), str(2**64 - 1), str(2**64), "1e400"]
VALUES: dict[str, Any] = {"i64": -3, "u64": 5, "bool": True, "bytes": b"twelve bytes", "f64": 1.5}


def compiled_or_refused(source: str) -> CompiledExtension | None:
    """What the compiler says; anything but a documented refusal is a failure."""
    try:
        return compile_source(source)
    except CompileError as error:
        assert error.diagnostics
        assert all(finding.rule != "internal" for finding in error.diagnostics), error  # type: ignore[attr-defined]
        return None


def run(compiled: CompiledExtension, source: str) -> None:
    """Run what was accepted, with a yield at every turn of a loop. It may do anything but crash, or depend on memory."""
    arguments = [VALUES[kind] for _, kind in compiled.signature.parameters]
    for (made,) in make([accepted(source)], FORMS[:2]):
        outcomes = []
        for pattern in PATTERNS:
            with PoisonedRunner(None, 1, pattern) as runner:
                runner.resumes_max = RESUMES_MAX
                outcomes.append(runner.outcome(made, *arguments))
        assert "now_ns" in source or same(*outcomes), outcomes


def mutated_characters(source: str, seed: int) -> str:
    """A few characters are taken out, put in, doubled or exchanged."""
    rng = random.Random(seed)
    characters = list(source)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(characters))
        match rng.randrange(4):
            case 0:
                del characters[at : at + rng.randint(1, 3)]
            case 1:
                characters.insert(at, rng.choice(ALPHABET))
            case 2:
                characters[at] = rng.choice(ALPHABET)
            case 3:
                start = rng.randrange(len(characters))
                characters[at:at] = characters[start : start + rng.randint(1, 40)]
        if not characters:
            break
    return "".join(characters)


def words(source: str) -> list[tuple[int, tuple[int, int], tuple[int, int], str]]:
    """Kind, (line, column) of start and end, and text of each word."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [(token.type, token.start, token.end, token.string) for token in tokens if token.string.strip()]


def mutated_words(source: str, other: str, seed: int) -> str:
    """One or two words are replaced by words of the same kind: names by names, operators by operators."""
    rng = random.Random(seed)
    own = words(source)
    donors = own + words(other)
    lines = source.split("\n")
    chosen = rng.sample(own, min(len(own), rng.randint(1, 2)))
    for kind, (line, start), (_, end), text in sorted(chosen, key=lambda word: word[1], reverse=True):
        choices = [donor for donor_kind, *_, donor in donors if donor_kind == kind and "\n" not in donor]
        if kind == tokenize.NUMBER:
            choices += EXTREMES
        if "\n" not in text and choices:
            lines[line - 1] = lines[line - 1][:start] + rng.choice(choices) + lines[line - 1][end:]
    return "\n".join(lines)


# What stands oddly almost everywhere, and each of what the language has.
ODD_EXPRESSIONS = [
    word for line in """\
None True 1.5 b'' b'x' 's' 1<<63 -1 db c m k f h0 T (1,2) () [] x[0] c[0] m[0] k[:] c[:] k.u8 k.u8(0)
m.append(m) len range(3) db.get(1,1) db.put(1,1,1) nothing() a<b<c a==b==1.5 1e400 1j ... f'{a}' a@b a**b a/b
c[c] min() max(1,2.0) u64() array(u64,4) buffer(4) k.records(1) db.multiget(1,k,8) Error(1)
0xffffffffffffffffff b'a'*3 sqrt(1.0) crc32(None) hash64(db) rotl64(1) int(None) bool(None) abs(True) -True
~1.5 +None (yield) (x:=1)
""".splitlines() for word in line.split()
]  # fmt: skip
ODD_STATEMENTS = """x: u64
c[0]: u64 = 1
(a, b), x = 1, 2
x = y = 1, 2
c[0], x = 1, 2
x = c[0] = a
c[a] += c[a]
return
yield
for x in k.records(1): pass
for c in range(3): pass
a: bytes | None = None
x = None
while True: pass
a = b = k
c = array(u64, 4)
m = buffer(8)
raise Error(1)
assert 1
x = *a, b
c[1:2] += 1
x: tuple[u64, u64] = 1, 2
if a: c = array(u8, 2)
x = db.put(1, 1, 1)""".splitlines()


def mutated_tree(source: str, other: str, seed: int) -> str:
    """An expression or statement of the syntax tree is replaced, moved or doubled; what comes of it is always Python."""
    rng = random.Random(seed)
    try:
        tree, donor = ast.parse(source), ast.parse(other)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return source
    places = [
        (node, name, at)
        for node in ast.walk(tree)
        for name, value in ast.iter_fields(node)
        for at, child in (enumerate(value) if isinstance(value, list) else [(None, value)])
        if isinstance(child, ast.expr | ast.stmt)
    ]
    if not places:
        return source
    parent, name, at = rng.choice(places)
    value = getattr(parent, name)
    if isinstance(value if at is None else value[at], ast.expr):
        odd: ast.AST = ast.parse(f"({rng.choice(ODD_EXPRESSIONS)})", mode="eval").body
        new = rng.choice([odd, rng.choice([node for node in ast.walk(donor) if isinstance(node, ast.expr)] or [odd])])
        if at is None:
            setattr(parent, name, new)
        else:
            value[at] = new
    elif rng.random() < 0.3 and len(value) > 1:
        del value[at]
    else:
        value.insert(at, ast.parse(rng.choice(ODD_STATEMENTS)).body[0])
    try:
        return ast.unparse(ast.fix_missing_locations(tree))
    except (ValueError, RecursionError):
        return source


CHEAP = settings(FUZZING, max_examples=EXAMPLES * 5)  # most of these end in the parser
SEEDS = st.integers(0, 2**32)
MUTATIONS = st.one_of(
    st.builds(mutated_characters, st.sampled_from(SOURCES), SEEDS),
    st.builds(mutated_words, st.sampled_from(SOURCES), st.sampled_from(SOURCES), SEEDS),
    st.builds(mutated_tree, st.sampled_from(SOURCES), st.sampled_from(SOURCES), SEEDS),
    st.builds(lambda number, seed: mutated_tree(make_case(0, number).source, SOURCES[seed % len(SOURCES)], seed), SEEDS, SEEDS),
)


def test_random_bytes_are_refused() -> None:
    def make(note: Note) -> Any:
        @CHEAP
        @given(st.one_of(st.binary(max_size=400).map(lambda content: content.decode("latin-1")), st.text(max_size=200)))
        def holds(source: str) -> None:
            note(ascii(source))
            assert compiled_or_refused(source) is None

        return holds

    hold_in_child(make)


def test_mutated_sources_are_refused_or_harmless() -> None:
    def make(note: Note) -> Any:
        @CHEAP
        @given(MUTATIONS)
        def holds(source: str) -> None:
            note(source)
            compiled = compiled_or_refused(source)
            if compiled is not None:
                run(compiled, source)

        return holds

    hold_in_child(make)
