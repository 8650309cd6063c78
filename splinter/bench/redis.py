"""Redis as a rival: the distribution's ``redis-server``, in the same namespace and on the same core as a worker.

Latency is measured by a closed loop of our own over one TCP connection: it spins on the socket, which spares Redis the
client's wake-up that redis-benchmark pays for. Throughput of many connections is redis-benchmark's, which is the client
that Redis is measured with.
"""

from __future__ import annotations

import csv
import io
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from splinter.bench.clock import SECOND_NS, TIMESPEC_BYTES, now_ns
from splinter.bench.histogram import Histogram, record
from splinter.bench.process import end, namespace, pinned, start
from splinter.bench.result import Result
from splinter.bench.workload import KEY_BYTES_DEFAULT, VALUE_BYTES_DEFAULT, value_template
from splinter.errors import SplinterError
from splinter.native.atomics import load16, load64, store8
from splinter.native.libc import MSG_DONTWAIT, memcmp, recvfrom, sendto

PORT = 6379
BENCHMARK_CONNECTIONS = (1, 50)
_START_SECONDS_MAX = 10.0
_REPLY_NS_MAX = SECOND_NS  # a reply that takes longer ends the run
_DIGITS = 12  # what redis-benchmark writes in place of __rand_int__
_KEY_PREFIX = b"splinter-benchmark-key"
_ZERO = ord("0")
_KIND_BYTES = 2  # a reply with a value begins with $ and a digit, nil with $-, an error with -
_LOAD_BATCH = 500
_KEYS_SEED = 20180919
_SCHEDULE_ENTRIES = 1 << 16
# About what Redis answers over a veth pair, so that a run of redis-benchmark takes the time that it shall: in all at most,
# and on one connection.
_PER_SECOND_MAX_GUESS, _PER_CONNECTION_GUESS = 60_000, 12_000


@njit(cache=True, nogil=True)
def _get_loop(
    fd: int,
    request: int,
    request_length: int,
    digits: int,
    expected: int,
    expected_length: int,
    reply: int,
    keys: int,
    keys_count: int,
    cells: int,
    timespec: int,
    record_from_ns: int,
    until_ns: int,
) -> tuple[int, int]:
    """One GET after the other. Returns how many replies were recorded, and how many were wrong (-1: one never came)."""
    recorded, wrong, cursor = 0, 0, 0
    while True:
        number = load64(keys + cursor * 8)
        cursor = (cursor + 1) % keys_count
        for place in range(_DIGITS):
            store8(digits + _DIGITS - 1 - place, _ZERO + number % 10)
            number //= 10
        sent = now_ns(timespec)
        if sent >= until_ns:
            return recorded, wrong
        sendto(fd, request, request_length, 0, 0, 0)
        length = 0
        while True:
            got = recvfrom(fd, reply + length, expected_length - length, MSG_DONTWAIT, 0, 0)
            now = now_ns(timespec)
            length += max(got, 0)
            if length == expected_length or (length >= _KIND_BYTES and load16(reply) != load16(expected)):
                break  # whole, or of another kind: nil, an error
            if now - sent > _REPLY_NS_MAX:
                return recorded, -1
        if memcmp(reply, expected, expected_length) != 0:
            wrong += 1
        elif sent >= record_from_ns:
            recorded += 1
            record(cells, now - sent)


class RedisServer:
    """A redis-server without persistence on ``address``, pinned to ``core``, as a context manager.

    Raises :class:`SplinterError` when it is not installed or does not start.
    """

    def __init__(self, address: str, *, core: int, netns: str | None = None, port: int = PORT) -> None:
        if shutil.which("redis-server") is None:
            raise SplinterError("redis-server is not installed: apt-get install redis-server redis-tools")
        self.address, self.port = address, port
        self._folder = tempfile.TemporaryDirectory(prefix="splinter-redis-")
        command = ["redis-server", "--bind", address, "--port", str(port), "--dir", self._folder.name]
        command += ["--save", "", "--appendonly", "no", "--protected-mode", "no", "--daemonize", "no"]
        self._log = Path(self._folder.name) / "log"
        command += ["--logfile", str(self._log)]
        self._process = start(command, core=core, netns=netns)

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(self, *exception: object) -> None:
        end(self._process)
        self._folder.cleanup()

    def connect(self, netns: str | None) -> socket.socket:
        """A connection from a namespace, as soon as the server answers; :class:`SplinterError` if it never does."""
        deadline = time.monotonic() + _START_SECONDS_MAX
        with namespace(netns):
            while True:
                try:
                    connection = socket.create_connection((self.address, self.port), timeout=_START_SECONDS_MAX)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    return connection
                except OSError as error:
                    if self._process.poll() is not None:
                        log = self._log.read_text(errors="replace")
                        raise SplinterError(f"redis-server did not start: {log}") from error
                    if time.monotonic() > deadline:
                        raise SplinterError(f"redis-server does not answer: {error}") from error
                    time.sleep(0.01)


def version() -> str:
    """What ``redis-server --version`` says, or an empty text where it is not installed."""
    if shutil.which("redis-server") is None:
        return ""
    return subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=False).stdout.strip()


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class RedisClient:
    """Closed loop of GETs over one connection. Keys and values are as long as those of the other load generators."""

    def __init__(
        self,
        server: RedisServer,
        keys: int,
        *,
        netns: str | None = None,
        key_bytes: int = KEY_BYTES_DEFAULT,
        value_bytes: int = VALUE_BYTES_DEFAULT,
    ) -> None:
        if key_bytes < _DIGITS:
            raise ValueError(f"a key has at least {_DIGITS} bytes, not {key_bytes}")
        self._server, self._netns, self._keys = server, netns, keys
        self._prefix = _KEY_PREFIX[: key_bytes - _DIGITS].ljust(key_bytes - _DIGITS, b".")
        self._value = value_template(value_bytes)
        self._connection = server.connect(netns)
        self.run(seconds=0, warmup_seconds=0)  # compiles, and sends nothing

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def preload(self) -> None:
        """Store every object; raises :class:`SplinterError` when Redis does not take one."""
        for first in range(0, self._keys, _LOAD_BATCH):
            numbers = range(first, min(first + _LOAD_BATCH, self._keys))
            self._connection.sendall(b"".join(_command(b"SET", self._key(n), self._value) for n in numbers))
            expected = b"+OK\r\n" * len(numbers)
            got = b""
            while len(got) < len(expected):
                part = self._connection.recv(len(expected) - len(got))
                if not part:
                    raise SplinterError("redis-server closed the connection")
                got += part
            if got != expected:
                raise SplinterError(f"redis-server refused an object: {got[:80]!r}")

    def _key(self, number: int) -> bytes:
        return self._prefix + b"%0*d" % (_DIGITS, number)

    def run(self, *, seconds: float, warmup_seconds: float) -> Result:
        """Depth 1 for ``seconds`` after ``warmup_seconds``; raises :class:`SplinterError` when a reply never comes."""
        key = self._key(0)
        request = bytearray(_command(b"GET", key))
        sent = np.frombuffer(request, np.uint8)
        expected = np.frombuffer(b"$%d\r\n%s\r\n" % (len(self._value), self._value), np.uint8)
        reply = np.zeros(len(expected), np.uint8)
        keys = np.random.default_rng(_KEYS_SEED).integers(0, self._keys, _SCHEDULE_ENTRIES, dtype=np.int64)
        timespec = np.zeros(TIMESPEC_BYTES, np.uint8)
        histogram = Histogram()
        digits = request.index(key) + len(self._prefix)
        begin = time.monotonic_ns() + int(warmup_seconds * SECOND_NS)
        recorded, wrong = _get_loop(
            self._connection.fileno(),
            sent.ctypes.data,
            len(sent),
            sent.ctypes.data + digits,
            expected.ctypes.data,
            len(expected),
            reply.ctypes.data,
            keys.ctypes.data,
            len(keys),
            histogram.address,
            timespec.ctypes.data,
            begin,
            begin + int(seconds * SECOND_NS),
        )
        if wrong < 0:
            raise SplinterError("redis-server did not answer")
        return Result("redis get", 1, seconds, recorded + wrong, recorded, 0, wrong, recorded, 0, {}, histogram)

    def benchmark(self, *, core: int, seconds: float, connections: int) -> dict[str, Any]:
        """redis-benchmark's GETs of the same objects over ``connections`` connections, each waiting for its reply.

        Returns ``connections``, ``per_second``, ``latency_ns`` (p50, p99) and the ``command``.
        """
        command = ["redis-benchmark", "-h", self._server.address, "-p", str(self._server.port), "--csv"]
        requests = max(1, int(seconds * min(_PER_SECOND_MAX_GUESS, connections * _PER_CONNECTION_GUESS)))
        command += ["-c", str(connections), "-n", str(requests)]
        command += ["-r", str(self._keys), "GET", self._prefix.decode() + "__rand_int__"]
        with namespace(self._netns), pinned(core):
            output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        rows = list(csv.DictReader(io.StringIO(output)))
        if not rows:
            raise SplinterError(f"redis-benchmark printed no result: {output!r}")
        (row,) = rows
        latency = {name: round(float(row[f"{name}_latency_ms"]) * 1e6) for name in ("p50", "p99")}
        return {
            "name": "redis get, redis-benchmark",
            "connections": connections,
            "per_second": float(row["rps"]),
            "latency_ns": latency,
            "command": " ".join(command),
        }
