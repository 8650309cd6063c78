"""What the suites run against: a server that is there, a Redis of our own, a Splinter of our own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from splinter.testing.process import die_with_parent, free_port
from tests.support.redis_suites.sources import SourceError
from tests.support.servers import start_server
from tests.support.waiting import wait_for

STOP_SECONDS = 20
MEMORY = "512MiB"
QUOTA_BYTES = 256 << 20
_LINES_TOLD = 15
_TENANT, _TOKEN = "1", "00000000000000a1"  # of our Redis: a user as tenants are


@dataclass(frozen=True)
class Target:
    """Where a server answers, and who asks."""

    host: str
    port: int
    user: str
    token: str
    table: int = 0

    @property
    def url(self) -> str:
        """As redis-py takes it."""
        who = f"{self.user}:{self.token}@" if self.token else ""
        return f"redis://{who}{self.host}:{self.port}/{self.table}"

    @property
    def login(self) -> tuple[str, str] | None:
        """Name and token, if the server wants them."""
        return (self.user or "default", self.token) if self.token else None


def of_url(url: str) -> Target:
    """A target from ``redis://NAME:TOKEN@HOST:PORT/TABLE``."""
    parts = urlsplit(url)
    if parts.scheme != "redis" or parts.hostname is None:
        raise SourceError(f"{url!r} is no address: redis://TENANT:TOKEN@HOST:PORT/TABLE")
    table = parts.path.strip("/")
    user, token = unquote(parts.username or ""), unquote(parts.password or "")
    return Target(parts.hostname, parts.port or 6379, user, token, int(table or 0))


def _is_ready(log: Path) -> bool:
    return log.exists() and "Ready to accept" in log.read_text(encoding="utf-8")


@contextlib.contextmanager
def redis() -> Iterator[Target]:
    """A Redis of our own for the block, with a user and a password, and with all that its suites want."""
    if shutil.which("redis-server") is None:
        raise SourceError("redis-server is not installed: apt-get install redis-server")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="splinter-redis-suites-") as folder:
        log = Path(folder) / "log"
        options = {
            "port": str(port), "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": folder, "logfile": str(log),
            "enable-debug-command": "yes", "enable-protected-configs": "yes", "enable-module-command": "yes",
        }  # fmt: skip
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        words += ["--user", *f"{_TENANT} on >{_TOKEN} ~* &* +@all".split(), "--user", "default", "off"]
        process = subprocess.Popen(
            ["redis-server", *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=partial(die_with_parent, os.getpid()),
        )  # fmt: skip
        try:
            wait_for(lambda: process.poll() is not None or _is_ready(log), what="redis-server's readiness")
            if process.poll() is not None:
                raise SourceError(
                    f"redis-server ended with status {process.returncode}: {log.read_text() if log.exists() else ''}"
                )
            yield Target("127.0.0.1", port, _TENANT, _TOKEN)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def splinter() -> Iterator[Target]:
    """A Splinter of our own for the block, with a tenant of its own."""
    server = start_server(f"suites{os.getpid()}", None, "--redis-port", "0", "--memory", MEMORY)
    try:
        port = server.info.redis_port
        if not port:
            raise SourceError("this Splinter has no Redis port: 'splinter serve --redis-port'")
        tenant = server.admin().create_tenant(quota_bytes=QUOTA_BYTES)
        yield Target(server.info.address, port, str(tenant.tenant), f"{int(tenant.token):016x}")
    finally:
        status = server.stop()
        said = "\n".join(server.started.said().splitlines()[-_LINES_TOLD:])
        server.started.forget()
    if status != 0:
        raise SourceError(f"the server ended with status {status}:\n{said}")
