"""What each command is: its arity, its flags, where its keys are, what it does, since when Redis has it.

This table is the one place: compiled code finds commands in it, ``COMMAND`` tells it, and so does ``docs/reference/redis.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, auto, unique

import numpy as np

from splinter.worker.resp.layout import (
    COMMAND,
    COMMANDS_SLOTS,
    FLAG_NO_AUTH,
    FLAG_NO_MULTI,
    FLAG_NOT_QUEUED,
    FLAG_READONLY,
    FLAG_STORE,
    FLAG_WALK,
    FLAG_WRITE,
    NAME_BYTES_MAX,
)

_WORD_BYTES = 8
MULTIPLIERS = (0x1E3779B97F4A7C15, 0x42B2AE3D27D4EB4F, 0x165667B19E3779F9)  # odd, and positive as signed words
HASH_SHIFT = 64 - (COMMANDS_SLOTS.bit_length() - 1)


@unique
class Number(IntEnum):
    """Which command it is, for compiled code."""

    PING = auto()
    ECHO = auto()
    AUTH = auto()
    HELLO = auto()
    SELECT = auto()
    QUIT = auto()
    RESET = auto()
    CLIENT = auto()
    INFO = auto()
    COMMAND = auto()
    CONFIG = auto()
    TIME = auto()
    DBSIZE = auto()
    FLUSHDB = auto()
    KEYS = auto()
    SCAN = auto()
    RANDOMKEY = auto()
    GET = auto()
    SET = auto()
    MGET = auto()
    MSET = auto()
    MSETNX = auto()
    SETNX = auto()
    SETEX = auto()
    PSETEX = auto()
    GETSET = auto()
    GETDEL = auto()
    GETEX = auto()
    APPEND = auto()
    STRLEN = auto()
    GETRANGE = auto()
    SUBSTR = auto()
    SETRANGE = auto()
    INCR = auto()
    DECR = auto()
    INCRBY = auto()
    DECRBY = auto()
    INCRBYFLOAT = auto()
    DEL = auto()
    UNLINK = auto()
    EXISTS = auto()
    TOUCH = auto()
    TYPE = auto()
    TTL = auto()
    PTTL = auto()
    EXPIRE = auto()
    PEXPIRE = auto()
    EXPIREAT = auto()
    PEXPIREAT = auto()
    EXPIRETIME = auto()
    PEXPIRETIME = auto()
    PERSIST = auto()
    RENAME = auto()
    RENAMENX = auto()
    COPY = auto()
    OBJECT = auto()
    FCALL = auto()
    FCALL_RO = auto()
    FUNCTION = auto()
    EVAL = auto()
    EVAL_RO = auto()
    EVALSHA = auto()
    EVALSHA_RO = auto()
    SCRIPT = auto()
    MULTI = auto()
    EXEC = auto()
    DISCARD = auto()
    WATCH = auto()
    UNWATCH = auto()


@dataclass(frozen=True)
class Command:
    """One command. ``arity``: its arguments, the name included; less than 0: at least as many."""

    number: Number
    arity: int
    flags: int
    keys: tuple[int, int, int]  # first argument that is a key, last (-1: the last one), step; zeros: none
    group: str
    since: str  # the version of Redis that has it first
    summary: str

    @property
    def name(self) -> str:
        """In lower case."""
        return self.number.name.lower()


_NONE, _ONE, _TWO, _ALL, _PAIRS = (0, 0, 0), (1, 1, 1), (1, 2, 1), (1, -1, 1), (1, -1, 2)
_SESSION = FLAG_NO_AUTH | FLAG_NOT_QUEUED
_WRITE, _READ = FLAG_WRITE | FLAG_STORE, FLAG_READONLY | FLAG_STORE
_WALK = FLAG_WALK | FLAG_NO_MULTI
_N = Number

COMMANDS = (
    Command(_N.PING, -1, 0, _NONE, "connection", "1.0.0", "Answers PONG, or its argument"),
    Command(_N.ECHO, 2, 0, _NONE, "connection", "1.0.0", "Answers its argument"),
    Command(_N.AUTH, -2, FLAG_NO_AUTH | FLAG_NO_MULTI, _NONE, "connection", "1.0.0", "Shows a tenant's token"),
    Command(_N.HELLO, -1, FLAG_NO_AUTH | FLAG_NO_MULTI, _NONE, "connection", "6.0.0", "Chooses RESP2 or RESP3"),
    Command(_N.SELECT, 2, 0, _NONE, "connection", "1.0.0", "Chooses the table"),
    Command(_N.QUIT, -1, _SESSION, _NONE, "connection", "1.0.0", "Ends the connection"),
    Command(_N.RESET, 1, _SESSION, _NONE, "connection", "6.2.0", "Sets the connection to its beginning"),
    Command(_N.CLIENT, -2, 0, _NONE, "connection", "2.4.0", "ID, INFO, LIST (itself), GETNAME, SETNAME, SETINFO, "
            "NO-EVICT, NO-TOUCH"),
    Command(_N.INFO, -1, 0, _NONE, "server", "1.0.0", "Facts of the server, and of the tenant"),
    Command(_N.COMMAND, -1, 0, _NONE, "server", "2.8.13", "The commands: COUNT, INFO, LIST, DOCS, GETKEYS"),
    Command(_N.CONFIG, -2, 0, _NONE, "server", "2.0.0", "GET tells settings; SET changes none"),
    Command(_N.TIME, 1, 0, _NONE, "server", "2.6.0", "The server's clock"),
    Command(_N.DBSIZE, 1, FLAG_READONLY | _WALK, _NONE, "server", "1.0.0", "Counts the table's keys, going over all of them"),
    Command(_N.FLUSHDB, -1, FLAG_WRITE | _WALK, _NONE, "server", "1.0.0", "Deletes the table's keys, one after the other"),
    Command(_N.KEYS, 2, FLAG_READONLY | _WALK, _NONE, "generic", "1.0.0", "The table's keys that a pattern matches"),
    Command(_N.SCAN, -2, FLAG_READONLY | FLAG_NO_MULTI, _NONE, "generic", "2.8.0", "Some of the keys, and where to go on"),
    Command(_N.RANDOMKEY, 1, FLAG_READONLY | _WALK, _NONE, "generic", "1.0.0", "One of the table's keys"),
    Command(_N.GET, 2, _READ, _ONE, "string", "1.0.0", "The value of a key"),
    Command(_N.SET, -3, _WRITE, _ONE, "string", "1.0.0", "Gives a key its value: NX, XX, GET, EX, PX, EXAT, PXAT, KEEPTTL"),
    Command(_N.MGET, -2, _READ, _ALL, "string", "1.0.0", "The values of several keys, of one instant"),
    Command(_N.MSET, -3, _WRITE, _PAIRS, "string", "1.0.1", "Gives several keys their values at one instant"),
    Command(_N.MSETNX, -3, _WRITE, _PAIRS, "string", "1.0.1", "The same, if none of the keys is there"),
    Command(_N.SETNX, 3, _WRITE, _ONE, "string", "1.0.0", "Gives a key its value, if it is not there"),
    Command(_N.SETEX, 4, _WRITE, _ONE, "string", "2.0.0", "Gives a key its value, for seconds"),
    Command(_N.PSETEX, 4, _WRITE, _ONE, "string", "2.6.0", "Gives a key its value, for milliseconds"),
    Command(_N.GETSET, 3, _WRITE, _ONE, "string", "1.0.0", "Gives a key its value, and tells the one before"),
    Command(_N.GETDEL, 2, _WRITE, _ONE, "string", "6.2.0", "Tells the value of a key, and deletes it"),
    Command(_N.GETEX, -2, _WRITE, _ONE, "string", "6.2.0", "Tells the value of a key, and how long it lives from now on"),
    Command(_N.APPEND, 3, _WRITE, _ONE, "string", "2.0.0", "Adds bytes to the end of a value"),
    Command(_N.STRLEN, 2, _READ, _ONE, "string", "2.2.0", "How long a value is"),
    Command(_N.GETRANGE, 4, _READ, _ONE, "string", "2.4.0", "A part of a value"),
    Command(_N.SUBSTR, 4, _READ, _ONE, "string", "1.0.0", "The same"),
    Command(_N.SETRANGE, 4, _WRITE, _ONE, "string", "2.2.0", "Overwrites a part of a value"),
    Command(_N.INCR, 2, _WRITE, _ONE, "string", "1.0.0", "Adds 1 to a number"),
    Command(_N.DECR, 2, _WRITE, _ONE, "string", "1.0.0", "Takes 1 from a number"),
    Command(_N.INCRBY, 3, _WRITE, _ONE, "string", "1.0.0", "Adds to a number"),
    Command(_N.DECRBY, 3, _WRITE, _ONE, "string", "1.0.0", "Takes from a number"),
    Command(_N.INCRBYFLOAT, 3, _WRITE, _ONE, "string", "2.6.0", "Adds to a decimal number"),
    Command(_N.DEL, -2, _WRITE, _ALL, "generic", "1.0.0", "Deletes keys, and tells how many were there"),
    Command(_N.UNLINK, -2, _WRITE, _ALL, "generic", "4.0.0", "The same"),
    Command(_N.EXISTS, -2, _READ, _ALL, "generic", "1.0.0", "How many of the keys are there"),
    Command(_N.TOUCH, -2, _READ, _ALL, "generic", "3.2.1", "The same; they count as used"),
    Command(_N.TYPE, 2, _READ, _ONE, "generic", "1.0.0", "string, or none"),
    Command(_N.TTL, 2, _READ, _ONE, "generic", "1.0.0", "How many seconds a key lives"),
    Command(_N.PTTL, 2, _READ, _ONE, "generic", "2.6.0", "How many milliseconds"),
    Command(_N.EXPIRE, -3, _WRITE, _ONE, "generic", "1.0.0", "Has a key live for seconds: NX, XX, GT, LT"),
    Command(_N.PEXPIRE, -3, _WRITE, _ONE, "generic", "2.6.0", "For milliseconds"),
    Command(_N.EXPIREAT, -3, _WRITE, _ONE, "generic", "1.2.0", "Until a time, in seconds since 1970"),
    Command(_N.PEXPIREAT, -3, _WRITE, _ONE, "generic", "2.6.0", "In milliseconds"),
    Command(_N.EXPIRETIME, 2, _READ, _ONE, "generic", "7.0.0", "Until when a key lives, in seconds since 1970"),
    Command(_N.PEXPIRETIME, 2, _READ, _ONE, "generic", "7.0.0", "In milliseconds"),
    Command(_N.PERSIST, 2, _WRITE, _ONE, "generic", "2.2.0", "Has a key live for ever"),
    Command(_N.RENAME, 3, _WRITE, _TWO, "generic", "1.0.0", "Gives an object another key"),
    Command(_N.RENAMENX, 3, _WRITE, _TWO, "generic", "1.0.0", "The same, if that is free"),
    Command(_N.COPY, -3, _WRITE, _TWO, "generic", "6.2.0", "Copies an object to another key: DB, REPLACE"),
    Command(_N.OBJECT, -2, FLAG_STORE, _NONE, "generic", "2.2.3", "ENCODING, REFCOUNT, FREQ"),
    Command(_N.FCALL, -3, FLAG_WRITE, _NONE, "scripting", "7.0.0", "Calls an extension"),
    Command(_N.FCALL_RO, -3, FLAG_READONLY, _NONE, "scripting", "7.0.0", "Calls one that only reads"),
    Command(_N.FUNCTION, -2, FLAG_NO_MULTI, _NONE, "scripting", "7.0.0", "LOAD, LIST, DELETE, STATS: extensions in Python"),
    Command(_N.EVAL, -3, FLAG_WRITE, _NONE, "scripting", "2.6.0", "Runs a common client's script"),
    Command(_N.EVAL_RO, -3, FLAG_READONLY, _NONE, "scripting", "7.0.0", "The same, if it only reads"),
    Command(_N.EVALSHA, -3, FLAG_WRITE, _NONE, "scripting", "2.6.0", "The same by the script's digest"),
    Command(_N.EVALSHA_RO, -3, FLAG_READONLY, _NONE, "scripting", "7.0.0", "Likewise, if it only reads"),
    Command(_N.SCRIPT, -2, FLAG_NO_MULTI, _NONE, "scripting", "2.6.0", "LOAD and EXISTS of a common client's script"),
    Command(_N.MULTI, 1, FLAG_NOT_QUEUED, _NONE, "transactions", "1.2.0", "Begins to queue a transaction"),
    Command(_N.EXEC, 1, FLAG_NOT_QUEUED, _NONE, "transactions", "1.2.0", "Executes it, at one instant"),
    Command(_N.DISCARD, 1, FLAG_NOT_QUEUED, _NONE, "transactions", "2.0.0", "Forgets it"),
    Command(_N.WATCH, -2, FLAG_NOT_QUEUED, _ALL, "transactions", "2.2.0", "Has EXEC do nothing if a key was changed since"),
    Command(_N.UNWATCH, 1, 0, _NONE, "transactions", "2.2.0", "Forgets the keys that are watched"),
)  # fmt: skip
assert sorted(command.number for command in COMMANDS) == list(Number)
_TOLD_FLAGS = {FLAG_WRITE: "write", FLAG_READONLY: "readonly", FLAG_NO_AUTH: "no_auth", FLAG_NO_MULTI: "no_multi"}


def name_words(name: bytes) -> tuple[int, int, int]:
    """A name as compiled code compares it: in upper case, zeros behind it, as three words."""
    padded = name.upper().ljust(NAME_BYTES_MAX, b"\0")
    first, second, third = (int.from_bytes(padded[at : at + _WORD_BYTES], "little") for at in range(0, NAME_BYTES_MAX, 8))
    return first, second, third


def slot_of(words: tuple[int, int, int]) -> int:
    """Where a name's slot is looked for first. :func:`splinter.worker.resp.parse.find_command` computes the same."""
    mixed = 0
    for word, multiplier in zip(words, MULTIPLIERS, strict=True):
        mixed ^= word * multiplier
    return (mixed & (1 << 64) - 1) >> HASH_SHIFT


def bulk(text: str) -> bytes:
    """A bulk string of the protocol."""
    encoded = text.encode()
    return b"$%d\r\n%b\r\n" % (len(encoded), encoded)


def _about(command: Command, kind: bytes) -> bytes:
    """What ``COMMAND INFO`` tells of a command: ten elements, as of Redis 7. ``kind``: the first byte of a set."""
    flags = [name for flag, name in _TOLD_FLAGS.items() if command.flags & flag]
    told = b"".join(b"+%b\r\n" % flag.encode() for flag in flags)
    first, last, step = command.keys
    numbers = b":%d\r\n:%d\r\n:%d\r\n" % (first, last, step)
    head = b"*10\r\n" + bulk(command.name) + b":%d\r\n%b%d\r\n" % (command.arity, kind, len(flags)) + told + numbers
    return head + b"%b1\r\n+@%b\r\n" % (kind, command.group.encode()) + b"%b0\r\n" % kind * 3


def _docs(command: Command) -> bytes:
    """What ``COMMAND DOCS`` tells of a command behind its name: the elements of a map of three."""
    facts = {"summary": command.summary, "since": command.since, "group": command.group}
    return b"".join(bulk(name) + bulk(fact) for name, fact in facts.items())


def build_commands() -> tuple[np.ndarray, np.ndarray]:
    """The hash table of COMMANDs, and the bytes that COMMAND tells of each: its INFO, then its DOCS. All of that once for
    RESP2, then as long for RESP3."""
    slots, blob, modern = np.zeros(COMMANDS_SLOTS, dtype=COMMAND), bytearray(), bytearray()
    for command in COMMANDS:
        words = name_words(command.name.encode())
        place = slot_of(words)
        while slots["number"][place] != 0:
            place = (place + 1) % COMMANDS_SLOTS
        about, docs = _about(command, b"*"), _docs(command)
        first, last, step = command.keys
        slots[place] = (
            words, command.number, command.arity, command.flags, first, last, step, len(blob), len(about), len(docs),
        )  # fmt: skip
        blob += about + docs
        modern += _about(command, b"~") + docs
    return slots, np.frombuffer(bytes(blob + modern), dtype=np.uint8).copy()
