"""Colours and markers of all pictures: each means one thing, whatever is drawn.

The first eight are who answers, in the colours of Okabe and Ito, which the colour-blind can tell apart; invokes in the kernel
have the invokes' green, so dark that no eye takes it for another. The others are what an experiment changes in Splinter;
Splinter as it is delivered keeps its own colour there.
"""

from __future__ import annotations

from dataclasses import dataclass

SPLINTER, INVOKE, KERNEL_INVOKE = "Splinter", "Splinter invoke", "Splinter invoke, kernel"
AF_XDP_ECHO, XDP_TX_ECHO = "AF_XDP echo", "XDP_TX echo"
REDIS, REDIS_LUA, MEMCACHED = "Redis", "Redis Lua", "memcached"
ECHOES = (AF_XDP_ECHO, XDP_TX_ECHO)
UNDISTURBED, WITHOUT, OTHERWISE, SECOND, THIRD = "undisturbed", "without", "otherwise", "a second way", "a third way"


@dataclass(frozen=True)
class Look:
    """How something is drawn."""

    colour: str
    marker: str


LOOKS = {
    SPLINTER: Look("#0072b2", "o"),
    INVOKE: Look("#009e73", "s"),
    KERNEL_INVOKE: Look("#00331f", "p"),
    REDIS: Look("#e69f00", "^"),
    REDIS_LUA: Look("#d55e00", "v"),
    MEMCACHED: Look("#cc79a7", "D"),
    AF_XDP_ECHO: Look("#999999", "P"),
    XDP_TX_ECHO: Look("#444444", "X"),
    UNDISTURBED: Look("#56b4e9", "<"),
    WITHOUT: Look("#882255", "v"),  # the mechanism is switched off
    OTHERWISE: Look("#8c6d31", "s"),  # something else in its place
    SECOND: Look("#332288", "D"),
    THIRD: Look("#999933", "^"),
}
# Of a measurement's name, the first part that it contains decides.
_SUBJECTS = {
    "XDP_TX": XDP_TX_ECHO, "echo": AF_XDP_ECHO, "evalsha": REDIS_LUA, "fcall": REDIS_LUA, "Redis Lua": REDIS_LUA,
    "redis": REDIS, "Redis": REDIS, "memcached": MEMCACHED, "invoke, kernel": KERNEL_INVOKE, "invoke": INVOKE, "tao": INVOKE,
}  # fmt: skip


def subject(name: str) -> str:
    """Who is measured under a name: ``redis fcall chain`` is Redis Lua, ``put`` is Splinter."""
    return next((who for part, who in _SUBJECTS.items() if part in name), SPLINTER)
