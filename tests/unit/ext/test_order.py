"""The order of evaluation is Python's: every construct with effects in each of its operands.

Each operand writes its number into the log, changes the array and the buffer that the construct may use, and can be told to
raise, or to give a value that the construct does not take. The same source runs in all compiled forms, under the language's
CPython back end, and (where no value is wrong) under plain CPython: results, log, stored objects, error and line are the same.
"""

from __future__ import annotations

import ast
import re
from types import GeneratorType
from typing import Any

import pytest

from splinter.ext import LocalStore, author, views
from splinter.ext.abi import Isolation
from splinter.ext.author import Error
from splinter.ext.faults import ExtensionFault
from tests.support.forms import FORMS, Prepared, prepare, same

ARGUMENTS = "db, m, c, trap, bad, "
PARAMETERS = "db: Store, m: Buffer, c: array[i32], trap: i64, bad: i64, at: i64"
OPERANDS = {  # letter → type, value, value that most constructs refuse
    "n": ("i64", "at + 2", "at + 3"),
    "i": ("i64", "at & 1", "99"),
    "d": ("i64", "at + 1", "0"),
    "u": ("i64", "at + 5", "-1"),
    "w": ("u64", "u64(at) + 5", "18446744073709551615"),
    "s": ("i64", "at & 3", "70"),
    "t": ("i64", "1", "70000"),
    "z": ("i64", "1", "0"),
    "e": ("i64", "at + 7", "300000000000"),
    "f": ("f64", "f64(at) + 1.5", "1e300"),
    "c": ("bool", "at % 2 == 0", "at % 2 == 1"),
    "v": ("bytes", "b'key'", "b''"),
    "o": ("bytes | None", "b'key'", "None"),
}
HELPERS = """LETTERS = b"abcdefghijklmnop"
def step(db: Store, m: Buffer, c: array[i32], trap: i64, at: i64) -> None:
    db.log(LETTERS[at:at + 1])
    m.append_u8(at)
    c[at & 3] = (c[at & 3] + 1) & 3
    if at == trap:
        raise Error(at)
""" + "".join(
    f"def of_{letter}({PARAMETERS}) -> {kind}:\n    step(db, m, c, trap, at)\n"
    f"    return {wrong} if bad >> at & 1 else {value}\n"
    for letter, (kind, value, wrong) in OPERANDS.items()
) + """def three(x: i64, y: i64, z: i64) -> i64:
    return x * 100 + y * 10 + z
def takes(u: u64, k: bytes) -> i64:
    return i64(u) + len(k)
def keeps(k: bytes, n: i64) -> i64:
    return len(k) * 1000 + k[-1] + n
def keeps_maybe(k: bytes | None, n: i64) -> i64:
    return len(k) * 1000 + n
def length(m: Buffer, n: i64) -> i64:
    return len(m) * 1000 + n
def first(c: array[i32], n: i64) -> i64:
    return c[0] * 1000 + n
def both(x: i64, y: i64) -> tuple[i64, i64]:
    return x, y
def converted(db: Store, m: Buffer, c: array[i32], trap: i64, bad: i64) -> tuple[u64, bytes]:
    return <u>, <o>
"""  # fmt: skip
CONSTRUCTS = """\
x = <n> + <n> * <n> - <n>
x = <n> // <d> % <d>
x = <n> << <s> >> <s>
x = (<n> * <n> << <s>) & 0xFFFF
x = (<n> - <n>) & 0xFF | <n> ^ <n>
x = -<n> + ~<n> + abs(<n>)
x = min(<n>, <n>, <n>) + max(<n>, <n>)
x = <n> if <c> else <n>
x = (<n> if <c> else <n>) if <c> else <n>
x = int(<c> and <c> or <c> and not <c>)
x = int(not (<c> or <c>))
x = int(bool(<c> and <n>))
x = int(<n> < <n> <= <n> != <n>)
x = int(<n> < <n> > <n> == <n>)
x = int(<n> < <w> < <n>)
x = int(<n> < 5 < 0.5)
x = int(<n> == 2 == 2.0)
x = int(<n> < 5 < <f> < <f>)
x = int(<f> < 5 != <n> < <w>)
x = int(<f> < <f> < <f>)
x = int(<v> == <v> == <v>)
x = int(<o> == <v> != <o>)
x = int(<o> is None is None)
x = int(<o> is not None is None)
x = int(m == <v>)
x = int(<v> == m == m)
x = int(m == m[<i>:])
x = int(m[:1] == m[<i>:2] != <v>)
x = c[<i>]
x = c[<i>] + c[<i>] * <n>
x = c[c[<i>]] + c[<i>]
x = T[<i>] + T[<i>]
c[<i>] = <e>
c[<i>] = c[<i>]
c[<i>] += <e>
c[<i>] -= c[<i>] * <e>
c[<i>] //= <d>
c[<i>] %= <d>
c[<i>] <<= <s>
c[<i>] &= <n>
c[c[<i>]] += c[<i>] + <e>
c[<n> // <d>] += <n> // <d>
y = <n>\\ny += <n> // <d>
h[<i>] = <e>
h[<i>] += <e>
g[<i>] = <f>
g[<i>] += <f>
g[<i>] /= <f>
x = c[<i>] = <e>
c[<i>] = x = c[<i>] = <e>
z = c[<i>] = <u>
c[<i>] = z = <u>
x = y = z = <u>
x, y = <n>, <n>
x, y = y, x = <n>, <n>
x, y = 1, 2\\nx, y = y, x = y + <n>, x\\nx = x * 10 + y
z, y = <u>, <n> // <d>
z, y = y, z = <u>, <u>
x, y = both(<n>, <n>)
x, y = both(y=<n>, x=<n> // <d>)
x, y = both(<n>, <n>) if <c> else both(<n>, <n>)
z, k = converted(db, m, c, trap, bad)\\nx = i64(z) + len(k)
z: u64 = <u>
x = len(<o>)
x = <o>[<i>]
x = <o>[<i>:<i>][<i>]
x = len(<o>[<i>:])
x = <o>.u8(<i>)
x = <v>.u8(<i>) + <v>[<i>]
x = m.u8(<i>)
x = m.u8(<n> // <d>)
x = m[<i>]
x = m[-1 - <i>]
x = len(m[<i>:])
x = len(m[:<n>])
x = len(m[<i>:<n>])
x = m[<i>:].u8(<i>)
x = len(m) + length(m, <n>)
m.append_u8(<e>)
m.append(<o>)
m.append(m)
m.append(m[<i>:])
m.append_f32(<f>)
m.append_f64_be(<f>)
m.set_u8(<i>, <e>)
m.set_f32(<i>, <f>)
m.set_u16_be(<n> // <d>, <e>)
for r in <o>.records(<z>):\\n    x += r[0] + <n>
for r in m.records(<z>):\\n    x += r[0]\\n    m.append_u8(9)
for r in m[<i>:].records(<z>):\\n    x += r[0] + <n>
for r in db.multiget(<t>, <o>, <z>):\\n    x += 1 if r is None else len(r)
for r in db.multiget(size=<z>, keys=m, table=<t>):\\n    x += 1 if r is None else len(r) + <n>
for q in range(<n>, <n> + 3):\\n    x += q + <n>
for q in range(<n> // <d>, <n> + 9, 2):\\n    x += q
for z in range(<u>, 9):\\n    x += <n>
r = db.get(<t>, <o>)\\nx = int(r is None)
x = len(db.get(<t>, <n>))
db.put(<t>, <o>, <o>)
db.put(value=<o>, key=<o>, table=<t>)
db.put(<t>, <n>, m)
db.put(key=m, table=<t>, value=<n>)
x = int(db.put_if(<t>, <o>, <o>, <u>))
x = int(db.put_if(version=<u>, value=<o>, table=<t>, key=<v>))
x = int(db.delete(<t>, <v>)) + int(db.exists(<t>, <v>))
x = int(db.delete(<t>, <v>, <u>)) + int(db.delete(version=<u>, key=<o>, table=<t>))
z = db.version(<t>, <o>)
z = db.add(<t>, <o>, <n>)
z = db.add(n=<w>, key=<n>, table=<t>)
db.add(<t>, m, <e>)
db.log(<o>)
db.log(m[:<n>])
x = three(<n>, <n>, <n>)
x = three(z=<n>, x=<n>, y=<n>)
x = three(<n>, z=<n> // <d>, y=<n>)
x = takes(<u>, <o>)
x = takes(k=<o>, u=<u>)
x = takes(<u>, k=<o>)
x = takes(takes(<u>, <o>), <o>)
x = keeps(m, <n>)
x = keeps(n=<n>, k=m)
x = keeps_maybe(m, <n>)
x = first(c, <n>)
x = int(<n>) + int(<f>)
x = i64(u64(<u>)) + i64(u8(<e>))
x = i64(<f> * <f> + <f> / <f>)
x = i64(sqrt(<f>) + floor(<f>) + f64(<n>))
x = i64(min(<f>, <f>, <f>))
x = rotl32(u32(<u>), u8(<s>)) + rotl32(7, <w>)
x = crc32(<o>) ^ crc32(<v>)
x = popcount(<w>) + clz(<w>)
raise Error(<n> // <d>)
assert <c> and <n> < <n>
while <c> and <n> // <d>:\\n    x += 1\\n    if x > 2:\\n        break
if <c> and <n> // <d> or <c>:\\n    x = <n>\\nelif <c>:\\n    x = 5
<n>
three(<n>, <n>, <n> // <d>)
yield\\nx = <n> + c[<i>]\\nyield\\nx += m[<i>]
return <u> // <d>
return x + len(m) + <n>
""".splitlines()
PLACE = re.compile("<([a-z])>")


def source(construct: str, is_split: bool) -> str:
    """The program of a construct; ``is_split``: every operand goes over two lines, so that all lines differ."""
    middle = "\n            " if is_split else ""

    def numbered(text: str) -> str:
        places = iter(range(len(PLACE.findall(text))))
        return PLACE.sub(lambda found: f"of_{found[1]}({ARGUMENTS}{middle}{next(places)})", text)

    lines = numbered(construct.replace("\\n", "\n")).split("\n")
    body = "\n".join("    " + line for line in lines)
    return f"""T = (5, 6, 7)
{numbered(HELPERS)}@extension
def f(db: Store, trap: i64, bad: i64) -> i64:
    x = 0
    y = 0
    z: u64 = 0
    c = array(i32, 4)
    c[1] = 1
    c[2] = 2
    h = array(u8, 2)
    g = array(f32, 2)
    m = buffer(64)
    m.append(b"ab")
{body}
    m.append_f32_be(g[0])
    m.append_u8(h[0])
    db.put(9, 9, m)
    for q in range(4):
        x = x * 7 + c[q]
    return x + y * 3 + i64(z)
"""


class _Views(ast.NodeTransformer):
    """Constant bytes have the methods of views in the language."""

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return ast.Call(ast.Name("View", ast.Load()), [node], []) if isinstance(node.value, bytes) else node


def plain(text: str, trap: int, bad: int) -> tuple[Any, LocalStore]:
    """What plain CPython makes of it, with no checks but those of the objects that it works on."""
    names = {name: value for name, value in (vars(author) | vars(views)).items() if not name.startswith("_")}
    flags = annotations.compiler_flag
    tree = ast.fix_missing_locations(_Views().visit(ast.parse(text)))
    exec(compile(tree, "<source>", "exec", flags, dont_inherit=True, optimize=0), names)
    store = store_of_test()
    task = store.begin(Isolation.WRITES)
    try:
        result = names["f"](task, trap, bad)
        if isinstance(result, GeneratorType):
            while True:
                next(result)
    except StopIteration as stop:
        result = stop.value
    except Error as error:
        task.end(False)
        return ("RAISED", error.code), store
    except AssertionError:
        task.end(False)
        return ("ASSERTION", 0), store
    except ExtensionFault as fault:
        task.end(False)
        return (fault.error.name, 0), store
    assert task.end(True)
    return result, store


OBJECTS = {(1, b"key"): b"value", (1, bytes([3, *[0] * 7])): b"three", (1, b"k"): b"of k", (1, b"\0"): b"of nought"}


def store_of_test() -> LocalStore:
    store = LocalStore()
    for (table, key), value in OBJECTS.items():
        store.put(table, key, value)
    return store


@pytest.fixture(scope="module", params=[(False, FORMS[:2]), (True, FORMS[1:2])], ids=["lines", "split"])
def programs(request: pytest.FixtureRequest) -> dict[str, Prepared]:
    is_split, forms = request.param
    return dict(zip(CONSTRUCTS, prepare(*(source(one, is_split) for one in CONSTRUCTS), forms=forms), strict=True))


@pytest.mark.parametrize("construct", CONSTRUCTS)
def test_the_order_is_pythons(programs: dict[str, Prepared], construct: str) -> None:
    program = programs[construct]
    count = max(2, len(PLACE.findall(construct)))
    for trap in range(-1, count):
        for bad in range(1 << count):
            if trap >= 0 and bad.bit_count() > 1:
                continue
            outcome = program.agree(trap, bad, objects=OBJECTS)
            if bad == 0:
                expected, store = plain(program.source, trap, bad)
                if isinstance(expected, tuple):
                    outcome = outcome[0], outcome[2]
                assert same(outcome, expected), (construct, trap)
                if not isinstance(expected, tuple):
                    continue
                assert store.logged
