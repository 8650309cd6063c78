"""What the checker accepts, the verifier proves: bytes that are made, cut and used in all ways together."""

from __future__ import annotations

import itertools

import pytest

from splinter.ext.middle.verifier import UnprovenError, verify
from tests.support.forms import accepted, placed

HEAD = """
def chosen(a: bytes, b: bytes, p: bool) -> bytes:
    if p:
        return a
    return b

def cut(a: bytes, n: i64) -> bytes:
    return a[:n]

@extension
def f(db: Store, p: bool, k: bytes, m: bytes, x: i64, y: i64) -> i64:
    s = 0
"""
MADE = {  # lines before, and the bytes
    "an argument": ("", "k"),
    "a constant": ("", "b'constant'"),
    "a long constant": ("", "b'a constant of more bytes than a few words'"),
    "a choice": ("", "(k if p else b'constant')"),
    "a choice of slices": ("", "(k[:x] if p else m[y:])"),
    "a helper's": ("", "chosen(k, m, p)"),
    "a helper's slice": ("", "cut(k if p else m, y)"),
    "an object": ("v = db.get(1, k)\nif v is None:\n    return 3", "v"),
    "an object or a constant": ("v = b'constant'\ng = db.get(1, k)\nif g is not None:\n    v = g", "v"),
    "cut in a loop": ("v = k\nfor i in range(3):\n    v = v[x:]", "v"),
    "a buffer's": ("b = buffer(64)\nb.append(k)", "b[:]"),
    "a choice before a yield": ("v = (k if p else m)[:y]\nyield", "v"),
}
CUTS = ("", "[:24]", "[2:24]", "[:x]", "[x:]", "[x:y]", "[x:][:24]", "[:x][y:]", "[:24][:x]", "[:-3]", "[-3:]", "[:len(m)]")
USES = {
    "records": "for r in {}.records(3):\n    s += r.u8(1)",
    "records of so many bytes": "for r in {}.records(x):\n    if y < len(r):\n        s += r[y]",
    "the first record": "for r in {}.records(5):\n    s += r.u8(4)\n    break",
    "the first record of so many bytes": "for r in {}.records(x):\n    return len(r) + r[0]",
    "records of records": "for r in {}.records(x):\n    for q in r.records(y):\n        s += len(q)",
    "multiget": "for r in db.multiget(1, {}, x):\n    if r is not None:\n        s += len(r)",
    "the first of a multiget": "for r in db.multiget(1, {}, y):\n    break",
    "the first of a multiget by a length": "for r in db.multiget(1, {}, len(k)):\n    break",
    "the first that is there": "for r in db.multiget(1, {}, y):\n    if r is not None:\n        s += len(r)\n        break",
    "a key": "if db.get(1, {}) is not None:\n    s += 1",
    "a value": "db.put(1, 7, {})",
    "a word": "s += i64({}.u64(x) & 7)",
    "a byte": "w = {}\nif x < len(w):\n    s += w[x]",
    "each byte": "w = {}\nfor i in range(x, len(w)):\n    s += w[i]",
    "the first byte": "w = {}\nfor i in range(len(w)):\n    s += w[i]\n    break",
    "word by word": "w = {}\nwhile len(w) > 8:\n    s += i64(w.u64(0) & 1)\n    w = w[8:]",
    "piece by piece": "w = {}\nwhile len(w) > x:\n    s += i64(hash64(w[:x]) & 1)\n    w = w[x:]",
    "the first piece": "w = {}\nwhile len(w) > x:\n    s += i64(hash64(w[:x]) & 1)\n    break",
}


# At the start the verifier sees how all was made; behind a join it has to look for that along the ways there.
JOIN = "if p:\n    s = 1\nelse:\n    s = 2\n"


@pytest.mark.parametrize("where", ["", JOIN], ids=["at the start", "behind a join"])
@pytest.mark.parametrize("made", MADE)
def test_bytes_however_made_cut_and_used(made: str, where: str) -> None:
    before, value = where + MADE[made][0], MADE[made][1]
    unproven = [(cut, use) for cut, use in itertools.product(CUTS, USES) if not is_proven(before, value + cut, USES[use])]
    assert not unproven


def is_proven(before: str, value: str, use: str) -> bool:
    """In both forms."""
    lines = [*before.splitlines(), *use.format(value).splitlines(), "return s"]
    try:
        for form in placed(accepted(HEAD + "\n".join("    " + line for line in lines))):
            verify(*form)
    except UnprovenError:
        return False
    return True


def test_conditions_that_go_in_circles_end() -> None:
    """A length is told to be no more than that of a part of it."""
    assert is_proven("", "(k if p else m)", "v = {}\nfor r in db.multiget(1, v[:x], len(v)):\n    break")
