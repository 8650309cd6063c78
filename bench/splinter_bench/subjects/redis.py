"""Redis as a rival: the distribution's ``redis-server``, without persistence if nothing else is said, on the worker's core.

Its own load generator, redis-benchmark, is shown beside our client, which compares every reply.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from splinter.errors import SplinterError
from splinter_bench.generators.text_client import Script
from splinter_bench.subjects.rival import Objects, RivalServer, packaged

PROGRAM = "redis-server"
PORT = 6379
_SYNCED = ("--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")
_STORED = b"+OK\r\n"
_RANDOM_DIGITS = "__rand_int__"  # what redis-benchmark replaces by an object's number, as long as those of our keys
_REPLY_BYTES_MAX = 4096  # to an administrative command
# About what Redis answers over a veth pair, so that a run of redis-benchmark takes the time that it shall: in all at most,
# and on one connection.
_PER_SECOND_MAX_GUESS, _PER_CONNECTION_GUESS = 60_000, 12_000


class RedisServer(RivalServer):
    """A redis-server; raises :class:`SplinterError` when it is not installed.

    ``is_durable``: a write is answered when it is on the disk of ``parent``; the file is never written anew.
    """

    def __init__(
        self,
        address: str,
        *,
        core: int,
        netns: str | None = None,
        port: int = PORT,
        is_durable: bool = False,
        parent: Path | None = None,
    ) -> None:
        options = ["--bind", address, "--port", str(port), "--dir", "{folder}", "--save", ""]
        options += ["--appendonly", "yes", *_SYNCED] if is_durable else ["--appendonly", "no"]
        options += ["--protected-mode", "no", "--daemonize", "no"]
        where = {"core": core, "netns": netns, "parent": parent}
        super().__init__(PROGRAM, "redis-server redis-tools", options, address, port, **where)  # type: ignore[arg-type]


def command(*words: bytes) -> bytes:
    """A command as RESP carries it."""
    return b"*%d\r\n" % len(words) + b"".join(map(bulk, words))


def bulk(content: bytes) -> bytes:
    """A bulk string of RESP: a word of a command, a value in a reply."""
    return b"$%d\r\n%s\r\n" % (len(content), content)


def integer(value: int) -> bytes:
    """An integer reply of RESP."""
    return b":%d\r\n" % value


def ask(server: RedisServer, netns: str | None, *words: bytes) -> bytes:
    """Give one command and return its reply, which is one line or one short bulk string.

    Raises :class:`SplinterError` when Redis answers with an error.
    """
    with server.connect(netns) as connection:
        connection.sendall(command(*words))
        reply = connection.recv(_REPLY_BYTES_MAX)
    if reply[:1] not in (b"+", b":", b"$"):
        raise SplinterError(f"Redis refused {words[0].decode()}: {reply.decode(errors='replace').strip()}")
    return reply[1:].split(b"\r\n")[reply[:1] == b"$"]


def reads(objects: Objects, name: str, *words: bytes) -> Script:
    """Commands that are answered with an object's value: ``words`` and its key, of objects by turns."""
    keys = [objects.key(number) for number in objects.chosen()]
    return Script(name, [command(*words, key) for key in keys], [bulk(objects.value)] * len(keys))


def set_script(objects: Objects) -> Script:
    """Sets of objects by turns, to the value that they have."""
    requests = [command(b"SET", objects.key(number), objects.value) for number in objects.chosen()]
    return Script("redis set", requests, [_STORED] * len(requests))


def preload(server: RedisServer, objects: Objects, netns: str | None) -> None:
    """Store every benchmark object; raises :class:`SplinterError` when Redis does not take one."""
    store(server, [(objects.key(number), objects.value) for number in range(objects.count)], netns)


def store(server: RedisServer, items: Sequence[tuple[bytes, bytes]], netns: str | None) -> None:
    """Store keys and values; raises :class:`SplinterError` when Redis does not take one."""
    server.fill(netns, [command(b"SET", *item) for item in items], _STORED)


def benchmark(
    server: RedisServer,
    name: str,
    words: Sequence[bytes],
    objects: Objects,
    netns: str | None,
    core: int,
    connections: int,
    seconds: float,
) -> dict[str, Any]:
    """redis-benchmark's rate of ``words`` and a key over ``connections`` connections, each waiting for its reply.

    Returns ``name``, ``connections``, ``per_second``, ``latency_ns`` (p50, p99) and the ``command``. Raises
    :class:`SplinterError` when it prints no result.
    """
    line = ["redis-benchmark", "-h", server.address, "-p", str(server.port), "--csv", "-c", str(connections)]
    line += ["-n", str(max(1, int(seconds * min(_PER_SECOND_MAX_GUESS, connections * _PER_CONNECTION_GUESS))))]
    line += ["-r", str(objects.count), *(word.decode() for word in words), objects.prefix.decode() + _RANDOM_DIGITS]
    output = packaged(line, netns, core)
    rows = list(csv.DictReader(io.StringIO(output)))
    if not rows:
        raise SplinterError(f"redis-benchmark printed no result: {output!r}")
    (row,) = rows
    return {
        "name": f"{name}, redis-benchmark",
        "connections": connections,
        "per_second": float(row["rps"]),
        "latency_ns": {percentile: round(float(row[f"{percentile}_latency_ms"]) * 1e6) for percentile in ("p50", "p99")},
        "command": " ".join(line),
    }
