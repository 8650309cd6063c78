"""Cases of the Redis protocol that are written as text: commands, and the reply that each must have.

A file holds cases behind each other, with an empty line between two. A case is a title and indented lines::

    SET with NX keeps what is there
      SET k v NX => +OK
      2> SET k w NX => nil
      GET k => "v"

``2>`` is said by the second connection. Words of a command stand between spaces; one in double quotes may hold escapes as in
Python. ``=>>`` asks again until the reply is that: for what comes with time. Replies:

    +OK  -ERR      a status; an error, by its first word       nil   RESP3's null, and RESP2's string that is none
    "text"  :5     a string; an integer                        nils  the same, of RESP2 an array that is none
    :5..9          an integer from 5 to 9                      [ ]   an array of replies; { } a map (an array in RESP2)
    ( )            an array, in any order                      <str> <int> <list> <map> <any>  one of that type
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.resp import Failure, Map, Null, Reply, Status

Expected = tuple[str, Any]  # a kind of reply, and what it holds
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s"]+')
_LINE = re.compile(r"(?:(\d)> )?(.*?) (=>>?) (.*)")
_LISTS = {"[": ("list", "]"), "(": ("any order", ")"), "{": ("map", "}")}
_TYPES = {"<str>": bytes, "<int>": int, "<list>": list, "<map>": Map, "<any>": object}


@dataclass(frozen=True)
class Line:
    """A command, who says it, and its reply."""

    text: str
    connection: int
    command: tuple[bytes, ...]
    is_awaited: bool
    expected: Expected


@dataclass(frozen=True)
class Case:
    """A title and its lines."""

    title: str
    lines: tuple[Line, ...]


def read_cases(path: Path) -> list[Case]:
    """All cases of a file. Raises :class:`ValueError` for a line that is none."""
    cases = []
    for block in re.split(r"\n\s*\n", path.read_text(encoding="utf-8").strip("\n")):
        title, *lines = (line.strip() for line in block.splitlines())
        cases.append(Case(title, tuple(_line(line) for line in lines)))
    return cases


def _line(text: str) -> Line:
    match = _LINE.fullmatch(text)
    if match is None:
        raise ValueError(f"a command, => and a reply, not {text!r}")
    connection, command, arrow, reply = match.groups()
    tokens = iter(_TOKEN.findall(reply))
    expected = _reply(next(tokens), tokens)
    if (left := next(tokens, None)) is not None:
        raise ValueError(f"{left!r} stands behind the reply of {text!r}")
    words = tuple(_bytes(word) for word in _TOKEN.findall(command))
    return Line(text, int(connection or 1) - 1, words, arrow == "=>>", expected)


def _bytes(word: str) -> bytes:
    return word[1:-1].encode().decode("unicode_escape").encode("latin-1") if word[0] == '"' else word.encode()


def _reply(token: str, rest: Iterator[str]) -> Expected:
    if token in _LISTS:
        kind, end = _LISTS[token]
        items = []
        while (item := next(rest)) != end:
            items.append(_reply(item, rest))
        return kind, items
    if token in ("nil", "nils"):
        return token, None
    if token in _TYPES:
        return "type", _TYPES[token]
    if token[0] in '"+-':
        return token[0], _bytes(token if token[0] == '"' else token[1:])
    if token[0] == ":":
        low, _, high = token[1:].partition("..")
        return "integer", (int(low), int(high or low))
    raise ValueError(f"{token!r} is no reply")


def matches(expected: Expected, reply: Reply, protocol: int) -> bool:
    """Whether a reply is the expected one in this version of the protocol."""
    kind, value = expected
    match kind:
        case "+":
            return bool(reply == Status(value))
        case "-":
            return isinstance(reply, Failure) and reply.code == value
        case '"':
            return bool(reply == value)
        case "integer":
            return isinstance(reply, int) and value[0] <= reply <= value[1]
        case "nil" | "nils":
            return bool(reply == Null("_" if protocol == 3 else "$" if kind == "nil" else "*"))
        case "type":
            return isinstance(reply, list if value is Map and protocol == 2 else value)
        case "map" if protocol == 3:
            flat = [item for pair in reply.pairs for item in pair] if isinstance(reply, Map) else None
            return _all_match(value, flat, protocol)
        case "any order":
            return isinstance(reply, list) and _some_order_matches(value, reply, protocol)
        case _:
            return _all_match(value, reply, protocol)


def _all_match(expected: Sequence[Expected], replies: Reply, protocol: int) -> bool:
    if not isinstance(replies, list) or len(replies) != len(expected):
        return False
    return all(matches(one, reply, protocol) for one, reply in zip(expected, replies, strict=True))


def _some_order_matches(expected: Sequence[Expected], replies: list[Reply], protocol: int) -> bool:
    left = list(replies)
    for one in expected:
        found = next((reply for reply in left if matches(one, reply, protocol)), None)
        if found is None:
            return False
        left.remove(found)
    return not left
