"""Random commands, and bytes that are no commands, to a real Redis and to Splinter: the same replies."""

from __future__ import annotations

import contextlib

import pytest

from tests.support.redis_commands import COMMANDS_USED, Generator
from tests.support.redis_compare import compare, explained, manner_of
from tests.support.redis_server import Door, running_redis, same_user
from tests.support.resp import Failure, ProtocolError, Reply, encode

pytestmark = pytest.mark.redis
SEEDS, COMMANDS = 16, 1500
SPLIT_BYTES = (1, 2, 7, 64)
# Each is sent behind AUTH; the last PING is there to see whether the connection still serves.
RAW = [
    b"PING\r\n",
    b"PING\n",
    b"PING hello\r\n",
    b"  PING   hello  \r\n",
    b'PING "hello world"\r\n',
    b'PING "a\\x41\\n"\r\n',
    b"PING 'it\\'s'\r\n",
    b'PING "open\r\n',
    b'PING "a"b\r\n',
    b"\r\n",
    b"\r\n\r\nPING\r\n",
    b"*0\r\n",
    b"*-1\r\n",
    b"*-2\r\n",
    b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nping\r\n",
    b"*x\r\n",
    b"*1x\r\n",
    b"*\r\n",
    b"*9999999999\r\n",
    b"*1\r\nPING\r\n",
    b"*1\r\n:4\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$x\r\n",
    b"*1\r\n$\r\n",
    b"*1\r\n$99999999999\r\n",
    b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n",
    b"*2\r\n$4\r\nECHO\r\n$3\r\na\r\n\r\n",
    b"*1\r\n$0\r\n\r\n",
    b"SET raw 1\r\nGET raw\r\nINCR raw\r\nDEL raw\r\n",
    b"NOSUCH a b\r\n",
    b"MULTI\r\nSET raw 1\r\nNOSUCH\r\nEXEC\r\n",
    b"GET\r\n",
    b"MULTI\r\nINCR raw\r\nDEL raw\r\nEXEC\r\n",
    b"QUIT\r\nPING\r\n",
]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_commands(redis: Door, splinter: Door, seed: int) -> None:
    _differ_nowhere(redis, splinter, seed)


@pytest.mark.parametrize("seed", range(4))
def test_another_redis_replies_the_same(redis: Door, seed: int) -> None:
    """The comparison itself: what differs between two of the same kind is a matter of chance, and must not be compared."""
    with running_redis() as other:
        _differ_nowhere(redis, other, seed)


def _differ_nowhere(right: Door, judged: Door, seed: int) -> None:
    right = same_user(right, judged)
    steps = Generator(seed, (judged.user.encode(), judged.password.encode())).steps(COMMANDS)
    protocol, is_pipelined = manner_of(seed)
    result = compare(right, judged, steps, protocol, is_pipelined)
    if result.difference:
        raise AssertionError(f"seed {seed}, {explained(right, judged, steps, result.difference, protocol, is_pipelined)}")
    assert result.commands == len(steps)


def test_a_difference_is_found_and_told_by_its_shortest_sequence(redis: Door) -> None:
    with running_redis(rules=("-getdel",)) as other, other.connect() as connection:
        steps = Generator(0, (other.user.encode(), other.password.encode())).steps(COMMANDS)
        right = same_user(redis, other)
        difference = compare(right, other, steps, 2).difference
        assert difference
        told = explained(right, other, steps, difference, 2, False)
        assert connection.call(b"GETDEL", b"k").code == b"NOPERM"
    first, *commands, expected, found = told.splitlines()
    assert first == "RESP2:"
    assert len(commands) == 1
    assert "GETDEL" in commands[0].upper()
    assert "NOPERM" not in expected
    assert "NOPERM" in found


def replies(door: Door, data: bytes, split: int) -> list[Reply]:
    """What comes back for bytes, an error by its first word; ends where the connection does, or with a PING's reply."""
    got: list[Reply] = []
    with door.connect() as connection:
        with contextlib.suppress(OSError):  # closed by now
            for begin in range(0, len(data), split):
                connection.send(data[begin : begin + split])
            connection.send(encode([b"ECHO", b"the end"]))
        try:
            while not got or got[-1] != b"the end":
                reply = connection.receive()
                got.append(Failure(reply.code) if isinstance(reply, Failure) else reply)
        except (ProtocolError, OSError):
            got.append("closed")
    return got


def command_infos(door: Door) -> dict[bytes, object]:
    """Of each command that the random ones use: its arity, whether it reads or writes, where its keys are."""
    with door.connect(protocol=3) as connection:
        told = {}
        for name in sorted(COMMANDS_USED):
            (info,) = connection.call(b"COMMAND", b"INFO", name)
            reads = {flag.text for flag in info[2].members} & {b"readonly", b"write"} if isinstance(info, list) else info
            told[name] = (info[0], info[1], reads, info[3:6]) if isinstance(info, list) else info
    return told


def test_command_info_is_the_same(redis: Door, splinter: Door) -> None:
    assert command_infos(splinter) == command_infos(redis)


@pytest.mark.parametrize("data", RAW, ids=repr)
def test_bytes_as_they_come(redis: Door, splinter: Door, data: bytes) -> None:
    for split in (len(data), *SPLIT_BYTES):
        assert replies(splinter, data, split) == replies(redis, data, split)
