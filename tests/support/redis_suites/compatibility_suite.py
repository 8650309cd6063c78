"""The public compatibility suite for Redis: its cases, each a list of commands and of the replies that Redis gives to them.

The cases are read from a clone of the suite's repository and judged as its own program does: commands and words are split at
spaces outside of quotes, replies compared as RESP2 has them, after FLUSHALL. Its program speaks to one password only.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import redis

from tests.support.redis_suites import sources
from tests.support.redis_suites.claims import command_name, is_claimed
from tests.support.redis_suites.targets import Target
from tests.support.redis_suites.verdicts import CLAIMED, Outcome

SUITE = "compat"
VERSION = (7, 0, 0)
GROUP = "compatibility with 7.0"
REPLY_SECONDS_MAX = 10.0
_ESCAPES = {"\\": 92, '"': 34, "n": 10, "r": 13, "t": 9, "a": 7, "b": 8}


def cases(where: Path | None) -> list[dict[str, Any]]:
    """Those for one server of version 7.0."""
    found = json.loads(sources.compatibility(where))
    return [
        case for case in found if "skipped" not in case and case.get("tags") != "cluster" and _version(case["since"]) <= VERSION
    ]


def verdicts(found: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Which cases need claimed commands only."""
    judged: dict[str, str] = {}
    for number, case in enumerate(found):
        names = {
            command_name([word if isinstance(word, bytes) else word.encode() for word in words]) for words in _all_words(case)
        }
        needs = sorted(name.replace(" ", "-") for name in names if not is_claimed(name))
        judged[_name(number, case)] = " ".join(needs) or CLAIMED
    return {GROUP: judged}


def run(target: Target, found: list[dict[str, Any]]) -> list[Outcome]:
    """Run the cases."""
    outcomes = []
    for number, case in enumerate(found):
        client = redis.Redis(
            target.host, target.port, db=target.table, username=target.user or None, password=target.token or None,
            decode_responses=True, protocol=2, socket_timeout=REPLY_SECONDS_MAX, single_connection_client=True,
        )  # fmt: skip
        client.response_callbacks.clear()
        with contextlib.closing(client):
            try:
                said = _differs(client, case)
            except Exception as error:
                said = f"{type(error).__name__}: {error}"
        outcomes.append(Outcome(GROUP, _name(number, case), "failed" if said else "passed", said))
    return outcomes


def _differs(client: redis.Redis, case: dict[str, Any]) -> str:
    """How the first reply that is not as it should be differs; empty if there is none."""
    client.execute_command("FLUSHDB")
    for words, expected in zip(_all_words(case), case["result"], strict=False):
        reply = client.execute_command(*words)
        if "sort_result" in case and isinstance(expected, list):
            reply, expected = _sorted(reply), _sorted(expected)
        if reply != expected:
            return f"{words}: {reply!r}, not {expected!r}"
    return ""


def _sorted(reply: Any) -> Any:
    if any(isinstance(part, list) for part in reply):
        return [_sorted(part) if isinstance(part, list) else part for part in reply]
    return sorted(reply)


def _name(number: int, case: dict[str, Any]) -> str:
    return f"{number} {case['name']}"


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _all_words(case: dict[str, Any]) -> list[list[Any]]:
    if "command_binary" not in case:
        return [_split(command) for command in case["command"]]
    return [[word.encode("latin-1") for word in _split(_unescaped(command))] for command in case["command"]]


def _split(command: str) -> list[str]:
    """Words between spaces that are not in quotes; the quotes go."""
    words, quoted = [""], False
    for character in command:
        if character == '"':
            quoted = not quoted
        elif character == " " and not quoted:
            words.append("")
        else:
            words[-1] += character
    return words


def _unescaped(command: str) -> str:
    """One character for each byte that the escapes stand for."""
    out, rest = "", command
    while rest:
        if rest[0] == "\\" and rest[1:2] == "x":
            out, rest = out + chr(int(rest[2:4], 16)), rest[4:]
        elif rest[0] == "\\" and rest[1:2] in _ESCAPES:
            out, rest = out + chr(_ESCAPES[rest[1]]), rest[2:]
        else:
            out, rest = out + rest[0], rest[1:]
    return out
