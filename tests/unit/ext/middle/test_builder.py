"""What lowering leaves out because it is known: nothing that is not, and what is known is left out.

Every program runs in all forms with poisoned memory and under CPython: a check that is missing, or a copy whose value is
somebody else's by now, gives another outcome.
"""

from __future__ import annotations

from collections import Counter

import pytest

from splinter.ext.middle.ir import Op
from splinter.ext.middle.lower import lower
from tests.support.forms import accepted, prepare

THERE, ABSENT = 1, 2
OBJECTS = {(1, THERE.to_bytes(8, "little")): b"abcdefgh"}
HELPERS = """def twice(n: u64) -> u64:
    m = n
    m += 1
    return m + n
def size(x: bytes | None) -> u64:
    return len(x)
"""


def source(text: str) -> str:
    body = "".join(f"    {line}\n" for line in text.split("\n"))
    return f"{HELPERS}@extension\ndef f(db: Store, n: u64, k: bytes) -> u64:\n{body}"


@pytest.mark.parametrize(
    "text",
    [
        # A view is None again after it was certainly not: in a loop's next turn, on one way to a join, in another variable.
        "x = db.get(1, 1)\nc = len(x)\nfor i in range(2):\n    c += len(x)\n    x = db.get(1, 2)\nreturn c",
        "x = db.get(1, 1)\nc = len(x)\nwhile c < 20:\n    c += len(x)\n    if n > 1:\n        x = None\nreturn c",
        "x = db.get(1, 1)\nc = len(x)\nif n > 1:\n    x = db.get(1, 2)\nreturn c + len(x)",
        "x = db.get(1, 1)\nif x is None or n > 1:\n    return len(x)\nreturn 5",
        "x = db.get(1, n)\nif x is not None and len(x) > 3:\n    return len(x)\nreturn len(x) + 1",
        "x = db.get(1, 1)\ny = db.get(1, 2)\nif x is not None:\n    y = x\nx = None\nif n > 1:\n    y = x\nreturn len(y)",
        "x = db.get(1, 1)\nc = len(x)\nyield\nx = db.get(1, n)\nreturn c + len(x)",
        "x = db.get(1, 1)\nif x is None:\n    return 1\nreturn size(x) + size(db.get(1, n))",
        "c = 0\nfor v in db.multiget(1, k, 8):\n    if c > 0 or v is not None:\n        c += len(v)\nreturn c",
        "x = db.get(1, n)\nassert x is not None\nx = db.get(1, 2) if n > 1 else x\nreturn len(x)",
        # What was computed for a variable is read elsewhere, too.
        "return twice(n + 1)",
        "x = y = n + 1\nx += 1\nreturn x * 100 + y",
        "a = n + 1\nb = n + 2\na, b = b, a\nreturn a * 100 + b",
        "x = n\nx = x + 1\ny = x\nx = y * 2\nreturn x * 100 + y",
        "c = array(u64, 4)\nx = c[n & 3] = n + 5\nx += 1\nreturn x * 100 + c[n & 3]",
        "for i in range(n + 1, n + 4):\n    if i == n + 2:\n        continue\n    n += i\nreturn n",
        "x = n + 1 if n > 1 else n + 2\nreturn x",
        # A negation that is branched on, and one that is kept.
        "if not (n > 1):\n    return 1\nreturn 2",
        "b = not (n > 1)\nif b:\n    return 1 + int(b)\nreturn 2 + int(b)",
        "c = 0\nwhile n <= 3 and not c >= 9:\n    c += 1\n    n += 1\nreturn c * 100 + n",
        # An address in the frame, behind what may cut the block.
        "o = buffer(40)\no.append(k)\no.append_u16(7)\ndb.put(1, 9, o)\no.append(k)\nyield\no.append_u16(9)\nreturn len(o)",
    ],
)
@pytest.mark.parametrize("budget", [1, 100_000])
def test_what_is_left_out_is_not_missed(text: str, budget: int) -> None:
    (program,) = prepare(source(text))
    for n in (0, THERE, ABSENT, 3):
        for k in (b"", b"ab", b"".join(word.to_bytes(8, "little") for word in (ABSENT, THERE, ABSENT))):
            program.agree(n, k, objects=OBJECTS, budget=budget)


def counts(text: str) -> Counter[Op]:
    return Counter(instruction.op for instruction in lower(accepted(source(text))).instructions())


def test_a_view_that_is_certainly_there_is_looked_at_once() -> None:
    once = counts("x = db.get(1, 1)\nreturn len(x)")
    assert counts("x = db.get(1, 1)\nc = len(x)\nif n > 1:\n    c += len(x)\nreturn c + len(x)")[Op.CHECK] == once[Op.CHECK]
    assert counts("x = db.get(1, 1)\nif x is None:\n    return 0\nreturn len(x)")[Op.CHECK] == once[Op.CHECK] - 1


def test_a_variable_gets_what_was_computed_without_a_copy() -> None:
    assert counts("x = n + 1\ny = x * 2\nreturn y")[Op.MOVE] == counts("return (n + 1) * 2")[Op.MOVE]


def test_an_address_in_the_frame_is_made_once_in_a_block() -> None:
    one, two = (counts("o = buffer(40)\n" + "o.append_u16(7)\n" * times + "return 1")[Op.FRAME] for times in (1, 2))
    assert one == two


def test_a_branch_needs_no_negation() -> None:
    assert counts("if not n > 1:\n    return 1\nreturn 2")[Op.XOR] == 0
