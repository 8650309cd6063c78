"""Random commands of the Redis protocol, by a seed: few keys, so that they meet, and everything that is easily got wrong.

Two servers that are asked the same must reply the same, whenever each of them is asked. So no key expires while the commands
run: an expiry is in the past, or further ahead than any run takes. No two of those ahead are near each other, as GT and LT
compare them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Command = list[bytes]
CONNECTIONS = 2
TABLES = (0, 1, 65_279)  # all that the commands select
QUEUED_MAX = 10  # commands between MULTI and EXEC
KEY_BYTES_MAX = 255  # Splinter's
KEYS = (b"a", b"b", b"c", b"key:1", b"key:2", b"\x00\xff\r\n", b"K" * KEY_BYTES_MAX)
VALUES = (
    b"", b"0", b"10", b"-1", b"7", b"9223372036854775807", b"-9223372036854775808", b"9223372036854775800", b"3.5", b"abc",
    b"1e3", b" 1", b"1 ", b"01", b"-0", b"+1", b"\r\n", b"$-1\r\n", b"\x00\x01\xff", b"nan", b"hello world", b"0.1",
    b"x" * 3000,
)  # fmt: skip
# In the place of a number; none of them is a time that would pass while a test runs.
ODD = (
    b"abc", b"-1", b"0", b"1.5", b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808",
    b"-9223372036854775809", b" 7", b"7 ", b"+7", b"07", b"0x10", b"1e3", b"\x00", b"-0", b"-", b"9" * 23, b"nx",
)  # fmt: skip
# Exact in binary, and few: how sums of others are rounded depends on the machine that Redis runs on.
FLOATS = (b"0.5", b"-1.5", b"3", b"5.0e3", b"-2.5e2", b".25", b"5.", b"-0", b"+1.75", b"0.0625")
NO_FLOATS = (b"inf", b"-inf", b"nan", b"1 ", b" 1", b"", b"abc", b"1.5.", b"1e", b"--1", b"0.5\x00")
FLOAT_KEY = b"float"
OFFSETS = (0, 1, 2, 3, 5, 10, 100, 4000, -1, -2, -3, -10, -100, -5000, 2**31, 2**63 - 1, -(2**63), -(2**31))
PATTERNS = (
    b"*", b"?", b"a", b"key:*", b"key:[12]", b"key:[^1]", b"[a-b]", b"[c-a]", b"\\a", b"[", b"key:[1", b"*e*:*", b"**", b"",
    b"K*K", b"[\\a]", b"key:\\", b"\x00*", b"*\xff*", b"k?y:?", b"nothing*", b"a*?", b"[^a]", b"[^", b"key:[1-", b"key:[\\",
)  # fmt: skip
AHEAD_SECONDS = (200_000, 10_000_000)  # as milliseconds it is still minutes
FAR_SECONDS = range(4_102_444_800, 4_102_444_805)  # the year 2100, as a time of Unix; as milliseconds it is in the past
HUGE_SECONDS = 9_223_372_036_854_776  # beyond what milliseconds in 64 bits can tell
# Where a command's keys are: the first, the last (from the end, when negative), every how many.
KEYS_AT: dict[bytes, tuple[int, int, int]] = {
    **dict.fromkeys((b"MGET", b"DEL", b"UNLINK", b"EXISTS", b"TOUCH", b"WATCH"), (1, -1, 1)),
    **dict.fromkeys((b"MSET", b"MSETNX"), (1, -1, 2)),
    **dict.fromkeys((b"RENAME", b"RENAMENX", b"COPY"), (1, 2, 1)),
    b"OBJECT": (2, 2, 1),
}  # fmt: skip
KEYLESS = {
    *(b"PING", b"ECHO", b"AUTH", b"HELLO", b"SELECT", b"RESET", b"CLIENT", b"INFO", b"COMMAND", b"CONFIG", b"DBSIZE"),
    *(b"FLUSHDB", b"TIME", b"SCAN", b"KEYS", b"RANDOMKEY", b"MULTI", b"EXEC", b"DISCARD", b"UNWATCH", b"NOSUCH"),
}


@dataclass(frozen=True)
class Step:
    """A command, and which connection sends it."""

    connection: int
    command: tuple[bytes, ...]

    def __str__(self) -> str:
        return f"{self.connection}> " + " ".join(_shown(part) for part in self.command)


def _shown(part: bytes) -> str:
    text = part if len(part) <= 60 else part[:20] + b"...%d bytes" % len(part)
    return text.decode() if text.isalnum() or text in (b"*", b"-1") else repr(text)[1:]


def keys_of(command: Command) -> list[bytes]:
    """The keys that a command names, as far as it is whole."""
    name = command[0].upper()
    if name in KEYLESS:
        return []
    first, last, step = KEYS_AT.get(name, (1, 1, 1))
    stop = len(command) if last < 0 else min(last + 1, len(command))
    return command[first:stop:step]


class Generator:
    """Steps without end; the same for the same seed. ``who`` are the words behind AUTH that let one in."""

    def __init__(self, seed: int, who: tuple[bytes, bytes]) -> None:
        self._dice = random.Random(seed)
        self._who = who
        self._queued = [-1] * CONNECTIONS  # of a transaction; -1: there is none
        self._ahead: set[int] = set()  # seconds of expiries so far
        self._connection = 0

    def steps(self, count: int) -> list[Step]:
        """So many steps, whatever ends what they began, and a look at all that is there then."""
        made: list[Step] = []
        while len(made) < count:
            made += self._next()
        for connection in range(CONNECTIONS):
            if self._queued[connection] >= 0:
                made.append(Step(connection, (b"EXEC",)))
                self._queued[connection] = -1
        return made + [Step(0, tuple(command)) for command in self._inventory()]

    @staticmethod
    def _inventory() -> Iterator[Command]:
        """What is there in the end."""
        for table in TABLES:
            yield [b"SELECT", b"%d" % table]
            yield [b"SCAN", b"0"]
            yield [b"MGET", *KEYS, FLOAT_KEY]
            for key in KEYS:
                yield [b"PEXPIRETIME", key]

    def _next(self) -> Iterator[Step]:
        if self._dice.random() < 0.3:
            self._connection = self._dice.randrange(CONNECTIONS)
        connection = self._connection
        for command in self._transaction(connection) or self._plain(self._queued[connection] >= 0):
            yield Step(connection, tuple(self._odd(command)))

    def _transaction(self, connection: int) -> list[Command]:
        """What begins, ends or watches, now and then."""
        queued, chance = self._queued[connection], self._dice.random()
        if queued >= 0:
            self._queued[connection] += 1
            if queued >= QUEUED_MAX or chance < 0.2:
                self._queued[connection] = -1
                return [[b"EXEC" if chance < 0.17 else b"DISCARD"]]
            return [[self._dice.choice((b"MULTI", b"WATCH", b"UNWATCH"))]] if chance > 0.98 else []
        if chance < 0.06:
            self._queued[connection] = 0
            return [[b"MULTI"]]
        if chance < 0.12:
            # Of keys that are there: Splinter does not notice one that is made and deleted again.
            keys = self._keys(3)
            return [*([b"setnx", key, b"here"] for key in keys), [b"WATCH", *keys]]
        return [[self._dice.choice((b"UNWATCH", b"EXEC", b"DISCARD"))]] if chance > 0.99 else []

    def _plain(self, is_queued: bool) -> list[Command]:
        name = self._dice.choices(_NAMES, _WEIGHTS)[0]
        if name in _ALONE:
            return [] if is_queued else _ALONE[name](self)
        return [[name, *_ARGUMENTS[name](self)]]

    def _odd(self, command: Command) -> Command:
        """The command as it is, or, now and then, in other letters, or with an argument more, fewer, or of another kind."""
        chance = self._dice.random()
        if chance < 0.1:
            return [command[0].lower(), *command[1:]]
        if chance < 0.15:
            return [command[0].title(), *(part.lower() if part.isalpha() and len(part) > 1 else part for part in command[1:])]
        if chance > 0.06 + 0.15 or command[0] in _WHOLE or self._who[1] in command:  # let in by nobody else, it must succeed
            return command
        other = list(command)
        place = self._dice.randrange(1, len(other) + 1)
        if chance < 0.17 and place < len(other):
            del other[place]
        elif chance < 0.19 and place < len(other):
            other[place] = self._dice.choice(ODD)
        else:
            other.insert(place if chance < 0.2 else len(other), self._dice.choice(ODD))
        return other if all(1 <= len(key) <= KEY_BYTES_MAX for key in keys_of(other)) else command

    def key(self) -> bytes:
        """A key; the first ones more often."""
        return self._dice.choice(KEYS[:3] if self._dice.random() < 0.5 else KEYS)

    def _keys(self, most: int) -> list[bytes]:
        return [self.key() for _ in range(self._dice.randrange(1, most + 1))]

    def value(self) -> bytes:
        """A value; short ones, most of which look like numbers."""
        return self._dice.choice(VALUES)

    def number(self) -> bytes:
        """An integer that is at a border now and then."""
        return self._dice.choice(ODD) if self._dice.random() < 0.3 else b"%d" % self._dice.randrange(-20, 1000)

    def offset(self) -> bytes:
        """A place in a string."""
        return b"%d" % self._dice.choice(OFFSETS)

    def ahead(self) -> int:
        """Seconds from now that no expiry before had."""
        while (seconds := self._dice.randrange(*AHEAD_SECONDS, 1000)) in self._ahead:
            pass
        self._ahead.add(seconds)
        return seconds

    def span(self, unit: int) -> bytes:
        """How long a key lives: seconds from now, times ``unit``."""
        chance = self._dice.random()
        if chance < 0.1:
            return self._dice.choice((b"0", b"-1", b"-1000", b"abc", b"", b"1.5", b"-9223372036854775808"))
        return b"%d" % ((HUGE_SECONDS if chance < 0.11 else self.ahead()) * unit)

    def date(self, unit: int) -> bytes:
        """When a key expires: seconds since 1970, times ``unit``."""
        chance = self._dice.random()
        if chance < 0.2:
            return self._dice.choice((b"0", b"-1", b"1", b"1000000", b"abc", b"", b"-9223372036854775808"))
        return b"%d" % ((HUGE_SECONDS if chance < 0.23 else self._dice.choice(FAR_SECONDS)) * unit)

    def expiry(self) -> Command:
        """EX and its like."""
        name, unit = self._dice.choice(((b"EX", 1), (b"PX", 1000), (b"EXAT", 1), (b"PXAT", 1000)))
        return [name, self.date(unit) if name.endswith(b"AT") else self.span(unit)]

    def some(self, *choices: bytes, most: int = 1) -> Command:
        """Up to ``most`` of these, in any order."""
        return self._dice.sample(choices, self._dice.randrange(most + 1))

    def words(self, *choices: bytes, most: int = 1) -> Command:
        """Up to ``most`` of these, in any order, cut into words."""
        return [word for choice in self.some(*choices, most=most) for word in choice.split(b" ")]

    def one(self, *choices: bytes) -> bytes:
        """One of these."""
        return self._dice.choice(choices)

    def is_so(self, share: float) -> bool:
        """True in that share of all cases."""
        return self._dice.random() < share

    def set_options(self) -> Command:
        """Options of SET, which may contradict each other."""
        parts = [self.expiry()] if self.is_so(0.3) else []
        parts += [[option] for option in self.some(b"NX", b"XX", b"GET", b"KEEPTTL", most=2)]
        self._dice.shuffle(parts)
        return [word for part in parts for word in part]

    def pairs(self) -> Command:
        """Keys and values."""
        return [word for key in self._keys(4) for word in (key, self.value())]

    def again(self) -> list[Command]:
        """A connection as new, let in again."""
        select = [[b"SELECT", b"%d" % self._dice.choice((0, 1))]]
        return [[b"RESET"], [b"AUTH", *self._who] if self.is_so(0.5) else [b"HELLO", b"3", b"AUTH", *self._who], *select]

    def keys(self, most: int) -> Command:
        """Up to so many keys, the same one twice perhaps."""
        return self._keys(most)


_Arguments = Callable[[Generator], Command]
_SPANS = (b"NX", b"XX", b"GT", b"LT")
# How often, and what stands behind the name.
_TABLE: dict[bytes, tuple[int, _Arguments]] = {
    b"GET": (12, lambda g: [g.key()]),
    b"SET": (20, lambda g: [g.key(), g.value(), *g.set_options()]),
    b"MGET": (4, lambda g: g.keys(5)),
    b"MSET": (4, lambda g: g.pairs()),
    b"MSETNX": (3, lambda g: g.pairs()),
    b"SETNX": (3, lambda g: [g.key(), g.value()]),
    b"SETEX": (3, lambda g: [g.key(), g.span(1), g.value()]),
    b"PSETEX": (3, lambda g: [g.key(), g.span(1000), g.value()]),
    b"GETSET": (3, lambda g: [g.key(), g.value()]),
    b"GETDEL": (3, lambda g: [g.key()]),
    b"GETEX": (5, lambda g: [g.key(), *(g.expiry() if g.is_so(0.6) else g.some(b"PERSIST", b"XX"))]),
    b"APPEND": (4, lambda g: [g.key(), g.value()]),
    b"STRLEN": (3, lambda g: [g.key()]),
    b"GETRANGE": (4, lambda g: [g.key(), g.offset(), g.offset()]),
    b"SUBSTR": (1, lambda g: [g.key(), g.offset(), g.offset()]),
    b"SETRANGE": (4, lambda g: [g.key(), g.offset(), g.value()]),
    b"INCR": (5, lambda g: [g.key()]),
    b"DECR": (4, lambda g: [g.key()]),
    b"INCRBY": (4, lambda g: [g.key(), g.number()]),
    b"DECRBY": (4, lambda g: [g.key(), g.number()]),
    b"INCRBYFLOAT": (4, lambda g: [FLOAT_KEY, g.one(*FLOATS)] if g.is_so(0.7) else [g.key(), g.one(*NO_FLOATS)]),
    b"DEL": (8, lambda g: g.keys(3)),
    b"UNLINK": (2, lambda g: g.keys(3)),
    b"EXISTS": (4, lambda g: g.keys(3)),
    b"TYPE": (2, lambda g: [g.key()]),
    b"TTL": (4, lambda g: [g.key()]),
    b"PTTL": (4, lambda g: [g.key()]),
    b"EXPIRETIME": (3, lambda g: [g.key()]),
    b"PEXPIRETIME": (3, lambda g: [g.key()]),
    b"EXPIRE": (5, lambda g: [g.key(), g.span(1), *g.some(*_SPANS, most=2)]),
    b"PEXPIRE": (4, lambda g: [g.key(), g.span(1000), *g.some(*_SPANS, most=2)]),
    b"EXPIREAT": (4, lambda g: [g.key(), g.date(1), *g.some(*_SPANS, most=2)]),
    b"PEXPIREAT": (4, lambda g: [g.key(), g.date(1000), *g.some(*_SPANS, most=2)]),
    b"PERSIST": (4, lambda g: [g.key()]),
    b"RENAME": (4, lambda g: [g.key(), g.key()]),
    b"RENAMENX": (4, lambda g: [g.key(), g.key()]),
    b"COPY": (5, lambda g: [g.key(), g.key(), *g.words(b"REPLACE", b"DB 1", b"DB 0", b"DB x", most=2)]),
    b"TOUCH": (2, lambda g: g.keys(3)),
    b"PING": (2, lambda g: g.some(b"hello", b"")),
    b"ECHO": (2, lambda g: [g.value()]),
    b"SELECT": (2, lambda g: [g.one(b"0", b"0", b"1", b"65279", b"65280", b"-1", b"x", b"01")]),
    b"TIME": (1, lambda g: []),
    b"INFO": (1, lambda g: g.some(b"server")),
    b"NOSUCH": (1, lambda g: g.keys(3)),
}
# What is not for transactions: several commands, a reply that is any of many, what Splinter refuses there, and whose second
# word Redis looks at when it queues.
_ALONE: dict[bytes, Callable[[Generator], list[Command]]] = {
    b"SCAN": lambda g: [[b"SCAN", b"0", *g.one(
        b"", b"MATCH *", b"COUNT 1", b"COUNT 3 MATCH k*", b"TYPE string", b"TYPE hash", b"COUNT 0", b"COUNT x", b"MATCH",
        b"NOSUCH 1", b"TYPE string COUNT 2 MATCH *a*", b"MATCH a MATCH b"
    ).split()]],
    # A sweep removes what has expired; what has, but is there, Redis counts.
    b"DBSIZE": lambda g: [[b"SCAN", b"0"], [b"DBSIZE"]],
    b"KEYS": lambda g: [[b"KEYS", g.one(*PATTERNS)]],
    b"RANDOMKEY": lambda g: [[b"RANDOMKEY"]],
    b"FLUSHDB": lambda g: [[b"FLUSHDB", *g.some(b"ASYNC", b"SYNC", b"NOSUCH")]],
    b"HELLO": lambda g: [[b"HELLO", *g.words(
        b"2", b"3", b"4", b"x", b"3 SETNAME a", b"2 AUTH a b", b"3 AUTH a", b"3 SETNAME"
    )]],
    b"AUTH": lambda g: [[b"AUTH", *g.one(b"wrong", b"no body", b"1 2 3").split()]],
    b"CLIENT": lambda g: [[b"CLIENT", *g.one(
        b"ID", b"GETNAME", b"SETNAME me", b"SETNAME a\nb", b"NO-EVICT on", b"NOSUCH", b"INFO"
    ).split(b" ")]],
    b"COMMAND": lambda g: [[b"COMMAND", *g.one(
        b"GETKEYS get a", b"GETKEYS mset a 1 b 2", b"GETKEYS ping", b"GETKEYS get", b"NOSUCH",
        b"GETKEYS eval s 2 a b c", b"GETKEYS fcall f 3 a", b"GETKEYS evalsha s 01x a", b"GETKEYS object freq a",
        b"GETKEYS object help"
    ).split()]],
    b"CONFIG": lambda g: [[b"CONFIG", *g.one(b"GET nothing", b"GET", b"NOSUCH", b"SET nothing 1", b"SET maxmemory").split()]],
    b"OBJECT": lambda g: [[b"OBJECT", g.one(b"ENCODING", b"REFCOUNT", b"freq"), g.key()]],
    b"RESET": lambda g: g.again(),
}  # fmt: skip
_ALONE_WEIGHTS = {
    b"OBJECT": 2,
    b"CONFIG": 1,
    b"COMMAND": 1,
    b"CLIENT": 2,
    b"AUTH": 1,
    b"HELLO": 1,
    b"FLUSHDB": 1,
    b"RANDOMKEY": 1,
    b"KEYS": 3,
    b"SCAN": 3,
    b"DBSIZE": 3,
    b"RESET": 1,
}
COMMANDS_USED = ({*_TABLE, *_ALONE} - {b"NOSUCH"}) | {b"MULTI", b"EXEC", b"DISCARD", b"WATCH", b"UNWATCH", b"QUIT"}
_ARGUMENTS = {name: arguments for name, (_, arguments) in _TABLE.items()}
_NAMES = [*_TABLE, *_ALONE]
_WEIGHTS = [*(weight for weight, _ in _TABLE.values()), *(_ALONE_WEIGHTS[name] for name in _ALONE)]
# Commands that stay as they are: changed they would say something else, not something wrong.
_WHOLE = {
    *(
        b"AUTH",
        b"setnx",  # so that WATCH finds a key
        b"RESET",
        b"EXEC",
        b"MULTI",
        b"DISCARD",
        b"SCAN",
        b"DBSIZE",
        b"COMMAND",
        b"CONFIG",
        b"INFO",
        b"RANDOMKEY",
        b"TIME",
    ),
    *(b"INCRBYFLOAT", b"NOSUCH"),
}
