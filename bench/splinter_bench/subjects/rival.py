"""What all rivals share: a server of the distribution's on the worker's core, and the same objects as Splinter's.

Keys and values are as long as those of the other load generators. A key is text, since memcached's protocol wants it so:
the tenant (which here is no more than a prefix), filler, and the object's number in decimal digits.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from splinter.errors import SplinterError
from splinter.net.netns import inside
from splinter_bench.generators.text_client import Script, TextClient
from splinter_bench.owner import Owner
from splinter_bench.process import end, pinned, start
from splinter_bench.seed import SEED
from splinter_bench.workloads.workload import KEY_BYTES_DEFAULT, KEYS_DEFAULT, VALUE_BYTES_DEFAULT, value_template

CONNECTIONS = 50
SCRIPT_REQUESTS = 1 << 16
DIGITS = 12  # of a key's number; also what redis-benchmark writes in place of __rand_int__
_TENANT_PREFIX = b"0001:splinter-benchmark-key"
_START_SECONDS_MAX = 10.0
_FILL_PIPELINE = 100


@dataclass(frozen=True)
class Objects:
    """What is stored: ``count`` objects of ``key_bytes`` and ``value_bytes``. Raises ``ValueError`` for too short keys."""

    count: int = KEYS_DEFAULT
    key_bytes: int = KEY_BYTES_DEFAULT
    value_bytes: int = VALUE_BYTES_DEFAULT

    def __post_init__(self) -> None:
        if self.key_bytes < DIGITS:
            raise ValueError(f"a rival's key has at least {DIGITS} bytes, not {self.key_bytes}")

    @property
    def prefix(self) -> bytes:
        """What stands in front of a key's digits."""
        room = self.key_bytes - DIGITS
        return _TENANT_PREFIX[:room].ljust(room, b".")

    @property
    def value(self) -> bytes:
        """The value of every object."""
        return value_template(self.value_bytes)

    def key(self, number: int) -> bytes:
        """The key of an object."""
        return self.prefix + b"%0*d" % (DIGITS, number)

    def chosen(self) -> list[int]:
        """Numbers of SCRIPT_REQUESTS objects, uniformly chosen, the same on every run."""
        return list(map(int, np.random.default_rng(SEED).integers(0, self.count, SCRIPT_REQUESTS)))


class RivalServer(Owner):
    """A server program on ``address``, pinned to ``core``, as a context manager.

    ``options`` follow the program's name on its command line; ``{folder}`` in them is a folder, in ``parent``, that is gone
    afterwards.
    Raises :class:`SplinterError` when the program is not installed.
    """

    def __init__(
        self,
        program: str,
        package: str,
        options: Sequence[str],
        address: str,
        port: int,
        *,
        core: int,
        netns: str | None,
        parent: Path | None = None,
    ) -> None:
        if shutil.which(program) is None:
            raise SplinterError(f"{program} is not installed: apt-get install {package}")
        self.program, self.address, self.port, self._netns = program, address, port, netns
        with self._opening() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=f"splinter-{program}-", dir=parent))
            self._log = Path(folder) / "log"
            command = [program, *(option.replace("{folder}", folder) for option in options)]
            with self._log.open("wb") as log:
                self._process = start(command, core=core, netns=netns, stdout=log, stderr=subprocess.STDOUT)
            stack.callback(end, self._process)
        self.command = " ".join([program, *(option or "''" for option in options)])

    def connect(self, netns: str | None) -> socket.socket:
        """A TCP connection from a namespace, as soon as the server answers; :class:`SplinterError` if it never does."""
        deadline = time.monotonic() + _START_SECONDS_MAX
        with inside(netns):
            while True:
                try:
                    connection = socket.create_connection((self.address, self.port), timeout=_START_SECONDS_MAX)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    return connection
                except OSError as error:
                    if self._process.poll() is not None:
                        log = self._log.read_text(errors="replace")
                        raise SplinterError(f"{self.program} did not start: {log}") from error
                    if time.monotonic() > deadline:
                        raise SplinterError(f"{self.program} does not answer: {error}") from error
                    time.sleep(0.01)

    @property
    def pid(self) -> int:
        """Of its process."""
        return int(self._process.pid)

    @property
    def configuration(self) -> dict[str, str]:
        """Its ``version`` and its ``command`` line."""
        said = subprocess.run([self.program, "--version"], capture_output=True, text=True, check=False).stdout
        return {"version": said.strip().partition("\n")[0], "command": self.command}

    def fill(self, netns: str | None, requests: Sequence[bytes], reply: bytes) -> None:
        """Store objects: requests in pipelines. Raises :class:`SplinterError` when one is not answered by this reply."""
        pipeline = min(_FILL_PIPELINE, len(requests))
        whole = [*requests, *requests[: -len(requests) % pipeline]]
        with TextClient(lambda: self.connect(netns)) as client:
            result = client.run_once(Script("load", whole, [reply] * len(whole), pipeline))
        if result.recorded != len(whole):
            raise SplinterError(f"{self.program} took {result.recorded} of {len(whole)} objects")


def packaged(line: Sequence[str], netns: str | None, core: int) -> str:
    """What a load generator of the distribution prints, run from a namespace and on a core."""
    with inside(netns), pinned(core):
        return subprocess.run(line, capture_output=True, text=True, check=False).stdout
