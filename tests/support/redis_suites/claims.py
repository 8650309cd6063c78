"""The commands that Splinter claims to serve as Redis 7.0 does."""

from __future__ import annotations

from collections.abc import Sequence

from splinter.worker.resp import commands

_NOT_SERVED = "ACL CLUSTER DEBUG FUNCTION LATENCY MEMORY MODULE PUBSUB SCRIPT SLOWLOG XGROUP XINFO"
# Commands that are several: their second word is part of the name.
CONTAINERS = {
    "CLIENT": frozenset(["ID", "GETNAME", "SETNAME", "SETINFO", "INFO", "LIST", "NO-EVICT", "NO-TOUCH"]),
    "COMMAND": frozenset(("", "COUNT", "INFO", "LIST", "GETKEYS", "DOCS")),
    "CONFIG": frozenset(["GET"]),  # SET is answered, and changes none
    "OBJECT": frozenset(["ENCODING", "REFCOUNT", "IDLETIME", "FREQ"]),
    **dict.fromkeys(_NOT_SERVED.split(), frozenset()),
}
# The suites' functions and scripts are in Lua.
_OF_LUA = frozenset(("EVAL", "EVAL_RO", "EVALSHA", "EVALSHA_RO", "FCALL", "FCALL_RO"))
COMMANDS = frozenset(command.name.upper() for command in commands.COMMANDS) - CONTAINERS.keys() - _OF_LUA
# Asked for by redis-py on each connection, and known to no Redis 7: a test needs none of it.
UNKNOWN_TO_REDIS = frozenset(["CLIENT MAINT_NOTIFICATIONS"])


def command_name(words: Sequence[bytes]) -> str:
    """``GET``, ``CONFIG SET``: what a request's words ask for. Empty for a request without words."""
    upper = [word.decode("latin-1").upper() for word in words[:2]]
    return " ".join(upper if upper and upper[0] in CONTAINERS else upper[:1])


def is_claimed(name: str) -> bool:
    """Whether :func:`command_name` told one that is served; so is an empty request, which has no reply."""
    first, _, second = name.partition(" ")
    return not name or first in COMMANDS or second in CONTAINERS.get(first, ())
