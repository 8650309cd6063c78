"""The same commands to two servers of the Redis protocol, and where their replies differ.

As a program it compares a real Redis with the server at ``--port``, or with another Redis when none is given::

    python -m tests.support.redis_compare --port 6379 --user 1 --password 0123456789abcdef --seeds 20 --texts

Each difference is shown with the shortest sequence of commands that shows it. ``--texts`` tells of error texts, too.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from tests.support.redis_commands import CONNECTIONS, FAR_SECONDS, TABLES, Generator, Step
from tests.support.redis_server import Door, running_redis
from tests.support.resp import Closed, Connection, Failure, Map, ProtocolError, Reply, Status, encode

NEAR_SECONDS = 120  # by which two times may differ: the servers were asked one after the other
PIPELINED_MAX = 16
SWEEP_MAX = 10_000  # calls of SCAN until its cursor is 0 again
SHRINK_RUNS_MAX = 400
SHRINK_TIMEOUT_SECONDS = 3.0  # until a reply while what differs is made shorter: a guess of that is worth no longer wait
_QUEUED = Status(b"QUEUED")
# Their unit in a second. A time that was told as one of Unix is exact: only such times are in FAR_SECONDS.
_NEAR = {b"TTL": 1, b"EXPIRETIME": 1, b"PTTL": 1000, b"PEXPIRETIME": 1000}
# What of a reply is not the same on all servers that are right: compared by its type only.
_BY_TYPE = {b"RANDOMKEY", b"TIME", b"INFO", b"CLIENT ID", b"CLIENT INFO", b"CLIENT LIST"}
_BY_TYPE |= {b"COMMAND COUNT", b"OBJECT ENCODING", b"OBJECT REFCOUNT", b"OBJECT IDLETIME"}
_FAMILIES = {b"CLIENT", b"COMMAND", b"OBJECT", b"CONFIG"}  # whose second word tells the command


@dataclass(frozen=True)
class Difference:
    """Two replies to one step that should be alike."""

    place: int
    step: Step
    expected: Reply
    found: Reply


@dataclass
class Comparison:
    """What came of a run: the first difference, where it ended, and error texts that differ."""

    difference: Difference | None = None
    commands: int = 0
    texts: list[tuple[bytes, bytes, bytes]] = field(default_factory=list)  # name, expected, found


def name_of(command: Sequence[bytes]) -> bytes:
    """The command's name in capitals, with the second word when the first alone tells little."""
    name = command[0].upper()
    return b" ".join((name, command[1].upper())) if name in _FAMILIES and len(command) > 1 else name


def alike(command: Sequence[bytes], one: Reply, other: Reply, queued: Sequence[Sequence[bytes]] = ()) -> bool:
    """Whether two replies to a command say the same; ``queued`` is what an EXEC executes."""
    name = name_of(command)
    if isinstance(one, Failure) and isinstance(other, Failure):
        return one.code == other.code
    if isinstance(one, ProtocolError) and isinstance(other, ProtocolError):
        return True
    if type(one) is not type(other):
        return False
    if name == b"EXEC" and isinstance(one, list):
        return len(one) == len(other) and all(alike(*three) for three in zip(queued, one, other, strict=True))
    if name in _NEAR and isinstance(one, int):
        is_exact = min(one, other) < 0 or one // _NEAR[name] in FAR_SECONDS
        return bool(one == other if is_exact else abs(one - other) <= NEAR_SECONDS * _NEAR[name])
    if name == b"KEYS" and isinstance(one, list):
        return sorted(one) == sorted(other)
    if name == b"SCAN" and not _is_swept(one) and not _is_swept(other):
        return True  # within a transaction: the cursor and what comes first are the server's own
    if name == b"HELLO" and isinstance(one, Map | list):
        return _greeting(one) == _greeting(other)
    return name in _BY_TYPE or bool(one == other)


def _greeting(reply: Map | list[Reply]) -> dict[bytes, Reply]:
    """HELLO's fields; of those that tell a server from others, the names only."""
    pairs = reply.pairs if isinstance(reply, Map) else zip(reply[::2], reply[1::2], strict=True)
    return {key: value if key in (b"proto", b"mode", b"role") else type(value) for key, value in pairs}


def ask(door: Door, steps: Sequence[Step], protocol: int, is_pipelined: bool) -> list[Reply]:
    """The replies to all steps, asked of emptied tables. A connection that ends has :class:`Closed` as its last reply."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(door.connect(protocol=protocol)) for _ in range(CONNECTIONS)]
        for table in TABLES:
            emptied = connections[0].pipeline([[b"SELECT", b"%d" % table], [b"FLUSHDB"]])
            assert emptied == [Status(b"OK")] * 2, f"table {table} cannot be emptied: {emptied}"
        connections[0].call(b"SELECT", b"0")
        replies: list[Reply] = []
        for part in _parts(steps, is_pipelined):
            connection = connections[part[0].connection]
            try:
                if _is_sweep(part[0]):
                    replies.append(_sweep(connection, part[0].command))
                else:
                    connection.send(b"".join(encode(step.command) for step in part))
                    for _ in part:
                        replies.append(connection.receive())
            except (ProtocolError, OSError) as error:
                replies.append(error if isinstance(error, ProtocolError) else Closed(f"no reply: {error}"))
                break
    return replies


def _parts(steps: Sequence[Step], is_pipelined: bool) -> Iterator[list[Step]]:
    """Steps that are sent at once: of one connection. Sweeps are asked alone, and so is what lets nobody in any more: Redis may
    end a connection that is not let in and has replies to read."""
    part: list[Step] = []
    for step in steps:
        ends = not is_pipelined or len(part) >= PIPELINED_MAX or _is_alone(step) or (part and _is_alone(part[0]))
        if part and (ends or part[0].connection != step.connection):
            yield part
            part = []
        part.append(step)
    if part:
        yield part


def _is_alone(step: Step) -> bool:
    return _is_sweep(step) or step.command[0].upper() == b"RESET"


def _is_sweep(step: Step) -> bool:
    return step.command[0].upper() == b"SCAN" and step.command[1:2] == (b"0",)


def _is_swept(reply: Reply) -> bool:
    return isinstance(reply, list) and not any(isinstance(item, list) for item in reply)


def _sweep(connection: Connection, command: Sequence[bytes]) -> Reply:
    """All keys that SCAN gives from its beginning to its end, sorted; or what else it replies."""
    found: set[bytes] = set()
    cursor = b"0"
    for _ in range(SWEEP_MAX):
        reply = connection.call(command[0], cursor, *command[2:])
        if not (isinstance(reply, list) and len(reply) == 2 and isinstance(reply[0], bytes) and isinstance(reply[1], list)):
            return reply
        cursor, keys = reply
        found.update(keys)
        if cursor == b"0":
            return sorted(found)
    return ProtocolError(f"SCAN's cursor was not 0 again within {SWEEP_MAX} calls")


def compare(right: Door, judged: Door, steps: Sequence[Step], protocol: int, is_pipelined: bool = False) -> Comparison:
    """Ask both, and look for the first difference between what ``right`` replies and what ``judged`` does."""
    expected, found = (ask(door, steps, protocol, is_pipelined) for door in (right, judged))
    result = Comparison()
    queued: list[list[Sequence[bytes]]] = [[] for _ in range(CONNECTIONS)]
    for place, (step, one, other) in enumerate(zip_longest(steps, expected, found)):
        if place >= len(expected) and place >= len(found):
            break
        waiting = queued[step.connection]
        if not alike(step.command, one, other, waiting):
            result.difference = Difference(place, step, one, other)
            break
        result.commands += 1
        _compare_texts(result, step.command, one, other, waiting)
        if one == _QUEUED:
            waiting.append(step.command)
        elif step.command[0].upper() in (b"EXEC", b"DISCARD", b"RESET"):
            waiting.clear()  # refused, for a word too many, it leaves the transaction as it is; the generator sends none such
    return result


def _compare_texts(
    result: Comparison, command: Sequence[bytes], one: Reply, other: Reply, queued: Sequence[Sequence[bytes]]
) -> None:
    if isinstance(one, Failure) and one != other:
        result.texts.append((name_of(command), one.text, other.text))
    if name_of(command) == b"EXEC" and isinstance(one, list):
        for three in zip(queued, one, other, strict=True):
            _compare_texts(result, *three, ())


def shrink(differs: Callable[[Sequence[Step]], Difference | None], steps: Sequence[Step]) -> tuple[list[Step], Difference]:
    """The fewest steps that still differ, as far as leaving out one part or another finds them; and how they do."""
    difference = differs(steps)
    assert difference, "what is to be shrunk shows no difference"
    left = list(steps[: difference.place + 1])
    length, runs = max(1, len(left) // 2), 0
    while runs < SHRINK_RUNS_MAX:
        begin, is_smaller = 0, False
        while begin < len(left) and runs < SHRINK_RUNS_MAX:
            fewer = left[:begin] + left[begin + length :]
            runs += 1
            if fewer and (now := differs(fewer)):
                left, difference, is_smaller = fewer[: now.place + 1], now, True
            else:
                begin += length
        if length == 1 and not is_smaller:
            break
        length = max(1, length // 2)
    return left, difference


def explained(right: Door, judged: Door, steps: Sequence[Step], seen: Difference, protocol: int, is_pipelined: bool) -> str:
    """A difference that was seen, told by the shortest sequence of commands that shows one."""

    def differs(some: Sequence[Step]) -> Difference | None:
        return compare(right, judged, some, protocol, is_pipelined).difference

    judged = replace(judged, timeout=min(judged.timeout, SHRINK_TIMEOUT_SECONDS))
    manner = f"RESP{protocol}{', pipelined' if is_pipelined else ''}"
    if differs(steps):
        left, difference = shrink(differs, steps)
    else:
        left, difference = [seen.step], seen
        manner += f", at step {seen.place}, and not again"
    shown = "\n".join(f"  {step}" for step in left)
    return f"{manner}:\n{shown}\n  expected {told(difference.expected)}\n  found    {told(difference.found)}"


def told(reply: Reply) -> str:
    """A reply as one line."""
    text = repr(reply)
    return text if len(text) <= 300 else f"{text[:200]}... ({len(text)} characters)"


def manner_of(seed: int) -> tuple[int, bool]:
    """The protocol's version, and whether commands are pipelined: each four seeds have all."""
    return 2 + seed % 2, bool(seed // 2 % 2)


def main() -> int:
    """Compare as the command line says; 1 when there was a difference."""
    parser = argparse.ArgumentParser(description="Random commands to a real Redis and to another server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, help="of the other server (default: a second Redis)")
    parser.add_argument("--user", default="1")
    parser.add_argument("--password", default="0123456789abcdef")
    parser.add_argument("--seed", type=int, default=0, help="the first")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--commands", type=int, default=2000)
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds until a server seems not to answer")
    parser.add_argument("--without", default="", help="commands that are left out: CLIENT,KEYS")
    parser.add_argument("--without-words", default="", help="arguments with which a command is left out: KEEPTTL,07")
    parser.add_argument("--texts", action="store_true", help="tell of error texts that differ behind their first word")
    options = parser.parse_args()
    texts: dict[tuple[bytes, bytes, bytes], None] = {}
    different = 0
    with contextlib.ExitStack() as stack:
        right = stack.enter_context(running_redis(options.user, options.password))
        if options.port is None:
            judged = stack.enter_context(running_redis(options.user, options.password))
        else:
            judged = Door(options.host, options.port, options.user, options.password, options.timeout)
        without, words = (set(given.upper().encode().split(b",")) for given in (options.without, options.without_words))
        for seed in range(options.seed, options.seed + options.seeds):
            steps = Generator(seed, (options.user.encode(), options.password.encode())).steps(options.commands)
            steps = [step for step in steps if step.command[0].upper() not in without and words.isdisjoint(step.command[1:])]
            result = compare(right, judged, steps, *manner_of(seed))
            texts.update(dict.fromkeys(result.texts))
            if result.difference:
                different += 1
                print(f"seed {seed}, {explained(right, judged, steps, result.difference, *manner_of(seed))}", flush=True)
            else:
                print(f"seed {seed}: {result.commands} commands, no difference", flush=True)
    if options.texts:
        for name, one, other in sorted(texts):
            print(
                "{}:\n  expected {}\n  found    {}".format(
                    *(text.decode(errors="backslashreplace") for text in (name, one, other))
                )
            )
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
