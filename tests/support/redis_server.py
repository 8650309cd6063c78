"""A real redis-server for comparisons: on a free port, without persistence, gone with the process that started it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import IO

from splinter.client.admin import TenantInfo
from splinter.testing.process import die_with_parent, free_port
from tests.support.resp import TIMEOUT_SECONDS, Closed, Connection, Failure, Status
from tests.support.servers import RunningServer
from tests.support.waiting import wait_for

PROGRAM = "redis-server"
TABLES = 65_280  # as many as Splinter has
STOP_SECONDS = 20


@dataclass(frozen=True)
class Door:
    """Where a server of the Redis protocol answers, and as whom to come in."""

    host: str
    port: int
    user: str
    password: str
    timeout: float = TIMEOUT_SECONDS  # until a reply

    def connect(self, is_inside: bool = True, protocol: int = 2) -> Connection:
        """A new connection; signed in unless ``is_inside`` is false. Raises :class:`AssertionError` when it is refused."""
        connection = Connection(self.host, self.port, self.timeout)
        if is_inside:
            who = [self.user.encode(), self.password.encode()]
            reply = connection.call(b"AUTH", *who) if protocol == 2 else connection.call(b"HELLO", b"3", b"AUTH", *who)
            assert not isinstance(reply, Failure), f"{self.host}:{self.port} lets {self.user} not in: {reply.text!r}"
        return connection


def door_of(server: RunningServer, tenant: TenantInfo) -> Door:
    """A tenant's way to a server's port of the Redis protocol."""
    assert server.info.redis_port is not None, "the server told no port of the Redis protocol"
    return Door(server.info.address, server.info.redis_port, str(tenant.tenant), f"{tenant.token:016x}")


def same_user(redis: Door, other: Door) -> Door:
    """The door of a Redis that lets in the same user with the same password as another server."""
    rules = (b"on", b"resetpass", b">" + other.password.encode(), b"~*", b"&*", b"+@all")
    with redis.connect() as connection:
        assert connection.call(b"ACL", b"SETUSER", other.user.encode(), *rules) == Status(b"OK")
    return replace(redis, user=other.user, password=other.password)


@contextlib.contextmanager
def running_redis(user: str = "1", password: str = "0123456789abcdef", rules: tuple[str, ...] = ()) -> Iterator[Door]:
    """A server for the block. As with Splinter, nobody is let in but by name and password; ``rules`` restrict the user."""
    program = shutil.which(PROGRAM)
    assert program, f"{PROGRAM} is not installed: mark what needs it with pytest.mark.redis"
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--logfile", ""]
    command += ["--databases", str(TABLES), "--user", user, "on", f">{password}", "~*", "&*", "+@all", *rules]
    command += ["--user", "default", "off", "resetpass"]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, process_group=0, cwd="/",
            preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGKILL),
        )  # fmt: skip
        try:
            door = Door("127.0.0.1", port, user, password)
            wait_for(lambda: _answers(process, door, said), what="an answer of redis-server")
            yield door
        finally:
            process.kill()
            process.wait(STOP_SECONDS)


def _answers(process: subprocess.Popen[bytes], door: Door, said: IO[bytes]) -> bool:
    if process.poll() is not None:
        said.seek(0)
        raise AssertionError(f"redis-server ended with status {process.returncode}:\n{said.read().decode(errors='replace')}")
    try:
        with door.connect() as connection:
            return bool(connection.call(b"PING") == Status(b"PONG"))
    except (OSError, Closed):
        return False
